"""A folder of photos without splits, from training to predictions in a file."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from supcrd.data import load
from supcrd.runs.folder import RunFolder
from typed import NET, contents, images, invoke, refused


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images in three classes, a table of them, and a model trained on the folder."""
    folder = tmp_path_factory.mktemp("own")
    pixels, labels = images(60)
    rows = []
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        file = folder / "photos" / f"class{label}" / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
        rows.append((file.relative_to(folder), f"class{label}", number // 6))
    (folder / "photos" / "notes.txt").write_text("x")
    with open(folder / "list.csv", "w", newline="") as file:
        csv.writer(file).writerows([("image", "dx", "patient"), *rows])
    arguments = ["train", "digits-cross-entropy", f"data.source=folder:{folder / 'photos'}", *NET[:4], "name=run"]
    result = invoke(*arguments, "--out", folder / "runs")
    assert result.exit_code == 0, result.output
    assert "data.split_seed = 0: 42 for train, 6 for validation, 12 for test" in " ".join(result.stderr.split())
    return folder


def test_the_run_is_measured_on_the_drawn_split_and_so_is_its_model(base: Path) -> None:
    run = RunFolder(base / "runs" / "run")
    expected = load(f"folder:{base / 'photos'}")
    assert run.evaluation["split"] == "test"
    assert run.evaluation["n"] == len(expected.test) == 12
    assert run.evaluation["data_fingerprint"] == expected.fingerprint
    for arguments in ([], ["--data", f"folder:{base / 'photos'}/"]):  # its own data, however they are written
        values = json.loads(invoke("evaluate", run.path, *arguments, "--json").stdout)
        assert (values["n"], values["accuracy"]) == (12, run.evaluation["accuracy"])
    before = contents(run.path)
    again = ["train", run.path / "recipe.toml", "--out", base / "runs"]
    assert invoke(*again).exit_code == 0
    assert contents(run.path) == before


def test_other_photos_are_all_measured_on(base: Path, tmp_path: Path) -> None:
    run, table = base / "runs" / "run", base / "labels.csv"
    table.write_text((base / "list.csv").read_text().replace("dx", "label"))
    shutil.copytree(base / "photos", tmp_path / "other")
    for source in (f"folder:{tmp_path / 'other'}", f"csv:{table}"):
        values = json.loads(invoke("evaluate", run, "--data", source, "--json").stdout)
        assert (values["n"], values["split"]) == (60, "test")
    assert "data.label_column=NAME is needed" in refused("evaluate", run, "--data", f"csv:{base / 'list.csv'}")


def test_a_table_with_groups_beside_its_recipe(base: Path, tmp_path: Path) -> None:
    (base / "mine.toml").write_text(
        'name = "mine"\nseed = 0\n[data]\nsource = "csv:list.csv"\nlabel_column = "dx"\ngroups = "patient"\n'
        '[model]\narch = "convnet"\n[method]\nname = "cross_entropy"\n[train]\nepochs = 1\nbatch_size = 16\nlr = 0.01\n'
        "[probe]\nepochs = 1\n"
    )
    result = invoke("train", base / "mine.toml", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    values = json.loads(invoke("evaluate", tmp_path / "mine", "--json").stdout)
    assert values["n"] == 12
    changed = refused("train", base / "mine.toml", "data.groups=patients.csv", "--out", tmp_path, "name=mine")
    assert "data.groups was 'patient'" in changed


def test_predictions_of_a_folder_and_a_pattern_in_a_file(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, out = base / "runs" / "run", tmp_path / "p.csv"
    everything = json.loads(invoke("predict", run, base / "photos", "--json").stdout)["predictions"]
    assert [row["image"] for row in everything] == sorted(map(str, base.glob("photos/*/*.png")))
    result = invoke("predict", run, base / "photos", "--out", out)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "1 .txt" in caplog.text
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    for row, expected in zip(rows, everything, strict=True):
        first, second, _ = expected["classes"]
        assert (row["image"], row["class"], int(row["index"])) == (expected["image"], first["class"], first["index"])
        assert (float(row["probability"]), row["class_2"]) == (first["probability"], second["class"])
    shares = [[float(row[name]) for name in ("probability", "probability_2", "probability_3")] for row in rows]
    np.testing.assert_allclose(np.sum(shares, 1), 1, atol=1e-6)
    pattern = base / "photos" / "class[01]" / "*.png"
    assert invoke("predict", run, pattern, "--out", tmp_path / "p.jsonl").exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert lines == [row for row in everything if "class2" not in row["image"]]
    deep = json.loads(invoke("predict", run, base / "**" / "0?.*", base / "photos" / "class1*", "--json").stdout)
    assert len(deep["predictions"]) == 10 + 20


def test_mistakes_of_predict(base: Path, tmp_path: Path) -> None:
    run, photo = base / "runs" / "run", base / "photos" / "class0" / "00.png"
    assert "--out p.txt is not right; a .csv or .jsonl file is" in refused("predict", run, photo, "--out", "p.txt")
    assert "there is no folder" in refused("predict", run, photo, "--out", tmp_path / "no" / "p.csv")
    assert "no image file matches" in refused("predict", run, base / "*.jpg")
    (tmp_path / "bad.png").write_text("no image")
    assert "not a readable image" in refused("predict", run, photo, tmp_path / "bad.png", "--out", tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()
