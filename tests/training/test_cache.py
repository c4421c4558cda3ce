"""The teacher's kept features: right, shared, resumable, never stale; `teacher.cache` through the command line."""

import dataclasses
import json
import shutil
import threading
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from supcrd import data
from supcrd.base import device
from supcrd.base.files import fingerprint
from supcrd.data.augment import augment, draw
from supcrd.data.loader import ViewBatches
from supcrd.errors import RunError
from supcrd.jobs import measure as measuring
from supcrd.jobs.taught import Teacher, Tried
from supcrd.models import Model, Output
from supcrd.models.frozen import frozen_encoder
from supcrd.models.weights import load_model
from supcrd.recipe import load
from supcrd.recipe.settings import AugmentSettings
from supcrd.training import cache
from supcrd.training.task import Distillation, Normalised
from supcrd.training.teacher import Teaching
from typed import invoke, objective_of, refused, student

TRIED = Tried(1.0, "validation", 3, 0.3)

AUGMENT = AugmentSettings()
PLACE = device.choose("cpu", "float32")


@pytest.fixture
def images():
    return data.load("digits", limit=50)


@pytest.fixture
def subject():
    torch.manual_seed(0)
    model = Model(10, "resnet8", in_channels=1, image_size=8)
    for module in model.modules():  # statistics as after a training, so that folding them in changes something
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return Normalised(model.eval(), (0.3,), (0.4,))


def made(folder: Path, subject: Normalised, images: data.ImageSet, epochs: int = 2, **changes) -> cache.FeatureCache:
    values = {"weights": "w", "augment": AUGMENT} | changes
    weights, settings = values.pop("weights"), values.pop("augment")
    return cache.prepare(
        folder, weights, subject, images.train, images.fingerprint, settings, epochs, PLACE, batch_size=16, **values
    )


def test_features_are_those_the_teacher_gives_for_the_views_of_the_batch(tmp_path, subject, images) -> None:
    kept = made(tmp_path, subject, images, epochs=3)
    batches = ViewBatches(images.train, AUGMENT, batch_size=20, seed=7, device=PLACE.device, taught={"teacher": kept})
    for epoch in (0, 2, 4):
        for batch in batches.epoch(epoch):
            with torch.no_grad():
                wanted = subject.model.encoder(subject.prepare(batch.inputs))
            # half precision keeps 11 bits
            torch.testing.assert_close(batch.taught["teacher"].float(), wanted, rtol=2**-10, atol=1e-3)


def test_views_come_in_turn_and_do_not_depend_on_the_runs_seed(tmp_path, subject, images) -> None:
    kept = {"teacher": made(tmp_path, subject, images)}
    split = images.train
    of = {
        (seed, epoch): {
            int(i): view
            for batch in ViewBatches(split, AUGMENT, batch_size=9, seed=seed, device=PLACE.device, taught=kept).epoch(
                epoch
            )
            for i, view in zip(batch.indices.repeat(2), batch.inputs, strict=True)
        }
        for seed in (1, 2)
        for epoch in (0, 1, 2)
    }
    assert all(torch.equal(of[1, 0][i], of[1, 2][i]) and torch.equal(of[1, 0][i], of[2, 0][i]) for i in of[1, 0])
    assert not all(torch.equal(of[1, 0][i], of[1, 1][i]) for i in of[1, 0])
    # by hand, the second view of image 5 in epoch 1
    parameters = draw(len(split), seed=cache.SEED, epoch=1, view=1).take(torch.tensor([5]))
    assert torch.equal(augment(split.images[5:6], parameters, padding=4)[0], of[2, 1][5])


def test_a_second_wish_runs_no_teacher_and_more_epochs_only_add(tmp_path, subject, images, monkeypatch) -> None:
    first = made(tmp_path, subject, images)
    before = [file.read_bytes() for file in first.files]
    told = []
    longer = made(tmp_path, subject, images, epochs=3, report=told.append)
    assert longer.files[:2] == first.files
    assert [file.read_bytes() for file in first.files] == before
    assert {(p.epoch, p.epochs) for p in told} == {(2, 3), (3, 3)}, "two of the three were there"
    monkeypatch.setattr(cache, "frozen_encoder", lambda *a, **k: pytest.fail("the teacher was asked again"))
    assert made(tmp_path, subject, images, epochs=3) == longer


def test_every_part_of_the_key_makes_another_cache(tmp_path, subject, images) -> None:
    folder = made(tmp_path, subject, images, epochs=1).files[0].parent
    other = data.load("digits", limit=50, split_seed=1)
    assert made(tmp_path, subject, other, epochs=1).files[0].parent != folder
    changed = AUGMENT.model_copy(update={"brightness": 0.3})
    assert made(tmp_path, subject, images, epochs=1, augment=changed).files[0].parent != folder
    assert folder.is_dir(), "another sweep may use it"
    assert made(tmp_path, subject, images, epochs=1, weights="v").files[0].parent != folder
    assert not folder.exists(), "weights that are no more"


@pytest.mark.parametrize("left", [0, 3, 50, 128, 1000, 2001])
def test_what_a_killed_process_left_is_gone_on_with(tmp_path, subject, images, left) -> None:
    whole = made(tmp_path / "a", subject, images, epochs=1).files[0]
    other = tmp_path / "b" / whole.relative_to(tmp_path / "a")
    other.parent.mkdir(parents=True)
    other.with_suffix(".partial").write_bytes(whole.read_bytes()[:left])
    told = []
    again = made(tmp_path / "b", subject, images, epochs=1, report=told.append).files[0]
    assert again.read_bytes() == whole.read_bytes()
    rows_left = max(0, left - 128) // (2 * 2 * subject.model.feature_dim)
    assert told[0].step == min(rows_left + 16, len(images.train)), "rows that were whole are not made again"


def test_a_truncated_file_is_made_again(tmp_path, subject, images) -> None:
    (file,) = made(tmp_path, subject, images, epochs=1).files
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    made(tmp_path, subject, images, epochs=1)
    assert file.read_bytes() == whole


def test_a_damaged_beginning_is_made_again(tmp_path, subject, images) -> None:
    (file,) = made(tmp_path, subject, images, epochs=1).files
    whole = file.read_bytes()
    file.write_bytes(bytes(100) + whole[100:])
    made(tmp_path, subject, images, epochs=1)
    assert file.read_bytes() == whole


@pytest.mark.parametrize("left", [None, 50, 1000])
def test_a_file_that_goes_while_it_is_used_is_named(tmp_path, subject, images, left) -> None:
    kept = made(tmp_path, subject, images)
    kept.files[1].write_bytes(kept.files[1].read_bytes()[:left]) if left else kept.files[1].unlink()
    batches = ViewBatches(images.train, AUGMENT, batch_size=20, seed=7, device=PLACE.device, taught={"teacher": kept})
    with pytest.raises(RunError, match=r"epoch-001\.npy was removed or damaged while it was used; the same command"):
        list(batches.epoch(1))


def test_two_at_once_make_it_once(tmp_path, subject, images, monkeypatch) -> None:
    calls, make = [], frozen_encoder

    def counted(*arguments, **keys):
        calls.append(1)
        return make(*arguments, **keys)

    monkeypatch.setattr(cache, "frozen_encoder", counted)
    results: list[cache.FeatureCache] = []
    threads = [threading.Thread(target=lambda: results.append(made(tmp_path, subject, images))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1]
    assert np.load(results[0].files[1]).shape == (len(images.train), 2, subject.model.feature_dim)
    assert len(calls) <= 2, "the second finds nothing missing"
    assert not list(tmp_path.rglob("*.partial"))


def test_a_kill_while_a_cache_is_removed_leaves_nothing_for_ever(tmp_path, subject, images, monkeypatch) -> None:
    """As if killed after the file that says what the cache is of."""

    def killed(folder, ignore_errors):
        (folder / "cache.json").unlink()
        raise KeyboardInterrupt

    old = made(tmp_path, subject, images, weights="old")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path, subject, images)
    new = made(tmp_path, subject, images)
    assert list((tmp_path / "cache").iterdir()) == [new.files[0].parent]
    assert old.files[0].parent != new.files[0].parent


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path, subject, images, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, cache.MARGIN + 1000))
    with pytest.raises(
        RunError, match=r"teacher\.cache = 2 needs .* free, 268 MB of which .*; a smaller teacher\.cache, or 0"
    ):
        made(tmp_path, subject, images)
    assert not list(tmp_path.rglob("*.npy")) + list(tmp_path.rglob("*.partial"))


def test_a_feature_beyond_half_precision_is_refused(tmp_path, subject, images) -> None:
    last = [m for m in subject.model.encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)][-1]
    with torch.no_grad():
        last.weight.mul_(1e7)
    with pytest.raises(RunError, match="half precision ends at 65504"):
        made(tmp_path, subject, images)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, subject, images) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(RunError, match=r"teacher\.cache: .* cannot be written"):
        made(tmp_path, subject, images)


@pytest.mark.parametrize("method", ["kd", "crd", "lw_supcrd", "hybrid"])
def test_a_step_is_that_of_the_teacher_itself(tmp_path, subject, images, method) -> None:
    settings = load(f"digits-{method.replace('_', '-')}").method
    torch.manual_seed(1)
    pupil = Normalised(Model(10, "resnet8", in_channels=1, image_size=8), (0.3,), (0.4,))
    objective = objective_of(settings, pupil.model, images.train.labels, subject.model)
    task = Distillation(pupil, objective, {"teacher": Teaching(subject)})
    kept = {"teacher": made(tmp_path, subject, images, epochs=1)}
    batch = next(ViewBatches(images.train, AUGMENT, batch_size=20, seed=7, device=PLACE.device, taught=kept).epoch(0))
    gradients = []
    for each in (batch, batch._replace(taught=None)):
        task.zero_grad()
        torch.stack(list(task(each).terms.values())).sum().backward()
        gradients.append([p.grad.clone() for p in task.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 4
    for ours, true in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, true, rtol=0.02, atol=0.02 * true.abs().max().item())  # half precision


def test_runs_share_one_cache_and_learn(base, out) -> None:
    recipe = [*student(base), "method.name=lw_supcrd", "train.epochs=4", "probe.epochs=0", "teacher.cache=2"]
    for seed in (0, 1):
        assert invoke("train", "digits-crd", *recipe, f"seed={seed}", f"name=seed{seed}", "--out", out).exit_code == 0
    (folder,) = out.glob("*/cache/*")
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["cache.json", "epoch-000.npy", "epoch-001.npy"]
    rows = [json.loads(line) for line in (out / "seed0" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_a_method_without_a_teacher_makes_no_cache(base, out) -> None:
    recipe = [*student(base), "method.name=supcon", "teacher.cache=2", "name=a"]
    assert invoke("train", "digits-crd", *recipe, "--out", out).exit_code == 0
    assert not list(out.glob("*/cache"))


@pytest.mark.parametrize("value", ["-1", "1.5", "1001", "true"])
def test_a_value_that_cannot_be_is_refused(base, out, value) -> None:
    assert "teacher.cache" in refused("train", "digits-crd", *student(base), f"teacher.cache={value}", "--out", out)


def test_a_teachers_own_evaluation_is_read_for_its_images_only(base, monkeypatch) -> None:
    images = data.load(f"npz:{base / 'tiny.npz'}")
    folder = base / "runs" / "teacher"
    model, card = load_model(folder)
    weights = fingerprint(folder / "model.safetensors")
    teacher = Teacher(Normalised(model, card.mean, card.std), folder, weights, (0, 1, 2), TRIED)
    computed = torch.zeros(len(images.test), 3)
    monkeypatch.setattr(measuring, "outputs", lambda *_: Output(computed, computed, computed))
    with np.load(folder / "outputs.npz") as kept:
        own = torch.from_numpy(kept["logits"])
    arguments = teacher, images.test, "test"
    assert torch.equal(measuring._teacher_logits(*arguments, images, PLACE), own)
    replaced = dataclasses.replace(teacher, weights="others")
    assert torch.equal(measuring._teacher_logits(replaced, images.test, "test", images, PLACE), computed)
    turned = dataclasses.replace(teacher, order=(2, 1, 0))
    assert torch.equal(measuring._teacher_logits(turned, images.test, "test", images, PLACE), computed)
    others = dataclasses.replace(images, fingerprint="0" * 32)
    assert torch.equal(measuring._teacher_logits(*arguments, others, PLACE), computed)
    assert torch.equal(measuring._teacher_logits(teacher, images.test, "validation", images, PLACE), computed)


def test_views_of_0_1_keep_their_key_and_new_ones_have_another(tmp_path, subject, images) -> None:
    def folder(augment) -> Path:
        return made(tmp_path, subject, images, epochs=1, augment=augment).files[0].parent

    plain = folder(AUGMENT)
    about = json.loads((plain / "cache.json").read_text())
    assert list(about["augment"]) == ["views", "crop_padding", "flip", "brightness", "contrast", "saturation"]
    assert folder({"augment": AUGMENT}) == plain
    assert folder({"any": AUGMENT}) == plain, "names do not matter"
    strong = AUGMENT.model_copy(update={"randaugment": 2})
    folders = {folder(strong), folder(strong.model_copy(update={"magnitude": 5})), folder({"a": AUGMENT, "b": strong})}
    assert len(folders | {plain, folder({"b": strong, "a": AUGMENT})}) == 5


def test_groups_of_views_are_cached_in_their_order(tmp_path, subject, images) -> None:
    weak = AugmentSettings(views=1, crop_padding=1, same_class_mixup=0.5)
    groups = {"weak": weak, "strong": AugmentSettings(views=2, crop="resized", randaugment=2, rotation=0.5)}
    kept = made(tmp_path, subject, images, augment=groups)
    batches = ViewBatches(images.train, groups, batch_size=20, seed=7, device=PLACE.device, taught={"teacher": kept})
    for batch in batches.epoch(3):
        assert len(batch.inputs) == 3 * len(batch.indices)
        with torch.no_grad():
            wanted = subject.model.encoder(subject.prepare(batch.inputs))
        torch.testing.assert_close(batch.taught["teacher"].float(), wanted, rtol=2**-10, atol=1e-3)
