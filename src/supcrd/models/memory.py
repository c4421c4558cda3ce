"""What an encoder keeps of an image until its gradient is known."""

import copy

import torch
from torch import Tensor, nn


def kept_bytes(encoder: nn.Module, *, channels: int, image_size: int) -> tuple[int, bool]:
    """Bytes that training keeps of one image in float32, and whether a map has as many pixels as the image.

    Nothing is computed: the encoder runs on torch's meta device, whose tensors have shapes and no numbers.

    Args:
        encoder: (B, channels, H, W) -> (B, F); not changed.
        channels: of the images.
        image_size: H, pixels.

    Returns:
        (bytes, whether a map is H x H). Of tensors that two layers keep one counts; parameters do not.

    Example:
        >>> kept_bytes(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU()), channels=1, image_size=8)
        (768, True)
    """
    net = copy.deepcopy(encoder).to("meta").train()
    own = {parameter.untyped_storage()._cdata for parameter in (*net.parameters(), *net.buffers())}
    sizes: dict[int, tuple[int, Tensor]] = {}  # the tensors too: a storage that is freed would give its address away
    whole = False

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            sizes[storage._cdata] = storage.nbytes(), tensor
        return tensor

    def look(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal whole
        if isinstance(output, Tensor) and output.ndim == 4:
            whole = whole or output.shape[2] >= image_size

    for module in net.modules():
        if not list(module.children()):
            module.register_forward_hook(look)
    # two images, since batch norm trains on no single value
    images = torch.empty(2, channels, image_size, image_size, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        features = net(images)
    assert isinstance(features, Tensor)
    return sum(size for size, _ in sizes.values()) // 2, whole
