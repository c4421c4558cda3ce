"""Every method of other papers on pairs of networks that the field compares: other families, maps of other sizes."""

import pytest
import torch

from supcrd.data.loader import Batch
from supcrd.models import Model
from supcrd.models.normalised import Normalised
from supcrd.recipe.compared import COMPARED
from supcrd.training.objective.build import build
from supcrd.training.objective.presets import tables
from supcrd.training.objective.term import TERMS, Context
from supcrd.training.task import Distillation
from supcrd.training.teacher import Teaching, shapes_of

C, N, B, PIXELS = 5, 40, 4, 16
LABELS = torch.arange(N) % C
PAIRS = (("vgg13", "vgg8"), ("wrn-40-2", "shufflenetv1"), ("resnet50-2048", "mobilenetv2"),
         ("resnet32x4", "shufflenetv2"), ("wrn-40-2", "wrn-40-1"), ("vgg13", "mobilenetv2"))  # fmt: skip


def network(arch: str) -> Normalised:
    torch.manual_seed(0)
    return Normalised(Model(C, arch, image_size=PIXELS), (0.5,) * 3, (0.2,) * 3)


def takes_a_step(method: str, teacher: Normalised, arch: str) -> None:
    """Forward, backward and a step of the optimiser: all of the student learns, nothing of the teacher."""
    student = network(f"{arch}+{teacher.model.feature_dim}" if method == "simkd" else arch)
    shapes = {subject: shapes_of(subject, maps=True) for subject in (teacher, student)}
    of = Context(classes=C, labels=LABELS, student=shapes[student], teachers={"teacher": shapes[teacher]})
    few = {"negatives": 8} if method == "crd_nce" else {}
    preset = COMPARED[method].model_validate({"name": method} | few)
    objective = build(tables(preset), of, epochs=1, views=1)
    task = Distillation(student, objective, {"teacher": Teaching(teacher)}).train()
    images = torch.rand(B, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(1))
    terms = task(Batch(images, LABELS[:B], torch.arange(B), None, 0, 0, 1)).terms
    assert all(value.isfinite() for value in terms.values()), method
    sum(terms.values()).backward()
    before = {name: value.clone() for name, value in student.model.encoder.named_parameters()}
    torch.optim.SGD(task.groups(1e-3)).step()
    still = [name for name, value in student.model.encoder.named_parameters() if value.grad is None]
    assert still == [], method
    assert not torch.equal(before[next(iter(before))], next(student.model.encoder.parameters())), method
    assert all(p.grad is None for p in teacher.model.parameters()), method


@pytest.fixture(scope="module")
def wide():
    return network("wrn-16-2")


@pytest.mark.parametrize("method", COMPARED)
def test_every_method_between_two_families(method, wide):
    takes_a_step(method, wide, "shufflenetv1")


@pytest.mark.parametrize(("teacher", "student"), PAIRS)
def test_every_method_on_a_pair_of_the_field(teacher, student):
    subject = network(teacher)
    for method in COMPARED:
        takes_a_step(method, subject, student)


def test_simkd_reads_what_a_wide_resnet_s_classifier_reads(wide):
    """The map behind its last batch norm and ReLU, and not the sum of its last stage."""
    shapes, student = shapes_of(wide, maps=True), shapes_of(network("wrn-16-1+128"), maps=True)
    of = Context(classes=C, labels=LABELS, student=student, teachers={"teacher": shapes})
    kind = TERMS.get("simkd")
    assert kind(kind.Settings(), of).reads.teacher == {"maps/last"}
    assert TERMS.get("at")(TERMS.get("at").Settings(), of).pairs[-1] == ("stage3", "stage3")


def test_review_reads_sums_behind_the_next_batch_norm(wide):
    of = Context(classes=C, labels=LABELS, student=shapes_of(network("shufflenetv1"), maps=True),
                 teachers={"teacher": shapes_of(wide, maps=True)})  # fmt: skip
    kind = TERMS.get("review")
    term = kind(kind.Settings(), of)
    assert term.reads.teacher == {"features", *(f"maps/stage{number}:pre" for number in (1, 2, 3))}
    assert term.reads.student == {"features", *(f"maps/stage{number}" for number in (1, 2, 3))}
