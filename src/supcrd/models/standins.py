"""What may stand in a checkpoint beside its tensors, as other code writes it: read as nothing at all.

A pickle names classes and functions. Those of the list below are harmless in themselves, but not even they are called:
an object that takes anything and keeps nothing stands for each. So a checkpoint with the options of its training, or
with accuracies that are NumPy's numbers, is read, and nothing of it runs.
"""

from typing import Any


class Nothing:
    """In place of an object, and of the function that would have made it.

    Example:
        >>> Nothing(lr=0.1)
        Nothing()
    """

    __slots__ = ()

    def __new__(cls, *_: Any, **__: Any) -> "Nothing":
        """Take anything."""
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __repr__(self) -> str:
        return "Nothing()"


NAMES = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    *(f"pathlib.{kind}" for kind in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath")),
    *(f"pathlib._local.{kind}" for kind in ("Path", "PosixPath", "WindowsPath")),  # since Python 3.13
    *("numpy.dtype", "numpy.ndarray"),
    *(f"numpy.{core}.multiarray.{kind}" for core in ("core", "_core") for kind in ("scalar", "_reconstruct")),
)
"""Options, paths, and NumPy's scalars and arrays."""


def stand_ins() -> list[Any]:
    """For torch's list of safe globals: what each name of `NAMES` means in a checkpoint.

    Example:
        >>> stand_ins()[0]
        (<class 'supcrd.models.standins.Nothing'>, 'argparse.Namespace')
    """
    return [(Nothing, name) for name in NAMES]
