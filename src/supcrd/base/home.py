"""The user's own cache folder, and whether a folder is the user's own."""

import os
from pathlib import Path

from supcrd.base.files import user_path
from supcrd.errors import RunError

COMPILED = "TORCHINDUCTOR_CACHE_DIR"


def cache_home() -> Path:
    """$SUPCRD_CACHE, else `supcrd` in $XDG_CACHE_HOME, else in ~/.cache; it may not be there.

    Raises:
        RuntimeError: there is no home folder.
        SupcrdError: $SUPCRD_CACHE cannot be a path.
    """
    chosen = os.environ.get("SUPCRD_CACHE")
    if chosen:
        return user_path(chosen, "SUPCRD_CACHE")
    general = os.environ.get("XDG_CACHE_HOME")
    return (Path(general) if general else Path.home() / ".cache") / "supcrd"


def make_private(folder: Path) -> None:
    """Make a folder, and its parent, that no other user can read or write, where they are not there yet."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def is_private(folder: Path) -> bool:
    """Whether a folder is this user's, and no other can write to it; True where there are no such owners (Windows).

    What lies in a folder of another user under a name that can be guessed may be that user's choice.

    Raises:
        OSError: it is not there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     before = is_private(Path(folder))
        ...     Path(folder).chmod(0o777)
        ...     before, is_private(Path(folder))
        (True, False)
    """
    status = folder.stat(follow_symlinks=False)
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and status.st_mode & 0o022 == 0)


def own_compiled_code() -> None:
    """Have torch keep what it compiles, and runs again later, in the user's own cache unless the environment names one.

    By default that is `/tmp/torchinductor_USER`, which any user can have made before, with code in it.

    Raises:
        RunError: others can write to the folder.
    """
    if os.environ.get(COMPILED):
        return
    folder = cache_home() / "compiled"
    make_private(folder)
    if not is_private(folder):
        raise RunError(
            f"train.compile: other users can write to {folder}, whose code would run; "
            f"SUPCRD_CACHE or {COMPILED} = a folder of your own, or train.compile=off, is right"
        )
    os.environ[COMPILED] = str(folder)
