"""`supcrd benchmark` from pairs to tables, on tiny images."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy import stats

from supcrd import recipe as recipes
from supcrd.benchmark import check
from supcrd.runs.folder import RunFolder
from supcrd.training.task import Distillation
from typed import DIVERGES, contents, images, invoke, refused

SMALL = ["train.batch_size=8", "train.lr=0.01", "probe.epochs=1", "augment.crop_padding=1", "train.precision=float32"]
TEACHER = ["teacher:head.epochs=1", "teacher:train.epochs=6"]
NAMES = ["cross_entropy", "cross_entropy-strong", "cross_entropy-cutmix", "kd"]


def command(npz, out, *more, pair="convnet:convnet", methods="rkd,crd", seeds=2, changes=(*SMALL, *TEACHER)):
    words = ["benchmark", pair, "--methods", methods, "--view-epochs", "4", "--seeds", seeds, "--data", f"npz:{npz}"]
    return [*words, "--out", out, *(part for change in changes for part in ("--set", change)), *more]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished benchmark: its data, its folder and what it printed."""
    folder = tmp_path_factory.mktemp("done")
    data = write(folder / "tiny.npz")
    shown = invoke(*command(data, folder / "runs"))
    assert shown.exit_code == 0, shown.output
    return data, folder / "runs", shown


def write(path, train=48, names=("red", "green", "blue"), order=(0, 1, 2)):
    """Images of three classes, a little brighter in one channel, the classes under these names."""
    arrays = {"class_names": [names[place] for place in order]}
    for split, count in (("train", train), ("val", 24), ("test", 30)):
        pixels, labels = images(count)
        pixels[np.arange(count), :, :, labels] -= 130
        arrays |= {f"{split}_images": pixels, f"{split}_labels": np.argsort(order)[labels]}
    np.savez(path, **arrays)
    return path


def folder_of(out, name, seed):
    return RunFolder(out / f"convnet-convnet_{name}{f'_seed={seed}' if seed else ''}")


def test_numbers_are_those_of_the_run_folders(done):
    _, out, _ = done
    document = json.loads((out / "benchmark.json").read_text())
    (found,) = document["pairs"]
    assert list(found["rows"]) == [*NAMES, "rkd", "crd"]
    last, selected = {}, {}
    for name in found["rows"]:
        outputs = [folder_of(out, name, seed).outputs() for seed in (0, 1)]
        last[name] = np.array([np.mean(o["logits"].argmax(axis=1) == o["labels"]) for o in outputs])
        selected[name] = np.array([folder_of(out, name, seed).evaluation["accuracy_at_best"] for seed in (0, 1)])
    table = np.array(list(last.values()))  # methods x seeds: the noise of all, by the textbook's formula
    rest = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    freedom = len(table) - 1
    for name, row in found["rows"].items():
        for key, values in (("last", last[name]), ("selected", selected[name])):
            assert row[key]["mean"] == pytest.approx(values.mean(), abs=1e-9)
            assert row[key]["std"] == pytest.approx(values.std(ddof=1), abs=1e-9)
            if values.std() > 0:
                interval = stats.t.interval(0.95, 1, loc=values.mean(), scale=stats.sem(values))
                assert (row[key]["low"], row[key]["high"]) == pytest.approx(interval, abs=1e-9)
        gain = row["selected_less_last"]["mean"]
        assert gain == pytest.approx((selected[name] - last[name]).mean(), abs=1e-9)
        for baseline in {"kd", "cross_entropy"} - {name}:
            difference = row["differences"][baseline]["last"]
            assert difference["mean"] == pytest.approx((last[name] - last[baseline]).mean(), abs=1e-9)
            t = abs(difference["mean"]) / np.sqrt((rest**2).sum() / freedom)
            assert difference["p"] == pytest.approx(2 * stats.t.sf(t, freedom))
        assert row["n"] == 2
        assert row["extra_parameters"] == 0
        assert [run["seed"] for run in row["runs"]] == [0, 1]
        times = [folder_of(out, name, seed).evaluation["train_seconds"] for seed in (0, 1)]
        assert row["seconds"]["mean"] == pytest.approx(np.mean(times))
    assert document["images"]["train"] == 48
    assert (document["view_epochs"], document["planned"]) == (4, 12)


def test_every_run_has_the_same_view_epochs(done):
    _, out, _ = done
    students = [run for run in out.iterdir() if run.is_dir() and run.name.startswith("convnet-convnet_")]
    assert len(students) == 12
    for folder in students:
        recipe = recipes.parse((folder / "recipe.toml").read_text(), "test")
        assert recipe.train.epochs * recipe.view_count == 4
        assert RunFolder(folder).evaluation["epochs"] == recipe.train.epochs
        assert recipe.classifier == "trained"
        assert (recipe.train.optimizer, recipe.train.weight_decay) == ("sgd", 5e-4)
        assert recipe.train.batch_size == 8  # by --set
    assert RunFolder(out / "teacher-convnet").evaluation["epochs"] == 6


def test_tables_in_the_file_and_on_the_terminal(done):
    _, out, shown = done
    page = (out / "benchmark.md").read_text()
    for name in [*NAMES, "rkd", "crd"]:
        assert f"| {name} | 2 |" in page
        assert f"{name} " in shown.stdout
    assert "12 of 12 runs finished" in page
    assert "48 training images (24 held out), 30 test images" in page
    assert "two views an image or more, and so fewer epochs: crd" in page
    assert "published" not in page.partition("## Columns")[0].partition("## convnet")[2].replace("published % (", "")
    assert "teacher-convnet is trained first: about 0:0" in shown.stderr


def test_again_trains_nothing_and_more_is_added(done, monkeypatch):
    data, out, _ = done
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/model.safetensors")}
    monkeypatch.setattr(check, "time_epoch", None)  # nothing is timed either
    again = json.loads(invoke(*command(data, out), "--json").stdout)
    assert again["pairs"] == json.loads((out / "benchmark.json").read_text())["pairs"]
    more = json.loads(invoke(*command(data, out, methods="rkd,crd,cc"), "--json").stdout)
    assert more["pairs"][0]["rows"]["cc"]["n"] == 2
    assert more["pairs"][0]["rows"]["rkd"]["n"] == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_other_settings_in_the_same_folder_are_refused(done):
    data, out, _ = done
    before = contents(out)
    line = refused(*command(data, out, "--set", "train.lr=0.02"))
    assert "holds a run of another recipe: train.lr was 0.01, is 0.02" in line
    assert "give another --out" in line
    assert contents(out) == before


def test_compare_and_report_read_its_runs(done, tmp_path, no_figures):
    _, out, _ = done
    compared = invoke("compare", out, "--baseline", "convnet-convnet_kd")
    assert compared.exit_code == 0, compared.output
    assert "convnet-convnet_crd" in compared.stdout.replace("\n", "")
    assert invoke("report", out, "--out", tmp_path / "report.html").exit_code == 0


def test_killed_and_gone_on_it_gives_the_same(done, tmp_path):
    """By SIGKILL, in a process of its own: nothing is there to write a last word."""
    data, whole, _ = done
    out = tmp_path / "runs"
    words = [str(word) for word in command(data, out)]
    process = subprocess.Popen([sys.executable, "-m", "supcrd", *words], stderr=subprocess.DEVNULL)
    seen = time.monotonic()
    while not (out / "teacher-convnet" / "evaluation.json").exists() and process.poll() is None:
        assert time.monotonic() - seen < 120
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = {path.parent.name for path in out.glob("*/evaluation.json")}
    assert finished
    assert len(finished) < 13
    partly = json.loads((out / "benchmark.json").read_text())  # what there was so far
    assert 0 < sum(row["n"] for row in partly["pairs"][0]["rows"].values()) < 12
    assert invoke(*words).exit_code == 0
    rows = [json.loads((one / "benchmark.json").read_text())["pairs"][0]["rows"] for one in (out, whole)]
    for name, row in rows[0].items():
        for key in ("last", "selected", "probe"):
            assert row[key] == rows[1][name][key], name


def test_a_cut_run_goes_on(done, tmp_path, monkeypatch):
    data, whole, _ = done
    calls, real = [], Distillation.forward

    def forward(self, batch):
        calls.append(batch)
        if len(calls) == 20:
            signal.raise_signal(signal.SIGINT)
        return real(self, batch)

    monkeypatch.setattr(Distillation, "forward", forward)
    assert invoke(*command(data, tmp_path)).exit_code == 130
    monkeypatch.setattr(Distillation, "forward", real)
    shown = invoke(*command(data, tmp_path))
    assert shown.exit_code == 0
    for seed in (0, 1):
        for name in [*NAMES, "rkd", "crd"]:
            ours, theirs = (folder_of(out, name, seed).outputs()["logits"] for out in (tmp_path, whole))
            assert np.array_equal(ours, theirs)


def test_a_method_that_fails_stops_no_other_and_is_named(npz, tmp_path):
    fails = [part for change in DIVERGES for part in ("--set", f"rkd:{change}")]
    shown = invoke(*command(npz, tmp_path / "runs", *fails, methods="rkd,cc", seeds=1))
    assert shown.exit_code == 2
    error = shown.stderr.splitlines()[-1]
    assert error.startswith("error: 1 of 6 runs failed: convnet-convnet_rkd failed: ")
    document = json.loads((tmp_path / "runs" / "benchmark.json").read_text())
    rows = document["pairs"][0]["rows"]
    assert {name: row["n"] for name, row in rows.items()} == dict.fromkeys([*NAMES, "cc"], 1) | {"rkd": 0}
    assert rows["rkd"]["last"]["mean"] is None
    (failed,) = rows["rkd"]["failed"]
    assert (failed["run"], failed["status"]) == ("convnet-convnet_rkd", "failed")
    page = (tmp_path / "runs" / "benchmark.md").read_text()
    assert "| rkd ! | 0 | - |" in page
    assert f"rkd: convnet-convnet_rkd failed: {failed['reason']}" in page


def test_a_method_that_a_pair_cannot_have(npz, tmp_path):
    """Asked for, it is refused before any work, with those that can; of all methods, it is left out."""
    line = refused(*command(npz, tmp_path / "runs", methods="simkd,rkd"))
    assert "convnet:convnet: simkd cannot run: model.arch: arch 'convnet+128': it has no map" in line
    assert line.endswith("these can: cross_entropy, cross_entropy-strong, cross_entropy-cutmix, kd, rkd")
    many = ["--set", "crd_nce:method.negatives=99999"]  # the published number is lowered, one that is asked for is not
    line = refused(*command(npz, tmp_path / "runs", *many, methods="crd_nce"))
    assert "crd_nce cannot run: objective.crd_nce: negatives = 99999: there are" in line
    assert not (tmp_path / "runs").exists()
    shown = invoke(*command(npz, tmp_path / "runs", "--dry-run", methods="all", seeds=1))
    assert shown.exit_code == 0
    assert "convnet:convnet: simkd is left out: model.arch: arch 'convnet+128': it has no map" in shown.stderr
    assert "convnet-convnet_simkd" not in shown.stdout
    assert "convnet-convnet_review" in shown.stdout.replace("\n", "")
    assert not (tmp_path / "runs").exists()


def test_workers_and_a_teacher_of_another_file(done, tmp_path):
    """Half of the images, the classes in another order: they are matched by name, and it is said."""
    _, whole, _ = done
    part = write(tmp_path / "part.npz", train=24, order=(2, 0, 1))
    given = ["--teacher", whole / "teacher-convnet"]
    shown = invoke(*command(part, tmp_path / "runs", *given, methods="cc", seeds=1, changes=SMALL))
    assert shown.exit_code == 0, shown.output
    found = json.loads((tmp_path / "runs" / "benchmark.json").read_text())["pairs"][0]
    own = RunFolder(whole / "teacher-convnet").evaluation
    assert found["teacher"]["run"] == "teacher-convnet"
    assert found["teacher"]["accuracy"] == own["accuracy"]
    assert found["teacher"]["tried"] == pytest.approx(own["validation_accuracy"], abs=0.2)
    assert not found["teacher"]["same_data"]
    page = (tmp_path / "runs" / "benchmark.md").read_text()
    assert "24 training images (24 held out)" in page
    assert "it may have learnt from the students' validation images" in page
    strange = write(tmp_path / "strange.npz", names=("red", "green", "violet"))
    line = refused(*command(strange, tmp_path / "other", *given, changes=SMALL))
    assert "has 'violet' among its 3 classes, which the teacher" in line
    assert not (tmp_path / "other").exists()


def test_without_validation_images_there_is_no_selected_epoch(npz, tmp_path):
    shown = invoke(*command(npz, tmp_path, methods="cc", seeds=1, changes=[*SMALL, *TEACHER, "data.validation=0"]))
    assert shown.exit_code == 0, shown.output
    rows = json.loads((tmp_path / "benchmark.json").read_text())["pairs"][0]["rows"]
    assert {row["selected"]["n"] for row in rows.values()} == {0}
    assert {row["last"]["n"] for row in rows.values()} == {1}
    assert "60 training images (none held out, so no epoch is selected)" in (tmp_path / "benchmark.md").read_text()


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--devices", "cuda:77"], "cuda:77"),
        (["--workers", 0], "workers = 0 is not 1 or more"),
        (["--data", "npz:nowhere.npz"], "nowhere.npz"),
    ],
)
def test_what_is_refused_before_anything_is_written(more, line, npz, tmp_path):
    assert line in refused(*command(npz, tmp_path / "runs", *more, methods="cc", seeds=1))
    assert not (tmp_path / "runs").exists()


def test_data_without_a_test_split(npz, tmp_path):
    arrays = dict(np.load(npz))
    np.savez(tmp_path / "half.npz", **{name: array for name, array in arrays.items() if not name.startswith("test")})
    line = refused(*command(tmp_path / "half.npz", tmp_path / "runs", methods="cc"))
    assert "has no test images; a benchmark trains, and reports a test split" in line


def test_weights_as_a_teacher(done, tmp_path):
    data, whole, _ = done
    weights = whole / "teacher-convnet" / "model.safetensors"
    shown = invoke(*command(data, tmp_path, "--teacher", f"convnet={weights}", methods="cc", seeds=1, changes=SMALL))
    assert shown.exit_code == 0, shown.output
    assert json.loads((tmp_path / "benchmark.json").read_text())["pairs"][0]["rows"]["cc"]["n"] == 1
    line = refused(*command(data, tmp_path / "c", "--teacher", weights))
    assert "--set teacher:head.epochs=1: no teacher is trained here" in line
    line = refused(*command(data, tmp_path / "b", "--teacher", weights, pair="resnet8:convnet", changes=SMALL))
    assert "arch is 'resnet8', but the file's is 'convnet'" in line
