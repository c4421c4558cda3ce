"""A network of each family of the distillation papers as a file."""

import pytest
import torch
from torch import nn

from supcrd.export import onnx as files
from supcrd.export import program
from supcrd.export.about import About
from supcrd.export.load import Exported
from supcrd.export.network import Deployed
from supcrd.export.quantise import layer_names
from supcrd.models import Model
from supcrd.models.card import Card

FAMILIES = ("wrn-16-1", "vgg8", "mobilenetv2", "shufflenetv1", "shufflenetv2", "resnet20-a", "wrn-16-1+32")


def network(arch: str) -> tuple[Model, Card]:
    """As after a training: activations neither vanish nor grow."""
    torch.manual_seed(0)
    model = Model(4, arch, image_size=16)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    with torch.no_grad():
        model(torch.randn(32, 3, 16, 16))
    return model.eval(), Card(arch=arch, num_classes=4, image_size=16, mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.mark.parametrize("arch", FAMILIES)
def test_a_network_of_each_family_answers_as_its_files(arch, tmp_path):
    model, card = network(arch)
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    with torch.no_grad():
        expected = model((images / 255 - 0.5) / 0.25).logits
    for name, writer in (("a.onnx", files), ("a.pt2", program)):
        writer.write(Deployed(model, card), About(card=card, input="uint8", precision="float32"), tmp_path / name)
        logits = Exported(tmp_path / name).logits(images)
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_layers_of_equal_weights_have_names_of_their_own(tmp_path):
    """Batch norms of a fresh network are all the same, and the exporter keeps their weights once."""
    model = Model(4, "wrn-16-1", image_size=8).eval()
    card = Card(arch="wrn-16-1", num_classes=4, image_size=8, mean=(0.5,) * 3, std=(0.25,) * 3)
    about = About(card=card, input="uint8", precision="float32")
    files.write(Deployed(model, card), about, tmp_path / "a.onnx")
    assert Exported(tmp_path / "a.onnx").logits(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)).shape == (1, 4)
    names = layer_names(tmp_path / "a.onnx")
    assert len(names) == len(set(names)) == 16  # 1 + 6 * 2 + 2 convolutions and the classifier
    assert "encoder.block2.layer.0.convShortcut" in names
