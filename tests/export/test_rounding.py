import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from supcrd.export.rounding import DAMPING, rounded
from supcrd.models.rounded import LEVELS


def nearest(weight):
    steps = weight.abs().flatten(1).amax(dim=1).reshape(-1, *[1] * (weight.ndim - 1)) / LEVELS
    return (weight / steps).round() * steps


def naive(weight, inputs):
    """One row of weights, (n,), and (images, n) inputs: after each rounding, least squares over the weights left."""
    step = np.abs(weight).max() / LEVELS
    squares = inputs.T @ inputs
    squares = squares + DAMPING * squares.diagonal().mean() * np.eye(len(weight))
    order = sorted(range(len(weight)), key=lambda column: -squares[column, column])
    errors, wanted = np.zeros(len(weight)), weight.copy()
    for place, column in enumerate(order):
        level = np.clip(np.rint(wanted[column] / step), -LEVELS, LEVELS) * step
        if abs(weight[column]) >= LEVELS * step:
            level = weight[column]
        errors[column] = level - weight[column]
        fixed, left = order[: place + 1], order[place + 1 :]
        if left:  # minimise e^T squares e over the errors of the weights left
            best = -np.linalg.solve(squares[np.ix_(left, left)], squares[np.ix_(left, fixed)] @ errors[fixed])
            wanted[left] = weight[left] + best
    return weight + errors


def correlated(count, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(3, width, generator=generator)
    return torch.randn(count, 3, generator=generator) @ mixing + 0.3 * torch.randn(count, width, generator=generator)


def test_a_linear_layer_is_rounded_as_least_squares_after_each_weight_says(monkeypatch):
    monkeypatch.setattr("supcrd.export.rounding.COLUMNS", 8)  # many blocks
    torch.manual_seed(1)
    layer, inputs = nn.Linear(60, 3), correlated(400, 60)
    after = rounded(nn.Sequential(layer), [inputs[:200], inputs[200:]])[0].weight
    for row, near in zip(layer.weight.detach().double().numpy(), after.detach().double().numpy(), strict=True):
        # in float32 a product may be a rounding away from the middle of two levels
        assert (np.abs(near - naive(row, inputs.double().numpy())) > 1e-6).mean() < 0.05


def test_the_outputs_change_less_than_by_the_nearest_levels():
    torch.manual_seed(2)
    layer, images = nn.Conv2d(4, 6, 3, stride=2, padding=1), correlated(32, 4 * 64).reshape(32, 4, 8, 8)
    before = layer.weight.clone()
    images = functional.avg_pool2d(images, 3, 1, 1)  # neighbours look alike, as in photographs
    near = rounded(nn.Sequential(layer), [images])[0]
    right = layer(images)
    other = functional.conv2d(images, nearest(layer.weight), layer.bias, 2, 1)
    assert (near(images) - right).square().mean() < (other - right).square().mean() / 2
    steps = layer.weight.abs().flatten(1).amax(dim=1)[:, None] / LEVELS
    levels = near.weight.flatten(1) / steps
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    # the largest weight is held, so that the nearest levels of these weights are the same
    torch.testing.assert_close(nearest(near.weight), near.weight)
    assert torch.equal(layer.weight, before)


def test_inputs_that_have_nothing_to_do_with_one_another_leave_the_nearest_levels():
    torch.manual_seed(3)
    layer = nn.Linear(16, 4)
    torch.testing.assert_close(rounded(nn.Sequential(layer), [torch.eye(16)])[0].weight, nearest(layer.weight))


def test_groups_are_rounded_each_for_itself():
    torch.manual_seed(4)
    whole = nn.Conv2d(4, 8, 3, padding=1, groups=2)
    images = functional.avg_pool2d(torch.randn(16, 4, 6, 6), 3, 1, 1)
    after = rounded(nn.Sequential(whole), [images])[0].weight
    for half in (slice(0, 4), slice(4, 8)):
        alone = nn.Conv2d(2, 4, 3, padding=1)
        alone.weight.data = whole.weight.data[half].clone()
        inputs = images[:, half.start // 2 : half.stop // 2]
        torch.testing.assert_close(after[half], rounded(nn.Sequential(alone), [inputs])[0].weight)


@pytest.mark.parametrize("layer", [nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), nn.Conv1d(2, 2, 3)])
def test_other_layers_stay_as_they_are(layer):
    images = torch.randn(4, 2, 6, 6) if isinstance(layer, nn.Conv2d) else torch.randn(4, 2, 6)
    assert torch.equal(rounded(nn.Sequential(layer), [images])[0].weight, layer.weight)


def test_layers_that_are_kept_or_never_run_stay_as_they_are():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.unread = (nn.Linear(5, 5) for _ in range(3))

        def forward(self, inputs):
            return self.second(self.first(inputs).relu())

    network = Both()
    after = rounded(network, [torch.randn(20, 5)], but=("first",))
    assert torch.equal(after.first.weight, network.first.weight)
    assert torch.equal(after.unread.weight, network.unread.weight)
    assert not torch.equal(after.second.weight, network.second.weight)


def test_a_channel_of_zeros_and_inputs_that_are_always_zero():
    layer = nn.Linear(6, 2)
    layer.weight.data[0] = 0
    inputs = torch.randn(30, 6)
    inputs[:, 2] = 0
    after = rounded(nn.Sequential(layer), [inputs])[0].weight
    assert torch.equal(after[0], torch.zeros(6))
    assert torch.isfinite(after).all()
    zeros = rounded(nn.Sequential(layer), [torch.zeros(30, 6)])[0].weight  # a classifier behind dead units
    torch.testing.assert_close(zeros[1], nearest(layer.weight)[1])


def test_inputs_that_no_square_is_known_of_and_layers_that_are_too_wide_stay_as_they_are(monkeypatch):
    layer = nn.Linear(6, 2)
    assert torch.equal(rounded(nn.Sequential(layer), [torch.full((3, 6), 1e30)])[0].weight, layer.weight)
    monkeypatch.setattr("supcrd.export.rounding.WIDEST", 5)
    assert torch.equal(rounded(nn.Sequential(layer), [torch.randn(30, 6)])[0].weight, layer.weight)
