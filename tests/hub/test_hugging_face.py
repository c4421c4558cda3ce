"""The card against what its run says, and the hub against a server that speaks its calls on this machine."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from loopback import COMMIT, TOKEN, hub
from safetensors.torch import load_file

import supcrd
from supcrd.errors import CheckpointError, SupcrdError
from supcrd.hub import names
from supcrd.runs.folder import RunFolder
from typed import Code, contents, invoke, refused

GOLDEN = Path(__file__).parents[1] / "data" / "golden-0.1" / "runs"
CLASSES = {
    "class_names": ["zero", "one|two", "a <b>", *"3456789"],
    "class_accuracy": [1.0, 0.5, 0.25, *[0.4] * 7],
    "class_counts": [12] * 10,
    "validation_class_counts": [2] * 10,
    "warnings": ["the student is worse than chance on Mondays"],
    "source": "npz:/home/ann/private/digits.npz",
    "stopped_early": False,
    "trained_accuracy": 0.375,
    "refit_accuracy": 0.4,
    "ece_before": 0.125,
    "classifier": {"saved": "refit", "why": "the refitted one is right on 9 of 20", "temperature": 2.0},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished student of 0.1 with what an evaluation of today has beside, and its teacher."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("lw_supcrd", "teacher"):
        shutil.copytree(GOLDEN / name, folder / name)
    file = folder / "lw_supcrd" / "evaluation.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | CLASSES | {"epochs": 2}))
    return folder


@pytest.fixture
def server(tmp_path, monkeypatch):
    with hub() as (running, address):
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        yield running


def test_the_card_says_what_the_run_says(runs, tmp_path):
    run, out = RunFolder(runs / "lw_supcrd"), tmp_path / "card.md"
    assert invoke("card", run.path, "--out", out, "--license", "mit").stdout == f"{out}\n"
    text, values = out.read_text(), run.evaluation
    about = yaml.safe_load(text.split("---")[1])
    assert about["license"] == "mit"
    assert about["library_name"] == "supcrd"
    assert {"resnet8", "lw_supcrd", "knowledge-distillation"} <= set(about["tags"])
    (result,) = about["model-index"][0]["results"]
    assert {metric["type"]: metric["value"] for metric in result["metrics"]} == {
        key: values[key] for key in ("accuracy", "ece", "nll")
    }
    (first, *_) = ModelCard(text).data.to_dict()["model-index"][0]["results"]  # as the hub's own library reads it
    assert first["dataset"] == {"name": "npz:digits.npz", "type": "npz:digits.npz", "split": "test"}
    # Wilson's interval of 48 of 120 images, by its formula
    p, n, z = 0.4, 120, 1.959963985
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    assert f"40.00% (95 % interval {low:.2%} to {high:.2%})" in text
    rows = re.findall(r"^\| (.+) \| 12 \| ([\d.]+)% \|$", text, re.MULTILINE)
    assert rows[:3] == [("zero", "100.0"), ("one\\|two", "50.0"), ("a &lt;b>", "25.0")]
    assert f"taught by `teacher` (`{RunFolder(runs / 'teacher').recipe.model.arch}`)" in text
    epochs, views = run.recipe.train.epochs, run.recipe.augment.views
    assert f"{epochs} epochs with {views} views an image: {epochs * views} view-epochs" in text
    assert f"off by {values['ece']:.2%} on average" in text
    assert "the lowest is 25.0%" in text
    assert {"| As trained | 37.50% |", "| Refitted | 40.00% |", "| ECE before | 12.50% |"} <= set(text.split("\n"))
    assert "The classifier saved is one fitted on the encoder's frozen features: the refitted one is right on 9" in text
    assert "* The student is worse than chance on Mondays" in text
    assert "/home" not in text


def test_the_card_stands_in_the_run_folder_if_no_other_place_is_given(runs, tmp_path):
    shutil.copytree(runs / "teacher", tmp_path / "teacher")
    assert invoke("card", tmp_path / "teacher").exit_code == 0
    text = (tmp_path / "teacher" / "MODEL_CARD.md").read_text()
    assert text.startswith("---\n")
    assert "license" not in yaml.safe_load(text.split("---")[1])
    assert "taught by" not in text


def test_a_class_called_as_no_text_can_be(runs, tmp_path):
    """The folder of a class may have a name that is no UTF-8."""
    shutil.copytree(runs / "lw_supcrd", tmp_path / "own")
    file = tmp_path / "own" / "evaluation.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps(values | {"class_names": ["caf\udce9", *values["class_names"][1:]]}))
    assert invoke("card", tmp_path / "own").exit_code == 0
    assert "| caf\\udce9 | 12 |" in (tmp_path / "own" / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_pushed_and_loaded_it_is_the_same_model(runs, server):
    folder = runs / "lw_supcrd"
    before = contents(folder)
    result = invoke("push", folder, "ann/tiny", "--private", "--license", "mit")
    assert result.exit_code == 0, result.output
    assert COMMIT in result.stdout.splitlines()[0]
    assert contents(folder) == before
    assert server.private == {"ann/tiny"}
    held = server.repositories["ann/tiny"]
    assert sorted(held) == ["README.md", "model.json", "model.safetensors"]
    assert b'supcrd.load_model("hf://ann/tiny")' in held["README.md"]
    model = supcrd.load_model("hf://ann/tiny")
    own = load_file(folder / "model.safetensors")
    assert all(torch.equal(tensor, own[key]) for key, tensor in model.state_dict().items())
    assert model.card.class_names == supcrd.load_model(folder).card.class_names
    asked = [path for kind, path in server.calls if kind in ("GET", "HEAD") and "/resolve/" in path]
    assert set(asked) == {"/ann/tiny/resolve/main/model.safetensors"}
    supcrd.load_model(f"hf://ann/tiny@{COMMIT}")  # from the cache
    assert asked == [path for kind, path in server.calls if kind in ("GET", "HEAD") and "/resolve/" in path]


def test_a_rehearsal_in_a_folder_is_what_is_pushed(runs, server, tmp_path):
    folder, out = runs / "lw_supcrd", tmp_path / "pushed"
    before = contents(folder)
    result = invoke("push", folder, "ann/tiny", "--license", "mit", "--folder", out)
    assert result.stdout == f"{out}: what would be pushed to ann/tiny\n"
    assert server.calls == []
    written = {path.name: path.read_bytes() for path in out.iterdir()}
    assert invoke("push", folder, "ann/tiny", "--license", "mit").exit_code == 0
    assert server.repositories["ann/tiny"] == written
    own = load_file(folder / "model.safetensors")
    assert all(torch.equal(tensor, own[key]) for key, tensor in supcrd.load_model(out).state_dict().items())
    assert invoke("push", folder, "ann/tiny", "--license", "mit", "--folder", out).exit_code == 0  # once more
    assert {path.name: path.read_bytes() for path in out.iterdir()} == written
    line = refused("push", folder, "ann/tiny", "--folder", folder)
    assert "an empty or a new folder is right" in line
    assert contents(folder) == before


def test_no_path_of_this_machine_is_pushed(runs, server, tmp_path):
    shutil.copytree(runs / "lw_supcrd", tmp_path / "lw_supcrd")
    shutil.copytree(runs / "teacher", tmp_path / "teacher")
    model = supcrd.load_model(tmp_path / "lw_supcrd")
    recipe = model.card.recipe | {"plugins": ["/home/ann/secret/own.py"], "data": {"source": "folder:/home/ann/faces"}}
    supcrd.save_model(tmp_path / "lw_supcrd", model, supcrd.Card(**{**vars(model.card), "recipe": recipe}))
    assert invoke("push", tmp_path / "lw_supcrd", "ann/tiny").exit_code == 0
    for content in server.repositories["ann/tiny"].values():
        assert b"/home" not in content
        assert str(tmp_path).encode() not in content
    assert supcrd.load_model("hf://ann/tiny").card.recipe["data"] == {"source": "folder:faces"}


def test_code_on_the_hub_never_runs(server, tmp_path, monkeypatch):
    """Only model.safetensors is asked for, and a pickle of that name is no such file."""
    monkeypatch.chdir(tmp_path)
    torch.save(Code(), tmp_path / "evil.bin")
    evil = (tmp_path / "evil.bin").read_bytes()
    server.repositories["eve/model"] = {"pytorch_model.bin": evil, "model.pth": evil}
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        supcrd.load_model("hf://eve/model")
    server.repositories["eve/model"]["model.safetensors"] = evil
    with pytest.raises(CheckpointError, match="no safetensors file"):
        supcrd.load_model("hf://eve/model")
    assert not (tmp_path / "code-was-run").exists()


def test_what_is_not_there_is_one_line(server, monkeypatch):
    with pytest.raises(CheckpointError, match="there is no such repository"):
        supcrd.load_model("hf://ann/none")
    server.repositories["ann/tiny"] = {"model.safetensors": b""}
    with pytest.raises(CheckpointError, match="no such revision"):
        supcrd.load_model("hf://ann/tiny@v9")
    for wrong in ("hf://ann", "hf://ann/tiny/more", "hf://../x", "hf://ann/tiny@a b"):
        with pytest.raises(SupcrdError, match=r"is no repository of the hub|is no revision"):
            supcrd.load_model(wrong)


def test_what_cannot_be_pushed_is_one_line(runs, server, tmp_path, monkeypatch):
    run = runs / "lw_supcrd"
    assert "OWNER/NAME is right" in refused("push", run, "tiny")
    assert "is the run finished?" in refused("push", GOLDEN / "unfinished", "ann/tiny")
    assert "is no run folder" in refused("card", tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert "ann/tiny cannot be pushed" in refused("push", run, "ann/tiny")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert "hf auth login, or HF_TOKEN" in refused("push", run, "ann/tiny")
    assert server.repositories == {}
    shutil.copytree(run, tmp_path / "other")
    values = json.loads((tmp_path / "other" / "evaluation.json").read_text())
    (tmp_path / "other" / "evaluation.json").write_text(json.dumps(values | {"weights": "0" * 32}))
    assert "of other weights" in refused("card", tmp_path / "other")


@pytest.mark.parametrize(
    ("value", "known"),
    [("C:\\Users\\ann\\a.npz", "a.npz"), ("csv:C:\\Users\\a.csv", "csv:a.csv"), ("timm:resnet18", "timm:resnet18"),
     ("shards:https://ann:secret@host/t-{0..3}.tar?Signature=s", "shards:https://host/t-{0..3}.tar"),
     ("parquet:s3://key:secret@bucket/a-?.parquet", "parquet:s3://bucket/a-?.parquet"),
     ("https://host/a.npz?Signature=s", "https://host/a.npz"), ("hf://ann/cats@v1", "hf://ann/cats@v1"),
     ("folder:/a/b/", "folder:b"), ("0.5", "0.5"), (None, None), (("/a/b", 2), ["b", 2])],
)  # fmt: skip
def test_paths_lose_their_folders(value, known):
    assert names.without_paths(value) == known
