"""What training keeps of an image, against sizes by hand and what torch allocates; and who is warned."""

import pytest
import torch
from torch import nn

from supcrd import recipe
from supcrd.base.device import choose
from supcrd.errors import RecipeError
from supcrd.jobs import network
from supcrd.jobs.network import note_memory
from supcrd.models import Model
from supcrd.models.memory import kept_bytes
from supcrd.models.normalised import Normalised

OWN = ["data.source=digits", "augment.views=2", "train.batch_size=30"]


def test_layers_keep_what_their_gradients_need() -> None:
    """A convolution its input, batch norm its input and statistics, ReLU its output, a linear layer its input."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),  # 3 x 8 x 8 in
        nn.BatchNorm2d(4),  # 4 x 8 x 8 in, and mean and 1 / std of 4 for both images
        nn.ReLU(),  # 4 x 8 x 8 out, which the next convolution keeps too
        nn.Conv2d(4, 5, 3, stride=2, padding=1),
        nn.Flatten(),
        nn.Linear(80, 2),  # 80 in
    )
    by_hand = 4 * (3 * 64 + 4 * 64 + 4 + 4 * 64 + 80)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert kept_bytes(net, channels=3, image_size=8) == (by_hand, True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def warned(arch: str, size: int, caplog: pytest.LogCaptureFixture, count: int = 1000) -> str:
    caplog.clear()
    model = Model(10, arch, image_size=size)
    wanted = recipe.load("digits-teacher", [*OWN, f"model.arch={arch}"])
    note_memory(wanted, Normalised(model, (0.5,) * 3, (0.2,) * 3), choose("cpu", "float32"), count)
    return caplog.text


def test_a_network_for_small_images_says_what_large_ones_cost(caplog: pytest.LogCaptureFixture) -> None:
    said = warned("resnet18", 224, caplog)
    # 60 images; resnet18 keeps 13.8 GB with a stride of 1, 1.3 GB with ImageNet's stem
    assert "keeps maps of 224 x 224 px: about 13.8 GB for 60 images a step" in said
    assert "model.arch = 'timm:resnet18' has about 1.3 GB, data.image_size=64 about 1.1 GB" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(("arch", "size"), [("resnet18", 64), ("timm:resnet18", 224), ("resnet8", 65)])
def test_others_are_not_warned(arch: str, size: int, caplog: pytest.LogCaptureFixture) -> None:
    assert warned(arch, size, caplog) == ""


def test_a_step_has_no_more_images_than_there_are(caplog: pytest.LogCaptureFixture) -> None:
    assert "about 1.8 GB for 8 images a step" in warned("resnet18", 224, caplog, count=4)  # 13.8 GB are of 60


def test_weights_that_grow_with_the_image_are_said(caplog: pytest.LogCaptureFixture) -> None:
    said = warned("convnet", 600, caplog, count=1)
    # the linear layer has 128 weights for each of 128 maps of 75 x 75; three times their 4 bytes are 1.1 GB
    assert "has 92 million weights for images of 600 px: about 1.1 GB with gradient and momentum" in said
    assert len(said.splitlines()) == 1


def test_more_than_the_machine_has_is_refused(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux ends a process that takes more, and says nothing."""
    monkeypatch.setattr(network, "machine_memory", lambda: 10**10)
    said = (
        r"needs about 13.9 GB for 60 images of 224 px a step, and this machine has 10.0 GB; a smaller data.image_size"
    )
    with pytest.raises(RecipeError, match=said):
        warned("resnet18", 224, caplog)
    assert caplog.text == ""
