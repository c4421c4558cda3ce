import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from classifies import MEAN, STD, digits_model, shown_images
from supcrd.errors import CheckpointError
from supcrd.export import onnx as files
from supcrd.export.about import About
from supcrd.export.load import Exported
from supcrd.export.network import Deployed
from supcrd.models import Model
from supcrd.models.card import Card


@pytest.fixture(scope="module")
def digits():
    return digits_model()


def test_a_deployed_network_is_encoder_and_classifier_on_normalised_pixels(digits):
    model, card = digits
    images, _ = shown_images(5)
    with torch.no_grad():
        by_hand = model((images.double() / 255 - MEAN[0]).float() / STD[0]).logits
        assert torch.allclose(Deployed(model, card)(images), by_hand, atol=1e-5)
        assert torch.allclose(Deployed(model, card, "float")(images / 255), by_hand, atol=1e-5)


def test_without_a_normalisation_there_is_no_network(digits):
    model, card = digits
    bare = Card(arch=card.arch, num_classes=10, in_channels=1, image_size=8)
    with pytest.raises(CheckpointError, match="give --mean and --std"):
        Deployed(model, bare)


@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_the_reference_evaluator_agrees_at_every_batch_size(digits, tmp_path, kind):
    model, card = digits
    network = Deployed(model, card, kind)
    path = tmp_path / "digits.onnx"
    files.write(network, About(card=card, input=kind, precision="float32"), path)
    session = ReferenceEvaluator(str(path))
    for count in (1, 3, 16):
        images, _ = shown_images(count)
        given = images if kind == "uint8" else images.float() / 255
        (logits,) = session.run(None, {"images": given.numpy()})
        with torch.no_grad():
            assert np.allclose(logits, network(given).numpy(), atol=1e-4)
        assert torch.allclose(Exported(path).logits(images), torch.from_numpy(logits), atol=1e-4)


def test_a_file_has_the_weights_that_are_needed_their_names_and_the_card(digits, tmp_path):
    model, card = digits
    path = tmp_path / "digits.onnx"
    files.write(Deployed(model, card), About(card=card, input="uint8", precision="float32"), path)
    written = onnx.load(path)
    weights = sum(int(np.prod(each.dims)) for each in written.graph.initializer)
    folded = sum(p.numel() for p in Deployed(model, card).parameters())  # no projection head, no batch normalisation
    assert folded < weights < folded + 100
    convolutions = {name for name, m in Deployed(model, card).named_modules() if isinstance(m, torch.nn.Conv2d)}
    assert {node.name for node in written.graph.node if node.op_type == "Conv"} == convolutions
    assert written.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert Exported(path).about.card == card


@pytest.mark.parametrize("arch", ["convnet", "timm:mobilenetv3_small_050"])
def test_other_networks(arch, tmp_path):
    torch.manual_seed(0)
    model = Model(4, arch, image_size=32).eval()
    card = Card(arch=arch, num_classes=4, mean=(0.5,) * 3, std=(0.25,) * 3, stem=model.stem)
    path = tmp_path / "network.onnx"
    files.write(Deployed(model, card), About(card=card, input="uint8", precision="float32"), path)
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(
            Exported(path).logits(images), model((images / 255 - 0.5) / 0.25).logits, rtol=1e-4, atol=1e-4
        )
