"""What a user can cause: every such mistake is a `SupcrdError` with one clear line, and exit status 2."""

LINE = 300
"""Letters of a message at most."""
WORD = 80
"""Letters of a word in a message that is too long otherwise: of a path, or of a value that was not cut before."""


def one_line(text: str, most: int = LINE) -> str:
    """A message as one line of at most `most` letters, with nothing in it that a terminal would obey.

    Long words lose their middle first, then the message does: at its begin stands what is wrong, at its end what would
    be right.

    Example:
        >>> one_line("a\\n b"), one_line("\\x1b[2J"), len(one_line("a" * 1000 + ": no such file"))
        ('a b', '\\\\x1b[2J', 93)
    """
    line = " ".join(text.split())
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
    if len(line) > most:
        line = " ".join(_without_middle(word, WORD) for word in line.split(" "))
    return _without_middle(line, most)


def _without_middle(text: str, most: int) -> str:
    end = (most - 3) // 2
    return text if len(text) <= most else f"{text[: most - 3 - end]}...{text[-end:]}"


class SupcrdError(Exception):
    """Base of all errors that a user's input can cause. One line: what is wrong, its value, what is right."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class RecipeError(SupcrdError):
    """A recipe, an override or a combination of settings that cannot work."""


class DataError(SupcrdError):
    """A data set that is missing, damaged or not what it should be."""


class CheckpointError(SupcrdError):
    """Weights that are missing, damaged, unsafe or of another architecture."""


class RunError(SupcrdError):
    """A run folder that cannot be created, used or resumed, or a run that had to stop."""


class PluginError(RecipeError):
    """A term, network or data source that cannot be found or does not work, or the file that should bring it."""


class Paused(Exception):
    """A run has the epochs that it was asked for, and waits for more; what called it knows."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a scheduler sends it before it takes the machine away: the state is saved, exit status 143."""
