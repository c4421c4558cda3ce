"""Each method's terms against naive loops, and the gradients of a whole step against one written out by hand."""

import copy
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from supcrd import recipe
from supcrd.data.loader import Batch
from supcrd.jobs import ready
from supcrd.jobs import run as pipeline
from supcrd.models import Model, Output
from supcrd.recipe.settings import METHOD_SETTINGS, Joint
from supcrd.training.objective import presets
from supcrd.training.objective.bank import Bank
from supcrd.training.objective.build import build
from supcrd.training.objective.term import Context, Outputs, Shapes, Step
from supcrd.training.task import Distillation, Normalised
from supcrd.training.teacher import Teaching
from typed import student as changes_of

sys.path.insert(0, str(Path(__file__).parents[1] / "losses"))
import naive_losses as naive

B, V, D, C, N, K = 4, 2, 5, 3, 20, 7
LABELS = torch.arange(N) % C
LW = {"alpha": 0.7, "beta": 3.0, "temperature": 0.2, "adaptive": True, "teacher_temperature": 2.0}
TAUGHT = {"crd": {"temperature": 0.2}, "lw_supcrd": LW, "hybrid": LW | {"lam": 0.4}}


def objective_of(name, bank=None, *, kd_detached=False, probe=True, **values):
    """The preset's terms, with a bank of the test's own."""
    wanted = presets.tables(METHOD_SETTINGS[name].model_validate({"name": name, **values}))
    if not probe:
        wanted.pop("probe", None)
    if kd_detached and "kd" in wanted:
        wanted["kd"]["detach"] = True
    shapes = Shapes(features=9, projections=D, logits=C)
    context = Context(classes=C, labels=LABELS, student=shapes, teachers={"teacher": shapes})
    objective = build(wanted, context, epochs=100, views=V)
    for term in objective.terms.values():
        if hasattr(term, "bank"):
            term.bank = bank
    return objective


def method_of(name, bank=None, **values):
    """A function of student, teacher and batch."""
    objective = objective_of(name, bank, probe=False, **values)

    def terms(student, teacher, batch):
        outputs, taught = (Outputs(**part._asdict()) for part in (student, teacher))
        step = Step(batch, outputs, {"teacher": taught})
        return objective(step, step)

    terms.state_dict = objective.state_dict  # type: ignore[attr-defined]
    return terms


def output(seed):
    generator = torch.Generator().manual_seed(seed)
    return Output(*(torch.randn(V * B, width, generator=generator) for width in (9, D, C)))


def batch_of(indices, epoch=0, step=0, steps=1):
    indices = torch.as_tensor(indices)
    return Batch(torch.zeros(1), LABELS[indices].repeat(V), indices, None, epoch, step, steps)


STUDENT, TEACHER, BATCH = output(0), output(1), batch_of([3, 8, 9, 17], epoch=1, step=5, steps=10)


def floats(tensor):
    return tensor.double().tolist()


def mean(losses):
    return math.fsum(losses) / len(losses)


def warm(**values):
    """A bank that knows most images, those of the batch included."""
    bank = Bank(LABELS, D, size=K, momentum=0.5, seed=11, **values)
    for step, indices in enumerate(([0, 1, 2, 3], [4, 5, 8, 9], [12, 13, 17, 19])):
        bank.update(batch_of(indices, 0, step), output(10 + step).projections)
    return bank


def contrastive_terms(name, rows, labels):
    """The method's own terms by the naive loops; `rows` and `labels` are those of all candidates."""
    own, logits = BATCH.labels.tolist(), floats(TEACHER.logits)
    if name == "crd":
        return {"crd": mean(naive.crd(floats(STUDENT.projections), rows, temperature=0.2))}
    lw = mean(naive.lw_supcrd(floats(STUDENT.projections), rows, own, logits, labels, **LW))
    if name == "lw_supcrd":
        return {"lw_supcrd": lw}
    supcon = mean(naive.supcon(floats(STUDENT.projections), own, temperature=0.2))
    return {"supcon": 0.4 * supcon, "lw_supcrd": 0.6 * lw}


def assert_terms(found, wanted, rel=2e-6):
    assert {name: term.item() for name, term in found.items()} == pytest.approx(wanted, rel=rel)


@pytest.mark.parametrize("name", TAUGHT)
def test_terms_without_a_bank(name):
    found = method_of(name, **TAUGHT[name])(STUDENT, TEACHER, BATCH)
    assert_terms(found, contrastive_terms(name, floats(TEACHER.projections), BATCH.labels.tolist()))


@pytest.mark.parametrize("contrast", ["lw_supcrd", "crd", "supcon", "none"])
def test_joint_is_cross_entropy_kd_and_a_contrastive_term(contrast):
    """Late in the training (epoch 1 of 100 falls over all of it, by 1 - 1.6 / 100), each term by a naive loop."""
    weights = {"ce_weight": 0.5, "kd_weight": 2.0, "contrast_weight": 0.8, "contrast_fall": 1.0}
    found = method_of("joint", contrast=contrast, kd_temperature=3.0, **(LW | weights))(STUDENT, TEACHER, BATCH)
    labels, student, teacher = BATCH.labels.tolist(), STUDENT.logits.double(), TEACHER.logits.double()
    wanted = {
        "cross_entropy": 0.5 * mean([-float(torch.log_softmax(z, 0)[y]) for z, y in zip(student, labels, strict=True)])
    }
    p, log_q = (teacher / 3).softmax(1), (student / 3).log_softmax(1)
    wanted["kd"] = 2.0 * 9 * mean([float((row * (row.log() - log)).sum()) for row, log in zip(p, log_q, strict=True)])
    rows, falling = floats(TEACHER.projections), 0.8 * (1 - 0.016)
    if contrast == "supcon":
        wanted["supcon"] = falling * mean(naive.supcon(floats(STUDENT.projections), labels, temperature=0.2))
    elif contrast != "none":
        wanted[contrast] = falling * contrastive_terms(contrast, rows, labels)[contrast]
    assert_terms(found, wanted)


def test_joint_with_dist_in_the_place_of_kd():
    """Pearson's correlations by numpy, over classes and over images."""
    found = method_of("joint", logits="dist", contrast="none", kd_weight=0.5, kd_temperature=3.0)(
        STUDENT, TEACHER, BATCH
    )
    q, p = ((of.logits.double() / 3).softmax(1).detach().numpy() for of in (STUDENT, TEACHER))
    within = [1 - np.corrcoef(one, other)[0, 1] for one, other in zip(q, p, strict=True)]
    over = [1 - np.corrcoef(one, other)[0, 1] for one, other in zip(q.T, p.T, strict=True)]
    wanted = 0.5 * 9 * (2 * mean(within) + 2 * mean(over))
    assert list(found) == ["cross_entropy", "dist"]
    assert_terms({"dist": found["dist"]}, {"dist": wanted})
    with pytest.raises(ValidationError, match=r"is for method\.logits = 'kd'; 'dist' needs"):
        Joint(name="joint", logits="dist", standardise=True)


def test_joint_reads_a_teacher_only_if_a_term_does():
    kinds = {"lw_supcrd": (True, True), "crd": (True, True), "supcon": (False, True), "none": (False, False)}
    for contrast, wanted in kinds.items():
        for weight in (0.0, 1.0):
            method = Joint(name="joint", contrast=contrast, kd_weight=0.0, contrast_weight=weight)
            assert (method.reads_teacher, method.contrastive) == (tuple(w and weight > 0 for w in wanted))
            assert Joint(name="joint", contrast=contrast, contrast_weight=weight).reads_teacher


@pytest.mark.parametrize("name", TAUGHT)
def test_terms_with_a_bank(name):
    """The batch's rows and those that the same bank draws, side by side in the naive loop; nothing that is masked."""
    drawn = warm().draw(BATCH)
    assert drawn.valid.sum() == K  # 12 images are known, 4 of them are here
    for bank, count in ((warm(), K), (Bank(LABELS, D, size=K, momentum=0.5, seed=11), 0)):
        found = method_of(name, bank, **TAUGHT[name])(STUDENT, TEACHER, BATCH)
        rows = floats(torch.cat([TEACHER.projections, drawn.rows[:count]]))
        assert_terms(found, contrastive_terms(name, rows, [*BATCH.labels.tolist(), *drawn.labels[:count].tolist()]))


@pytest.mark.parametrize("name", TAUGHT)
def test_a_part_of_the_bank_is_masked(name):
    bank = Bank(LABELS, D, size=N, momentum=0.5, seed=11)
    bank.update(batch_of([0, 1, 3, 4], 1, 0), output(10).projections)  # 3 is in the batch: three rows are left
    drawn = copy.deepcopy(bank).draw(BATCH)
    assert drawn.valid.sum() == 3
    found = method_of(name, bank, **TAUGHT[name])(STUDENT, TEACHER, BATCH)
    rows = floats(torch.cat([TEACHER.projections, drawn.rows[drawn.valid]]))
    assert_terms(found, contrastive_terms(name, rows, [*BATCH.labels.tolist(), *drawn.labels[drawn.valid].tolist()]))


@pytest.mark.parametrize("name", TAUGHT)
def test_the_bank_takes_the_batch_in_after_it_was_drawn_from(name):
    method, bank = method_of(name, warm(), **TAUGHT[name]), warm()
    method(STUDENT, TEACHER, BATCH)
    bank.update(BATCH, TEACHER.projections)
    kept = [value for key, value in method.state_dict().items() if key.endswith("bank.rows")]
    assert len(kept) == 1
    assert torch.equal(kept[0], bank.rows)


@pytest.mark.parametrize("name", TAUGHT)
def test_the_gradient_with_a_bank_is_that_of_the_concatenation(name):
    """By central differences of the naive loop, for one student row and, as in joint training, one teacher row."""
    drawn = warm().draw(BATCH)
    labels = [*BATCH.labels.tolist(), *drawn.labels.tolist()]
    given = [STUDENT.projections.double().requires_grad_(), TEACHER.projections.double().requires_grad_()]
    student, teacher = STUDENT._replace(projections=given[0]), TEACHER._replace(projections=given[1])
    torch.stack(list(method_of(name, warm(), **TAUGHT[name])(student, teacher, BATCH).values())).sum().backward()

    def loss(rows, taught):
        rows, all_rows = rows.tolist(), [*taught.tolist(), *drawn.rows.double().tolist()]
        own, logits = BATCH.labels.tolist(), floats(TEACHER.logits)
        if name == "crd":
            return mean(naive.crd(rows, all_rows, temperature=0.2))
        lw = mean(naive.lw_supcrd(rows, all_rows, own, logits, labels, **LW))
        return lw if name == "lw_supcrd" else 0.4 * mean(naive.supcon(rows, own, temperature=0.2)) + 0.6 * lw

    with torch.no_grad():
        for which, tensor in enumerate(given):
            for column in range(D):
                values = []
                for sign in (1, -1):
                    moved = [each.clone() for each in given]
                    moved[which][2, column] += sign * 1e-5
                    values.append(loss(*moved))
                numeric = (values[0] - values[1]) / 2e-5
                assert tensor.grad[2, column].item() == pytest.approx(numeric, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", TAUGHT)
def test_the_first_step_with_a_bank_is_that_without(name):
    bank = Bank(LABELS, D, size=N, momentum=0.5, seed=11)
    gradients = []
    for each in (bank, None):
        rows = STUDENT.projections.clone().requires_grad_()
        terms = method_of(name, each, **TAUGHT[name])(STUDENT._replace(projections=rows), TEACHER, BATCH)
        torch.stack(list(terms.values())).sum().backward()
        gradients.append((terms, rows.grad))
    (with_bank, one), (without, other) = gradients
    assert_terms(with_bank, {key: term.item() for key, term in without.items()}, rel=1e-6)
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("standardise", [False, True])
def test_kd_and_its_weights(standardise):
    student, teacher = floats(STUDENT.logits), floats(TEACHER.logits)
    entropy = functional.cross_entropy(STUDENT.logits, BATCH.labels).item()
    scores = (naive.standardise(student), naive.standardise(teacher)) if standardise else (student, teacher)
    for weight in (0.0, 0.3, 1.0):
        method = method_of("kd", temperature=3.0, weight=weight, standardise=standardise)
        wanted = {"cross_entropy": (1 - weight) * entropy, "kd": weight * mean(naive.kd(*scores, temperature=3.0))}
        assert_terms(method(STUDENT, TEACHER, BATCH), wanted, rel=1e-5)


@pytest.mark.parametrize("standardise", [False, True])
def test_dkd_and_its_weights(standardise):
    student, teacher = floats(STUDENT.logits), floats(TEACHER.logits)
    entropy = functional.cross_entropy(STUDENT.logits, BATCH.labels).item()
    scores = (naive.standardise(student), naive.standardise(teacher)) if standardise else (student, teacher)
    parts = {"alpha": 0.5, "beta": 2.0, "temperature": 3.0}
    dkd = mean(naive.dkd(scores[0], scores[1], BATCH.labels.tolist(), **parts))
    method = method_of("dkd", ce_weight=0.6, standardise=standardise, **parts)
    assert_terms(method(STUDENT, TEACHER, BATCH), {"cross_entropy": 0.6 * entropy, "dkd": dkd}, rel=1e-5)


def test_dkd_rises_linearly_over_its_warm_up():
    def factor(epoch, step, warmup):
        batch = batch_of([3, 8, 9, 17], epoch, step, steps=4)
        found, whole = (method_of("dkd", warmup_epochs=epochs)(STUDENT, TEACHER, batch) for epochs in (warmup, 0.0))
        assert found["cross_entropy"] == whole["cross_entropy"]
        return (found["dkd"] / whole["dkd"]).item()

    # 1/10, 2/10, ... over 2.5 epochs of 4 steps, and 1 from there on
    rise = [factor(epoch, step, 2.5) for epoch in range(4) for step in range(4)]
    assert rise == pytest.approx([min(1, (i + 1) / 10) for i in range(16)])
    assert [factor(0, step, 0.5) for step in range(3)] == pytest.approx([0.5, 1, 1])


@pytest.mark.parametrize("name", TAUGHT)
def test_an_added_kd_has_its_own_weight_and_temperature(name):
    added = method_of(name, kd_weight=0.8, kd_temperature=2.5, **TAUGHT[name])(STUDENT, TEACHER, BATCH)
    wanted = contrastive_terms(name, floats(TEACHER.projections), BATCH.labels.tolist())
    kd = mean(naive.kd(floats(STUDENT.logits), floats(TEACHER.logits), temperature=2.5))
    assert_terms(added, wanted | {"kd": 0.8 * kd}, rel=1e-5)  # lam does not weigh it


# A whole step.


def networks():
    torch.manual_seed(0)
    made = {"in_channels": 1, "image_size": 8, "projector": (16, D)}
    return Model(C, "convnet", **made), Model(C, "resnet8", **made)


def views():
    return BATCH._replace(inputs=torch.rand(V * B, 1, 8, 8, generator=torch.Generator().manual_seed(4)))


def gradients_of_task(name, weight, *, reads_logits, **options):
    student, teacher = networks()
    task = Distillation(
        Normalised(student, (0.4,), (0.2,)),
        objective_of(name, kd_detached=not reads_logits, kd_weight=weight, kd_temperature=2.0, **TAUGHT[name]),
        {"teacher": Teaching(Normalised(teacher, (0.4,), (0.2,)), **options)},
    ).train()
    step = task(views())
    torch.stack(list(step.terms.values())).sum().backward()
    gradients = {key: p.grad.clone() for key, p in student.named_parameters()}
    return gradients | {f"teacher.{key}": p.grad for key, p in task.heads["teacher"].named_parameters()}, step


def plain_term(name, student, teacher, labels, logits):
    """The method's loss on whole matrices, in torch's own operations."""
    own = torch.eye(len(labels), dtype=torch.bool)
    same = labels[:, None] == labels
    cosine = functional.normalize(student, dim=1) @ functional.normalize(teacher, dim=1).T
    if name == "crd":
        return functional.cross_entropy(cosine / 0.2, torch.arange(len(labels)))
    p = (logits / LW["teacher_temperature"]).softmax(dim=1)
    p_own = p.gather(1, labels[:, None])
    push = (1 - p)[:, labels] * LW["beta"] / (p_own + 0.5)
    e = (cosine / 0.2).exp()
    positive = LW["alpha"] * p_own.squeeze(1) * (e * same).sum(dim=1)
    lw = -(positive / (positive + (e * push * ~same).sum(dim=1))).log().mean() / LW["alpha"]
    if name == "lw_supcrd":
        return lw
    scores = functional.normalize(student, dim=1) @ functional.normalize(student, dim=1).T / 0.2
    log_share = scores - scores.masked_fill(own, -torch.inf).logsumexp(dim=1, keepdim=True)
    positives = same & ~own
    return 0.4 * -((log_share * positives).sum(dim=1) / positives.sum(dim=1)).mean() + 0.6 * lw


def gradients_by_hand(name, weight, *, kd_teaches):
    student, teacher = networks()
    student.train()
    teacher.eval().requires_grad_(False)
    batch = views()
    images = (batch.inputs - 0.4) / 0.2
    features = student.encoder(images)
    taught = teacher.encoder(images)
    logits, projector = teacher.classifier(taught), copy.deepcopy(teacher.projector).requires_grad_(True)
    loss = plain_term(name, student.projector(features), projector(taught), batch.labels, logits)
    if weight > 0:
        read = student.classifier(features if kd_teaches else features.detach())
        log_q, p = (read / 2).log_softmax(dim=1), (logits / 2).softmax(dim=1)
        loss = loss + weight * 4 * functional.kl_div(log_q, p, reduction="batchmean")
    loss = loss + functional.cross_entropy(student.classifier(features.detach()), batch.labels)  # the probe
    loss.backward()
    gradients = {key: p.grad for key, p in student.named_parameters()}
    return gradients | {f"teacher.{key}": p.grad for key, p in projector.named_parameters()}


def assert_close(found, wanted):
    assert found.keys() == wanted.keys()
    for key in wanted:
        scale = wanted[key].abs().max().item()
        torch.testing.assert_close(found[key], wanted[key], rtol=1e-3, atol=1e-4 * scale + 1e-7, msg=key)


@pytest.mark.parametrize("name", TAUGHT)
def test_an_added_kd_teaches_encoder_and_classifier_and_the_probe_the_classifier_alone(name):
    found, step = gradients_of_task(name, 0.8, reads_logits=True)
    assert {"kd", "probe"} < set(step.terms)
    assert_close(found, gradients_by_hand(name, 0.8, kd_teaches=True))


@pytest.mark.parametrize("name", TAUGHT)
def test_without_reads_logits_the_classifier_teaches_nothing(name):
    for weight in (0.0, 0.8):
        found, step = gradients_of_task(name, weight, reads_logits=False)
        assert ("kd" in step.terms) == (weight > 0)
        assert_close(found, gradients_by_hand(name, weight, kd_teaches=False))


def test_a_frozen_head_is_read_and_left_alone():
    student, teacher = networks()
    before = copy.deepcopy(teacher.state_dict())
    subjects = Normalised(student, (0.4,), (0.2,)), Normalised(teacher, (0.4,), (0.2,))
    objective = objective_of("crd", Bank(LABELS, D, size=K, momentum=0.5, seed=0))
    task = Distillation(subjects[0], objective, {"teacher": Teaching(subjects[1], joint=False)}).train()
    torch.stack(list(task(views()).terms.values())).sum().backward()
    assert all(p.grad is None for p in task.heads["teacher"].parameters())
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_recipe_with_kd_weight_reads_the_logits_and_one_without_does_not(base, out, monkeypatch, weight):
    built = []

    class Spied(Distillation):
        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            built.append(self)

    monkeypatch.setattr(ready, "Distillation", Spied)
    changes = changes_of(base, f"method.kd_weight={weight}", "name=added", "probe.epochs=0", "train.epochs=1")
    result = pipeline.run(recipe.load("digits-lw-supcrd", changes), out)
    assert [task.objective.needs.probed for task in built] == [weight == 0]
    row = (result.folder / "metrics.jsonl").read_text()
    assert ('"kd"' in row) == (weight > 0)


def test_a_detached_term_reads_maps_that_teach_nothing():
    """Beside a head, as it has to; the encoder gets no gradient through either."""
    from supcrd.training.objective.term import Reads, Term, term

    @term("test-detached-map")
    class Seen(Term):
        reads = Reads({"logits", "maps/stage1"})

        def forward(self, step):
            return step.student.logits.square().mean() + step.student.maps["stage1"].mean()

    student = networks()[0]
    shapes = Shapes(features=128, projections=D, logits=C, maps={"stage1": (32, 4, 4)})
    context = Context(classes=C, labels=LABELS, student=shapes)
    objective = build({"test-detached-map": {"detach": True}}, context, epochs=1, views=V)
    task = Distillation(Normalised(student, (0.4,), (0.2,)), objective)
    torch.stack(list(task(views()).terms.values())).sum().backward()
    assert all(p.grad is None for p in student.encoder.parameters())
    assert student.classifier.weight.grad is not None
