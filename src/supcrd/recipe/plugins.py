"""A user's own terms, networks and data sources: Python files beside a recipe, or modules, read when it is."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from supcrd.base.files import user_path
from supcrd.errors import PluginError
from supcrd.registry import REGISTERED, REPLACEABLE, reason

PREFIX = "supcrd_plugin_"
"""What the names of modules begin with that are files of plug-ins."""


class Plugin(NamedTuple):
    """What was read."""

    name: str
    """the path of a file, absolute, or the name of a module"""
    fingerprint: str
    """of the file's bytes, 32 hexadecimal digits; a run is refused where it has changed since"""


def load(names: Sequence[str], base: Path) -> tuple[Plugin, ...]:
    """Read plug-ins, so that what they register can be named. Their code runs: give only what you trust.

    Two of them must not register one name. Files of earlier calls give way, so that recipes of one process may have
    plug-ins with the same names.

    Args:
        names: files (ending in .py; relative to `base`) or modules that Python can import.
        base: the folder of the recipe that names them.

    Returns:
        One for each, in order. A file that has not changed since it was read is not run again.

    Raises:
        PluginError: it is not there, or fails when it is run: its own error, with file and line.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "mine.py").write_text("answer = 42")
        ...     [plugin] = load(["mine.py"], Path(folder))
        ...     Path(plugin.name).name, len(plugin.fingerprint)
        ('mine.py', 32)
    """
    REPLACEABLE.update(name for name in REGISTERED if name.startswith(PREFIX))
    return tuple(_file(name, base) if name.endswith(".py") else _module(name) for name in names)


def _file(name: str, base: Path) -> Plugin:
    path = (base / user_path(name, "plug-in", error=PluginError)).resolve()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PluginError(f"plug-in {path} cannot be read ({error.strerror})") from None
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    # one module a path: what it registers again after a change takes the old one's place
    module = f"{PREFIX}{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()}"
    REPLACEABLE.discard(module)
    known = sys.modules.get(module)
    if known is not None and known.__dict__["__fingerprint__"] == digest:
        for registry, registered, thing in REGISTERED.pop(module, ()):
            registry.add(registered, thing, origin=module)  # a file of another recipe may have taken its place
    else:
        for registry, registered, _ in REGISTERED.pop(module, ()):
            registry.forget(registered, module)  # the changed file may no longer have it
        _run(name, path, content, module, digest)
    return Plugin(str(path), digest)


def _run(name: str, path: Path, content: bytes, module: str, digest: str) -> None:
    """Run a file's content as a module of a name of our own.

    The very bytes that have the digest: Python's own loader may take bytecode beside the file, which it believes to be
    of this content if the time, to the second, and the size are the same.
    """
    spec = importlib.util.spec_from_file_location(module, path)
    assert spec is not None
    loaded = importlib.util.module_from_spec(spec)
    loaded.__dict__["__fingerprint__"] = digest
    sys.modules[module] = loaded  # first: pickling and dataclasses look it up
    try:
        exec(compile(content, str(path), "exec", dont_inherit=True), loaded.__dict__)
    except BaseException as error:
        sys.modules.pop(module)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PluginError(f"plug-in {name} fails: {reason(error)}") from error


def _module(name: str) -> Plugin:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name.partition(".")[0] or error.name == name:
            raise PluginError(f"plug-in {name!r}: no such module; a file ends in .py") from None
        raise PluginError(f"plug-in {name!r} fails: {reason(error)}") from error
    except Exception as error:
        raise PluginError(f"plug-in {name!r} fails: {reason(error)}") from error
    file = getattr(module, "__file__", None)
    content = Path(file).read_bytes() if file and Path(file).is_file() else b""
    return Plugin(name, hashlib.blake2b(content, digest_size=16).hexdigest())
