"""A console that a text from a stranger cannot steer."""

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters (escape sequences begin with one), tab and line feed apart, and what turns the writing round."""


class Terminal(Console):
    """rich's console, which replaces control characters in whatever it prints.

    Names of files, classes and runs come from elsewhere: an escape sequence in one could recolour, hide or overwrite
    what else is said, or have some terminals write to the command line. Colours and cursor of rich's own are not text.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The parts of what is printed, their control characters replaced by U+FFFD."""
        for part in super().render(renderable, options):
            if part.control is None and STEERING.search(part.text):
                yield Segment(STEERING.sub("\N{REPLACEMENT CHARACTER}", part.text), part.style)
            else:
                yield part
