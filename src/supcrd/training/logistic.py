"""The final classifier: multinomial logistic regression on frozen features, for several strengths of its penalty."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

ROWS = 8192  # of standardised features at a time
STEPS = 100  # of L-BFGS for each penalty: tens are usual, since the one before is where it starts
HISTORY = 20  # steps that L-BFGS remembers, each twice the size of the classifier
GRADIENT = 1e-5  # largest entry of the gradient at the end
ROUNDING = 1e-6  # a feature whose deviation is this share of its size, or less, is constant but for rounding
PENALTIES = tuple(10 ** (-exponent / 2) for exponent in range(13))
"""Of the path: 1 to 1e-6 in half decades, from strong to weak."""


class Linear(NamedTuple):
    """A linear classifier: logits = features weight^T + bias."""

    weight: Tensor
    """(C, F) float32"""
    bias: Tensor
    """(C,) float32"""

    def logits(self, features: Tensor) -> Tensor:
        """(N, C) of features (N, F)."""
        return functional.linear(features, self.weight, self.bias)

    def divided(self, temperature: float) -> "Linear":
        """The classifier whose logits are these over a temperature > 0; the class of the largest stays the same.

        Example:
            >>> Linear(torch.eye(2), torch.zeros(2)).divided(2.0).logits(torch.tensor([[1.0, 3.0]]))
            tensor([[0.5000, 1.5000]])
        """
        return Linear(*((part.double() / temperature).float() for part in self))

    @property
    def finite(self) -> bool:
        """Whether all weights are finite numbers."""
        return all(bool(part.isfinite().all()) for part in self)


class Fitted(NamedTuple):
    """The minimum for one penalty."""

    linear: Linear
    penalty: float
    steps: int
    """of L-BFGS, from the minimum of the penalty before"""


def logistic_path(
    features: Tensor, labels: Tensor, num_classes: int, penalties: Sequence[float] = PENALTIES
) -> Iterator[Fitted]:
    """Fit linear classifiers to features, one for each penalty, each starting from the one before.

    With z the features standardised by these rows, minimises mean(-ln softmax(W z + b)[label]) + penalty/2 ||W||^2 by
    L-BFGS on all rows (strong Wolfe conditions): deterministic, and converged, which an online classifier is not.
    Standardisation is folded into the result, which reads plain features. Weights and sums are kept in float64, blocks
    of rows are multiplied in float32.

    Args:
        features: (M, F) float32, finite, M >= 1.
        labels: (M,) int64 in 0..C-1. Classes without rows take no part: their logit is the mean of the others' less
            ln(M + 1), so that they are never the largest, and about as probable as what M images did not show.
        num_classes: C.
        penalties: >= 0, best from strong to weak. (scikit-learn's `LogisticRegression` has C = 1 / (M penalty).)

    Yields:
        A classifier for each penalty, on the features' device.

    Example:
        >>> features, labels = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1, 1])
        >>> (fitted,) = logistic_path(features, labels, 2, [0.1])
        >>> fitted.linear.logits(features).argmax(dim=1)
        tensor([0, 0, 1, 1])
    """
    mean, std = (part.float() for part in standardisation(features))
    present, places = torch.unique(labels, return_inverse=True)
    state = torch.zeros(len(present), features.shape[1] + 1, dtype=torch.float64, device=features.device)
    for penalty in penalties:
        steps = _minimise(state, features, places, mean, 1 / std, penalty)
        yield Fitted(_folded(state, mean, std, present, num_classes, len(labels)), penalty, steps)


def standardisation(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each column in float64, both (F,); the deviation of a constant column is 1.

    Example:
        >>> mean, std = standardisation(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        >>> mean.tolist(), std.tolist()
        ([2.0, 5.0], [1.0, 1.0])
    """
    rows = len(features)
    mean = torch.stack([part.double().sum(dim=0) for part in torch.split(features, ROWS)]).sum(dim=0) / rows
    squares = [((part.double() - mean) ** 2).sum(dim=0) for part in torch.split(features, ROWS)]
    std = (torch.stack(squares).sum(dim=0) / rows).sqrt()
    return mean, torch.where(std > ROUNDING * mean.abs(), std, 1.0)


def _minimise(state: Tensor, features: Tensor, places: Tensor, mean: Tensor, scale: Tensor, penalty: float) -> int:
    """Bring (K, F + 1) weights and biases to the minimum, in place; the number of steps."""
    optimizer = torch.optim.LBFGS(
        [state],
        max_iter=STEPS,
        tolerance_grad=GRADIENT,
        tolerance_change=1e-10,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
    )

    def value() -> float:
        loss, gradient = _loss(state, features, places, mean, scale)
        weight = state[:, :-1]
        gradient[:, :-1] += penalty * weight
        state.grad = gradient
        return loss + penalty / 2 * (weight**2).sum().item()

    optimizer.step(value)  # type: ignore[no-untyped-call]
    return int(optimizer.state[state]["n_iter"])


def _loss(state: Tensor, features: Tensor, places: Tensor, mean: Tensor, scale: Tensor) -> tuple[float, Tensor]:
    """The mean cross-entropy, and its gradient."""
    rows, total = len(features), 0.0
    weight, bias, gradient = state[:, :-1].float(), state[:, -1].float(), torch.zeros_like(state)
    for part, right in zip(torch.split(features, ROWS), torch.split(places, ROWS), strict=True):
        z = torch.sub(part, mean).mul_(scale)
        log_p = torch.log_softmax(torch.addmm(bias, z, weight.T), dim=1)
        total -= log_p.gather(1, right[:, None]).double().sum().item()
        error = log_p.exp_()
        error.scatter_add_(1, right[:, None], error.new_full((len(right), 1), -1.0))
        gradient[:, :-1] += (error.T @ z).double()
        gradient[:, -1] += error.double().sum(dim=0)
    return total / rows, gradient / rows


def _folded(state: Tensor, mean: Tensor, std: Tensor, present: Tensor, num_classes: int, rows: int) -> Linear:
    """The classifier of all classes that reads features which are not standardised.

    Softmax does not depend on what all logits share: it is taken off, and the mean logit of the classes that are
    present is 0.
    """
    centred = state - state.mean(dim=0)
    weight = state.new_zeros(num_classes, state.shape[1] - 1)
    bias = state.new_full((num_classes,), -math.log(rows + 1))
    weight[present] = centred[:, :-1] / std.double()
    bias[present] = centred[:, -1] - weight[present] @ mean.double()
    return Linear(weight.float(), bias.float())
