"""`supcrd.Model(C, network)`: any network that gives features; saved, scripted, exported."""

import pytest
import torch
from torch import nn

import supcrd
from supcrd.errors import CheckpointError
from supcrd.models.weights import Card, save_model


class Net(nn.Module):
    """Colours' means, of two layers."""

    def __init__(self, width=7):
        super().__init__()
        self.norm, self.dropped = nn.BatchNorm2d(3), nn.Dropout(0.5)
        self.last = nn.Linear(3, width)

    def forward(self, images):
        return self.last(self.dropped(self.norm(images)).mean(dim=(2, 3)))


def test_its_features_are_the_models_and_it_is_left_as_it_was():
    net = Net()
    net.dropped.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    model = supcrd.Model(4, net, image_size=16, projector=(5,))
    assert model.encoder is net
    assert (net.training, net.norm.training, net.dropped.training) == (True, True, False)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    images = torch.rand(3, 3, 16, 16)
    features, projections, logits = model.eval()(images)
    assert torch.equal(features, net(images))
    assert (features.shape, projections.shape, logits.shape) == ((3, 7), (3, 5), (3, 4))


@pytest.mark.parametrize(
    ("net", "more", "why"),
    [
        (nn.Conv2d(3, 4, 3), {}, "Conv2d gives (2, 4, 30, 30) for two images; features (2, F) are right"),
        (nn.Linear(5, 5), {}, "Linear fails on images (2, 3, 32, 32): "),
        (Net(), {"in_channels": 1}, "Net fails on images (2, 1, 32, 32): "),
        (Net(), {"pretrained": True}, "pretrained and stem are for timm:NAME, not for a network of your own"),
    ],
)
def test_what_cannot_be_an_encoder_is_refused(net, more, why):
    with pytest.raises(ValueError, match=r"^") as refusal:
        supcrd.Model(4, net, **more)
    assert str(refusal.value).startswith(why)


def test_its_file_says_that_it_needs_the_network(tmp_path):
    model = supcrd.Model(2, Net())
    save_model(tmp_path, model, Card(arch="", num_classes=2, in_channels=3, image_size=32, class_names=("cat", "dog")))
    with pytest.raises(CheckpointError, match="arch 'module:Net' is a network of its owner's"):
        supcrd.load_model(tmp_path)
    from safetensors.torch import load_file

    again = supcrd.Model(2, Net())
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.eval()(images).logits, model.eval()(images).logits)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # TorchScript is deprecated, and in use
@pytest.mark.parametrize("arch", ["resnet8", "vgg8", "wrn-16-1", "own"])
def test_a_model_is_exported_and_scripted(arch):
    model = supcrd.Model(4, Net() if arch == "own" else arch).eval()
    images = torch.rand(2, 3, 32, 32)
    expected = model(images).logits
    program = torch.export.export(model, (images,))
    torch.testing.assert_close(program.module()(images).logits, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.jit.script(model)(images)[2], expected, rtol=0, atol=1e-6)
