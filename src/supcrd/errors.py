"""What a user can cause: every such mistake is a `SupcrdError` with one clear line, and exit status 2."""


class SupcrdError(Exception):
    """Base of all errors that a user's input can cause. One line: what is wrong, its value, what is right."""


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


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a scheduler sends it before it takes the machine away: the state is saved, exit status 143."""
