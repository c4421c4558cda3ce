import json
import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from classifies import digits_model, saved
from supcrd.data.encoded import Reading
from supcrd.data.sized import sized
from supcrd.errors import SupcrdError
from supcrd.export import onnx as files
from supcrd.export.about import KEY, About
from supcrd.export.network import Deployed
from supcrd.jobs.assess import evaluate_file
from supcrd.jobs.deploy import Wanted, _processor, export
from supcrd.jobs.predict import predict_files
from supcrd.models import Model
from supcrd.models.card import Card
from supcrd.models.weights import save_model
from typed import invoke


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A file of weights whose card names its data."""
    return saved(tmp_path_factory.mktemp("model"), "convnet")


@pytest.fixture(scope="module")
def int8(model, tmp_path_factory):
    """Its int8 file, and what was said of it."""
    out = tmp_path_factory.mktemp("int8") / "digits.onnx"
    return out, export(model, out, Wanted(int8=True, limit=5.0), split="test")


def test_the_files_are_measured_as_the_model_is(model, int8):
    out, told = int8
    right = evaluate_file(model, None)
    assert told["files"]["float32"]["accuracy"] == right["accuracy"]
    assert told["files"]["float32"]["ece"] == pytest.approx(right["ece"], abs=1e-4)
    of_file = evaluate_file(out, None)
    assert of_file["accuracy"] == told["files"]["int8"]["accuracy"]
    assert abs(of_file["accuracy"] - right["accuracy"]) < 0.03
    assert told["lost"] == pytest.approx(100 * (right["accuracy"] - of_file["accuracy"]))
    assert told["files"]["int8"]["megabytes"] == out.stat().st_size / 1e6
    assert out.stat().st_size < 0.4 * model.stat().st_size
    assert (told["n"], told["split"], of_file["precision"]) == (359, "test", "int8")
    for each in told["files"].values():
        assert 0 < each["milliseconds"] <= each["milliseconds_p95"]


def test_predictions_of_a_file_are_those_of_its_model(model, int8, tmp_path):
    picture = tmp_path / "seven.png"
    rows = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(rows).save(picture)
    plain = tmp_path / "float.onnx"
    export(model, plain, Wanted(input="float"))
    (wanted,) = predict_files(model, [picture])
    (given,) = predict_files(plain, [picture])
    assert [each["class"] for each in given["classes"]] == [each["class"] for each in wanted["classes"]]
    for one, other in zip(given["classes"], wanted["classes"], strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


@pytest.mark.parametrize(
    ("wanted", "out", "why"),
    [
        (Wanted(to="tflite"), "a.onnx", "--to tflite is unknown; onnx or torch is right"),
        (Wanted(to="torch", int8=True), "a.pt2", "--int8 is for --to onnx"),
        (Wanted(keep=("fc",)), "a.onnx", "--keep is for --int8"),
        (Wanted(), "a.pt2", r"a file of --to onnx ends with \.onnx"),
        (Wanted(), "none/a.onnx", "there is no folder"),
        (Wanted(), "folder.onnx", "is a folder; a file is right"),
    ],
)
def test_what_cannot_be_written_is_refused_first(tmp_path, wanted, out, why):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(SupcrdError, match=why):
        export(tmp_path / "no model", tmp_path / out, wanted)


def test_int8_that_loses_too_much_leaves_the_old_file(tmp_path):
    model, card = digits_model("convnet")
    with torch.no_grad():  # a weight of an input that is always 0 takes all of the range of its channel
        model.encoder.conv[0].weight[0] = model.encoder.conv[0].bias[0] = 0
        model.encoder.conv[3].weight[:, 0, 0, 0] = 1000
    weights = save_model(tmp_path, model, card)
    out = tmp_path / "digits.onnx"
    out.write_bytes(b"old")
    wanted = r"int8 loses \d+\.\d\d points .* \(--limit\).*--keep (encoder\.conv\.3,\S+), it loses (-?\d+\.\d\d)"
    with pytest.raises(SupcrdError, match=wanted) as error:
        export(weights, out, Wanted(int8=True))
    assert out.read_bytes() == b"old"
    kept, loses = re.search(wanted, str(error.value)).groups()  # which is measured, not hoped
    told = export(weights, out, Wanted(int8=True, keep=tuple(kept.split(",")), limit=99))
    assert told["lost"] == pytest.approx(float(loses), abs=0.005)
    told = export(weights, out, Wanted(int8=True, keep=("encoder.conv.3",), limit=5.0))
    assert told["lost"] <= 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits.onnx", "model.json", "model.safetensors"]


def test_logits_that_are_not_the_models_are_refused(model, tmp_path, monkeypatch):
    from supcrd.export.network import Deployed

    right = Deployed.forward
    monkeypatch.setattr(Deployed, "forward", lambda self, images: 1.001 * right(self, images))
    with pytest.raises(SupcrdError, match=r"differ from the model's by 0\.001 of the largest in a batch of 1"):
        export(model, tmp_path / "digits.onnx", Wanted())
    assert not list(tmp_path.iterdir())


def test_weights_without_data(tmp_path):
    weights = saved(tmp_path, "convnet", recipe=None)
    told = export(weights, tmp_path / "a.pt2", Wanted(to="torch"))
    assert "accuracy" not in told["files"]["float32"]
    assert told["notes"] == ["checked on random images: give --data for its accuracy"]
    with pytest.raises(SupcrdError, match="--calibrate DATA is needed"):
        export(weights, tmp_path / "a.onnx", Wanted(int8=True))
    with pytest.raises(SupcrdError, match="is a program, which can run code"):
        evaluate_file(tmp_path / "a.pt2", "digits")


def test_names_of_the_outputs_from_a_file(tmp_path):
    """They are in the file, so that what reads it alone has them."""
    weights, names = saved(tmp_path, "convnet", recipe=None, class_names=None), tmp_path / "names.txt"
    written = [f"digit {number}" for number in range(10)]
    names.write_text("\n".join(written[:9]))
    with pytest.raises(SupcrdError, match=r"has 9 names, the model .* has 10 outputs"):
        export(weights, tmp_path / "a.onnx", Wanted(), classes=str(names))
    names.write_text("\n".join(written))
    shown = invoke("export", weights, "--out", tmp_path / "a.onnx", "--classes", names)
    assert shown.exit_code == 0, shown.output
    stored = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert json.loads(stored[KEY])["card"]["class_names"] == written


def test_arrays_of_another_size_are_resized_as_files_are(int8, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 14, 11), dtype=np.uint8)
    resized = sized(torch.from_numpy(pixels)[..., None], Reading(8)).numpy()
    for name, images in (("other", pixels), ("right", resized)):
        np.savez(tmp_path / f"{name}.npz", test_images=images, test_labels=np.arange(10))
    other, right = (evaluate_file(int8[0], f"npz:{tmp_path}/{name}.npz") for name in ("other", "right"))
    assert (other["n"], other["nll"]) == (10, right["nll"])


def test_a_card_of_another_version(tmp_path):
    network, card = digits_model()
    card = replace(card, recipe={"data": {"source": "digits", "newer": 1}})
    save_model(tmp_path, network, card)
    file, out = tmp_path / "old.onnx", tmp_path / "new.onnx"
    files.write(Deployed(network, card), About(card=card, input="uint8", precision="float32"), file)
    with pytest.raises(SupcrdError, match=r"old\.onnx: its recipe is not of this version"):
        evaluate_file(file, None)
    with pytest.raises(SupcrdError, match=r"its recipe is not of this version"):
        export(tmp_path, out, Wanted())
    assert not out.exists()


def test_few_images_give_no_ranges(model, tmp_path):
    rng = np.random.default_rng(0)
    few = {"train_images": rng.integers(0, 256, (20, 8, 8), dtype=np.uint8), "train_labels": np.arange(20) % 10}
    np.savez(tmp_path / "few.npz", **few, class_names=[str(i) for i in range(10)])
    with pytest.raises(SupcrdError, match="has 20 training images; 32 or more are right"):
        export(model, tmp_path / "a.onnx", Wanted(int8=True), calibrate=f"npz:{tmp_path}/few.npz")


def test_the_same_data_give_the_same_file(model, int8, tmp_path):
    out, _ = int8
    export(model, tmp_path / "again.onnx", Wanted(int8=True, limit=5.0), split="test")
    assert (tmp_path / "again.onnx").read_bytes() == out.read_bytes()


def test_options_about_weights_do_not_apply(int8):
    out, _ = int8
    with pytest.raises(SupcrdError, match=r"--arch is for weights; .* is whole"):
        evaluate_file(out, None, arch="resnet8")
    with pytest.raises(SupcrdError, match=r"--device cuda: .* computes on the CPU here; auto or cpu is right"):
        evaluate_file(out, None, device="cuda")


def test_names_of_a_files_outputs(int8, tmp_path):
    """The digits under other names in another order: 8 and 9 are taken for one another."""
    out, _ = int8
    names = tmp_path / "names.txt"
    names.write_text("\n".join("0123456798"))
    told = evaluate_file(out, None, classes=str(names))
    right = evaluate_file(out, None)
    by_class = dict(zip(told["class_names"], told["class_accuracy"], strict=True))
    assert by_class["5"] == right["class_accuracy"][5]
    assert max(by_class["8"], by_class["9"]) < 0.2


def test_the_command(model, tmp_path):
    result = invoke("export", str(model), "--out", str(tmp_path / "a.onnx"), "--int8", "--limit", "5", "--json")
    told = json.loads(result.stdout)
    assert (told["precision"], set(told["files"])) == ("int8", {"torch", "float32", "int8"})
    shown = invoke("export", str(model), "--out", str(tmp_path / "a.onnx"))
    size = f"{told['parameters']:,} parameters"
    line = f"{tmp_path / 'a.onnx'}: {size}, float32, input uint8 (batch, channels, height, width)"
    assert shown.stdout.splitlines()[-1] == line
    assert invoke("export", str(model), "--out", str(tmp_path / "a.onnx"), "--input", "int4").exit_code == 2


@pytest.mark.parametrize(("machine", "flags", "said"), [
    ("x86_64", "flags\t\t: fpu avx2 fma", True), ("AMD64", "flags\t\t: fpu avx2", True),
    ("x86_64", "flags\t\t: avx512f avx512_vnni", False), ("x86_64", "flags\t\t: avx2 avx_vnni", False),
    ("aarch64", "Features\t: fp asimd", False), ("x86_64", None, False),
])  # fmt: skip
def test_a_processor_without_vnni_is_said(machine, flags, said, tmp_path, monkeypatch):
    """As Linux lists a processor's instructions; where no such file is, nothing is known."""
    listed = tmp_path / "cpuinfo"
    if flags is not None:
        listed.write_text(f"processor\t: 0\n{flags}\n")
    asked = []
    monkeypatch.setattr("supcrd.jobs.deploy.Path", lambda path: (asked.append(path), listed)[1])
    monkeypatch.setattr("platform.machine", lambda: machine)
    notes = _processor()
    assert asked == ["/proc/cpuinfo"]
    assert ["VNNI" in note for note in notes] == [True] * said


def test_a_students_projector_is_counted(tmp_path):
    """By hand: convolutions, two numbers a channel of each batch norm, the classifier of three classes."""
    stages = (9 * 3 * 16 + 2 * 16, 2 * 9 * 16 * 16 + 4 * 16, 9 * (16 * 32 + 32 * 32) + 16 * 32 + 6 * 32,
              9 * (32 * 64 + 64 * 64) + 32 * 64 + 6 * 64)  # fmt: skip
    projector = 64 * 32 + 9 * 32 * 32 + 32 * 64 + 2 * (32 + 32 + 64)
    torch.manual_seed(0)
    student = Model(3, "resnet8+64", image_size=8)
    card = Card(arch="resnet8+64", num_classes=3, image_size=8, mean=(0.5,) * 3, std=(0.25,) * 3)
    weights = save_model(tmp_path, student, card)
    command = ("export", str(weights), "--out", str(tmp_path / "a.pt2"), "--to", "torch")
    told = json.loads(invoke(*command, "--json").stdout)
    assert told["parameters"] == sum(stages) + projector + 64 * 3 + 3
