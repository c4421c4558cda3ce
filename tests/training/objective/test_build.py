"""Objectives: what cannot work is refused before any work, weights follow the epochs, sums are those of the terms."""

from typing import ClassVar

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from supcrd.data.loader import Batch
from supcrd.errors import PluginError, RecipeError
from supcrd.registry import Registry
from supcrd.training.objective.build import build, weight_at
from supcrd.training.objective.term import TERMS, Context, Outputs, Reads, Shapes, Step, Term, TermSettings, term
from supcrd.training.objective.views import of_views

SHAPES = Shapes(features=8, projections=4, logits=3, maps={"stage1": (2, 4, 4)})
NARROW = Shapes(features=8, projections=2, logits=3)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
CONTEXT = Context(classes=3, labels=LABELS, student=SHAPES, teachers={"teacher": SHAPES, "small": SHAPES})


def made(tables, context=CONTEXT, epochs=4, views=2):
    return build(tables, context, epochs=epochs, views=views)


def step(*, seed=0, epoch=0, number=0, steps=1, batch_size=3, views=2):
    random = torch.Generator().manual_seed(seed)
    rows = batch_size * views

    def outputs():
        parts = {name: torch.randn(rows, width, generator=random, requires_grad=True)
                 for name, width in (("features", 8), ("projections", 4), ("logits", 3))}  # fmt: skip
        return Outputs(**parts, maps={"stage1": torch.randn(rows, 2, 4, 4, generator=random)})

    labels = LABELS[:batch_size].repeat(views)
    batch = Batch(torch.zeros(rows, 1), labels, torch.arange(batch_size), None, epoch, number, steps)
    return Step(batch, outputs(), {"teacher": outputs(), "small": outputs()})


@term("test-hint")
class Hint(Term):
    """A term with an adapter, a buffer and settings of its own."""

    class Settings(TermSettings):
        width: int = 8

    reads = Reads({"features", "maps/stage1"}, {"features"})

    def __init__(self, settings, context):
        super().__init__(settings, context)
        self.adapter = nn.Linear(settings.width, context.teachers[settings.teacher].features)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, step):
        self.seen += 1
        return functional.mse_loss(self.adapter(step.student.features), step.teachers["teacher"].features)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"crdd": {}}, "unknown term 'crdd'; did you mean crd\\?"),
        ({"mine": {"term": "rkdd"}}, "unknown term 'rkdd'"),
        ({"kd": {"temprature": 2.0}}, r"unknown key objective.kd.temprature = 2.0; did you mean temperature"),
        ({"kd": {"temperature": -1.0}}, r"objective.kd.temperature = -1.0: a number of 0.001 to 1000 is right"),
        ({"test-hint": {"widht": 3}}, "unknown key objective.test-hint.widht = 3; did you mean width"),
        ({"kd": {"teacher": "big"}}, "objective.kd reads the teacher 'big'; the recipe has teacher, small"),
        ({"kd": {"views": [0, 2]}}, "objective.kd.views has view 2; there are 2"),
        ({"test-hint": {"detach": True}}, "detach = true: it reads no head"),
        ({"cross_entropy": {"weight": 0.0}}, "no term with a weight above 0"),
        ({"crd": {"bank": 7}}, "objective.crd: bank = 7: there are 6 training images"),
        ({"test-hint": {"width": "x"}}, "objective.test-hint.width = 'x'"),
    ],
)
def test_what_cannot_work_is_refused(tables, said):
    with pytest.raises(RecipeError, match=said):
        made(tables)


def test_shapes_that_do_not_fit_are_refused():
    narrow = Context(classes=3, labels=LABELS, student=NARROW, teachers={"teacher": SHAPES})
    with pytest.raises(RecipeError, match=r"model.projector ends in 2 dimensions, the teacher's in 4"):
        made({"crd": {}}, narrow)
    with pytest.raises(RecipeError, match="reads the map 'stage1', which the student lacks; it has none"):
        made({"test-hint": {}}, narrow)
    with pytest.raises(RecipeError, match="reads the teacher 'teacher'; the recipe has none"):
        made({"kd": {}}, Context(classes=3, labels=LABELS, student=SHAPES))
    with pytest.raises(RecipeError, match="the recipe has no teacher"):
        made({"kd": {"teachers": "mean"}}, Context(classes=3, labels=LABELS, student=SHAPES))


def test_the_sum_is_that_of_the_terms_by_hand():
    objective = made({"cross_entropy": {"weight": 0.25}, "kd": {"weight": 0.5, "temperature": 2.0},
                      "again": {"term": "kd", "teacher": "small", "weight": 2.0}})  # fmt: skip
    now = step()
    terms = objective(now, now)
    assert list(terms) == ["cross_entropy", "kd", "again"]
    student = now.student.logits
    expected = {"cross_entropy": 0.25 * functional.cross_entropy(student, now.batch.labels)}
    for name, teacher, weight, heat in (("kd", "teacher", 0.5, 2.0), ("again", "small", 2.0, 4.0)):
        p = torch.softmax(now.teachers[teacher].logits / heat, dim=1)
        q = torch.log_softmax(student / heat, dim=1)
        expected[name] = weight * heat**2 * functional.kl_div(q, p, reduction="batchmean")
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)


def test_kd_from_the_mean_of_several_teachers():
    """Against a loop: the mean of the softened probabilities, row by row."""
    now, heat = step(), 3.0
    found = made({"kd": {"teachers": "mean", "temperature": heat}})(now, now)["kd"]
    total = 0.0
    for row in range(6):
        p = sum(torch.softmax(part.logits[row].double() / heat, dim=0) for part in now.teachers.values()) / 2
        q = torch.softmax(now.student.logits[row].double() / heat, dim=0)
        total += heat**2 * sum(float(p[c]) * (float(p[c].log()) - float(q[c].log())) for c in range(3))
    assert found.item() == pytest.approx(total / 6, rel=1e-5)


def test_weights_rise_and_fall():
    settings = TermSettings(weight=2.0, rise_epochs=1.0, fall_epochs=0.5)

    def at(epoch, number):
        return weight_at(settings, step(epoch=epoch, number=number, steps=4).batch, 3)

    assert [at(0, n) for n in range(4)] == [0.5, 1.0, 1.5, 2.0]
    assert at(1, 3) == 2.0
    assert [at(2, n) for n in range(4)] == [2.0, 2.0, 1.0, 0.0]


def test_a_fall_as_a_share_is_that_of_so_many_epochs():
    share, epochs = TermSettings(weight=2.0, fall=0.25), TermSettings(weight=2.0, fall_epochs=2.0)
    batches = [step(epoch=e, number=n, steps=4).batch for e in range(8) for n in range(4)]
    assert [weight_at(share, batch, 8) for batch in batches] == [weight_at(epochs, batch, 8) for batch in batches]
    with pytest.raises(RecipeError, match=r"fall = 0\.25 and fall_epochs = 2\.0 say the same: give one"):
        made({"cross_entropy": {"fall": 0.25, "fall_epochs": 2.0}})


def test_a_term_without_weight_in_a_step_is_zero_and_not_computed(monkeypatch):
    objective = made({"cross_entropy": {}, "kd": {"fall_epochs": 1.0}}, epochs=2)
    assert objective(step(epoch=0), step(epoch=0))["kd"] > 0
    monkeypatch.setattr(objective.terms["kd"], "forward", lambda step: 1 / 0)
    found = objective(step(epoch=1), step(epoch=1))
    assert list(found) == ["cross_entropy", "kd"]
    assert found["kd"] == 0


def test_a_term_that_never_weighs_anything_trains_no_head():
    needs = made({"cross_entropy": {}, "supcon": {"weight": 0.0}}).needs
    assert not needs.trains_projector
    assert not needs.others
    assert needs.student == {"logits"}


def test_a_detached_term_is_given_the_detached_outputs():
    objective = made({"cross_entropy": {"detach": True}, "kd": {}})
    attached, detached = step(seed=1), step(seed=2)
    found = objective(attached, detached)
    torch.testing.assert_close(
        found["cross_entropy"], functional.cross_entropy(detached.student.logits, detached.batch.labels)
    )
    assert (objective.needs.student, objective.needs.detached) == ({"logits"}, {"logits"})
    assert not objective.needs.probed


def test_views_are_rows_view_after_view():
    now = step(batch_size=3, views=3)
    part = of_views(now, (2, 0))
    rows = [6, 7, 8, 0, 1, 2]
    assert torch.equal(part.student.logits, now.student.logits[rows])
    assert torch.equal(part.teachers["small"].features, now.teachers["small"].features[rows])
    assert torch.equal(part.batch.labels, now.batch.labels[rows])
    objective = made({"cross_entropy": {"views": [1]}}, views=3)
    expected = functional.cross_entropy(now.student.logits[3:6], now.batch.labels[3:6])
    torch.testing.assert_close(objective(now, now)["cross_entropy"], expected)


def test_adapters_and_buffers_are_state():
    objective = made({"test-hint": {}, "crd": {"bank": 4}})
    assert set(objective.state_dict()) == {
        "terms.test-hint.adapter.weight",
        "terms.test-hint.adapter.bias",
        "terms.test-hint.seen",
        "terms.crd.bank.rows",
        "terms.crd.bank.written",
    }
    assert objective.needs.maps == {"stage1"}
    assert objective.needs.teachers == {"teacher": {"features", "projections"}}
    assert objective.needs.others


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda step: step.student.features.sum(dim=1), r"gives a tensor \(6,\)"),
        (lambda step: 3.0, "gives float"),
        (lambda step: step.student.features.sum().detach(), "without a gradient"),
        (lambda step: step.student.features.sum().to("meta"), "on meta, the batch is on cpu"),
        (lambda step: step.student.logits.sum(), "logits are not there: the `reads` of the term does not name them"),
    ],
)
def test_a_term_that_gives_no_loss_is_named(value, said):
    class Odd(Term):
        reads: ClassVar = Reads({"features"})

        def forward(self, step):
            return value(step)

    Odd.__module__ = "a.module.of.the.test"
    TERMS.add("test-odd", Odd)
    now = step()
    bare = Step(now.batch, Outputs(features=now.student.features))
    with pytest.raises(PluginError, match="objective.test-odd.*" + said):
        made({"test-odd": {}})(bare, bare)


def test_a_term_that_cannot_be_made_is_named_with_its_line():
    class Broken(Term):
        reads: ClassVar = Reads({"features"})

        def __init__(self, settings, context):
            raise KeyError("colour")

    Broken.__module__ = "a.module.of.the.test"
    TERMS.add("test-broken", Broken)
    with pytest.raises(
        PluginError, match=r"objective.test-broken cannot be made: KeyError: 'colour' \(.*test_build.py, line"
    ):
        made({"test-broken": {}})


def test_a_taken_name_is_refused():
    class Kd(Term):
        pass

    with pytest.raises(PluginError, match=r"term 'kd' of .* is taken by .*terms/kd.py; give it another name"):
        term("kd")(Kd)
    with pytest.raises(PluginError, match="term 'a b'"):
        term("a b")(Kd)
    with pytest.raises(ValidationError):
        TermSettings(weight=-1.0)


def test_an_entry_point_that_fails_is_named(monkeypatch):
    from importlib import metadata

    class Entry:
        value = "nowhere:Thing"

        def load(self):
            raise ModuleNotFoundError("No module named 'nowhere'")

    monkeypatch.setattr(metadata, "entry_points", lambda **_: [Entry()])
    things = Registry("term", "supcrd.terms")
    with pytest.raises(PluginError, match="term 'x': its entry point nowhere:Thing fails: ModuleNotFoundError"):
        things.get("x")
