import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from supcrd.models.frozen import frozen_encoder
from supcrd.models.rounded import rounded_input, rounded_layers, rounded_weight


def by_hand(values, low, high, levels):
    """Each number on its level, as an int8 file keeps it."""
    step = (high - low) / levels
    zero = round(-low / step)
    return [(min(max(round(value / step) + zero, 0), levels) - zero) * step for value in values]


def test_inputs_go_to_the_levels_of_their_range():
    values = [-1.0, -0.3, 0.0, 0.001, 0.71, 2.0]
    expected = by_hand(values, -1.0, 2.0, 255)
    torch.testing.assert_close(rounded_input(torch.tensor(values)), torch.tensor(expected))
    positive = rounded_input(torch.tensor([1.0, 2.0, 3.0]))  # 0 belongs to the range: what pads must be exact
    torch.testing.assert_close(positive, torch.tensor(by_hand([1.0, 2.0, 3.0], 0.0, 3.0, 255)))
    assert torch.equal(rounded_input(torch.zeros(3)), torch.zeros(3))


def test_weights_have_the_step_of_their_channel():
    torch.manual_seed(0)
    weight = torch.randn(5, 3, 2, 2)
    after = rounded_weight(weight)
    for channel, near in zip(weight.double().numpy(), after.double().numpy(), strict=True):
        step = np.abs(channel).max() / 64
        np.testing.assert_allclose(near, np.rint(channel / step) * step, atol=1e-6)


def test_the_gradient_passes_as_if_nothing_had_been_rounded():
    torch.manual_seed(1)
    layer, images = nn.Conv2d(2, 3, 3), torch.randn(4, 2, 6, 6, requires_grad=True)
    with rounded_layers(layer):
        layer(images).square().sum().backward()
    weight = rounded_weight(layer.weight.detach()).requires_grad_()
    inputs = rounded_input(images.detach()).requires_grad_()
    functional.conv2d(inputs, weight, layer.bias.detach()).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad)
    torch.testing.assert_close(images.grad, inputs.grad)


def test_a_folded_norm_multiplies_weights_and_steps_alike():
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)).eval()
    network[1].weight.data = torch.tensor([2.0, -0.5, 0.01, 1.0])
    network[1].running_var.uniform_(0.1, 3)
    network[1].running_mean.normal_()
    images = torch.randn(4, 2, 6, 6)
    with rounded_layers(network), torch.no_grad():
        outputs = network(images)
    folded = frozen_encoder(network)
    with rounded_layers(folded), torch.no_grad():
        torch.testing.assert_close(outputs, folded(images))


def test_a_network_is_as_it_was_afterwards():
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    names, weights = list(network.state_dict()), list(network.parameters())
    images = torch.randn(7, 4)
    before = network(images)
    with rounded_layers(network):
        assert not torch.equal(network(images), before)
    with pytest.raises(RuntimeError), rounded_layers(network):
        network(images.T)
    assert list(network.state_dict()) == names
    assert all(one is other for one, other in zip(network.parameters(), weights, strict=True))
    assert torch.equal(network(images), before)


def test_maps_are_rounded_before_they_are_added_and_nothing_else_is():
    first, other = torch.tensor([[[[0.0, 1.0, 255.0]]]]), torch.tensor([[[[0.4, -100.0, 155.0]]]])
    rounded = rounded_input(first) + rounded_input(other)
    with rounded_layers():
        again, once_more = first.clone(), first.clone()
        same = again
        again += other
        once_more.add_(other)
        for total in (first + other, first.add(other), torch.add(first, other), same, once_more):
            assert torch.equal(total, rounded)
        assert torch.equal(first[0] + other[0], rounded[0])  # tokens
        assert torch.equal(first[0, 0] + other[0, 0], torch.tensor([[0.4, -99.0, 410.0]]))
        assert torch.equal(other + 0.25, torch.tensor([[[[0.65, -99.75, 155.25]]]]))
        assert torch.equal(first * other, other * first)
    assert not torch.equal(first + other, rounded)


def test_the_gradient_passes_through_a_shortcut_that_is_added_in_place():
    torch.manual_seed(4)
    layer, images = nn.Conv2d(2, 2, 1), torch.randn(3, 2, 4, 4)
    gradients = []
    for in_place in (False, True):
        layer.zero_grad()
        with rounded_layers(layer):
            outputs = layer(images)
            if in_place:
                outputs += images
            else:
                outputs = outputs + images
            outputs.square().sum().backward()
        gradients.append(layer.weight.grad.clone())
    assert torch.equal(*gradients)
    assert gradients[0].abs().min() > 0
