"""Names -> objects that the package, an installed package or a user's file brings: terms, networks, data sources."""

import sys
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from typing import Any, Generic, TypeVar

from supcrd.base.wording import choices, show
from supcrd.errors import PluginError, SupcrdError

T = TypeVar("T")

REPLACEABLE: set[str] = set()
"""Modules whose names another module may take: files of plug-ins that an earlier recipe named."""
REGISTERED: dict[str, list[tuple["Registry[Any]", str, Any]]] = {}
"""Module -> what it has registered, so that it can be registered again."""


class Registry(Generic[T]):
    """Things of one kind by name.

    A name that is not known is looked for among the entry points of installed packages, then refused with the nearest
    known one.

    Args:
        kind: what the objects are, for messages: `term`.
        group: of entry points, `supcrd.terms`.
        builtin: module of the package that registers the built-in objects when it is imported.

    Example:
        >>> colours: Registry[int] = Registry("colour", "supcrd.colours")
        >>> _ = colours.add("red", 1)
        >>> colours.get("red"), "blue" in colours
        (1, False)
        >>> colours.get("rde")
        Traceback (most recent call last):
        supcrd.errors.PluginError: unknown colour 'rde'; did you mean red? Valid: red
    """

    def __init__(self, kind: str, group: str, builtin: str | None = None) -> None:
        self.kind, self.group, self.builtin = kind, group, builtin
        self._things: dict[str, T] = {}
        self._origins: dict[str, str] = {}  # the module that each comes from

    def add(self, name: str, thing: T, *, origin: str | None = None) -> T:
        """Register an object; a module may replace what it registered itself, and what is `REPLACEABLE`.

        Args:
            name: of letters, digits, - and _.
            thing: a class or a function, or, with `origin`, any object.
            origin: the module that it comes from; the one where it is defined if not given.

        Raises:
            PluginError: the name is taken by another module, or is no name.
        """
        origin = origin or str(getattr(thing, "__module__", ""))
        taken = self._origins.get(name)
        if not name or not all(part.isidentifier() for part in name.replace("-", "_").split(".")):
            raise PluginError(f"{self.kind} {name!r}: a name of letters, digits, - and _ is right")
        if taken is not None and taken != origin and taken not in REPLACEABLE:
            raise PluginError(
                f"{self.kind} {name!r} of {_file(origin)} is taken by {_file(taken)}; give it another name"
            )
        self._things[name], self._origins[name] = thing, origin
        REGISTERED.setdefault(origin, []).append((self, name, thing))
        return thing

    def get(self, name: str) -> T:
        """The object of a name.

        Raises:
            PluginError: there is none; the entry point of that name fails.
        """
        thing = self.find(name)
        if thing is None:
            raise PluginError(f"unknown {self.kind} {show(name)}{choices(name, sorted(self._things))}")
        return thing

    def find(self, name: str) -> T | None:
        """The object of a name, or None.

        Raises:
            PluginError: the entry point of that name fails.
        """
        self._load_builtin()
        if name not in self._things:
            self._load_entry_point(name)
        return self._things.get(name)

    def forget(self, name: str, origin: str) -> None:
        """Take back what a module registered, as far as no other module has taken the name since."""
        if self._origins.get(name) == origin:
            del self._things[name], self._origins[name]

    def in_use(self) -> list[T]:
        """What is registered, by name, but for plug-ins that only an earlier recipe of this process named."""
        return [self._things[name] for name in self if self._origins[name] not in REPLACEABLE]

    def __contains__(self, name: object) -> bool:
        self._load_builtin()
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        self._load_builtin()
        return iter(sorted(self._things))

    def _load_builtin(self) -> None:
        if self.builtin is not None and self.builtin not in sys.modules:
            import_module(self.builtin)

    def _load_entry_point(self, name: str) -> None:
        for entry in metadata.entry_points(group=self.group, name=name):
            try:
                thing = entry.load()
            except Exception as error:  # a foreign module can raise anything
                raise PluginError(
                    f"{self.kind} {name!r}: its entry point {entry.value} fails: {reason(error)}"
                ) from error
            if name not in self._things:  # the decorator in the module may have done it
                self.add(name, thing)


def reason(error: BaseException) -> str:
    """What went wrong in a plug-in's code, in one line with file and line.

    Example:
        >>> try:
        ...     1 / 0
        ... except ZeroDivisionError as error:
        ...     reason(error).partition(" (")[0]
        'ZeroDivisionError: division by zero'
    """
    text = " ".join(str(error).split()) or "no message"
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    at = f" ({where.tb_frame.f_code.co_filename}, line {where.tb_lineno})" if where is not None else ""
    if isinstance(error, SyntaxError):
        text, at = str(error.msg), f" ({error.filename}, line {error.lineno})"
    named = text if isinstance(error, SupcrdError) else f"{type(error).__name__}: {text}"
    return f"{named}{at}"


def _file(module: str) -> str:
    known = sys.modules.get(module)
    return str(getattr(known, "__file__", None) or module)


def decorator(registry: Registry[T], name: str) -> Callable[[T], T]:
    """A decorator that registers what it decorates."""
    return lambda thing: registry.add(name, thing)
