"""The losses and terms of other papers beside torchdistill's (Matsubara 2021): value and gradient, or how they differ.

It has no DKD, NST, SimKD, MLKD and RRD, and FitNets only as torch's squared error. `make test-lowest` leaves this file
out: it needs a newer torch than the oldest that is allowed.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchdistill.losses import mid_level as peer
from torchdistill.models import wrapper

from supcrd import losses
from supcrd.data.loader import Batch
from supcrd.losses.vid import starting_scale
from supcrd.training.objective.term import Context, Outputs, Shapes, Step
from supcrd.training.objective.terms.crd_nce import CRDNCE
from supcrd.training.objective.terms.review import Fusion
from supcrd.training.objective.terms.vid import VID

B, C = 6, 5
CLOSE = {"rtol": 1e-5, "atol": 1e-7}  # theirs have 1e-7 and the like in denominators and logarithms
LOGITS = ("x", "output", "x", "output")  # where its modules look for an output


def draw(*shape: int, seed: int = 0, learnt: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_(learnt)


def asked(module: Callable[..., Tensor], student: object, teacher: object, *more: Tensor) -> Tensor:
    """The value of one of its modules, which read outputs of named places."""
    return module({"x": {"output": student}}, {"x": {"output": teacher}}, *more)


def assert_same(ours: Tensor, theirs: Tensor, *leaves: Tensor, factor: float = 1.0) -> None:
    """Value and gradient; theirs times a factor."""
    torch.testing.assert_close(ours, factor * theirs, **CLOSE)
    pairs = zip(torch.autograd.grad(ours, leaves), torch.autograd.grad(factor * theirs, leaves), strict=True)
    for one, other in pairs:
        assert one.abs().max() > 1e-6
        torch.testing.assert_close(one, other, **CLOSE)


def pair_of() -> dict[str, dict[str, dict[str, str]]]:
    return {"pair": {"student": {"path": "x", "io": "output"}, "teacher": {"path": "x", "io": "output"}}}


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd_beside_cross_entropy(temperature: float) -> None:
    """Its alpha is our preset's 1 - weight."""
    student, teacher, labels = draw(B, C), draw(B, C, seed=1, learnt=False), torch.arange(B) % C
    theirs = asked(peer.KDLoss(*LOGITS, temperature=temperature, alpha=0.1), student, teacher, labels)
    plain = functional.cross_entropy(student, labels)
    assert_same(0.1 * plain + 0.9 * losses.kd(student, teacher, temperature=temperature).mean(), theirs, student)


def test_logit_standardisation_has_another_standard_deviation() -> None:
    """As `standardise` says: theirs is the sample's, as if the temperature were higher by sqrt(C / (C - 1))."""
    student, teacher, labels = draw(B, C), draw(B, C, seed=1, learnt=False), torch.arange(B) % C
    module = peer.LogitStdKDLoss(*LOGITS, temperature=2.0, alpha=0.1, beta=9.0)
    theirs = asked(module, student, teacher, labels)
    plain = functional.cross_entropy(student, labels)
    higher = losses.KD(2.0 * (C / (C - 1)) ** 0.5, standardise=True)(student, teacher)
    assert_same(0.1 * plain + 9.0 * (C - 1) / C * higher, theirs, student)  # T^2 is 4 there


@pytest.mark.parametrize(("beta", "gamma", "temperature"), [(2.0, 2.0, 4.0), (1.0, 0.5, 1.0)])
def test_dist(beta: float, gamma: float, temperature: float) -> None:
    student, teacher = draw(B, C), draw(B, C, seed=1, learnt=False)
    theirs = asked(peer.DISTLoss(*LOGITS, beta=beta, gamma=gamma, tau=temperature), student, teacher)
    ours = losses.dist(student, teacher, beta=beta, gamma=gamma, temperature=temperature).mean()
    assert_same(ours, theirs, student)


def test_at() -> None:
    student, teacher = draw(B, 3, 4, 4), draw(B, 5, 4, 4, seed=1, learnt=False)
    assert_same(
        losses.at(student, teacher).mean(), asked(peer.ATLoss(pair_of(), mode="code"), student, teacher), student
    )


def test_pkt() -> None:
    student, teacher = draw(B, 4), draw(B, 7, seed=1, learnt=False)
    assert_same(losses.pkt(student, teacher).mean(), asked(peer.PKTLoss(*LOGITS), student, teacher), student)


@pytest.mark.parametrize(("distance", "angle"), [(25.0, 50.0), (1.0, 0.0), (0.0, 1.0)])
def test_rkd(distance: float, angle: float) -> None:
    student, teacher = draw(B, 4), draw(B, 7, seed=1, learnt=False)
    theirs = asked(peer.RKDLoss("x", "x", distance, angle, "mean"), student, teacher)
    assert_same(losses.rkd(student, teacher, distance=distance, angle=angle).mean(), theirs, student)


def test_sp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows are divided by the sum of their absolute values, in the paper (section 3) by their norm."""
    student, teacher = draw(B, 3, 4, 4), draw(B, 5, 2, 2, seed=1, learnt=False)
    module = peer.SPKDLoss("x", "x", "batchmean")
    assert asked(module, student, teacher) < losses.sp(student, teacher).mean()
    monkeypatch.setattr(peer, "normalize", lambda rows, _: functional.normalize(rows))
    assert_same(losses.sp(student, teacher).mean(), asked(module, student, teacher), student)


def test_cc_is_not_the_papers() -> None:
    """As its docstring says: the paper's, which is theirs, compares kernels of all pairs, whatever their order."""
    module = peer.CCKDLoss("x", "x", {"type": "gaussian", "gamma": 0.4, "max_p": 2}, "batchmean")
    student, teacher, order = draw(B, 4), draw(B, 4, seed=1), torch.tensor([0, 2, 4, 1, 3, 5])
    turned = asked(module, student[order], teacher[order])
    torch.testing.assert_close(asked(module, student, teacher), turned)
    ours = losses.cc(student, teacher).mean()
    assert abs(ours - losses.cc(student[order], teacher[order]).mean()) > 0.01 * ours
    right = torch.where((torch.arange(B) % 2 == 0)[:, None], teacher, student)  # every second row
    assert losses.cc(right, teacher).abs().max() == 0 < asked(module, right, teacher)
    assert losses.cc(teacher, teacher).abs().max() == 0 == asked(module, teacher, teacher)


def test_vid_with_its_regressor() -> None:
    """The whole term with its regressor and learnt variances, which start alike."""
    of = Context(
        classes=C,
        labels=torch.arange(B),
        student=Shapes(features=3, projections=2, logits=C, maps={"stage1": (3, 4, 4)}),
        teachers={"teacher": Shapes(features=7, projections=2, logits=C, maps={"stage1": (7, 4, 4)})},
    )
    term = VID(VID.Settings(variance=5.0), of).double()
    regressor = wrapper.Regressor4VID(3, 7, 7, eps=1e-5, init_pred_var=5.0).double()
    torch.testing.assert_close(regressor.soft_plus_param, starting_scale(5.0, 7).double(), rtol=1e-6, atol=1e-6)
    regressor.regressor.load_state_dict(term.regressors[0].state_dict())
    with torch.no_grad():
        term.scales[0].copy_(draw(7, seed=3, learnt=False))
    regressor.soft_plus_param = term.scales[0]
    student, teacher = draw(B, 3, 4, 4), draw(B, 7, 4, 4, seed=1, learnt=False)
    theirs = asked(peer.VIDLoss(pair_of()), regressor(student), teacher)
    ours = term(step_of(Outputs(maps={"stage1": student}), Outputs(maps={"stage1": teacher})))
    assert_same(ours, theirs, student, term.scales[0])


def step_of(student: Outputs, teacher: Outputs, number: int = 0) -> Step:
    index = torch.arange(B) + number
    return Step(Batch(torch.zeros(B, 1), index, index, None, 0, number, 3), student, {"teacher": teacher})


@pytest.mark.parametrize("size", [8, 4, 3, 1])
def test_review(size: int) -> None:
    """Pooled to 4, 2 and 1, without what is no smaller than the map."""
    fused, teacher = draw(B, 3, size, size), draw(B, 3, size, size, seed=1, learnt=False)
    theirs = asked(peer.HierarchicalContextLoss(*LOGITS), (fused, None), teacher)
    assert_same(losses.review(fused, teacher).mean(), theirs, fused)


@pytest.mark.parametrize("alone", [True, False])
def test_reviews_fusion(alone: bool) -> None:
    """With the same weights: what is compared, and what is passed on to the next map."""
    ours = Fusion(3, 4, 5, alone=alone).double()
    theirs = wrapper.AttentionBasedFusion(3, 4, 5, uses_attention=not alone).double()
    names = {"enter": "conv1", "leave": "conv2", "attention": "attention_conv"}
    parts = {key.partition(".")[::2]: part for key, part in ours.state_dict().items()}
    theirs.load_state_dict({f"{names[first]}.{rest}": part for (first, rest), part in parts.items()})
    maps, deeper = draw(B, 3, 8, 8), None if alone else draw(B, 4, 4, 4, seed=1)
    compared, passed = theirs(maps, deeper, 8)
    found = ours(maps, deeper, torch.Size((8, 8)))
    leaves = (maps,) if deeper is None else (maps, deeper)
    for one, other in ((found.output, compared), (found.passed, passed)):
        torch.testing.assert_close(one, other)
        weight = draw(*one.shape, seed=2, learnt=False)
        for gradients in zip(*(torch.autograd.grad((part * weight).sum(), leaves, retain_graph=True) for part in
                               (one, other)), strict=True):  # fmt: skip
            torch.testing.assert_close(*gradients)


def test_crd_nce_with_its_banks() -> None:
    """Two steps of the whole term: Z of the first step, values, gradients, and the rows of both banks.

    Every image is a class of its own and all others are drawn, so that both have the same negatives.
    """
    count, dim = 12, 4
    shape = Shapes(features=3, projections=2, logits=C, maps={})
    of = Context(classes=count, labels=torch.arange(count), student=shape, teachers={"teacher": shape})
    torch.manual_seed(0)
    term = CRDNCE(CRDNCE.Settings(negatives=count, momentum=0.3, temperature=0.2, dim=dim), of)
    module = peer.CRDLoss(
        "norm", "empty", "norm", dim, count, count - 1, num_samples=count, temperature=0.2, momentum=0.3, eps=0.0
    )
    with torch.no_grad():
        module.memory_v1.copy_(term.banks[0])
        module.memory_v2.copy_(term.banks[1])
    for number in (0, 3):
        student, teacher = (draw(B, 3, seed=seed + number, learnt=False).float().requires_grad_() for seed in (1, 2))
        own = torch.arange(B) + number
        rest = torch.stack([torch.cat([torch.arange(at), torch.arange(at + 1, count)]) for at in own.tolist()])
        places = {"pos_idx": own, "contrast_idx": torch.cat([own[:, None], rest], dim=1)}
        ours_embedded = functional.normalize(term.student(student))
        theirs_embedded = functional.normalize(term.teacher(teacher))
        seen = {"norm": {"output": ours_embedded}, "empty": {"input": places}}
        theirs = module(seen, {"norm": {"output": theirs_embedded}})
        ours = term(step_of(Outputs(features=student), Outputs(features=teacher), number))
        close = {"rtol": 1e-4, "atol": 1e-5}  # both are float32
        torch.testing.assert_close(ours, theirs.squeeze(), **close)
        leaves = (student, teacher, term.student.weight, term.teacher.weight)
        for one, other in zip(torch.autograd.grad(ours, leaves), torch.autograd.grad(theirs, leaves), strict=True):
            torch.testing.assert_close(one, other, **close)
        torch.testing.assert_close(term.log_z.exp(), module.params[[3, 2]], **close)  # by anchors there, by bank here
        torch.testing.assert_close(term.banks, torch.stack([module.memory_v1, module.memory_v2]), **close)
