"""The names of architectures, apart from the networks: a recipe is checked without torch."""

from difflib import get_close_matches

from supcrd.base.wording import show

ARCHS: tuple[str, ...] = (
    "convnet",
    *("resnet18", "resnet34", "resnet50", "resnet101"),
    *(f"resnet{depth}" for depth in (8, 14, 20, 32, 44, 56, 110)),
    *(f"resnet{depth}x4" for depth in (8, 14, 20, 32)),
)
"""Every architecture's name but timm's, which are `timm:NAME`."""


def check_name(name: str) -> None:
    """Refuse a name that is none of `ARCHS`.

    Raises:
        ValueError: unknown; names the nearest valid one.

    Example:
        >>> check_name("resnet8x5")
        Traceback (most recent call last):
        ValueError: arch 'resnet8x5' is unknown; the nearest is 'resnet8x4'
    """
    if name not in ARCHS:
        nearest = get_close_matches(name, ARCHS, n=1, cutoff=0.0)[0]
        raise ValueError(f"arch {show(name)} is unknown; the nearest is {nearest!r}")
