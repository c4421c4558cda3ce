"""A console that a text from a stranger cannot steer."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from supcrd.base.wording import printable


class Terminal(Console):
    """rich's console, which replaces control characters in whatever it prints.

    Names of files, classes and runs come from elsewhere: an escape sequence in one could recolour, hide or overwrite
    what else is said, or have some terminals write to the command line. Colours and cursor of rich's own are not text.
    `folder:cat` is no emoji.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The parts of what is printed, their control characters replaced by U+FFFD."""
        for part in super().render(renderable, options):
            yield part if part.control is not None else Segment(printable(part.text), part.style)

    def wide(self, columns: int) -> "Terminal":
        """Itself, or if it is a file one of so many columns: a file has no width, and rich's 80 are narrow."""
        return self if self.is_terminal else Terminal(width=max(self.width, columns))
