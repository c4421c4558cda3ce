"""Temperature scaling against scipy's search, and where there is no minimum to find."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from supcrd.metrics import fit_temperature, negative_log_likelihood
from supcrd.metrics.calibration import TEMPERATURES


def drawn(scale: float, *, rows: int = 400, classes: int = 7, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    """Logits whose class is right in six of ten rows, whatever their confidence."""
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(rows, classes, generator=generator) + offset
    others = torch.randint(classes, (rows,), generator=generator)
    return logits, torch.where(torch.rand(rows, generator=generator) < 0.6, logits.argmax(dim=1), others)


def by_scipy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> float:
    z, rows = logits.double().numpy(), np.arange(len(labels))
    target = np.full(z.shape, smoothing / z.shape[1])
    target[rows, labels.numpy()] += 1 - smoothing

    def loss(log_t: float) -> float:
        scaled = z / math.exp(log_t)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(axis=1)) - (target * scaled).sum(axis=1)).mean())

    bounds = tuple(math.log(t) for t in TEMPERATURES)
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-10}).x)


@pytest.mark.parametrize("scale", [0.1, 0.3, 1.0, 3.0, 20.0])
def test_as_scipy_finds_it(scale):
    logits, labels = drawn(scale)
    assert fit_temperature(logits, labels) == pytest.approx(by_scipy(logits, labels), rel=1e-5)
    smooth = fit_temperature(logits, labels, smoothing=0.1)
    assert smooth == pytest.approx(by_scipy(logits, labels, 0.1), rel=1e-5)
    assert smooth >= fit_temperature(logits, labels)


def test_blocks_and_a_common_offset_change_nothing(monkeypatch):
    logits, labels = drawn(2.0)
    whole = fit_temperature(logits, labels)
    monkeypatch.setattr("supcrd.metrics.blocks.ROWS", 37)
    assert fit_temperature(logits, labels) == pytest.approx(whole, rel=1e-12)
    shifted = logits.double() + 1e6 * torch.arange(len(labels))[:, None]
    assert fit_temperature(shifted, labels) == pytest.approx(whole, rel=1e-6)


def test_the_slope_is_zero_there():
    logits, labels = drawn(3.0)
    best = fit_temperature(logits, labels)
    at, near = (negative_log_likelihood(logits / t, labels) for t in (best, 1.001 * best))
    assert at < near < at + 1e-6  # flat: second order


@pytest.mark.parametrize(("scale", "bound"), [(0.001, 0.05), (1e4, 20.0), (1e30, 20.0)])
def test_beyond_the_bounds_is_the_bound(scale, bound):
    assert fit_temperature(*drawn(scale)) == bound


def test_where_all_or_none_are_right():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(logits, torch.tensor([0, 1])) == TEMPERATURES[0]
    # one of two logits above the other by 1: probability 1 - s/2 at 1/T = ln((2 - s) / s)
    smooth = fit_temperature(logits, torch.tensor([0, 1]), smoothing=0.2)
    assert smooth == pytest.approx(1 / math.log(9), rel=1e-12)
    assert fit_temperature(logits, torch.tensor([1, 0])) == TEMPERATURES[1]


def test_where_nothing_depends_on_it():
    assert fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)) == 1.0
    assert fit_temperature(torch.full((4, 3), 7.0), torch.tensor([0, 1, 2, 0])) == 1.0


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, math.nan])
def test_smoothing_is_a_share(smoothing):
    with pytest.raises(ValueError, match="0 to 1 is right"):
        fit_temperature(*drawn(1.0), smoothing=smoothing)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1.0)])
def test_bounds_that_are_none(bounds):
    with pytest.raises(ValueError, match="two numbers above 0"):
        fit_temperature(*drawn(1.0), bounds=bounds)
