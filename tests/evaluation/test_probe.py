"""The probe of a measured model, on images whose answer is known by hand."""

import torch

from supcrd.base.device import choose
from supcrd.data import Split
from supcrd.evaluation.measured import Measured
from supcrd.models import Model
from supcrd.models.normalised import Normalised
from supcrd.recipe.settings import ProbeSettings


def split(values: list[int], labels: list[int]) -> Split:
    """Images of 8 x 8 px that are black or white as a whole."""
    images = torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 8, 8, 1).contiguous()
    return Split(images, torch.tensor(labels))


def test_a_probe_tells_black_from_white() -> None:
    """By features that are the same for all black images, and others for all white ones: one label of five is wrong."""
    torch.manual_seed(0)
    subject = Normalised(Model(2, "resnet8", in_channels=1, image_size=8).eval(), (0.5,), (0.5,))
    train, tested = split([0, 255] * 8, [0, 1] * 8), split([0, 0, 0, 255, 255], [0, 0, 0, 1, 0])
    probe = ProbeSettings(epochs=30, batch_size=16)
    measured = Measured(subject, tested, choose("cpu", "float32"), train=train, probe=probe)
    assert measured.has("probe")
    assert measured.probe_accuracy() == 4 / 5
    assert not Measured(subject, tested, choose("cpu"), train=train, probe=ProbeSettings(epochs=0)).has("probe")
    assert not Measured(subject, tested, choose("cpu"), probe=probe).has("probe")
