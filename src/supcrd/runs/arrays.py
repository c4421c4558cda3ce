"""Arrays of a run: npz files that are written at once, with a version, and refused where they are damaged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supcrd.base.files import replacing
from supcrd.base.versions import migrate
from supcrd.errors import RunError

VERSION = 2
"""Of what is written; 1, which has no `version` in it, is that of 0.1, with the same arrays."""


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write arrays as a compressed npz."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, version=np.int64(VERSION), **arrays)


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read arrays that `write_arrays` wrote.

    Raises:
        RunError: missing, damaged, written by a newer supcrd, or without one of the names.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_arrays(Path(folder, "a.npz"), rows=np.arange(3))
        ...     read_arrays(Path(folder, "a.npz"), ["rows"])
        {'rows': array([0, 1, 2])}
    """
    try:
        with np.load(path) as stored:
            version = {"version": stored["version"].item()} if "version" in stored.files else {}
            migrate(version, str(path), VERSION, error=RunError)
            missing = [name for name in names if name not in stored.files]
            if missing:
                raise RunError(f"{path} has no {', '.join(missing)}; it is not a file of a finished run")
            return {name: stored[name] for name in names}
    except RunError:
        raise
    except Exception as error:  # numpy, zipfile and zlib raise a dozen kinds on damaged files
        raise RunError(f"{path} cannot be read: {str(error) or type(error).__name__}; is the run finished?") from None
