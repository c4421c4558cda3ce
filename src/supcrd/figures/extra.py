"""Figures and reports need the extra `supcrd[figures]`; one line says so where it is not installed."""

from importlib.util import find_spec

from supcrd.errors import SupcrdError

DRAWS = ("jinja2", "matplotlib", "plotly", "openTSNE")


def check_drawing() -> None:
    """Raise SupcrdError, naming what to install, unless every package that draws is installed."""
    for name in DRAWS:
        try:
            there = find_spec(name) is not None
        except ModuleNotFoundError:
            there = False
        if not there:
            raise SupcrdError(f"figures and reports need {name}; pip install 'supcrd[figures]'")
