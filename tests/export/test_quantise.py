from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx.numpy_helper import to_array
from onnx.reference import ReferenceEvaluator
from torch import nn

from classifies import digits_model, shown_images
from supcrd.errors import CheckpointError
from supcrd.export import onnx as files
from supcrd.export.about import About
from supcrd.export.load import Exported
from supcrd.export.network import Deployed
from supcrd.export.quantise import layer_names, quantise, sensitive, signal_to_noise
from supcrd.export.rounding import rounded
from supcrd.models.rounded import rounded_layers


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A float32 file, its description and calibration images."""
    model, card = digits_model()
    path = tmp_path_factory.mktemp("files") / "float32.onnx"
    about = About(card=card, input="uint8", precision="float32")
    files.write(Deployed(model, card), about, path)
    images, _ = shown_images(64)
    return path, replace(about, precision="int8"), [images.numpy()]


def weights_of(path):
    """Layer -> its weights as the layer computes with them."""
    model = onnx.load(path)
    stored = {each.name: to_array(each) for each in model.graph.initializer}
    made = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    found = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            name = node.input[1]
            if name in stored:
                found[node.name] = (stored[name], None, None)
            else:
                integers, scale = (stored[each] for each in made[name].input[:2])
                axis = next(each.i for each in made[name].attribute if each.name == "axis")
                found[node.name] = (integers, scale, axis)
    return found


def test_weights_are_rounded_to_a_step_of_their_channel(plain, tmp_path):
    source, about, batches = plain
    path = tmp_path / "int8.onnx"
    quantise(source, about, batches, path)
    before, after = weights_of(source), weights_of(path)
    assert set(before) == set(after) == set(layer_names(source))
    for name, (right, _, _) in before.items():
        integers, scale, axis = after[name]
        assert integers.dtype == np.int8
        assert np.abs(integers).max() <= 64  # seven bits: two products fit 16 bits, 2 x 255 x 64 < 2^15
        steps = scale.reshape([-1 if i == axis else 1 for i in range(right.ndim)])
        assert (np.abs(integers * steps - right) <= steps * 0.5001).all()
        assert len(scale) == right.shape[axis]


def test_an_int8_file_answers_as_the_float32_one(plain, tmp_path):
    source, about, batches = plain
    path = tmp_path / "int8.onnx"
    quantise(source, about, batches, path)
    images, labels = shown_images(200)
    right, rounded = Exported(source).logits(images), Exported(path).logits(images)
    assert (right.argmax(dim=1) == labels).float().mean() > 0.8
    assert (right.argmax(dim=1) == rounded.argmax(dim=1)).float().mean() > 0.95
    (by_reference,) = ReferenceEvaluator(str(path)).run(None, {"images": images.numpy()})
    assert signal_to_noise(by_reference, rounded.numpy()) > 30  # nothing saturates here
    assert Exported(path).about == about


def test_rounding_does_what_a_relu_does(plain, tmp_path):
    source, about, batches = plain
    path, mixed = tmp_path / "int8.onnx", tmp_path / "mixed.onnx"
    quantise(source, about, batches, path)
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert "Relu" not in operators
    assert operators.count("QuantizeLinear") < len(layer_names(source)) + 2 * operators.count("Add") + 4
    # where a layer is kept in float32, so are the ReLU that it reads and the one after it
    quantise(source, replace(about, float_layers=("encoder.layer1.0.conv1",)), batches, mixed)
    assert [node.op_type for node in onnx.load(mixed).graph.node].count("Relu") == 2


def test_a_kept_layer_stays_float32(plain, tmp_path):
    source, about, batches = plain
    path = tmp_path / "int8.onnx"
    quantise(source, replace(about, float_layers=("encoder.conv1", "classifier")), batches, path)
    right, mixed = (Exported(each).logits(shown_images(64)[0]).numpy() for each in (source, path))
    assert signal_to_noise(right, mixed) > 20
    plain_layers = [name for name, (_, scale, _) in weights_of(path).items() if scale is None]
    assert plain_layers == ["encoder.conv1", "classifier"]
    assert Exported(path).about.float_layers == ("encoder.conv1", "classifier")


class Tokens(nn.Module):
    """Linear layers on patches of an image, as of a vision transformer."""

    def __init__(self, features):
        super().__init__()
        self.patches, self.first, self.second = nn.Conv2d(1, 8, 2, 2), nn.Linear(8, 12), nn.Linear(12, features)

    def forward(self, images):
        return self.second(self.first(self.patches(images).flatten(2).transpose(1, 2)).relu()).mean(dim=1)


def test_linear_layers_on_patches_are_kept_by_their_names(plain, tmp_path):
    source, path = tmp_path / "float32.onnx", tmp_path / "int8.onnx"
    model, card = digits_model()
    network = Deployed(model, card)
    network.encoder = Tokens(model.feature_dim).eval()
    _, about, batches = plain
    about = replace(about, float_layers=("encoder.first",))
    near = rounded(network, [torch.from_numpy(batches[0])], but=about.float_layers)
    files.write(near, replace(about, precision="float32", float_layers=()), source)
    assert layer_names(source) == ["encoder.patches", "encoder.first", "encoder.second", "classifier"]
    quantise(source, about, batches, path)
    model = onnx.load(path)
    stored = {each.name: to_array(each) for each in model.graph.initializer}
    (kept,) = [node for node in model.graph.node if node.name == "encoder.first"]
    (weight,) = [stored[name] for name in kept.input if name in stored and stored[name].ndim == 2]
    assert np.array_equal(weight, network.encoder.first.weight.detach().numpy().T)
    (bias,) = [stored[name] for node in model.graph.node if node.input and node.input[0] == kept.output[0]
               for name in node.input if name in stored]  # fmt: skip
    assert np.array_equal(bias, network.encoder.first.bias.detach().numpy())


class Bent(nn.Module):
    """Convolutions, the first of which gives numbers far below 0 beside those around it."""

    def __init__(self, bend, width):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.bend, self.second = nn.Conv2d(1, 16, 3), bend, nn.Conv2d(16, width, 3)
        self.first.bias.data[::2] -= 60

    def forward(self, images):
        return self.second(self.bend(self.first(images))).relu().mean(dim=(2, 3))


class Added(nn.Module):
    """A shortcut around two convolutions whose sum has a small range, as what is added has not."""

    def __init__(self, width, *, in_place):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.last = nn.Conv2d(1, 8, 3), nn.Conv2d(8, width, 3)
        self.one, self.other = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
        self.one.bias.data += 200
        self.other.bias.data -= 200
        self.in_place = in_place

    def forward(self, images):
        first = self.first(images).relu()
        total = self.one(first)
        if self.in_place:
            total += self.other(first)
        else:
            total = total + self.other(first)
        return self.last(total.relu()).relu().mean(dim=(2, 3))


@pytest.mark.parametrize(
    "bend", [nn.Hardswish(), nn.SiLU(), nn.GELU(), nn.ReLU()], ids=lambda bend: type(bend).__name__
)
def test_training_rounds_what_activations_read_as_the_file_does(bend, plain, tmp_path):
    """But for a ReLU, which is one with the layer before it."""
    assert simulated_share(lambda width: Bent(bend, width), plain, tmp_path) > 0.8


@pytest.mark.parametrize("in_place", [False, True])
def test_training_rounds_what_additions_read_as_the_file_does(in_place, plain, tmp_path):
    assert simulated_share(lambda width: Added(width, in_place=in_place), plain, tmp_path) > 0.8


def simulated_share(make, plain, tmp_path):
    """How much of an int8 file's error, squared, is there when `train.quantize` rounds."""
    source, path = tmp_path / "float32.onnx", tmp_path / "int8.onnx"
    model, card = digits_model()
    network = Deployed(model, card)
    network.encoder = make(model.feature_dim).eval()
    _, about, batches = plain
    files.write(network, replace(about, precision="float32"), source)
    quantise(source, about, batches, path)
    images = torch.from_numpy(batches[0])
    with torch.no_grad(), rounded_layers(network.encoder, network.classifier):
        simulated = network(images)
    with torch.no_grad():
        right = network(images)
    error = Exported(path).logits(images) - right
    return 1 - ((simulated - right - error).square().sum() / error.square().sum()).item()


def test_a_layer_that_is_not_there(plain, tmp_path):
    source, about, batches = plain
    with pytest.raises(CheckpointError, match=r"--keep conv9 is no layer; it has encoder\.conv1, "):
        quantise(source, replace(about, float_layers=("conv9",)), batches, tmp_path / "int8.onnx")
    assert not list(tmp_path.iterdir())


def test_the_layer_with_the_widest_weights_is_the_most_sensitive(plain, tmp_path):
    model, card = digits_model()
    network = Deployed(model, card)
    modules = dict(network.named_modules())
    with torch.no_grad():  # a weight of an input that is always 0 takes all of the range of its channel
        modules["encoder.layer2.0.conv1"].weight[0] = modules["encoder.layer2.0.conv1"].bias[0] = 0
        modules["encoder.layer2.0.conv2"].weight[:, 0, 0, 0] = 1000
    path = tmp_path / "float32.onnx"
    files.write(network, About(card=card, input="uint8", precision="float32"), path)
    _, about, batches = plain
    images, _ = shown_images(32)
    best = sensitive(path, path, about, batches, lambda file: Exported(file).logits(images).numpy(), count=2)
    assert best[0][0] == "encoder.layer2.0.conv2"
    assert best[0][1] > best[1][1] + 10
