"""Which of the published orderings of methods hold in our runs, which do not, and which cannot be told."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from supcrd.analysis.pooled import Pooled
from supcrd.analysis.statistics import LEVEL, Paired, holm
from supcrd.benchmark import published
from supcrd.benchmark.pairs import Pair

SMALLEST = Pair("resnet56", "resnet20")
"""The published pair whose orderings stand in for those of a pair of which nothing was published."""


def orderings(pair: Pair, values: Mapping[str, Mapping[int, float]]) -> list[dict[str, Any]]:
    """Every two methods that one source ranks, with our difference; the noise is pooled over all methods.

    Of two figures that a source quotes both, it ranks nothing itself.

    Args:
        pair: of networks; where nothing is published of it, the orderings are those of `SMALLEST`.
        values: by configuration, seed -> accuracy of the last epoch, 0..1.

    Returns:
        A row for each source and two methods of different published accuracy: pair, source, better, worse, published
        (their difference there), ours (the difference by `Pooled`; None where no seeds connect them), low, high, n
        (common seeds), p (Holm's, over all rows) and verdict: holds or reversed where p is below the level, else
        cannot tell.

    Example:
        >>> found = orderings(Pair("resnet56", "resnet20"), {"kd": {0: 0.7, 1: 0.71, 2: 0.69}, "at": {0: 0.6, 1: 0.61,
        ...     2: 0.58}})
        >>> [(row["better"], row["worse"], row["verdict"]) for row in found]
        [('kd', 'at', 'holds')]
    """
    pair = pair if any(published.figures(pair, name) for name in values) else SMALLEST
    ranked: list[tuple[str, str, str, float, Paired]] = []
    noise = Pooled(values)
    for source in published.sources():
        printed = published.printed(pair, source)
        for a, b in combinations([name for name in values if name in printed], 2):
            (one, quoted), (other, quoted_too) = printed[a], printed[b]
            if one != other and not (quoted and quoted_too):
                better, worse = (a, b) if one > other else (b, a)
                ranked.append((source, better, worse, abs(one - other), noise.difference(better, worse)))
    corrected = holm([difference.p for *_, difference in ranked])
    return [
        {
            "pair": pair.key,
            "source": source,
            "better": better,
            "worse": worse,
            "published": round(gap, 4),
            "ours": difference.mean,
            "low": difference.low,
            "high": difference.high,
            "n": difference.n,
            "p": p,
            "verdict": _verdict(difference.mean, p),
        }
        for (source, better, worse, gap, difference), p in zip(ranked, corrected, strict=True)
    ]


def _verdict(difference: float | None, p: float | None) -> str:
    if difference is None or p is None or p >= LEVEL:
        return "cannot tell"
    return "holds" if difference > 0 else "reversed"
