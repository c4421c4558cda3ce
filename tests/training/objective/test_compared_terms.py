"""The terms of other papers: what they read, compute and keep, and what is refused before any work."""

import math

import pytest
import torch
from torch.nn import functional

from supcrd import losses
from supcrd.data.loader import Batch
from supcrd.errors import RecipeError
from supcrd.models import Model
from supcrd.models.normalised import Normalised
from supcrd.models.taps import Taps, map_shapes
from supcrd.recipe.compared import COMPARED
from supcrd.training.objective.build import build, planned
from supcrd.training.objective.presets import tables
from supcrd.training.objective.term import TERMS, Context, Outputs, Shapes, Step
from supcrd.training.task import Distillation
from supcrd.training.teacher import Teaching, reuse_classifier, shapes_of

C, N, B = 5, 40, 6
LABELS = torch.arange(N) % C
STUDENT = {"stem": (4, 16, 16), "stage1": (4, 16, 16), "stage2": (6, 8, 8), "stage3": (8, 4, 4)}
TEACHER = {"stem": (5, 16, 16), "stage1": (5, 16, 16), "stage2": (7, 8, 8), "stage3": (9, 4, 4)}
PRE = {f"{name}:pre": shape for name, shape in TEACHER.items()}


def preset_of(name, **changes):
    """A preset at its defaults, but for what the few images here allow."""
    few = {"negatives": 8} if name == "crd_nce" else {}
    return COMPARED[name].model_validate({"name": name} | few | changes)


def shapes(features, maps, **more):
    return Shapes(features=features, projections=4, logits=C, maps=maps, **more)


def context(student=STUDENT, teacher=None, seed=0):
    taught = shapes(9, TEACHER | PRE if teacher is None else teacher)
    return Context(classes=C, labels=LABELS, student=shapes(8, student), teachers={"teacher": taught}, seed=seed)


def projected_context(teacher=9, student=9):
    taught = shapes(teacher, TEACHER)
    ours = shapes(student, STUDENT | {"projected": (student, 4, 4)})
    return Context(classes=C, labels=LABELS, student=ours, teachers={"teacher": taught})


def outputs(of, seed, rows):
    g = torch.Generator().manual_seed(seed)
    maps = {name: torch.randn(rows, *shape, generator=g, requires_grad=True) for name, shape in of.maps.items()}
    return Outputs(
        features=torch.randn(rows, of.features, generator=g, requires_grad=True),
        logits=torch.randn(rows, C, generator=g, requires_grad=True),
        maps=maps,
    )


def step(of, *, epoch=0, number=0, views=1, first=0, seed=1):
    rows = B * views
    index = torch.arange(first, first + B)
    batch = Batch(torch.zeros(rows, 1), LABELS[index].repeat(views), index, None, epoch, number, 3)
    return Step(batch, outputs(of.student, seed, rows), {"teacher": outputs(of.teachers["teacher"], seed + 1, rows)})


def made(name, of=None, **settings):
    torch.manual_seed(0)
    kind = TERMS.get(name)
    return kind(kind.Settings(**settings), of or context())


# The weights of RepDistiller's scripts (gamma, alpha, beta), and for the last five of their authors'.
PUBLISHED = {
    "fitnet": (1, 0, 100), "at": (1, 0, 1000), "sp": (1, 0, 3000), "cc": (1, 0, 0.02), "vid": (1, 0, 1),
    "rkd": (1, 0, 1), "pkt": (1, 0, 30000), "nst": (1, 0, 50), "crd_nce": (1, 0, 0.8), "review": (1, 0, 5),
    "dist": (1, 0, 1), "mlkd": (0.1, 0, 0.9), "rrd": (1, 0, 1), "simkd": (0, 0, 1),
    "ls": (0.1, 0, 9),
}  # fmt: skip


def test_presets_have_the_published_weights():
    assert set(PUBLISHED) == set(COMPARED)
    for name, (gamma, alpha, beta) in PUBLISHED.items():
        table = tables(preset_of(name))
        assert list(table) == ["cross_entropy", name]
        assert table["cross_entropy"] == {"weight": gamma}
        assert table[name]["weight"] == beta
        with_kd = tables(preset_of(name, kd_weight=1.0))
        assert alpha == 0
        assert with_kd["kd"] == {"weight": 1.0, "temperature": 4.0}
        assert list(with_kd) == ["cross_entropy", "kd", name]


def test_presets_say_whether_their_terms_compare_images():
    for name in COMPARED:
        preset = preset_of(name)
        of = projected_context() if name == "simkd" else context()
        objective = build(tables(preset), of, epochs=1, views=1)
        assert objective.needs.others == preset.contrastive, name
        assert objective.terms[name].paper, name


READ = {
    "fitnet": ["stage2"], "at": ["stage1", "stage2", "stage3"], "sp": ["stage3"],
    "vid": ["stage1", "stage2", "stage3"], "nst": ["stage1", "stage2", "stage3"],
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_the_maps_that_repdistiller_reads(name):
    term = made(name)
    assert term.pairs == tuple((one, one) for one in READ[name])
    assert term.reads.student == term.reads.teacher == {f"maps/{one}" for one in READ[name]}
    (plan,) = planned({name: {}}, context(), views=1)
    assert plan.reads == term.reads


def test_review_reads_the_teacher_before_its_relu():
    term = made("review")
    assert term.reads.teacher == {"features", *(f"maps/stage{n}:pre" for n in (1, 2, 3))}
    assert made("review", preact=False).reads.teacher == {"features", *(f"maps/stage{n}" for n in (1, 2, 3))}


def test_maps_before_a_relu_have_a_shape():
    found = map_shapes(Model(10, "resnet8").encoder, 3, 32)
    assert found["stage2:pre"] == found["stage2"] == (32, 16, 16)
    assert list(found)[:4] == ["stem", "stage1", "stage2", "stage3"]


def test_terms_of_maps_are_sums_over_pairs():
    now = step(context())
    for name in ("at", "nst", "sp"):
        pairs = ["stage3"] if name == "sp" else ["stage1", "stage2", "stage3"]
        taught = now.teachers["teacher"].maps
        expected = sum(getattr(losses, name)(now.student.maps[one], taught[one]).mean() for one in pairs)
        torch.testing.assert_close(made(name)(now), expected)
    term = made("at", student_maps=["stage1"], teacher_maps=["stage3"])
    torch.testing.assert_close(term(now), losses.at(now.student.maps["stage1"], taught["stage3"]).mean())


def test_the_hint_is_regressed_by_convolution_batch_norm_and_relu():
    now, term = step(context()), made("fitnet").double()
    (conv, norm, _), hint = term.regressors[0], now.student.maps["stage2"].double()
    # 8 x 8 to 8 x 8: 1x1, which is a linear map at every place
    mapped = torch.einsum("oc,bchw->bohw", conv.weight[:, :, 0, 0], hint) + conv.bias[:, None, None]
    mean, variance = mapped.mean(dim=(0, 2, 3), keepdim=True), mapped.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
    regressed = ((mapped - mean) / (variance + norm.eps).sqrt()).clamp(min=0)
    expected = (regressed - now.teachers["teacher"].maps["stage2"]).square().mean()
    double = Step(now.batch, Outputs(maps={"stage2": hint}), now.teachers)
    torch.testing.assert_close(term(double), expected)


@pytest.mark.parametrize(("student", "teacher"), [(8, 4), (4, 8), (8, 5), (8, 8)])
def test_the_regressor_gives_the_teachers_size(student, teacher):
    of = context({"stage2": (3, student, student)}, {"stage2": (7, teacher, teacher)})
    term = made("fitnet", of)
    assert term.regressors[0](torch.randn(2, 3, student, student)).shape == (2, 7, teacher, teacher)
    assert term(step(of)).isfinite()


def test_vid_starts_with_the_variance_that_is_asked_for():
    now, term = step(context()), made("vid", variance=2.0, student_maps=["stage2"], teacher_maps=["stage2"])
    first, _, second, _, third = term.regressors[0]
    hidden = functional.conv2d(now.student.maps["stage2"], first.weight).relu()
    mean = functional.conv2d(functional.conv2d(hidden, second.weight).relu(), third.weight)
    wanted = now.teachers["teacher"].maps["stage2"]
    # torch's own: ln v and squares over v, halved, its eps being a least variance
    expected = functional.gaussian_nll_loss(mean, wanted, torch.full_like(mean, 2.0), eps=1e-5)
    torch.testing.assert_close(term(now), expected)


def test_review_fuses_from_deep_to_shallow():
    """By hand in float64, with batch norms of their own: three maps and the features."""
    of, now = context(), step(context())
    term = made("review", of).double()

    def normed(x):
        mean, variance = x.mean(dim=(0, 2, 3), keepdim=True), x.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
        return (x - mean) / (variance + 1e-5).sqrt()

    ours = [now.student.features.double()[:, :, None, None]]
    ours += [now.student.maps[name].double() for name in ("stage3", "stage2", "stage1")]
    theirs = [now.teachers["teacher"].features.double()[:, :, None, None]]
    theirs += [now.teachers["teacher"].maps[f"{name}:pre"].double() for name in ("stage3", "stage2", "stage1")]
    total, passed = 0.0, None
    for fusion, one, other in zip(term.fusions, ours, theirs, strict=True):
        mine = normed(torch.einsum("oc,bchw->bohw", fusion.enter[0].weight[:, :, 0, 0], one))
        if passed is not None:
            factor = mine.shape[2] // passed.shape[2]
            deeper = passed.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
            conv = fusion.attention[0]
            both = torch.einsum("oc,bchw->bohw", conv.weight[:, :, 0, 0], torch.cat([mine, deeper], 1))
            share = 1 / (1 + (-both - conv.bias[:, None, None]).exp())
            mine = mine * share[:, :1] + deeper * share[:, 1:]
        passed = mine
        total += losses.review(normed(functional.conv2d(mine, fusion.leave[0].weight, padding=1)), other).mean()
    student = Outputs(features=now.student.features.double(), maps={k: v.double() for k, v in now.student.maps.items()})
    teacher = now.teachers["teacher"]
    taught = Outputs(features=teacher.features.double(), maps={k: v.double() for k, v in teacher.maps.items()})
    torch.testing.assert_close(term(Step(now.batch, student, {"teacher": taught})), total)


def test_review_takes_maps_of_other_sizes():
    larger = {name: (c, 2 * h, 2 * w) for name, (c, h, w) in TEACHER.items()}
    of = context(STUDENT, larger | {f"{name}:pre": shape for name, shape in larger.items()})
    assert made("review", of)(step(of)).isfinite()


def test_crd_nce_by_hand():
    """Two steps: drawn images, the constants Z, the losses of both directions and the banks."""
    of, settings = context(), {"negatives": 12, "dim": 3, "momentum": 0.25, "temperature": 0.5}
    term = made("crd_nce", of, **settings)
    banks = term.banks.double()
    z = None
    for number in range(2):
        now = step(of, number=number, views=2, first=2 * number, seed=10 * number)
        views = {}
        for side, layer, rows in ((0, term.student, now.student.features), (1, term.teacher, None)):
            rows = (now.teachers["teacher"].features if rows is None else rows).double()
            views[side] = functional.normalize(rows @ layer.weight.T.double() + layer.bias.double(), dim=1)
        drawn = term._drawn(now.batch)
        assert len(set(drawn.tolist())) == 12
        valid = LABELS[drawn] != now.batch.labels[:, None]
        scores = {side: views[side] @ banks[1 - side][drawn].T / 0.5 for side in (0, 1)}
        z = z or {side: N * scores[side].exp().mean() for side in (0, 1)}
        index = now.batch.indices.repeat(2)
        total = 0.0
        for side in (0, 1):
            own = (views[side] * banks[1 - side][index]).sum(1).div(0.5).exp() / z[side]
            for row in range(2 * B):
                m = valid[row].sum() / N
                total -= (own[row] / (own[row] + m)).log()
                others = scores[side][row][valid[row]].exp() / z[side]
                total -= (m / (others + m)).log().sum()
        torch.testing.assert_close(term(now).double(), total / (2 * B), rtol=1e-5, atol=1e-5)
        for side in (0, 1):
            for place, image in enumerate(now.batch.indices.tolist()):
                fresh = functional.normalize(views[side][place] + views[side][place + B], dim=0)
                banks[side, image] = functional.normalize(0.25 * banks[side, image] + 0.75 * fresh, dim=0)
        torch.testing.assert_close(term.banks.double(), banks, rtol=1e-5, atol=1e-5)


def test_crd_nce_draws_by_seed_epoch_and_step_and_keeps_its_state():
    of = context()
    term = made("crd_nce", of, negatives=10, dim=3)
    draws = [term._drawn(step(of, epoch=e, number=n).batch).tolist() for e, n in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert draws[0] == draws[3]
    assert len({tuple(sorted(draw)) for draw in draws}) == 3
    assert sorted(made("crd_nce", context(seed=1), negatives=10)._drawn(step(of).batch).tolist()) != sorted(draws[0])
    assert (term.log_z == -torch.inf).all()
    term(step(of))
    kept = {name: value.clone() for name, value in term.state_dict().items()}
    assert {"banks", "log_z", "student.weight", "teacher.weight"} <= set(kept)
    other = made("crd_nce", of, negatives=10, dim=3)
    other.load_state_dict(kept)
    assert other(step(of, number=1)).item() == term(step(of, number=1)).item()
    assert torch.equal(term.log_z, kept["log_z"])  # of the first step
    assert all(math.isfinite(value) for value in kept["log_z"].tolist())


def test_crd_nce_estimates_again_what_a_state_of_before_has_not():
    """As after the steps that are timed for a budget of minutes: the state of before the first one is put back."""
    of = context()
    term = made("crd_nce", of, negatives=10, dim=3)
    before = {name: value.clone() for name, value in term.state_dict().items()}
    first = term(step(of)).item()
    term.load_state_dict(before)
    assert math.isfinite(first)
    assert term(step(of)).item() == first


def test_the_queue_of_rrd_goes_round():
    of, term = context(), made("rrd", queue=10, dim=3)
    before = term.queue.clone()
    torch.testing.assert_close(before.norm(dim=1), torch.ones(10))
    assert not any(p.requires_grad for p in term.teacher.parameters())
    rows = []
    for number in range(3):
        now = step(of, number=number, seed=number)
        features = now.teachers["teacher"].features
        rows += functional.normalize(features @ term.teacher.weight.T + term.teacher.bias, dim=1).tolist()
        term(now)
    expected = torch.tensor([rows[10], rows[11], *rows[12:18], rows[8], rows[9]])  # 18 rows in 10 places
    torch.testing.assert_close(term.queue, expected)
    assert term.place == 8
    small = made("rrd", queue=4, dim=3)
    assert small(step(of)).isfinite()  # more rows than places: the last ones


def test_simkd_compares_the_projected_map():
    of = projected_context()
    now, term = step(of), made("simkd", of)
    expected = functional.mse_loss(now.student.maps["projected"], now.teachers["teacher"].maps["stage3"])
    torch.testing.assert_close(term(now), expected)
    assert made("at", of).pairs == made("at").pairs  # a projector is no stage


def test_a_network_with_a_projector():
    """Parameters by hand: 64 x 20 + 20 x 20 x 9 + 20 x 40, and two numbers a channel for each batch norm."""
    plain, student = Model(C, "resnet8"), Model(C, "resnet8+40")
    count = {model: sum(p.numel() for p in model.encoder.parameters()) for model in (plain, student)}
    assert count[student] - count[plain] == 64 * 20 + 20 * 20 * 9 + 20 * 40 + 2 * (20 + 20 + 40)
    assert student.classifier.weight.shape == (C, 40)
    images = torch.rand(2, 3, 32, 32)
    taps = Taps(student.eval().encoder, ["stage3", "projected"])
    features, maps = taps(images)
    torch.testing.assert_close(features, maps["projected"].mean(dim=(2, 3)))
    by_hand = maps["stage3"]
    layers = [m for m in student.encoder.avgpool.projector if not isinstance(m, torch.nn.ReLU)]
    for conv, norm in zip(layers[::2], layers[1::2], strict=True):
        by_hand = norm(conv(by_hand)).clamp(min=0)
    torch.testing.assert_close(maps["projected"], by_hand)
    with pytest.raises(ValueError, match=r"arch 'convnet\+40': it has no map that a mean over places makes"):
        Model(C, "convnet+40")
    with pytest.raises(ValueError, match="arch 'resnet9' is unknown; the nearest is 'resnet8'"):
        Model(C, "resnet9+40")


def test_the_classifier_of_a_teacher_is_reused_and_left_alone():
    torch.manual_seed(0)
    teacher, student = (Normalised(Model(C, arch, image_size=16), (0.5,) * 3, (0.2,) * 3)
                        for arch in ("resnet14", "resnet8+64"))  # fmt: skip
    of = Context(classes=C, labels=LABELS, student=shapes_of(student, maps=True),
                 teachers={"teacher": shapes_of(teacher, maps=True)})  # fmt: skip
    objective = build(tables(preset_of("simkd")), of, epochs=1, views=1)
    task = Distillation(student, objective, {"teacher": Teaching(teacher)}).train()
    assert torch.equal(student.model.classifier.weight, teacher.model.classifier.weight)
    batch = Batch(torch.rand(B, 3, 16, 16), LABELS[:B], torch.arange(B), None, 0, 0, 1)
    terms = task(batch).terms
    assert terms["cross_entropy"] == 0
    terms["simkd"].backward()
    assert student.model.classifier.weight.grad is None
    assert student.model.encoder.conv1.weight.grad.any()


def test_a_classifier_of_other_features_is_not_reused():
    """convnet's features are as wide as its last map, and not its mean."""
    teacher = Normalised(Model(C, "convnet", image_size=8), (0.5,) * 3, (0.2,) * 3)
    with pytest.raises(RecipeError, match="the teacher's features are not the mean of its last map"):
        reuse_classifier(Model(C, "resnet8+128", image_size=8), teacher)


def test_cc_embeds_both():
    now, term = step(context()), made("cc", dim=7)
    ours, theirs = term.student(now.student.features), term.teacher(now.teachers["teacher"].features)
    torch.testing.assert_close(term(now), losses.cc(ours, theirs).mean())
    term(now).backward()
    assert term.teacher.weight.grad.any()


@pytest.mark.parametrize("name", ["kd", "dkd", "mlkd"])
def test_standardised_logits(name):
    now = step(context())
    logits = [losses.standardise(part.logits) for part in (now.student, now.teachers["teacher"])]
    expected = getattr(losses, name)(*logits, *([now.batch.labels] if name == "dkd" else [])).mean()
    torch.testing.assert_close(made(name, standardise=True)(now), expected)


NONE = {}
FOUR = TEACHER | {"stage4": (9, 2, 2)}
TINY = TEACHER | {"stage2": (7, 32, 32)}


@pytest.mark.parametrize(
    ("name", "settings", "of", "said"),
    [
        ("at", {}, context(NONE), "objective.at: it compares feature maps, and the network of the student names none"),
        ("at", {}, context(STUDENT, NONE), "the network of the teacher names none"),
        ("at", {}, context(STUDENT, FOUR), r"3 of the student \(stage1, stage2, stage3\) and 4 of the teacher"),
        ("sp", {"student_maps": ["stage9"]}, context(), "reads the map 'stage9', which the student lacks; it has stem"),
        (
            "at",
            {"student_maps": ["stage1"], "teacher_maps": ["stage1", "stage2"]},
            context(),
            "1 of the student .stage1. and 2 of the teacher .stage1, stage2.; give student_maps and teacher_maps",
        ),
        ("fitnet", {}, context(STUDENT, TINY), r"map stage2 has 8 x 8 places and the teacher's stage2 32 x 32"),
        ("crd_nce", {"negatives": 41}, context(), "negatives = 41: there are 40 training images.*at most 40 is right"),
        (
            "vid",
            {"variance": 0.0},
            context(),
            "objective.vid.variance = 0.0: a number above 1e-05 and of 1000000 or less is right",
        ),
        ("mlkd", {"temperatures": []}, context(), "objective.mlkd.temperatures"),
        (
            "simkd",
            {},
            context(),
            r"objective.simkd: the student has 8 features and needs a projector.*model.arch = 'NAME\+9' brings it",
        ),
        ("simkd", {}, projected_context(student=10), r"has 10 features.*model.arch = 'NAME\+9'"),
        ("simkd", {}, projected_context(teacher=7), "reads 7 features that are not the mean of its last map, of 9"),
    ],
)
def test_what_cannot_work_is_refused_before_a_term_is_built(name, settings, of, said):
    with pytest.raises(RecipeError, match=said):
        planned({name: settings}, of, views=1)


@pytest.mark.parametrize("name", ["at", "review"])
def test_the_maps_of_a_teacher_that_is_not_there_yet_are_not_counted(name):
    """The student's shapes stand in for it: two of its three maps may be all that the teacher has."""
    student = context().student
    of = Context(classes=C, labels=LABELS, student=student, teachers={"teacher": student})
    assert [term.reads for term in planned({name: {"student_maps": ["stage1", "stage2"]}}, of, views=1)] == [None]


@pytest.mark.parametrize(
    ("name", "settings"), [("ls", {}), *((n, {"standardise": True}) for n in ("kd", "dkd", "mlkd"))]
)
def test_z_scores_of_two_classes_are_refused(name, settings):
    two = Context(classes=2, labels=LABELS % 2, student=context().student, teachers={"teacher": context().student})
    logits = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    losses.kd(losses.standardise(logits), torch.randn(5, 2).double()).sum().backward()
    assert logits.grad.abs().max() < 1e-5  # why
    with pytest.raises(RecipeError, match=f"objective.{name}: z-scores of the logits of two classes"):
        planned({name: settings}, two, views=1)


def test_maps_that_a_teacher_lacks_are_refused():
    for name in ("sp", "vid"):
        wanted = {name: {"student_maps": ["stage1"], "teacher_maps": ["stage9"]}}
        with pytest.raises(
            RecipeError, match=r"reads the map 'stage9', which the teacher.* lacks; it has stem, stage1"
        ):
            build(wanted, context(), epochs=1, views=1)
    with pytest.raises(RecipeError, match=r"stage1:pre.*does not end in a ReLU before which it could be read"):
        build({"review": {}}, context(STUDENT, TEACHER), epochs=1, views=1)


@pytest.mark.parametrize("name", COMPARED)
def test_a_step_on_networks_teaches_encoder_and_classifier_and_leaves_the_teacher(name):
    torch.manual_seed(0)
    archs = ("resnet8+64" if name == "simkd" else "resnet8", "resnet14")
    subjects = [Normalised(Model(C, arch, image_size=16), (0.5,) * 3, (0.2,) * 3) for arch in archs]
    student, teacher = (
        Shapes(
            features=64, projections=64, logits=C, maps=map_shapes(subject.model.encoder, 3, 16)
        )
        for subject in subjects
    )  # fmt: skip
    of = Context(classes=C, labels=LABELS, student=student, teachers={"teacher": teacher})
    preset = preset_of(name)
    objective = build(tables(preset), of, epochs=1, views=2)
    task = Distillation(subjects[0], objective, {"teacher": Teaching(subjects[1])}).train()
    batch = Batch(torch.rand(2 * B, 3, 16, 16), LABELS[:B].repeat(2), torch.arange(B), None, 0, 0, 1)
    terms = task(batch).terms
    assert list(terms) == ["cross_entropy", name]
    assert terms[name] > 0 or name == "vid"
    terms[name].backward()
    ours = subjects[0].model
    assert all(p.grad is not None for p in ours.encoder.parameters() if p is not None) or name == "fitnet"
    assert ours.encoder.conv1.weight.grad.abs().max() > 0
    assert all(p.grad is None for p in subjects[1].model.parameters())
    assert all(p.grad is not None for p in objective.parameters() if p.requires_grad)
