"""What a measure is: a number that a model has on a split, and all that tables and glossaries say of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from supcrd.errors import PluginError
from supcrd.registry import Registry

LARGEST = 1e15  # a number beyond it is damage
Compute = Callable[[Any], Any]  # from a `Measured`
C = TypeVar("C", bound=Compute)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that a model has on a split."""

    key: str
    """in evaluation.json"""
    title: str
    """head of a column, with the unit"""
    meaning: str
    """in a sentence, for the glossary"""
    compute: Compute | None = None
    """from a `Measured`; None for what a run knows without (times, training and validation accuracy)"""
    needs: str | None = None
    """"train", "teacher" or "probe": without it the value is None"""
    better: int = 1
    """1: higher is better, -1: lower, 0: neither"""
    scale: float = 1.0
    """a value times this is shown: 100 for percent"""
    digits: int = 3
    """shown after the decimal point"""
    low: float = -LARGEST
    high: float = LARGEST
    """the range in which a value can be"""
    short: str = ""
    """head of a column in a terminal; a run is refused where the number is damaged. Empty where that is a gap"""
    column: bool = True
    """whether the report's table has it"""
    estimated: bool = False
    """whether `compute` gives an `Estimate`, whose standard error stands beside it as KEY_standard_error"""

    def show(self, value: float) -> str:
        """A value as tables have it.

        Example:
            >>> share("accuracy", "Accuracy %", "Of all images.").show(0.5)
            '50.00'
        """
        return f"{self.scale * value:,.{self.digits}f}"

    def fits(self, value: Any) -> bool:
        """Whether this is a number that the measure can have."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # NaN is outside by this comparison, and so is an integer of hundreds of digits
        return number and self.low <= value <= self.high


def share(key: str, title: str, meaning: str, compute: Compute | None = None, **more: Any) -> Measure:
    """A measure in 0..1 that is shown in percent."""
    settings: dict[str, Any] = {"scale": 100, "digits": 2, "low": 0, "high": 1} | more
    return Measure(key=key, title=title, meaning=meaning, compute=compute, **settings)


OWN: Registry[Measure] = Registry("measure", "supcrd.measures")
"""Of plug-ins."""


def measure(
    key: str,
    *,
    title: str,
    meaning: str,
    better: int = 1,
    scale: float = 1.0,
    digits: int = 3,
    needs: str | None = None,
) -> Callable[[C], C]:
    """Register a function that measures a model, for all runs whose recipe names its plug-in.

    Its value stands in `evaluation.json`, in the report's table and glossary, and `supcrd compare --metric KEY` takes
    it; these read what it means from the run, without the plug-in.

    Args:
        key: of letters, digits and _.
        title: head of its column, with the unit.
        meaning: a sentence for the glossary.
        better: 1 where higher is better, -1 where lower is, 0 for neither.
        scale: a value times this is shown: 100 for percent.
        digits: shown after the decimal point.
        needs: "train" (training images), "teacher" or "probe", where the function reads it; without it the value is
            None, and the function is not called.

    The function gets a `supcrd.evaluation.measured.Measured` and returns a finite number, or None where the measure
    does not apply.

    Raises:
        PluginError: the key is taken.

    Example:
        >>> @measure("example_confidence", title="Confidence %", meaning="Mean top probability.", better=0, scale=100)
        ... def confidence(measured):
        ...     return measured.logits.softmax(dim=1).amax(dim=1).mean().item()
        >>> OWN.get("example_confidence").title
        'Confidence %'
    """

    def register(compute: C) -> C:
        from supcrd.evaluation.measures import MEASURES  # which is made of this file's class

        if key in {known.key for known in MEASURES}:
            raise PluginError(f"measure {key!r} is supcrd's own; give it another name")
        if needs not in (None, "train", "teacher", "probe"):
            raise PluginError(f"measure {key!r}: needs = {needs!r}; train, teacher or probe is right")
        own = Measure(
            key=key,
            title=title,
            meaning=meaning,
            compute=compute,
            needs=needs,
            better=better,
            scale=scale,
            digits=digits,
        )
        OWN.add(key, own, origin=compute.__module__)
        return compute

    return register
