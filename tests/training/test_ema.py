"""The moving average of the weights, against torch's own and a naive loop."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from supcrd.training.ema import MovingAverage


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 2))


def trained(model, steps, after):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        images = torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(step)).to(model[0].weight.dtype)
        model(images).square().mean().backward()
        optimizer.step()
        after(step)


def test_it_is_the_definition_in_float64():
    model = network().double()
    average = MovingAverage(model, decay=0.7)
    naive = {name: value.clone() for name, value in model.state_dict().items()}

    def after(step):
        average.update(step)
        decay = min(0.7, (1 + step) / (10 + step))  # 0.1, 0.18, ... until 0.7 is less, from step 20 on
        for name, value in model.state_dict().items():
            naive[name] = decay * naive[name] + (1 - decay) * value if value.is_floating_point() else value.clone()

    trained(model, 25, after)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    with average.in_place():
        for name, value in model.state_dict().items():
            torch.testing.assert_close(value, naive[name], rtol=1e-12, atol=1e-14, msg=name)
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())
    assert not torch.allclose(own["0.weight"], naive["0.weight"])
    average.give()
    assert torch.allclose(model.state_dict()["1.running_var"], naive["1.running_var"])


def test_after_its_rise_it_is_torchs():
    model = network()
    average, peer = MovingAverage(model, decay=0.5), None

    def after(step):
        nonlocal peer
        average.update(step)
        if step == 8:  # from here on (1 + t) / (10 + t) is above a half
            with average.in_place():
                peer = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
                peer.update_parameters(model)  # its first one copies
        elif step > 8:
            peer.update_parameters(model)

    trained(model, 20, after)
    with average.in_place():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(value, peer.module.state_dict()[name], msg=name)


def test_it_travels_with_the_state_of_its_owner_and_is_not_trained():
    owner = nn.Module()
    owner.model = network()
    owner.average = MovingAverage(owner.model, decay=0.9)
    assert len(list(owner.parameters())) == len(list(owner.model.parameters()))
    trained(owner.model, 3, owner.average.update)
    other = nn.Module()
    other.model = network()
    other.average = MovingAverage(other.model, decay=0.9)
    other.load_state_dict(owner.state_dict())
    with owner.average.in_place(), other.average.in_place():
        assert all(torch.equal(a, b) for a, b in zip(owner.model.state_dict().values(),
                                                     other.model.state_dict().values(), strict=True))  # fmt: skip


def test_weights_come_back_after_a_failure():
    model = network()
    average = MovingAverage(model, decay=0.9)
    trained(model, 2, average.update)
    own = model[0].weight.clone()

    def fail():
        with average.in_place():
            assert not torch.equal(model[0].weight, own)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(model[0].weight, own)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_outside_the_range(decay):
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\)"):
        MovingAverage(network(), decay=decay)
