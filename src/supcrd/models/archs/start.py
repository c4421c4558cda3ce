"""How the weights of networks start that the distillation papers train."""

from torch import nn


def fan_out_normal(net: nn.Module) -> None:
    """Draw the weights of all convolutions from N(0, 2 / (places of the kernel * output channels)); biases are 0.

    For a convolution in groups that is not fan-out (its outputs are counted all together), but it is what RepDistiller
    and mdistiller do.

    Source: He et al. 2015, arXiv:1502.01852, section 2.2, the backward case.

    Example:
        >>> conv = nn.Conv2d(64, 32, 3)
        >>> fan_out_normal(conv)
        >>> 0.9 < conv.weight.std() / (2 / (9 * 32)) ** 0.5 < 1.1, conv.bias.abs().max()
        (tensor(True), tensor(0., grad_fn=<MaxBackward1>))
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            height, width = module.kernel_size
            nn.init.normal_(module.weight, std=(2 / (height * width * module.out_channels)) ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
