import builtins
import json
import sys

import onnx
import pytest
import torch

from classifies import digits_model, shown_images
from supcrd.errors import CheckpointError, SupcrdError
from supcrd.export import onnx as files
from supcrd.export import program
from supcrd.export.about import KEY, About
from supcrd.export.extra import need
from supcrd.export.load import Exported
from supcrd.export.network import Deployed


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    model, card = digits_model("convnet")
    folder = tmp_path_factory.mktemp("good")
    about = About(card=card, input="uint8", precision="float32")
    files.write(Deployed(model, card), about, folder / "a.onnx")
    program.write(Deployed(model, card), about, folder / "a.pt2")
    return folder


def test_a_program_answers_as_the_onnx_file(good):
    images, _ = shown_images(7)
    program, file = Exported(good / "a.pt2"), Exported(good / "a.onnx", threads=1)
    assert torch.allclose(program.logits(images), file.logits(images), atol=1e-4)
    assert program.about == file.about


@pytest.mark.parametrize("name", ["a.onnx", "a.pt2"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(good, tmp_path, name, share):
    whole = (good / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=f"{name}: truncated, damaged"):
        Exported(path)


def test_a_newer_operator_set_is_refused(good, tmp_path):
    model = onnx.load(good / "a.onnx")
    model.opset_import[0].version = 99
    onnx.save(model, tmp_path / "new.onnx")
    with pytest.raises(CheckpointError, match="of a newer format than onnxruntime's"):
        Exported(tmp_path / "new.onnx")


def test_a_file_of_others_is_refused(good, tmp_path):
    model = onnx.load(good / "a.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(CheckpointError, match="supcrd did not write"):
        Exported(tmp_path / "other.onnx")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"version": 2}, "newer supcrd"),
        ({"input": "uint16"}, "input, precision or float_layers is missing or unknown"),
        ({"card": {"arch": 3}}, "card"),
    ],
)
def test_a_description_that_cannot_be_is_refused(good, tmp_path, changed, why):
    model = onnx.load(good / "a.onnx")
    entry = next(each for each in model.metadata_props if each.key == KEY)
    entry.value = json.dumps(json.loads(entry.value) | changed)
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(CheckpointError, match=why):
        Exported(tmp_path / "odd.onnx")


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="is not there, or no file"):
        Exported(tmp_path / "none.onnx")


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("onnxruntime"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr("supcrd.export.extra.import_module", without)
    with pytest.raises(SupcrdError, match=r"onnxruntime is not installed here.*pip install 'supcrd\[export\]'"):
        need("onnxruntime.quantization")
