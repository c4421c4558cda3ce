"""The built-in architecture that weights come nearest to, for a message that refuses them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from supcrd.base.seeding import forked
from supcrd.models.archs import ARCHS, build_encoder

HALF = 0.5  # below this share of common shapes none is near


def nearest_arch(state: Mapping[str, Tensor], *, in_channels: int, image_size: int) -> tuple[str, int, int] | None:
    """The built-in architecture whose encoder has the most keys and shapes in common with a state dict.

    Args:
        state: keys of supcrd's layout, of which those of the encoder count.
        in_channels, image_size: of the images.

    Returns:
        Its name, how many of its keys are there with the right shape, and how many it has; None if fewer than half are
        common to both.

    Example:
        >>> from supcrd.models import Model
        >>> state = dict(Model(10, "resnet14", in_channels=3, image_size=32).state_dict())
        >>> _ = state.pop("encoder.bn1.bias")
        >>> nearest_arch(state, in_channels=3, image_size=32)
        ('resnet14', 74, 75)
    """
    counter = "num_batches_tracked"
    own = {(key, tuple(tensor.shape)) for key, tensor in state.items() if key.startswith("encoder.")}
    own = {entry for entry in own if not entry[0].endswith(counter)}
    best: tuple[float, str, int, int] | None = None
    for arch in ARCHS:
        with forked(), torch.device("meta"):  # shapes only: no memory, and nothing is drawn
            net = build_encoder(arch, in_channels=in_channels, image_size=image_size, pretrained=False).net
        theirs = {(f"encoder.{key}", tuple(tensor.shape)) for key, tensor in net.state_dict().items()}
        theirs = {entry for entry in theirs if not entry[0].endswith(counter)}
        common = len(own & theirs)
        likeness = common / max(len(own | theirs), 1)
        if best is None or likeness > best[0]:
            best = (likeness, arch, common, len(theirs))
    return None if best is None or best[0] < HALF else best[1:]
