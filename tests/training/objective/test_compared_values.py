"""The terms of other papers, setting by setting and in two processes: what a wrong wire would change."""

import copy
import math

import pytest
import torch
from test_compared_terms import LABELS, STUDENT, TEACHER, B, C, context, made, outputs, preset_of, shapes, step
from torch.nn import functional

from supcrd import losses
from supcrd.data.loader import Batch
from supcrd.models import Model
from supcrd.models.normalised import Normalised
from supcrd.models.taps import Taps
from supcrd.recipe.compared import COMPARED
from supcrd.training.objective.build import build
from supcrd.training.objective.presets import tables
from supcrd.training.objective.term import Context, Outputs, Step
from supcrd.training.task import Distillation
from supcrd.training.teacher import Teaching, reuse_classifier, shapes_of

# Of every term, what the published runs have, by key.
DEFAULTS = {
    "fitnet": {}, "at": {}, "sp": {}, "pkt": {}, "nst": {}, "simkd": {}, "cc": {"dim": 128}, "vid": {"variance": 5.0},
    "rkd": {"distance": 25.0, "angle": 50.0},
    "crd_nce": {"negatives": 16384, "momentum": 0.5, "temperature": 0.07, "dim": 128}, "review": {"preact": True},
    "dist": {"beta": 2.0, "gamma": 2.0, "temperature": 4.0},
    "mlkd": {"temperatures": (2.0, 3.0, 4.0, 5.0, 6.0), "standardise": False},
    "rrd": {"queue": 16384, "temperature": 0.1, "teacher_temperature": 0.02, "dim": 128},
    "ls": {"temperature": 2.0},
}  # fmt: skip
WARMUP = {"review": 20.0}
MAPS = {"student_maps": (), "teacher_maps": ()}


@pytest.mark.parametrize("name", COMPARED)
def test_the_published_settings_reach_the_term(name):
    table = dict(tables(COMPARED[name](name=name))[name])
    assert table.pop("rise_epochs") == WARMUP.get(name, 0.0)
    table.pop("weight")
    assert {key: value for key, value in table.items() if key not in MAPS} == DEFAULTS[name]
    changed = tables(preset_of(name, warmup_epochs=3.0, kd_weight=0.5, kd_temperature=2.0))
    assert changed[name]["rise_epochs"] == 3.0
    assert changed["kd"] == {"weight": 0.5, "temperature": 2.0}


@pytest.mark.parametrize(
    ("name", "part", "settings"),
    [
        ("pkt", "features", {}),
        ("rkd", "features", {"distance": 3.0, "angle": 7.0}),
        ("dist", "logits", {"beta": 1.0, "gamma": 0.5, "temperature": 2.0}),
        ("mlkd", "logits", {"temperatures": (1.0, 3.0)}),
    ],
)
def test_a_term_is_its_loss_at_its_settings(name, part, settings):
    now = step(context())
    ours, theirs = getattr(now.student, part), getattr(now.teachers["teacher"], part)
    assert made(name, **settings)(now).item() == getattr(losses, name)(ours, theirs, **settings).mean().item()


def test_ls_is_the_divergence_of_z_scores():
    """Torch's own divergence, of z-scores by the textbook; nine times it beside a tenth of cross-entropy."""
    now = step(context())
    logits = [part.logits.double().detach() for part in (now.student, now.teachers["teacher"])]
    student, teacher = ((x - x.mean(1, keepdim=True)) / x.std(1, correction=0, keepdim=True) for x in logits)
    divergence = functional.kl_div((student / 2).log_softmax(1), (teacher / 2).softmax(1), reduction="batchmean")
    assert made("ls")(now).item() == pytest.approx(4 * divergence.item(), rel=1e-5)
    found = build(tables(preset_of("ls")), context(), epochs=1, views=1)(now, now)
    assert found["ls"].item() == pytest.approx(36 * divergence.item(), rel=1e-5)
    plain = functional.cross_entropy(logits[0], now.batch.labels)
    assert found["cross_entropy"].item() == pytest.approx(0.1 * plain.item(), rel=1e-5)


def test_rrd_compares_with_a_queue_that_the_batch_is_in():
    now, term = step(context()), made("rrd", queue=8, dim=3, temperature=0.5, teacher_temperature=0.25)
    theirs = functional.normalize(term.teacher(now.teachers["teacher"].features), dim=1)
    ours = functional.normalize(term.student(now.student.features), dim=1)
    queue = torch.cat([theirs, term.queue[B:]])
    p = (theirs @ queue.T / 0.25).softmax(dim=1)
    expected = -(p * (ours @ queue.T / 0.5).log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(term(now), expected)


def test_rrd_keeps_the_newest_rows_and_its_place():
    now, term = step(context()), made("rrd", queue=4, dim=3)
    theirs = functional.normalize(term.teacher(now.teachers["teacher"].features), dim=1)
    term(now)
    torch.testing.assert_close(term.queue, theirs[-4:])
    assert {"queue", "place", "student.weight", "teacher.weight"} <= set(term.state_dict())


class Other:
    """The second of two processes: it remembers what it gives."""

    rank, size, before = 1, 2, B // 2

    def __init__(self):
        self.given = []

    def gather(self, rows):
        self.given.append(rows)
        return torch.cat([rows, rows])

    def sum(self, tensor):
        self.given.append(tensor)
        return 2 * tensor


class First:
    """The first, with what the other gave in the same calls."""

    rank, size, before = 0, 2, 0

    def __init__(self, given):
        self.given = iter(given)

    def gather(self, rows):
        return torch.cat([rows, next(self.given)])

    def sum(self, tensor):
        return tensor + next(self.given)


def in_two(term, now):
    """The value in the first of two processes that share the batch, and the term after it."""
    half, parts = B // 2, []
    for index in (torch.arange(half), torch.arange(half, B)):
        batch = Batch(now.batch.inputs[index], now.batch.labels[index], now.batch.indices[index], None, 0, 0, 3)
        parts.append((batch, now.student.rows(index), {"teacher": now.teachers["teacher"].rows(index)}))
    other, first = Other(), copy.deepcopy(term)
    copy.deepcopy(term)(Step(*parts[1], other))
    return first(Step(*parts[0], First(other.given))), first


@pytest.mark.parametrize("name", ["pkt", "rkd", "dist", "mlkd", "sp"])
def test_images_are_compared_over_all_processes(name):
    now, term = step(context()), made(name)
    torch.testing.assert_close(in_two(term, now)[0], term(now))


def test_a_queue_and_banks_hold_the_images_of_all_processes():
    now, term = step(context()), made("rrd", queue=10, dim=3)
    _, first = in_two(term, now)
    term(now)
    torch.testing.assert_close(first.queue, term.queue)
    assert first.place == term.place == B
    term = made("crd_nce", negatives=12, dim=3)
    before, (_, first) = term.banks.clone(), in_two(term, now)
    term(now)
    torch.testing.assert_close(first.banks, term.banks)
    assert (first.banks != before).any(dim=2).sum(dim=1).tolist() == [B, B]
    torch.testing.assert_close(first.log_z, term.log_z)


@pytest.mark.parametrize("scale", [0.5, 1, 2])
def test_review_by_hand_for_maps_of_other_sizes(scale):
    """In float64, with batch norms of their own: three maps and the features, fused from deep to shallow."""
    theirs = {name: (c, int(scale * h), int(scale * w)) for name, (c, h, w) in TEACHER.items()}
    of = context(STUDENT, theirs | {f"{name}:pre": shape for name, shape in theirs.items()})
    now, term = step(of), made("review", of).double()

    def normed(x):
        mean, variance = x.mean(dim=(0, 2, 3), keepdim=True), x.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
        return (x - mean) / (variance + 1e-5).sqrt()

    def larger(x, factor):
        return x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)

    def double(out):
        return Outputs(features=out.features.double(), maps={name: maps.double() for name, maps in out.maps.items()})

    student, teacher = double(now.student), double(now.teachers["teacher"])
    pairs = [(student.features[:, :, None, None], teacher.features[:, :, None, None])]
    pairs += [(student.maps[name], teacher.maps[f"{name}:pre"]) for name in ("stage3", "stage2", "stage1")]
    total, passed = 0.0, None
    for fusion, (one, other) in zip(term.fusions, pairs, strict=True):
        mine = normed(torch.einsum("oc,bchw->bohw", fusion.enter[0].weight[:, :, 0, 0], one))
        if passed is not None:
            deeper, conv = larger(passed, mine.shape[2] // passed.shape[2]), fusion.attention[0]
            both = torch.einsum("oc,bchw->bohw", conv.weight[:, :, 0, 0], torch.cat([mine, deeper], 1))
            share = 1 / (1 + (-both - conv.bias[:, None, None]).exp())
            mine = mine * share[:, :1] + deeper * share[:, 1:]
        if other.shape[2] > mine.shape[2]:
            mine = larger(mine, 2)
        elif other.shape[2] < mine.shape[2]:
            mine = mine[:, :, ::2, ::2]
        passed = mine
        total += losses.review(normed(functional.conv2d(mine, fusion.leave[0].weight, padding=1)), other).mean()
    torch.testing.assert_close(term(Step(now.batch, student, {"teacher": teacher})), total)


def test_review_is_no_wider_than_512_and_starts_as_its_authors_do():
    of = Context(classes=C, labels=LABELS, student=shapes(600, STUDENT), teachers={"teacher": shapes(9, TEACHER)})
    term = made("review", of, preact=False)
    assert {fusion.enter[0].out_channels for fusion in term.fusions} == {512}
    for conv in (term.fusions[0].enter[0], term.fusions[0].leave[0]):
        bound = math.sqrt(3 / conv.weight[0].numel())  # Kaiming uniform with a = 1
        assert 0.99 * bound < conv.weight.abs().max() <= bound


def test_review_reads_maps_as_they_are_named():
    term = made("review", student_maps=["stage2"], teacher_maps=["stage3"])
    assert term.pairs == (("stage2", "stage3"),)


def test_vid_pools_before_its_regressor():
    now, term = step(context()), made("vid", variance=2.0, student_maps=["stage2"], teacher_maps=["stage3"])
    maps, wanted = now.student.maps["stage2"], now.teachers["teacher"].maps["stage3"]
    mean = term.regressors[0](maps.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean(dim=(3, 5)))
    expected = functional.gaussian_nll_loss(mean, wanted, torch.full_like(mean, 2.0), eps=1e-5)
    torch.testing.assert_close(term(now), expected)


def test_the_hint_of_a_network_of_one_stage_is_that_stage():
    one = {"stem": (3, 8, 8), "stage1": (3, 8, 8)}
    assert made("fitnet", context(one, one)).pairs == (("stage1", "stage1"),)


def test_a_map_before_its_relu_is_the_sum_at_the_end_of_the_last_block():
    """Of two blocks a stage, in a network whose ReLUs work in place."""
    torch.manual_seed(0)
    encoder = Model(C, "resnet14", image_size=16).eval().encoder
    images = torch.randn(2, 3, 16, 16)
    names = ["stem:pre", "stem", *(f"stage{number}{end}" for number in (1, 2, 3) for end in ("", ":pre"))]
    taps = Taps(encoder, names)
    _, maps = taps(images)
    taps.close()
    x = encoder.bn1(encoder.conv1(images))
    torch.testing.assert_close(maps["stem:pre"], x)
    x = x.clamp(min=0)
    torch.testing.assert_close(maps["stem"], x)
    for number in (1, 2, 3):
        for block in getattr(encoder, f"layer{number}"):
            inside = block.bn1(block.conv1(x)).clamp(min=0)
            before = block.bn2(block.conv2(inside)) + block.downsample(x)
            x = before.clamp(min=0)
        torch.testing.assert_close(maps[f"stage{number}:pre"], before)
        torch.testing.assert_close(maps[f"stage{number}"], x)
        assert (maps[f"stage{number}:pre"] < 0).any()


def hooks(module):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def subject(arch):
    return Normalised(Model(C, arch, image_size=16), (0.5,) * 3, (0.2,) * 3)


def test_reading_maps_leaves_a_network_as_it_was():
    torch.manual_seed(0)
    for training in (True, False):
        teacher, student = subject("resnet14"), Model(C, "resnet8+64", image_size=16)
        teacher.model.train(training)
        before = copy.deepcopy(teacher.model.state_dict())
        shapes_of(teacher, maps=True)
        reuse_classifier(student, teacher)
        assert {part.training for part in teacher.model.modules()} == {training}
        assert hooks(teacher.model) == 0
        assert all(torch.equal(value, before[name]) for name, value in teacher.model.state_dict().items())
        assert student.classifier.weight.data_ptr() != teacher.model.classifier.weight.data_ptr()
        assert torch.equal(student.classifier.bias, teacher.model.classifier.bias)


def test_cross_entropy_does_not_train_a_classifier_that_is_reused():
    torch.manual_seed(0)
    teacher, student = subject("resnet14"), subject("resnet8+64")
    of = Context(classes=C, labels=LABELS, student=shapes_of(student, maps=True),
                 teachers={"teacher": shapes_of(teacher, maps=True)})  # fmt: skip
    objective = build(tables(preset_of("simkd", ce_weight=0.5)), of, epochs=1, views=1)
    task = Distillation(student, objective, {"teacher": Teaching(teacher)}).train()
    optimizer = torch.optim.SGD(task.groups(0.1), lr=0.1, weight_decay=0.1)
    for number in range(2):
        batch = Batch(torch.rand(B, 3, 16, 16), LABELS[:B], torch.arange(B), None, 0, number, 2)
        optimizer.zero_grad()
        sum(task(batch).terms.values()).backward()
        optimizer.step()
    for name in ("weight", "bias"):
        assert torch.equal(getattr(student.model.classifier, name), getattr(teacher.model.classifier, name))
    assert student.model.encoder.avgpool.projector[0].weight.grad.any()


def test_a_network_that_ends_in_a_linear_layer_is_projected_without_it():
    student = Model(C, "resnet50+24", image_size=16).eval()
    features, maps = Taps(student.encoder, ["projected"])(torch.rand(1, 3, 16, 16))
    assert features.shape == (1, 24)
    torch.testing.assert_close(features, maps["projected"].mean(dim=(2, 3)))
    assert outputs(shapes(24, {}), 0, 1).features.shape == features.shape
