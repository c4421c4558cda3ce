"""The blocked log-sum-exp against torch.logsumexp on the whole matrix in float64, whatever the blocks."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from supcrd.losses import crd, grouped, hybrid, lw_supcrd, supcon
from supcrd.losses.grouped import grouped_logsumexp

Rows = tuple[Tensor, Tensor, Tensor]


def rows(anchors: int, candidates: int, groups: int, *, width: int = 5, seed: int = 0) -> Rows:
    g = torch.Generator().manual_seed(seed)
    a, c = (torch.randn(n, width, generator=g, dtype=torch.float64) for n in (anchors, candidates))
    unit = torch.nn.functional.normalize
    return unit(a).requires_grad_(), unit(c).requires_grad_(), torch.randint(groups, (candidates,), generator=g)


def whole(a: Tensor, c: Tensor, temperature: float, groups: Tensor | None, count: int, skip_own: bool) -> Tensor:
    """One column a group, from the whole matrix; -inf where a group is empty."""
    scores = a @ c.T / temperature
    if skip_own:
        scores = scores.masked_fill(torch.eye(len(a), len(c), dtype=torch.bool), -math.inf)
    groups = torch.zeros(len(c), dtype=torch.int64) if groups is None else groups
    columns = [
        scores[:, groups == k].logsumexp(dim=1) if (groups == k).any() else scores.new_full((len(a),), -math.inf)
        for k in range(count)
    ]
    return torch.stack(columns, dim=1)


def small_blocks(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], kept: int) -> None:
    monkeypatch.setattr(grouped, "BLOCK", {"cpu": size})
    monkeypatch.setattr(grouped, "KEPT", {"cpu": kept})


@pytest.mark.parametrize("kept", [0, 100, 10**9])  # none, some, all
@pytest.mark.parametrize("size", [(1, 1), (3, 4), (7, 100), (100, 5), (100, 100)])
@pytest.mark.parametrize("temperature", [1.0, 0.07, 1e-3])  # 1e-3: exp would overflow float64 unshifted
@pytest.mark.parametrize("case", ["groups", "one group", "one group, skip own", "groups, skip own"])
def test_values_and_gradients_are_those_of_the_whole_matrix(monkeypatch, size, kept, temperature, case) -> None:
    small_blocks(monkeypatch, size, kept)
    a, c, groups = rows(13, 17, 6)
    groups[groups == 2] = 3  # an empty group
    skip = "skip own" in case
    if skip:
        groups = groups % 2  # of any group there is another member
    given, count = (None, 1) if "one group" in case else (groups, 6)
    ours = grouped_logsumexp(a, c, temperature, groups=given, count=count, skip_own=skip)
    true = whole(a, c, temperature, given, count, skip)
    there = true.isfinite()
    assert (ours[~there] == torch.finfo(torch.float64).min).all()
    torch.testing.assert_close(ours[there], true[there], rtol=1e-12, atol=1e-12)
    weights = torch.linspace(-1, 1, ours.numel(), dtype=torch.float64).reshape(ours.shape)
    found = torch.autograd.grad((ours * weights)[there].sum(), (a, c))
    wanted = torch.autograd.grad((true * weights)[there].sum(), (a, c))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_float32_agrees_to_rounding_and_types_stay() -> None:
    a, c, groups = rows(300, 700, 20, width=64)
    ours = grouped_logsumexp(a.float(), c.float(), 0.07, groups=groups, count=20)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), whole(a, c, 0.07, groups, 20, False), rtol=0, atol=4e-6)


def mask(count: int) -> Tensor:
    return torch.arange(count) % 3 != 2


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "supcon": lambda s, t, y, z: supcon(s, y),
    "crd": lambda s, t, y, z: crd(s, t),
    "lw_supcrd": lambda s, t, y, z: lw_supcrd(s, t, y, z),
    "hybrid": lambda s, t, y, z: hybrid(s, t, y, z),
    "crd, mask": lambda s, t, y, z: crd(s[: len(s) // 2], t, valid=mask(len(t)) | (torch.arange(len(t)) < len(s) // 2)),
    "lw_supcrd, mask": lambda s, t, y, z: lw_supcrd(s, t, y, z, valid=mask(len(t))),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_does_not_depend_on_its_blocks(monkeypatch, name: str) -> None:
    g = torch.Generator().manual_seed(0)
    student, teacher, logits = (torch.randn(40, w, generator=g, dtype=torch.float64) for w in (8, 8, 7))
    labels = torch.randint(7, (40,), generator=g)

    def result() -> list[Tensor]:
        leaves = [x.clone().requires_grad_() for x in (student, teacher, logits)]
        loss = LOSSES[name](leaves[0], leaves[1], labels, leaves[2])
        (loss * torch.arange(len(loss))).sum().backward()
        return [loss.detach(), *(x.grad for x in leaves if x.grad is not None)]

    expected = result()
    monkeypatch.setattr("supcrd.losses.similarity.SMALL", {"cpu": 0, "cuda": 0})
    for size, kept in (((6, 9), 0), ((6, 9), 10**9), ((64, 8), 0)):
        small_blocks(monkeypatch, size, kept)
        torch.testing.assert_close(result(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_no_operation_makes_as_many_numbers_as_pairs(monkeypatch, name: str) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            for part in out if isinstance(out, tuple | list) else (out,):
                if isinstance(part, Tensor):
                    largest = max(largest, part.untyped_storage().nbytes() // part.element_size())
            return out

    small_blocks(monkeypatch, (64, 64), 0)
    count = 1024
    g = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(count, 8, generator=g).requires_grad_() for _ in range(2))
    with Watch():
        LOSSES[name](
            student, teacher, torch.randint(10, (count,), generator=g), torch.randn(count, 10)
        ).sum().backward()
    assert largest <= 16 * count, "a B x N matrix would be 1024 * 1024"


@pytest.mark.parametrize("name", LOSSES)
def test_a_second_derivative_is_refused_rather_than_wrong(name: str) -> None:
    student, teacher = torch.randn(2, 6, 4).requires_grad_()
    loss = LOSSES[name](student, teacher, torch.arange(6) % 2, torch.randn(6, 2)).sum()
    with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
        torch.autograd.grad(loss, student, create_graph=True)


@pytest.mark.parametrize("shape", [(5, 9, 1000), (30, 700, 300), (30, 700, 701)])
def test_many_groups(shape: tuple[int, int, int]) -> None:
    a, c, groups = rows(*shape)
    ours = grouped_logsumexp(a, c, 0.1, groups=groups, count=shape[2])
    true = whole(a, c, 0.1, groups, shape[2], False)
    there = true.isfinite()
    assert (ours[~there] == torch.finfo(torch.float64).min).all()
    torch.testing.assert_close(ours[there], true[there], rtol=1e-12, atol=1e-12)
    found, wanted = (torch.autograd.grad(x[there].square().sum(), (a, c)) for x in (ours, true))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_no_one_hot_matrix_of_all_groups_is_made() -> None:
    groups = torch.arange(600) % 550
    pieces, order = grouped.cut(600, groups, 550, torch.zeros(1))
    assert order is not None
    assert max(piece.last - piece.first for piece in pieces) <= 2 * grouped.WIDTH


@pytest.mark.parametrize("name", LOSSES)
def test_a_nan_is_never_made_a_number(name: str) -> None:
    student, teacher, logits = torch.randn(3, 4, 4)
    student[1] = torch.nan
    teacher[1] = torch.nan
    for labels in (torch.zeros(4, dtype=torch.int64), torch.arange(4), torch.tensor([0, 0, 1, 1])):
        assert LOSSES[name](student, teacher, labels, logits)[1].isnan()


@pytest.mark.parametrize("name", LOSSES)
def test_a_backward_pass_under_autocast_is_no_coarser(monkeypatch, name: str) -> None:
    monkeypatch.setattr("supcrd.losses.similarity.SMALL", {"cpu": 0, "cuda": 0})  # torch's own functions would be
    g = torch.Generator().manual_seed(0)
    student, teacher, logits = torch.randn(3, 12, 12, generator=g)
    gradients = []
    for on in (False, True):
        leaf = student.clone().requires_grad_()
        loss = LOSSES[name](leaf, teacher, torch.arange(12) % 3, logits).sum()
        with torch.autocast("cpu", torch.bfloat16, enabled=on):
            loss.backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)
