"""Reading a pickle that may build arrays and plain containers, and nothing else."""

import pickle
from typing import IO, Any

import numpy as np

from supcrd.errors import DataError


def restricted_load(stream: IO[bytes], *, where: str) -> Any:
    """Load one pickle, as Python 2 or 3 wrote it; Python 2 strings come back as bytes.

    Args:
        stream: positioned at the pickle.
        where: its place, for error messages.

    Raises:
        DataError: the pickle names anything but NumPy arrays, dtypes and scalars (it is refused before anything of it
            is called), or it is damaged.

    Example:
        >>> import io
        >>> restricted_load(io.BytesIO(pickle.dumps({"a": [1, 2]})), where="example")
        {'a': [1, 2]}
        >>> restricted_load(io.BytesIO(pickle.dumps(print)), where="example")
        Traceback (most recent call last):
        supcrd.errors.DataError: example: refused, its pickle names builtins.print; only arrays are read
    """
    try:
        return _Restricted(stream, encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{where}: {error}") from error.__cause__
    # A damaged pickle can end in nearly any exception; all of them mean the same to the user.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{where}: damaged pickle ({reason}); download it again") from error


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes at protocol 2; any other codec could decompress or worse."""
    if encoding not in ("latin1", b"latin1"):
        raise DataError(f"refused, its pickle encodes as {encoding!r}; only latin1 is read")
    return text.encode("latin1")


# Taken from arrays, since NumPy 2 moved these functions from numpy.core to numpy._core.
_RECONSTRUCT = np.zeros(1).__reduce__()[0]
_SCALAR = np.float64(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.multiarray", "scalar"): _SCALAR,
    ("numpy._core.multiarray", "scalar"): _SCALAR,
    ("_codecs", "encode"): _encode,
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise DataError(f"refused, its pickle names {module}.{name}; only arrays are read")
        return _ALLOWED[module, name]
