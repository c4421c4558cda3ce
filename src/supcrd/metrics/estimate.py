"""What a sample of rows says of all rows: a value and how far it may be off."""

from typing import NamedTuple

from torch import Tensor

from supcrd.base.seeding import permutation


class Estimate(NamedTuple):
    """A number computed from a sample of the rows; value +- 1.96 standard errors holds the exact one 19 times of 20."""

    value: float | None  # None where it does not apply
    standard_error: float | None  # of the draw; 0 where the sample is all rows; None where there is no value


def sample_rows(count: int, size: int, *parts: int | str) -> Tensor:
    """Indices of `size` of `count` rows, drawn without replacement, ascending: a pure function of `parts`.

    Args:
        count: rows, >= 0.
        size: >= 2, since one row has no spread to estimate an error from; at most `count` are drawn.
        parts: what the draw is for.

    Returns:
        (min(size, count),) int64 on the CPU.

    Raises:
        ValueError: size < 2.

    Example:
        >>> sample_rows(3, 5, 0, "rows")
        tensor([0, 1, 2])
    """
    if size < 2:
        raise ValueError(f"a sample of {size} has no standard error: 2 rows at least, thousands as a rule")
    return permutation(count, *parts)[:size].sort().values


def sample_mean(values: Tensor, count: int) -> tuple[float, float]:
    """The mean of a sample drawn without replacement from `count` values, and its standard error.

    The variance of such a mean is (1 - m/N) S^2 / m for m of N values of variance S^2 (divisor N - 1), and that of the
    sample (divisor m - 1) is an unbiased stand-in for S^2. For values 0 and 1 of mean p this is the binomial
    (1 - m/N) p (1 - p) / (m - 1). 1 - m/N is the finite population correction: nothing is unknown where m = N.

    Args:
        values: (m,) float64, 1 <= m <= count, and m >= 2 where m < count.
        count: N.

    Returns:
        The mean and the standard error, which is 0 for m = N.

    Source: Cochran 1977, Sampling Techniques, 3rd ed., theorems 2.2 and 2.4.

    Example:
        >>> import torch
        >>> sample_mean(torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64), 12)  # sqrt((1 - 3/12) * 4 / 3)
        (2.0, 1.0)
    """
    size = len(values)
    mean = values.mean().item()
    if size == count:
        return mean, 0.0
    return mean, ((1 - size / count) * values.var() / size).sqrt().item()
