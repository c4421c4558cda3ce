import json
import signal

import numpy as np
import pytest
import torch

import supcrd
from supcrd import recipe as recipes
from supcrd.errors import DataError, RecipeError, RunError, SupcrdError
from supcrd.jobs import assess
from supcrd.jobs import run as pipeline
from supcrd.jobs import student as stages
from supcrd.models import Model
from supcrd.models.weights import load_model as read_model
from supcrd.models.weights import load_state, save_model
from supcrd.recipe import load
from supcrd.runs.folder import RunFolder
from supcrd.runs.opening import locked
from typed import objective_of

SMALL = [name for name in recipes.builtin_names() if not name.startswith(("imagenet-", "inat2021-"))]
"""The others: test_recipes_at_scale.py."""


@pytest.mark.parametrize("name", SMALL)
def test_every_builtin_recipe_takes_two_steps(name, npz, tmp_path):
    """16 images in batches of 8: two steps. The networks are the recipe's own, unless that would take minutes."""
    changes = [f"data.source=npz:{npz}", "train.epochs=1", "train.batch_size=8", "data.limit=16", "probe.epochs=1"]
    if load(name).head.epochs:
        changes += ["head.epochs=1"]
    if load(name).teacher:
        changes += [f"teacher.override.{c}" for c in ("train.epochs=1", "train.batch_size=8", "head.epochs=1")]
        changes += ["teacher.override.model.arch=convnet"]
    result = pipeline.run(load(name, changes), tmp_path)
    state = load_state(result.folder / "checkpoint.pt")["optimizer"]["state"][0]
    assert "momentum_buffer" in state or state["step"] == 2  # SGD does not count
    e = result.evaluation
    assert e["n"] == 16
    assert e["split"] == "test"
    assert e["projection_trained"] == (name != "cifar100-undistilled")
    assert (e["teacher_agreement"] is None) == (not recipes.needs_teacher(load(name)))


def run_quick(name, quick, quick_teacher, out, *more):
    return pipeline.run(load(name, [*quick, *quick_teacher, *more]), out)


def test_a_run_folder_holds_what_it_says(tmp_path, quick, quick_teacher):
    result = run_quick("digits-lw-supcrd", quick, quick_teacher, tmp_path)
    files = {path.name for path in result.folder.iterdir()}
    assert files == {
        "recipe.toml", "environment.json", "metrics.jsonl", "checkpoint.pt", "model.safetensors", "model.json",
        "evaluation.json", "outputs.npz", "pictures.npz",
    }  # fmt: skip
    assert result.teacher.parent == result.folder.parent
    assert json.loads((result.folder / "evaluation.json").read_text()) == {"version": 2} | result.evaluation
    rows = [json.loads(line) for line in (result.folder / "metrics.jsonl").open()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[0]["loss"] == pytest.approx(rows[0]["lw_supcrd"] + rows[0]["probe"], rel=1e-6)
    assert "validation_accuracy" in rows[0]
    out = np.load(result.folder / "outputs.npz")
    assert out["labels"].shape == (30,)
    assert out["logits"].shape == (30, 3)
    assert out["projections"].shape == (30, 64)
    assert (out["logits"].argmax(1) == out["labels"]).mean() == pytest.approx(result.evaluation["accuracy"])


def test_a_finished_run_is_not_touched_and_force_starts_it_over(tmp_path, quick, quick_teacher):
    first = run_quick("digits-crd", quick, quick_teacher, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    again = run_quick("digits-crd", quick, quick_teacher, tmp_path)
    assert again.status == "already finished"
    assert again.evaluation == first.evaluation
    assert again.teacher == first.teacher
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before

    (first.folder / "mine.txt").write_text("kept")
    forced = pipeline.run(load("digits-crd", [*quick, *quick_teacher]), tmp_path, force=True)
    assert forced.status == "trained"
    assert (first.folder / "mine.txt").exists()
    assert before[first.teacher / "checkpoint.pt"] == (first.teacher / "checkpoint.pt").stat().st_mtime_ns
    assert forced.evaluation["accuracy"] == first.evaluation["accuracy"]  # the same seed gives the same run


def test_students_share_a_teacher_that_none_of_them_changes(tmp_path, quick, quick_teacher):
    first = run_quick("digits-crd", quick, quick_teacher, tmp_path)
    weights = (first.teacher / "model.safetensors").read_bytes()
    second = run_quick("digits-lw-supcrd", quick, quick_teacher, tmp_path, "seed=3")
    assert second.teacher == first.teacher
    assert (first.teacher / "model.safetensors").read_bytes() == weights
    # joint training moved each student's own copy of the head
    teacher = read_model(first.teacher)[0].projector.state_dict()
    copies = [load_state(r.folder / "checkpoint.pt")["task"] for r in (first, second)]
    for key, tensor in teacher.items():
        moved = [copy[f"heads.teacher.{key}"] for copy in copies]
        assert not torch.equal(moved[0], tensor)
        assert not torch.equal(moved[0], moved[1])


def test_joint_false_keeps_the_head(tmp_path, quick, quick_teacher):
    result = run_quick("digits-crd", quick, quick_teacher, tmp_path, "teacher.joint=false")
    teacher = read_model(result.teacher)[0].projector.state_dict()
    task = load_state(result.folder / "checkpoint.pt")["task"]
    assert all(torch.equal(task[f"heads.teacher.{key}"], tensor) for key, tensor in teacher.items())


def test_the_contrastive_probe_teaches_the_encoder_nothing(tmp_path, quick):
    """Same run with the classifier's learning switched off by its own detached input: encoder weights agree."""
    from supcrd.data.loader import Batch
    from supcrd.training.task import Distillation, Normalised

    recipe = load("digits-supcon", quick)
    torch.manual_seed(0)
    model = Model(3, "convnet", image_size=8)
    task = Distillation(Normalised(model, (0.5,) * 3, (0.5,) * 3), objective_of(recipe.method, model, torch.arange(3)))
    step = task(Batch(torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2] * 2), torch.arange(3)))
    step.terms["probe"].backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert model.classifier.weight.grad is not None


def test_a_checkpoint_as_teacher(tmp_path, quick):
    torch.manual_seed(0)
    torch.save(Model(3, "convnet", image_size=8).state_dict(), tmp_path / "published.pth")
    path = tmp_path / "student.toml"
    text = recipes.builtin_text("digits-crd").replace(
        'recipe = "digits-teacher"', f'checkpoint = "{tmp_path}/published.pth"'
    )
    path.write_text(text)
    quick = [*quick, "teacher.check=false"]  # its weights are random
    first = pipeline.run(load(path, quick), tmp_path / "runs")
    assert first.teacher.name.startswith("teacher-published-")
    own = RunFolder(first.teacher).evaluation
    assert (own["method"], own["split"], own["n"]) == ("imported", "test", 30)
    source = load(path, quick).data.source
    assert own["accuracy"] == assess.evaluate_file(first.teacher, source)["accuracy"]
    assert first.evaluation["teacher_agreement"] is not None
    second = pipeline.run(load(path, [*quick, "seed=1"]), tmp_path / "runs")
    assert second.teacher == first.teacher
    with pytest.raises(RecipeError, match=r"got teacher.recipe and teacher.checkpoint"):
        load(path, [*quick, "teacher.recipe=digits-teacher"])


def test_a_run_as_teacher(tmp_path, quick, quick_teacher):
    first = run_quick("digits-crd", quick, quick_teacher, tmp_path)
    path = tmp_path / "student.toml"
    path.write_text(recipes.builtin_text("digits-kd").replace('recipe = "digits-teacher"', f'run = "{first.folder}"'))
    assert pipeline.run(load(path, quick), tmp_path).teacher == first.folder
    path.write_text(path.read_text().replace(str(first.folder), str(tmp_path)))
    with pytest.raises(RunError, match=r"is no run folder: it has no recipe.toml"):
        pipeline.run(load(path, [*quick, "seed=1"]), tmp_path)


def test_a_teacher_that_does_not_fit_is_refused(tmp_path, quick):
    path = tmp_path / "student.toml"
    torch.save(Model(7, "convnet", image_size=8).state_dict(), tmp_path / "seven.pth")
    text = recipes.builtin_text("digits-crd")
    path.write_text(text.replace('recipe = "digits-teacher"', f'checkpoint = "{tmp_path}/seven.pth"'))
    with pytest.raises(DataError, match=r"tiny\.npz has 3 classes, the teacher seven knows 7"):
        pipeline.run(load(path, quick), tmp_path / "runs")
    torch.save(Model(3, "convnet", image_size=8, projector=(32,)).state_dict(), tmp_path / "narrow.pth")
    path.write_text(text.replace('recipe = "digits-teacher"', f'checkpoint = "{tmp_path}/narrow.pth"'))
    with pytest.raises(RecipeError, match=r"model.projector ends in 64 dimensions, the teacher's in 32"):
        pipeline.run(load(path, [*quick, "name=narrow"]), tmp_path / "runs")
    assert not (tmp_path / "runs" / "narrow").exists()


def test_a_head_that_was_not_trained_is_refused(tmp_path, quick, quick_teacher):
    changes = [*quick, *quick_teacher, "teacher.override.head.epochs=0"]
    with pytest.raises(RecipeError, match="has no trained projection head, which crd reads"):
        pipeline.run(load("digits-crd", changes), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()  # nor is the teacher trained
    kd = pipeline.run(load("digits-kd", changes), tmp_path)  # reads logits only
    assert kd.status == "trained"


def test_an_edited_recipe_is_refused_with_the_difference(tmp_path, quick, quick_teacher):
    run_quick("digits-crd", quick, quick_teacher, tmp_path, "name=mine")
    with pytest.raises(RunError, match=r"method.temperature was 0.07, is 0.1; give another name"):
        run_quick("digits-crd", quick, quick_teacher, tmp_path, "name=mine", "method.temperature=0.1")


def test_folders_that_cannot_be_used(tmp_path, quick, quick_teacher):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot be written: Not a directory"):
        run_quick("digits-supcon", quick, quick_teacher, tmp_path / "file")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match="is no run folder"):
        run_quick("digits-supcon", quick, quick_teacher, tmp_path, "name=mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_impossible_settings_write_nothing(tmp_path, quick, quick_teacher):
    for change, said in (
        ("data.mean=[0.5]\ndata.std=[0.5]", "data.mean has 1 channels, the images of npz:"),
        ("model.arch=timm:vit_tiny_patch16_224\nmodel.projector=[0]", "model.projector"),
        ("train.device=cuda:99", "this machine has"),
    ):
        with pytest.raises(SupcrdError, match=said):
            run_quick("digits-crd", quick, quick_teacher, tmp_path / "runs", *change.split("\n"))
    assert not (tmp_path / "runs").exists()


def test_load_model_needs_nothing_but_the_file(tmp_path, quick, quick_teacher):
    result = run_quick("digits-cross-entropy", quick, quick_teacher, tmp_path)
    alone = tmp_path / "elsewhere.safetensors"
    alone.write_bytes((result.folder / "model.safetensors").read_bytes())
    images = torch.rand(2, 3, 8, 8)
    model, again = supcrd.load_model(result.folder), supcrd.load_model(alone)
    assert not model.training
    assert all(torch.equal(a, b) for a, b in zip(model(images), again(images), strict=True))
    assert again.card.class_names == ("0", "1", "2")
    assert len(again.card.mean) == 3
    assert again.card.recipe["method"]["name"] == "cross_entropy"


def test_an_untrained_head_keeps_its_own_weights(tmp_path):
    """Projections of a saved model are its own also where its head was never trained (cifar100-undistilled)."""
    torch.manual_seed(5)
    model = Model(3, "convnet", image_size=8).eval()
    card = stages.describe(model, projection_trained=False)
    save_model(tmp_path, model, card)
    again, read = read_model(tmp_path)
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(model(images).projections, again(images).projections)
    assert read.projection_trained is False


def test_a_run_folder_belongs_to_one_process_at_a_time(tmp_path, quick, quick_teacher):
    recipe = load("digits-supcon", [*quick, *quick_teacher])
    with locked(tmp_path / recipe.name), pytest.raises(RunError, match="another process works in"):
        pipeline.run(recipe, tmp_path)
    leftover = tmp_path / recipe.name / ".checkpoint.pt.123.tmp"
    leftover.write_text("half")
    assert pipeline.run(recipe, tmp_path).status == "trained"
    assert not leftover.exists()


def test_a_run_cannot_teach_itself(tmp_path, quick, quick_teacher):
    first = run_quick("digits-crd", quick, quick_teacher, tmp_path, "name=mine")
    path = tmp_path / "student.toml"
    path.write_text(recipes.builtin_text("digits-kd").replace('recipe = "digits-teacher"', f'run = "{first.folder}"'))
    before = (first.folder / "checkpoint.pt").read_bytes()
    with pytest.raises(RecipeError, match="is the folder of the run itself"):
        pipeline.run(load(path, [*quick, "name=mine"]), tmp_path, force=True)
    assert (first.folder / "checkpoint.pt").read_bytes() == before


def test_a_head_cut_short_goes_on_bit_identically(tmp_path, quick, quick_teacher, monkeypatch):
    recipe = load("digits-cross-entropy", [*quick, *quick_teacher, "head.epochs=6"])
    whole = pipeline.run(recipe, tmp_path / "whole")
    seen = []

    def report(run, stage, progress):
        if run == recipe.name and stage == "head":
            seen.append(progress.epoch)
            if progress.epoch == 3:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        pipeline.run(recipe, tmp_path / "cut", report=report)
    folder = tmp_path / "cut" / recipe.name
    assert (folder / "head.pt").exists()
    assert not (folder / "model.safetensors").exists()
    seen.clear()
    resumed = pipeline.run(
        recipe, tmp_path / "cut", report=lambda run, stage, p: stage == "head" and seen.append(p.epoch)
    )
    assert min(seen) == 4
    assert not (folder / "head.pt").exists()
    weights = [read_model(r.folder)[0].state_dict() for r in (whole, resumed)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_runs_may_be_moved(tmp_path, quick, quick_teacher):
    first = run_quick("digits-crd", quick, quick_teacher, tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    again = run_quick("digits-crd", quick, quick_teacher, tmp_path / "there")
    assert again.status == "already finished"
    assert again.teacher == tmp_path / "there" / first.teacher.name


def test_clipping_treats_encoder_and_probe_apart(npz):
    """With clipping, the probe's gradient, however large, leaves the encoder's step as it is."""
    from supcrd.base.device import choose
    from supcrd.data.loader import ViewBatches
    from supcrd.recipe.settings import FitSettings
    from supcrd.training.fit import fit
    from supcrd.training.task import Distillation, Normalised

    recipe = load("digits-supcon", [f"data.source=npz:{npz}"])
    images = pipeline.load_data(recipe)
    steps = []
    for scale in (1.0, 1000.0):
        torch.manual_seed(0)
        model = Model(3, "convnet", image_size=8)
        model.classifier.weight.data.mul_(scale)
        objective = objective_of(recipe.method, model, torch.arange(3))
        task = Distillation(Normalised(model, (0.5,) * 3, (0.5,) * 3), objective)
        batches = ViewBatches(images.train, recipe.augment, batch_size=16, seed=0, device=torch.device("cpu"))
        settings = FitSettings(epochs=1, batch_size=16, optimizer="sgd", lr=0.1, grad_clip=0.01)
        fit(task, batches, settings, seed=0, place=choose("cpu", "float32"))
        steps.append(model.encoder.state_dict())
    assert all(torch.equal(steps[0][key], steps[1][key]) for key in steps[0])


def test_a_student_belongs_to_its_teachers_weights(tmp_path, quick, monkeypatch):
    path = tmp_path / "student.toml"
    line = f'checkpoint = "{tmp_path}/published.pth"'
    path.write_text(recipes.builtin_text("digits-kd").replace('recipe = "digits-teacher"', line))

    def publish(seed):
        torch.manual_seed(seed)
        torch.save(Model(3, "convnet", image_size=8).state_dict(), tmp_path / "published.pth")

    def interrupt(run, stage, progress):
        if stage == "train" and progress.epoch == 1:
            signal.raise_signal(signal.SIGINT)

    publish(0)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(load(path, quick), tmp_path, report=interrupt)
    before = (tmp_path / load(path, quick).name / "checkpoint.pt").read_bytes()
    publish(1)
    with pytest.raises(RunError, match="was begun with another teacher"):
        pipeline.run(load(path, quick), tmp_path)
    assert (tmp_path / load(path, quick).name / "checkpoint.pt").read_bytes() == before
    publish(0)
    assert pipeline.run(load(path, quick), tmp_path).status == "resumed"


def test_a_finished_student_notices_that_its_teachers_recipe_changed(tmp_path, quick):
    text = recipes.builtin_text("digits-teacher").replace("epochs = 20", "epochs = 1").replace("resnet8x4", "convnet")
    (tmp_path / "t.toml").write_text(text)
    path = tmp_path / "student.toml"
    path.write_text(recipes.builtin_text("digits-kd").replace('"digits-teacher"', f'"{tmp_path}/t.toml"'))
    pipeline.run(load(path, quick), tmp_path / "runs")
    assert pipeline.run(load(path, quick), tmp_path / "runs").status == "already finished"
    (tmp_path / "t.toml").write_text(text.replace("epochs = 1", "epochs = 2"))
    with pytest.raises(RunError, match=r"train.epochs was 1, is 2"):
        pipeline.run(load(path, quick), tmp_path / "runs")
