"""A frozen encoder made fast: batch normalisation folded into the convolutions before it."""

import contextlib
import copy

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def frozen_encoder(encoder: nn.Module, *, bfloat16: bool = False) -> nn.Module:
    """A copy of an encoder for inference only, where that is, without gradients.

    In eval mode a batch normalisation after a convolution is a scale and a shift: they go into the convolution's
    weights, which saves a pass over its output. What cannot be folded (no such pair, or a network that cannot be
    traced) stays.

    Args:
        encoder: any module; it is not changed.
        bfloat16: keep the weights of convolutions and linear layers in bfloat16, for use under autocast, which would
            cast them anew in every pass.

    Returns:
        The copy, in eval mode. Its outputs differ from the encoder's by rounding.

    Example:
        >>> from supcrd.models import Model
        >>> encoder = Model(10, "resnet8").encoder.eval()
        >>> frozen = frozen_encoder(encoder)
        >>> any(isinstance(m, nn.BatchNorm2d) for m in frozen.modules())
        False
        >>> images = torch.rand(2, 3, 32, 32)
        >>> torch.allclose(frozen(images), encoder(images), atol=1e-5)
        True
    """
    frozen: nn.Module = copy.deepcopy(encoder).requires_grad_(False).eval()
    with contextlib.suppress(Exception):  # fx raises whatever a network's code does with a proxy in place of a tensor
        frozen = fold(fx.symbolic_trace(frozen))
    if bfloat16:
        for module in frozen.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(torch.bfloat16)
    return frozen


def fold(network: fx.GraphModule) -> fx.GraphModule:
    """Fold every batch normalisation whose input is a convolution's output that nothing else reads; in place."""
    modules = dict(network.named_modules())
    calls = [node.target for node in network.graph.nodes if node.op == "call_module"]
    read = [node.target.rpartition(".")[0] for node in network.graph.nodes if node.op == "get_attr"]
    for node in list(network.graph.nodes):
        if node.op != "call_module" or type(modules[node.target]) is not nn.BatchNorm2d:
            continue
        before = node.args[0]
        if before.op != "call_module" or type(modules[before.target]) is not nn.Conv2d or len(before.users) > 1:
            continue
        if calls.count(before.target) > 1 or calls.count(node.target) > 1 or before.target in read:
            continue  # a layer that is used twice cannot take two scales, nor one whose weights are read elsewhere
        folded = fuse_conv_bn_eval(modules[before.target], modules[node.target])
        network.set_submodule(before.target, folded)
        node.replace_all_uses_with(before)
        network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    network.recompile()
    return network
