"""Differences of many methods of few seeds: what seeds do is estimated from all of them together.

With two or three seeds of each, the spread of one difference is known badly and Student's t of it tells little. Twenty
methods that share their seeds know it well, if their noise is of one size: that is supposed here.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from supcrd.analysis.statistics import ROUNDING, Paired, check_finite


class Pooled:
    """Least squares of value = method + seed + noise, noise of one size for all.

    Args:
        values: by method, seed -> finite number; methods may lack seeds.

    Attributes:
        std: standard deviation of the noise, in the unit of the values; None where nothing is left to estimate it.
        freedom: its degrees of freedom: values less methods less seeds, plus one where all are connected.

    Raises:
        ValueError: a value that is not finite.

    Source: randomised blocks, Fisher 1935; the two-way layout without interaction, by least squares.

    Example:
        >>> noise = Pooled({"a": {0: 0.5, 1: 0.6}, "b": {0: 0.7, 1: 0.82}, "c": {0: 0.5, 1: 0.62}})
        >>> noise.freedom, round(noise.std, 4)
        (2, 0.0082)
        >>> told = noise.difference("b", "a")
        >>> round(told.mean, 4), round(told.low, 4), round(told.high, 4), round(told.p, 4)
        (0.21, 0.1749, 0.2451, 0.0015)
    """

    def __init__(self, values: Mapping[str, Mapping[int, float]]) -> None:
        check_finite([number for of in values.values() for number in of.values()])
        self._values = {name: dict(of) for name, of in values.items() if of}
        self._names = list(self._values)
        seeds = sorted({seed for of in self._values.values() for seed in of})
        cells = [(name, seed) for name, of in self._values.items() for seed in of]
        self._design = np.zeros((len(cells), len(self._names) + len(seeds)))
        for row, (name, seed) in enumerate(cells):
            self._design[row, self._names.index(name)] = 1.0
            self._design[row, len(self._names) + seeds.index(seed)] = 1.0
        numbers = np.array([self._values[name][seed] for name, seed in cells])
        self._inverse: NDArray[np.float64] = np.asarray(np.linalg.pinv(self._design), dtype=np.float64)
        self._effects = self._inverse @ numbers
        rank = int(np.linalg.matrix_rank(self._design)) if cells else 0
        self.freedom = len(cells) - rank
        rest = numbers - self._design @ self._effects
        scale = float(np.abs(numbers).max(initial=0.0))
        spread = math.sqrt(float(rest @ rest) / self.freedom) if self.freedom else 0.0
        self.std = spread if spread > ROUNDING * scale else None

    def difference(self, name: str, baseline: str) -> Paired:
        """The difference of two methods, value - baseline, with its 95 % interval and a two-sided t-test against 0.

        Args:
            name, baseline: methods; one without values has no difference.

        Returns:
            As `statistics.paired`: n is the number of common seeds, and std the noise of one difference (sqrt(2) times
            that of a value). Methods that no chain of common seeds connects have no difference.
        """
        if name not in self._values or baseline not in self._values:
            return Paired(0, None, None, None, None, None, "no common seeds")
        n = len(self._values[name].keys() & self._values[baseline].keys())
        contrast = np.zeros(self._design.shape[1])
        contrast[self._names.index(name)] += 1.0
        contrast[self._names.index(baseline)] -= 1.0
        weights = contrast @ self._inverse  # of the values: the difference is their weighted sum
        if not np.allclose(weights @ self._design, contrast, atol=1e-8):
            return Paired(n, None, None, None, None, None, "no common seeds")
        mean = float(contrast @ self._effects)
        if self.std is None:
            reason = "all seeds do the same to all" if self.freedom else "no value is left to tell the noise by"
            return Paired(n, mean, None, None, None, None, reason)
        from scipy.special import stdtr, stdtrit

        error = self.std * float(np.linalg.norm(weights))
        if error == 0.0:  # a method against itself
            return Paired(n, mean, None, None, None, None, "one method")
        half = float(stdtrit(self.freedom, 0.975)) * error
        p = 2 * float(stdtr(self.freedom, -abs(mean) / error))
        return Paired(n, mean, math.sqrt(2) * self.std, mean - half, mean + half, p, None)
