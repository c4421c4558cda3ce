"""Which views a term reads, what mixed images do to it, and what is refused."""

from typing import ClassVar

import pytest
import torch
from torch.nn import functional

from supcrd.data.loader import Batch
from supcrd.errors import RecipeError
from supcrd.recipe.settings import AugmentSettings, ViewSettings
from supcrd.training.objective.build import build
from supcrd.training.objective.term import Context, Outputs, Reads, Shapes, Step, Term, term
from supcrd.training.objective.views import of_views

SHAPES = Shapes(features=8, projections=4, logits=3)
CONTEXT = Context(classes=3, labels=torch.tensor([0, 0, 0, 1, 2, 2]), student=SHAPES, teachers={"teacher": SHAPES})
B = 4
WEAK, CUT = ViewSettings(), ViewSettings(views=2, cutmix=1.0)
GROUPS = {"weak": WEAK, "strong": CUT}
SOMETIMES = {"weak": ViewSettings(), "strong": ViewSettings(views=2, mixup=0.4, mix=0.5)}


def made(tables, views=GROUPS):
    return build(tables, CONTEXT, epochs=4, views=views)


def step(views=3, mixed=(1, 2), seed=0):
    random = torch.Generator().manual_seed(seed)
    rows = views * B

    def outputs():
        widths = {"features": 8, "projections": 4, "logits": 3}
        parts = {name: torch.randn(rows, width, generator=random, requires_grad=True) for name, width in widths.items()}
        return Outputs(**parts)

    partners, shares = torch.arange(rows), torch.ones(rows)
    for view in mixed:
        part = slice(view * B, (view + 1) * B)
        partners[part] = view * B + torch.randperm(B, generator=random)
        shares[part] = torch.rand(B, generator=random)
    labels = (torch.arange(B) % 3).repeat(views)
    theirs = labels[partners]
    batch = Batch(torch.zeros(rows, 1), labels, torch.arange(B), None, 0, 0, 1, theirs, shares, tuple(mixed))
    return Step(batch, outputs(), {"teacher": outputs()})


def loss(tables, now, views=GROUPS):
    return next(iter(made(tables, views)(now, now).values()))


@pytest.mark.parametrize(
    ("views", "rows"),
    [
        (["strong"], range(4, 12)),
        (["weak"], range(4)),
        (["strong", 0], [*range(4, 12), *range(4)]),
        ([2], range(8, 12)),
    ],
)
def test_terms_choose_groups_and_numbers(views, rows):
    now, rows = step(mixed=()), list(rows)
    expected = functional.cross_entropy(now.student.logits[rows], now.batch.labels[rows])
    torch.testing.assert_close(loss({"cross_entropy": {"views": views}}, now), expected)


@pytest.mark.parametrize(
    ("views", "groups", "said"),
    [
        (
            ["strnog"],
            GROUPS,
            r"objective.kd.views has the group 'strnog', which the recipe lacks; did you mean strong\?",
        ),
        (["banana"], GROUPS, "has the group 'banana', which the recipe lacks; there are weak, strong"),
        (["weak"], 2, r"has the group 'weak', which the recipe lacks; \[views.weak\] would bring it"),
        ([3], GROUPS, "objective.kd.views has view 3; there are 3"),
        ([-1], GROUPS, "objective.kd.views has view -1; there are 3"),
        (
            [0.5],
            GROUPS,
            r"objective.kd.views = \[0.5\]: names of groups of views, or numbers of views from 0 are right",
        ),
        ([], GROUPS, r"objective.kd.views = \[\]: names of groups of views"),
        (True, GROUPS, "objective.kd.views = true: names of groups of views"),
    ],
)
def test_what_is_no_view_is_refused(views, groups, said):
    with pytest.raises(RecipeError, match=said) as error:
        made({"kd": {"views": views}}, groups)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["supcon", "crd", "lw_supcrd", "dkd"])
def test_terms_that_need_labels_refuse_mixed_views(name):
    with pytest.raises(RecipeError) as error:
        made({name: {}, "cross_entropy": {}})
    assert str(error.value) == (
        f"objective.{name} needs the label of every image, and views.strong.cutmix = 1 mixes images; "
        f"objective.{name}.views = [...] of an unmixed group is right, or objective.{name}.mixed = 'skip', which "
        "leaves mixed images out"
    )
    made({name: {"views": ["weak"]}, "cross_entropy": {}})
    made({name: {"mixed": "skip"}, "cross_entropy": {}})
    with pytest.raises(RecipeError, match=r"augment.mixup = 0.2 mixes images"):
        made({name: {}}, {"augment": AugmentSettings(mixup=0.2)})
    made({name: {}}, {"augment": AugmentSettings(mixup=0.2, mix=0.0)})


def test_a_term_of_ones_own_refuses_them_unless_it_says_otherwise():
    @term("test-own-hard")
    class Hard(Term):
        reads: ClassVar = Reads({"features"})

    @term("test-own-late")
    class Late(Term):
        @property
        def reads(self):
            return Reads({"features"})

    @term("test-own-soft")
    class Soft(Term):
        reads: ClassVar = Reads({"features"}, labels="soft")

    for name in ("test-own-hard", "test-own-late"):
        with pytest.raises(RecipeError, match=f"objective.{name} needs the label of every image"):
            made({name: {}})
    made({"test-own-soft": {}})


def test_a_term_that_would_never_be_computed_is_refused():
    with pytest.raises(RecipeError, match=r"every view that it reads is mixed in every step \(views.strong.mix = 1\)"):
        made({"supcon": {"mixed": "skip", "views": ["strong"]}})
    made({"supcon": {"mixed": "skip", "views": ["strong"]}}, SOMETIMES)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_mixed_images_is_that_of_both_labels(smoothing):
    now = step()
    batch, logits = now.batch, now.student.logits.double()
    target = torch.zeros(12, 3, dtype=torch.float64)
    for row in range(12):  # soft labels by hand
        target[row, batch.labels[row]] += batch.shares[row]
        target[row, batch.partner_labels[row]] += 1 - batch.shares[row]
    target = (1 - smoothing) * target + smoothing / 3
    expected = -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()
    ours = loss({"cross_entropy": {"label_smoothing": smoothing}}, now)
    torch.testing.assert_close(ours.double(), expected)
    peer = functional.cross_entropy(logits, target)
    torch.testing.assert_close(ours.double(), peer)
    part = loss({"cross_entropy": {"label_smoothing": smoothing, "views": [2, 0]}}, now)
    rows = [*range(8, 12), *range(4)]
    torch.testing.assert_close(part.double(), functional.cross_entropy(logits[rows], target[rows]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_mixed_images_with_class_weights(smoothing):
    """The mean over pairs (row, label), each with its share times its class's weight: a loop in float64."""
    now = step()
    batch, logits = now.batch, now.student.logits.double()
    weights = [len(CONTEXT.labels) / (3 * CONTEXT.labels.tolist().count(c)) for c in range(3)]
    total = weight = 0.0
    for row, log_p in enumerate(logits.log_softmax(dim=1).tolist()):
        own = float(batch.shares[row])
        for label, share in ((int(batch.labels[row]), own), (int(batch.partner_labels[row]), 1 - own)):
            smooth = sum(-weights[c] * log_p[c] for c in range(3)) / 3  # torch's formula
            total += share * ((1 - smoothing) * weights[label] * -log_p[label] + smoothing * smooth)
            weight += share * weights[label]
    ours = loss({"cross_entropy": {"label_smoothing": smoothing, "class_weights": "balanced"}}, now)
    assert ours.item() == pytest.approx(total / weight, rel=1e-5)


def test_a_batch_that_is_not_mixed_gives_the_same_bits_as_without_mixing():
    now = step(mixed=())
    bare = Step(now.batch._replace(partner_labels=None, shares=None), now.student, now.teachers)
    assert torch.equal(loss({"cross_entropy": {}}, now), loss({"cross_entropy": {}}, bare, views=3))


@pytest.mark.parametrize("name", ["supcon", "crd", "lw_supcrd", "dkd"])
def test_skip_leaves_mixed_views_out(name):
    now, tables = step(mixed=(1,)), {name: {"mixed": "skip"}}
    rest = of_views(now, (0, 2))
    torch.testing.assert_close(loss(tables, now, SOMETIMES), loss({name: {}}, rest, views=2))
    gone = step(mixed=(0, 1, 2))
    assert loss(tables, gone, SOMETIMES) == 0
    whole = step(mixed=())
    assert torch.equal(loss(tables, whole, SOMETIMES), loss({name: {}}, whole, views=3))


def test_labels_of_partners_stay_with_their_images_when_views_are_chosen():
    now = step()
    part = of_views(now, (2, 1)).batch
    assert part.mixed == (0, 1)
    for row, old in enumerate([*range(8, 12), *range(4, 8)]):
        assert part.shares[row] == now.batch.shares[old]
        assert part.partner_labels[row] == now.batch.partner_labels[old]
    assert of_views(now, (0,)).batch.mixed == ()
