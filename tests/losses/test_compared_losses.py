"""The losses of other papers: against loops over their equations, and what every loss must pass."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import naive_compared as naive
import pytest
import torch
from torch import Tensor

from supcrd import losses
from supcrd.losses.pairs import same_size
from supcrd.losses.vid import starting_scale


@dataclass
class Inputs:
    student: Tensor  # (B, D)
    teacher: Tensor  # (B, D)
    wide: Tensor  # (B, D'), a teacher of another width
    logits: Tensor  # (B, C)
    taught: Tensor  # (B, C)
    maps: Tensor  # (B, 3, 4, 4)
    same: Tensor  # (B, 3, 4, 4)
    large: Tensor  # (B, 5, 8, 8)
    bank: Tensor  # (7, D)
    scale: Tensor  # (3,)
    valid: Tensor  # (B, 7) bool

    def change(self, function: Callable[[Tensor], Tensor], *, shared: bool = True) -> "Inputs":
        """Every float tensor changed; `shared`: those that belong to no image, too."""
        kept = () if shared else ("bank", "scale")
        return Inputs(
            **{
                f.name: value if f.name in kept else function(value)
                for f in fields(self)
                for value in [getattr(self, f.name)]
            }
        )


def inputs(rows: int = 6, seed: int = 0) -> Inputs:
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    valid = torch.rand(rows, 7, generator=g) < 0.7
    valid[:, 0] = True
    return Inputs(draw(rows, 4), draw(rows, 4), draw(rows, 6), draw(rows, 5), 2 * draw(rows, 5), draw(rows, 3, 4, 4),
                  draw(rows, 3, 4, 4), draw(rows, 5, 8, 8), draw(7, 4), draw(3), valid)  # fmt: skip


NCE = {"count": 20, "temperature": 0.5}
LOG_Z = 1.3
# name -> (the loss, the same by a loop)
CASES: dict[str, tuple[Callable[[Inputs], Tensor], Callable[[Inputs], list[float]]]] = {
    "rkd": (
        lambda b: losses.rkd(b.student, b.wide),
        lambda b: naive.rkd(b.student.tolist(), b.wide.tolist(), distance=25.0, angle=50.0),
    ),
    "rkd, distances": (
        lambda b: losses.rkd(b.student, b.wide, distance=2.0, angle=0.0),
        lambda b: naive.rkd(b.student.tolist(), b.wide.tolist(), distance=2.0, angle=0.0),
    ),
    "pkt": (lambda b: losses.pkt(b.student, b.wide), lambda b: naive.pkt(b.student.tolist(), b.wide.tolist())),
    "sp": (lambda b: losses.sp(b.maps, b.large), lambda b: naive.sp(b.maps.tolist(), b.large.tolist())),
    "at": (lambda b: losses.at(b.maps, b.large), lambda b: naive.at(b.maps.tolist(), b.large.tolist())),
    "at, a larger student": (
        lambda b: losses.at(b.large, b.maps),
        lambda b: naive.at(b.large.tolist(), b.maps.tolist()),
    ),
    "nst": (lambda b: losses.nst(b.maps, b.large), lambda b: naive.nst(b.maps.tolist(), b.large.tolist())),
    "fitnet": (lambda b: losses.fitnet(b.maps, b.same), lambda b: naive.fitnet(b.maps.tolist(), b.same.tolist())),
    "vid": (
        lambda b: losses.vid(b.maps, b.large[:, :3], b.scale),
        lambda b: naive.vid(b.maps.tolist(), b.large[:, :3].tolist(), b.scale.tolist()),
    ),
    "review": (
        lambda b: losses.review(b.large, b.large.flip(1)),
        lambda b: naive.review(b.large.tolist(), b.large.flip(1).tolist()),
    ),
    "review, small": (
        lambda b: losses.review(b.maps, b.same),
        lambda b: naive.review(b.maps.tolist(), b.same.tolist()),
    ),
    "cc": (lambda b: losses.cc(b.student, b.teacher), lambda b: naive.cc(b.student.tolist(), b.teacher.tolist())),
    "dist": (
        lambda b: losses.dist(b.logits, b.taught),
        lambda b: naive.dist(b.logits.tolist(), b.taught.tolist(), beta=2.0, gamma=2.0, temperature=4.0),
    ),
    "dist, other weights": (
        lambda b: losses.dist(b.logits, b.taught, beta=1.0, gamma=0.5, temperature=1.0),
        lambda b: naive.dist(b.logits.tolist(), b.taught.tolist(), beta=1.0, gamma=0.5, temperature=1.0),
    ),
    "mlkd": (
        lambda b: losses.mlkd(b.logits, b.taught),
        lambda b: naive.mlkd(b.logits.tolist(), b.taught.tolist(), temperatures=[2, 3, 4, 5, 6]),
    ),
    "rrd": (
        lambda b: losses.rrd(b.student, b.teacher, b.bank),
        lambda b: naive.rrd(
            b.student.tolist(), b.teacher.tolist(), b.bank.tolist(), temperature=0.1, teacher_temperature=0.02
        ),
    ),
    "crd_nce": (
        lambda b: losses.crd_nce(b.student, b.teacher, b.bank, log_z=LOG_Z, valid=b.valid.bool(), **NCE),
        lambda b: naive.crd_nce(
            b.student.tolist(), b.teacher.tolist(), b.bank.tolist(), z=torch.tensor(LOG_Z).double().exp().item(),
            valid=b.valid.bool().tolist(), **NCE,
        ),
    ),
    "crd_nce, all valid": (
        lambda b: losses.crd_nce(b.student, b.teacher, b.bank, log_z=LOG_Z, **NCE),
        lambda b: naive.crd_nce(
            b.student.tolist(), b.teacher.tolist(), b.bank.tolist(), z=torch.tensor(LOG_Z).double().exp().item(),
            valid=[[True] * 7] * len(b.student), **NCE,
        ),
    ),
}  # fmt: skip
every_loss = pytest.mark.parametrize("name", CASES)
STUDENTS = ("student", "logits", "maps", "large")
"""What has a gradient in training."""


@every_loss
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_loop_in_float64(name: str, seed: int) -> None:
    loss, loop = CASES[name]
    b = inputs(seed=seed)
    expected = torch.tensor(loop(b), dtype=torch.float64)
    torch.testing.assert_close(loss(b), expected, rtol=1e-6 if "crd_nce" in name else 1e-10, atol=1e-12)


@every_loss
def test_float32_is_near_float64(name: str) -> None:
    loss, b = CASES[name][0], inputs(rows=16)
    single = loss(b.change(lambda x: x.float()))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), loss(b), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in CASES if name != "cc"])
def test_permuting_the_batch_permutes_the_losses(name: str) -> None:
    loss, b = CASES[name][0], inputs()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(loss(b.change(lambda x: x[order], shared=False)), loss(b)[order], rtol=1e-10, atol=1e-12)


def test_cc_depends_on_the_order_as_published() -> None:
    b = inputs()
    reversed_batch = b.change(lambda x: x.flip(0), shared=False)
    torch.testing.assert_close(losses.cc(reversed_batch.student, reversed_batch.teacher), CASES["cc"][0](b).flip(0))
    order = torch.tensor([0, 2, 4, 1, 3, 5])
    assert losses.cc(b.student[order], b.teacher[order]).mean() != CASES["cc"][0](b).mean()


@every_loss
def test_gradient(name: str) -> None:
    loss, b = CASES[name][0], inputs(rows=4)
    every = {one: getattr(b, one).clone().requires_grad_() for one in (*STUDENTS, "scale")}
    loss(Inputs(**{f.name: every.get(f.name, getattr(b, f.name)) for f in fields(b)})).sum().backward()
    names = [one for one, leaf in every.items() if leaf.grad is not None]
    leaves = tuple(every[one].detach().requires_grad_() for one in names)

    def of(*values: Tensor) -> Tensor:
        changed = {f.name: getattr(b, f.name) for f in fields(b)} | dict(zip(names, values, strict=True))
        return loss(Inputs(**changed))

    assert torch.autograd.gradcheck(of, leaves, fast_mode=any(leaf.dim() == 4 for leaf in leaves))


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    loss, b = CASES[name][0], inputs().change(lambda x: x.to(dtype))
    result = loss(b)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, loss(b.change(lambda x: x.float())), rtol=0, atol=0)


@every_loss
def test_autocast_changes_nothing(name: str) -> None:
    loss, b = CASES[name][0], inputs().change(lambda x: x.float())
    plain = loss(b)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(b)
    torch.testing.assert_close(inside, plain, rtol=0, atol=0)


EXTREMES: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": lambda x: x * 0,
    "equal": lambda x: x * 0 + 1,
    "large": lambda x: x * 1e4,
    "small": lambda x: x * 1e-12,
}


@every_loss
@pytest.mark.parametrize("extreme", EXTREMES)
def test_finite_loss_and_gradient_at_the_extremes(name: str, extreme: str) -> None:
    loss = CASES[name][0]
    b = inputs().change(lambda x: x.float())
    b = b.change(lambda x: EXTREMES[extreme](x) if x.dim() > 1 else x)
    if "crd_nce" in name:  # its rows have norm 1 or are zero
        b = b.change(lambda x: torch.nn.functional.normalize(x, dim=-1))
    for one in STUDENTS:
        getattr(b, one).requires_grad_()
    result = loss(b)
    assert result.isfinite().all()
    result.sum().backward()
    assert all(getattr(b, one).grad is None or getattr(b, one).grad.isfinite().all() for one in STUDENTS)


@pytest.mark.parametrize("name", ["rkd", "pkt", "sp", "at", "nst", "dist", "mlkd"])
def test_equal_networks_have_no_loss(name: str) -> None:
    b = inputs()
    pair = {"rkd": b.student, "pkt": b.student, "dist": b.logits, "mlkd": b.logits}.get(name, b.maps)
    torch.testing.assert_close(
        getattr(losses, name)(pair, pair), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda b: losses.rkd(b.student[:1], b.teacher[:1]), "2 rows or more are compared with one another, got 1"),
        (lambda b: losses.rkd(b.student, b.teacher[1:]), "student and teacher must have the same rows, got 6 and 5"),
        (lambda b: losses.pkt(b.maps, b.teacher), "student must be a float matrix"),
        (lambda b: losses.cc(b.student, b.wide), r"student \(6, 4\) and teacher \(6, 6\) must have one shape"),
        (lambda b: losses.at(b.student, b.maps), r"student must be float maps \(B, channels, H, W\)"),
        (lambda b: losses.sp(b.maps, b.large[1:]), "the same rows, got 6 and 5"),
        (lambda b: losses.fitnet(b.maps, b.large), "must have one shape"),
        (lambda b: losses.review(b.maps, b.large), "must have one shape"),
        (lambda b: losses.vid(b.maps, b.large, b.scale), "must have one shape"),
        (lambda b: losses.vid(b.maps, b.same, b.scale[1:]), r"scale must have shape \(3,\), got \(2,\)"),
        (lambda b: losses.dist(b.logits, b.taught, temperature=0.0), "temperature must be a positive finite number"),
        (lambda b: losses.mlkd(b.logits, b.taught, temperatures=()), "temperatures must have one number or more"),
        (lambda b: losses.mlkd(b.logits, b.taught[:, 1:]), "teacher_logits must have 5 columns"),
        (lambda b: losses.rrd(b.student, b.wide, b.bank), "teacher must have 4 columns, got 6"),
        (lambda b: losses.crd_nce(b.student, b.teacher[1:], b.bank, count=9, log_z=0.0), "positives must have a row"),
        (lambda b: losses.crd_nce(b.student, b.teacher, b.bank, count=0, log_z=0.0), "count must be 1 or more"),
        (
            lambda b: losses.crd_nce(b.student, b.teacher, b.bank, count=9, log_z=0.0, valid=b.valid[1:].bool()),
            r"valid must have shape \(6, 7\)",
        ),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[Inputs], Tensor], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call(inputs())


def test_the_larger_maps_are_pooled_to_the_smaller() -> None:
    b = inputs()
    one, other = same_size(b.large, b.maps)
    torch.testing.assert_close(one, torch.tensor([naive.pooled(maps, 4) for maps in b.large.tolist()]).double())
    assert other is b.maps


def test_an_anchor_without_a_negative_is_nothing() -> None:
    b = inputs()
    valid = b.valid.bool()
    valid[2] = False
    loss = losses.crd_nce(b.student.requires_grad_(), b.teacher, b.bank, log_z=LOG_Z, valid=valid, **NCE)
    assert loss[2] == 0
    loss.sum().backward()
    assert b.student.grad.isfinite().all()
    assert not b.student.grad[2].any()


def test_maps_need_not_be_square() -> None:
    """Height and width are pooled each to its own smaller one."""
    b = inputs()
    wide, narrow = b.large[:, :, :4], b.large[:, :, :, :4]  # 4 x 8 and 8 x 4
    by_hand = wide.unflatten(3, (4, 2)).mean(dim=4), narrow.unflatten(2, (4, 2)).mean(dim=3)
    for one, expected in zip(same_size(wide, narrow), by_hand, strict=True):
        torch.testing.assert_close(one, expected)
    for loss in (losses.at, losses.nst):
        torch.testing.assert_close(loss(wide, narrow), loss(*by_hand))


def test_rrd_gives_teacher_and_queue_no_gradient() -> None:
    b = inputs()
    rows = [part.requires_grad_() for part in (b.student, b.teacher, b.bank)]
    losses.rrd(*rows).sum().backward()
    assert b.student.grad is not None
    assert b.teacher.grad is None
    assert b.bank.grad is None


def test_the_least_variance_of_vid() -> None:
    """(t - m)^2 / v + ln v with v = 1e-5, where softplus is 0, and the scale of a variance that is hardly more."""
    mean, teacher = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 0.01)
    expected = torch.tensor([(0.01**2 / 1e-5 + math.log(1e-5)) / 2])
    torch.testing.assert_close(losses.vid(mean, teacher, torch.tensor([-200.0])), expected)
    for variance in (1.1e-5, 2e-5, 1.0):
        expected = torch.tensor([(0.01**2 / variance + math.log(variance)) / 2])
        torch.testing.assert_close(losses.vid(mean, teacher, starting_scale(variance, 1)), expected)


def test_short_distances_between_long_rows() -> None:
    """Rows that are moved have the same distances; products of 4096 * 4096 would leave a digit of them."""
    rows, other = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [1.0], [2.0]])
    expected = torch.tensor([0.2604167, 0.5208333, 0.2604167])  # as in the docstring
    torch.testing.assert_close(losses.rkd(rows + 4096, other, angle=0.0), expected)


def test_dist_within_an_image_of_two_classes_teaches_nothing() -> None:
    """Two numbers of mean 0 and norm 1 are (1, -1) / sqrt 2 or its opposite, whose correlation is 1 or -1."""
    g = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(9, 2, generator=g, dtype=torch.float64) for _ in range(2))
    within = losses.dist(ours.requires_grad_(), theirs, gamma=0.0, temperature=1.0)
    torch.testing.assert_close(within, 2 - 2 * torch.sign((ours[:, 0] - ours[:, 1]) * (theirs[:, 0] - theirs[:, 1])))
    (gradient,) = torch.autograd.grad(within.sum(), ours)
    assert gradient.abs().max() < 1e-14
