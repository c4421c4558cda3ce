"""Which of timm's architectures a state dict belongs to, by its keys and shapes."""

import math
from functools import lru_cache
from math import isqrt
from typing import NamedTuple

import torch
from torch import Tensor

from supcrd.base.seeding import forked
from supcrd.models.archs.from_timm import STEMS, create, timm_defaults
from supcrd.models.names import timm_index

COUNTER = "num_batches_tracked"


class Found(NamedTuple):
    """An architecture that a state dict fits."""

    arch: str
    alike: tuple[str, ...]
    """all that fit, `arch` among them: they compute the same, but may have been trained on other sizes and colours"""


def signature(state: dict[str, Tensor]) -> tuple[int, int]:
    """How many tensors an encoder has, and how many numbers those of one dimension hold: its biases and its norms.

    These depend neither on the size of the images and their channels nor on the stem. Batch norm's counters are left
    out, since files may lack them.

    Example:
        >>> signature({"conv.weight": torch.zeros(8, 3, 3, 3), "conv.bias": torch.zeros(8)})
        (2, 8)
    """
    tensors = [tensor for key, tensor in state.items() if not key.endswith(COUNTER)]
    return len(tensors), sum(tensor.numel() for tensor in tensors if tensor.ndim == 1)


def recognise(state: dict[str, Tensor], *, in_channels: int, image_size: int | None = None) -> Found:
    """The timm architecture of an encoder's weights.

    Args:
        state: timm's keys without the classifier's.
        in_channels: of the images.
        image_size: H = W in pixels, where it is known.

    Raises:
        ValueError: none fits, or several that compute different things (such as `efficientnet_b0` and
            `tf_efficientnet_b0`, which pad in other ways); names them, or the three nearest.
    """
    own = signature(state)
    names = [name for name, known in timm_index().items() if known == own]
    fitting = [name for name in names if fitting_stems(f"timm:{name}", state, in_channels, image_size)]
    if not fitting:
        near = sorted(timm_index(), key=lambda name: _distance(timm_index()[name], own))[:3]
        likely = ", ".join(f"timm:{name}" for name in near)
        raise ValueError(
            f"its keys are of no known architecture; give its arch (--arch or teacher.arch); the nearest are {likely}"
        )
    size = size_of(state) or image_size
    fitting.sort(key=lambda name: (timm_defaults(f"timm:{name}").image_size != size, len(name), name))
    first = fitting[0]
    for other in fitting[1:]:
        if not _same(first, other, state, in_channels, image_size):
            raise ValueError(
                f"its weights fit {', '.join(f'timm:{name}' for name in fitting[:5])}, which compute different things; "
                "say which by its arch (--arch or teacher.arch)"
            )
    return Found(f"timm:{first}", tuple(f"timm:{name}" for name in fitting))


def fitting_stems(arch: str, state: dict[str, Tensor], in_channels: int, image_size: int | None) -> list[str]:
    """Those stems with which a timm architecture has exactly the keys and shapes of an encoder's weights."""
    size = size_of(state) or image_size or timm_defaults(arch).image_size
    own = _shapes(state)
    return [stem for stem in STEMS if _built(arch, in_channels, size, stem) == own]


@lru_cache(maxsize=256)
def _built(arch: str, in_channels: int, size: int, stem: str) -> dict[str, tuple[int, ...]] | None:
    """Keys and shapes of a timm architecture with a stem; None where it cannot be built so. Building takes a second."""
    try:
        with torch.device("meta"):
            net, actual = create(arch.removeprefix("timm:"), in_channels, size, stem=stem)
    except Exception:  # timm raises errors of any kind if a size or a stem does not suit
        return None
    return _shapes(net.state_dict()) if actual == stem else None


def size_of(state: dict[str, Tensor]) -> int | None:
    """The image size in pixels that a transformer's position embedding was made for; None of other networks,
    and where patches are not cut from the image side by side.

    Example:
        >>> size_of({"pos_embed": torch.zeros(1, 197, 192), "patch_embed.proj.weight": torch.zeros(192, 3, 16, 16)})
        224
    """
    positions, patches = state.get("pos_embed"), state.get("patch_embed.proj.weight")
    if positions is None or patches is None or positions.ndim != 3 or patches.ndim != 4:
        return None
    others = [key for key in state if key.startswith("patch_embed.") and key.split(".")[1] not in ("proj", "norm")]
    if others or patches.shape[-1] % 2:  # a backbone before the patches, or patches that overlap
        return None
    tokens = positions.shape[1]
    # up to eight of them stand for no patch: the class token, registers
    side = next((isqrt(tokens - extra) for extra in range(9) if _is_square(tokens - extra)), None)
    return side * patches.shape[-1] if side else None


def _is_square(number: int) -> bool:
    return number > 0 and isqrt(number) ** 2 == number


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in state.items() if not key.endswith(COUNTER)}


def _distance(known: tuple[int, int], own: tuple[int, int]) -> float:
    return sum(abs(math.log((a + 1) / (b + 1))) for a, b in zip(known, own, strict=True))


def _same(first: str, other: str, state: dict[str, Tensor], in_channels: int, image_size: int | None) -> bool:
    """Whether two architectures make the same of one image with these weights."""
    size = size_of(state) or image_size or timm_defaults(f"timm:{first}").image_size
    with forked() as reseed, torch.inference_mode():
        reseed(0)
        image, seen = torch.rand(1, in_channels, size, size), []
        for name in (first, other):
            (stem, *_) = fitting_stems(f"timm:{name}", state, in_channels, image_size)
            net = create(name, in_channels, size, stem=stem)[0].eval()
            net.load_state_dict(state, strict=False)  # counters may be missing
            seen.append(net(image))
    if seen[0].shape != seen[1].shape:
        return False
    differing, scale = (seen[0] - seen[1]).abs().max(), seen[0].abs().max()  # fresh weights may give tiny features
    return bool(differing <= 1e-4 * scale)
