"""While a student learns, one copy of its teacher's encoder is alive: the one that is run."""

import gc
import json

import pytest
import torch

from supcrd import recipe
from supcrd.errors import RunError
from supcrd.evaluation import outputs as evaluating
from supcrd.jobs import measure, ready
from supcrd.jobs import run as pipeline
from supcrd.models import Model
from supcrd.models.normalised import Normalised
from supcrd.models.weights import load_model
from supcrd.training.fit import fit
from supcrd.training.task import Distillation
from supcrd.training.teacher import Teaching
from typed import objective_of, student

CHANGES = ["teacher.override.model.arch=resnet8", "model.arch=convnet", "probe.epochs=0"]
SHAPE = (64, 64, 3, 3)
"""Of kernels that resnet8 has and convnet has not."""


def kernels():
    """How many tensors of that shape are alive; no gradients, no optimiser's."""
    gc.collect()
    found = {
        each.data_ptr()
        for each in gc.get_objects()
        if type(each) in (torch.Tensor, torch.nn.Parameter) and each.shape == SHAPE  # not a traced one of another test
    }
    return len(found)


@pytest.mark.parametrize(("cache", "copies"), [(0, 1), (2, 0)])
def test_one_copy_of_the_teacher_is_alive_while_the_student_learns(base, tmp_path, monkeypatch, cache, copies):
    changes = [*student(base), *CHANGES, f"teacher.cache={cache}"]
    count = sum(p.shape == SHAPE for p in Model(3, "resnet8", image_size=8).encoder.parameters())
    assert count > 0
    before, seen, real = kernels(), [], fit

    def counted(task, *given, **named):
        if isinstance(task, Distillation) and task.objective.needs.teachers:
            seen.append(kernels() - before)
        return real(task, *given, **named)

    monkeypatch.setattr(ready, "fit", counted)
    pipeline.run(recipe.load("digits-lw-supcrd", changes), tmp_path)
    assert seen == [copies * count]


def test_a_teacher_is_moved_with_the_task_and_its_own_model_is_not():
    with torch.random.fork_rng(devices=[]):
        networks = [Model(3, "convnet", image_size=8, projector=(8, 4)) for _ in range(2)]
    pupil, teacher = (Normalised(model, (0.5,) * 3, (0.5,) * 3) for model in networks)
    objective = objective_of(recipe.load("digits-lw-supcrd").method, pupil.model, torch.arange(3), teacher.model)
    task = Distillation(pupil, objective, {"teacher": Teaching(teacher)}).to("meta")
    (frozen,) = task._teachers.values()
    assert {tensor.device.type for tensor in (*frozen.parameters(), *frozen.buffers(), *task.parameters())} == {"meta"}
    assert {p.device.type for p in teacher.model.parameters()} == {"cpu"}
    assert all(p.requires_grad for p in teacher.model.parameters())
    assert not any(name.startswith("_teachers") or "frozen" in name for name in task.state_dict())


def test_the_model_comes_back_for_the_evaluation(base, tmp_path, monkeypatch):
    """Where the teacher's own outputs are of other images, it answers for the student's: as the model in the folder."""
    said = []
    real = evaluating.outputs

    def outputs(subject, images, place):
        said.append(subject)
        return real(subject, images, place)

    monkeypatch.setattr(measure, "outputs", outputs)
    first = pipeline.run(recipe.load("digits-crd", [*student(base), "probe.epochs=0"]), tmp_path)
    assert said == []  # the same images: the teacher's kept outputs serve
    evaluation = json.loads((first.teacher / "evaluation.json").read_text())
    (first.teacher / "evaluation.json").write_text(json.dumps(evaluation | {"weights": "others"}))
    again = pipeline.run(recipe.load("digits-crd", [*student(base), "probe.epochs=0"]), tmp_path, force=True)
    (subject,) = said
    expected = load_model(again.teacher)[0].state_dict()
    assert all(torch.equal(subject.model.state_dict()[key], value) for key, value in expected.items())
    assert again.evaluation["teacher_kl"] == pytest.approx(first.evaluation["teacher_kl"])


def test_weights_that_changed_meanwhile_are_not_taken_for_the_teacher(base, out):
    images = pipeline.load_data(recipe.load("digits-crd", student(base)))
    wanted = recipe.load("digits-crd", student(base))
    teacher = pipeline.prepare_teachers(wanted, images, out)["teacher"]
    whole = teacher.whole()
    teacher.let_go()
    again = teacher.whole().model.state_dict()
    assert all(torch.equal(again[key], value) for key, value in whole.model.state_dict().items())
    teacher.let_go()
    teacher.weights = "others"
    with pytest.raises(RunError, match="were changed while its student was trained; the same command with --force"):
        teacher.whole()
