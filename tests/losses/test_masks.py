"""Candidates that are left out: the loss with a mask against the loss on the rows that are there."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from supcrd.losses import crd, dkd, grouped, lw_supcrd

ANCHORS, BANK, CLASSES = 10, 33, 5
# (student, candidates, candidate labels, logits, mask or None) -> losses; the first candidates are the anchors' own
Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None], Tensor]
LOSSES: dict[str, Loss] = {
    "crd": lambda s, t, y, z, valid: crd(s, t, valid=valid),
    "crd, shifted": lambda s, t, y, z, valid: crd(s, t, temperature=1e-3, valid=valid),
    "lw_supcrd": lambda s, t, y, z, valid: lw_supcrd(s, t, y[: len(s)], z, candidate_labels=y, valid=valid),
    "lw_supcrd, shifted": lambda s, t, y, z, valid: lw_supcrd(
        s, t, y[: len(s)], z, candidate_labels=y, temperature=1e-3, alpha=2.0, valid=valid
    ),
    "lw_supcrd, named": lambda s, t, y, z, valid: lw_supcrd(
        s, t, 7 * y[: len(s)], z, candidate_labels=7 * y, classes=7 * torch.arange(z.shape[1]), valid=valid
    ),
}
every_loss = pytest.mark.parametrize("name", LOSSES)
# whole: the whole matrix at once; blocks: block by block, kept or made again; sizes of blocks
PATHS = {"whole": None, "blocks": ((6, 9), 0), "blocks, kept": ((4, 7), 10**9), "one block": ((64, 64), 0)}
every_path = pytest.mark.parametrize("path", PATHS)


@pytest.fixture
def take(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make the losses go a path."""

    def go(path: str) -> None:
        if PATHS[path] is not None:
            size, kept = PATHS[path]
            monkeypatch.setattr("supcrd.losses.similarity.SMALL", {"cpu": 0, "cuda": 0})
            monkeypatch.setattr(grouped, "BLOCK", {"cpu": size})
            monkeypatch.setattr(grouped, "KEPT", {"cpu": kept})

    return go


def data(
    anchors: int = ANCHORS, bank: int = BANK, classes: int = CLASSES, width: int = 6, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Student, candidates, their labels, logits, and a mask that leaves out a third of the bank, here and there."""
    g = torch.Generator().manual_seed(0)
    student, candidates = (torch.randn(n, width, generator=g).to(dtype) for n in (anchors, anchors + bank))
    labels, logits = torch.randint(classes, (anchors + bank,), generator=g), torch.randn(anchors, classes, generator=g)
    valid = torch.rand(anchors + bank, generator=g) > 1 / 3
    valid[:anchors] = True
    return student, candidates, labels, logits.to(dtype), valid


def run(loss: Loss, s: Tensor, t: Tensor, y: Tensor, z: Tensor, valid: Tensor | None) -> list[Tensor]:
    """Losses, and the gradients of a weighted sum of them for student, candidates and logits (where there is one)."""
    leaves = [x.clone().requires_grad_() for x in (s, t, z)]
    losses = loss(leaves[0], leaves[1], y, leaves[2], valid)
    (losses * torch.linspace(1, 2, len(losses), dtype=losses.dtype)).sum().backward()
    return [losses.detach(), *(torch.zeros_like(x) if x.grad is None else x.grad for x in leaves)]


@every_loss
@every_path
def test_it_is_the_loss_on_the_rows_that_are_there(name: str, path: str, take) -> None:
    take(path)
    s, t, y, z, valid = data()
    masked, removed = run(LOSSES[name], s, t, y, z, valid), run(LOSSES[name], s, t[valid], y[valid], z, None)
    everything = run(LOSSES[name], s, t, y, z, None)
    assert not torch.allclose(masked[0], everything[0], rtol=1e-3), "the mask must matter"
    assert masked[2][~valid].eq(0).all()
    masked[2] = masked[2][valid]
    torch.testing.assert_close(masked, removed, rtol=1e-10, atol=1e-12)


@every_loss
@every_path
@pytest.mark.parametrize("content", [0.0, 1e30, 1e300, math.inf, -math.inf, math.nan])
def test_what_stands_in_a_row_left_out_is_never_read(name: str, path: str, content: float, take) -> None:
    take(path)
    s, t, y, z, valid = data()
    expected = run(LOSSES[name], s, t, y, z, valid)
    other = t.masked_fill(~valid[:, None], content)
    found = run(LOSSES[name], s, other, y, z, valid)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert found[2][~valid].eq(0).all()


@pytest.mark.parametrize("name", [name for name in LOSSES if name.startswith("lw")])
@every_path
@pytest.mark.parametrize("label", [-1, 10**9])
def test_nor_is_its_label(name: str, path: str, label: int, take) -> None:
    take(path)
    s, t, y, z, valid = data()
    expected, found = (run(LOSSES[name], s, t, each, z, valid) for each in (y, y.masked_fill(~valid, label)))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@every_loss
@every_path
def test_all_valid_is_no_mask(name: str, path: str, take) -> None:
    take(path)
    s, t, y, z, valid = data()
    with_mask, without = (run(LOSSES[name], s, t, y, z, each) for each in (torch.ones_like(valid), None))
    if name.startswith("crd") and path == "whole":
        assert all(torch.equal(*pair) for pair in zip(with_mask, without, strict=True))
    torch.testing.assert_close(with_mask, without, rtol=1e-10, atol=1e-12)


@every_loss
def test_at_the_size_of_a_memory_bank_in_float32(name: str) -> None:
    s, t, y, z, valid = data(anchors=256, bank=4096, classes=100, width=64, dtype=torch.float32)
    masked = run(LOSSES[name], s, t, y, z, valid)
    exact = run(LOSSES[name], s.double(), t[valid].double(), y[valid], z.double(), None)
    assert masked[2][~valid].eq(0).all()
    # s_ij, as large as 1 / temperature, is rounded
    error = 1e-3 if "shifted" in name else 1e-5
    torch.testing.assert_close(masked[0].double(), exact[0], rtol=error, atol=error)
    if "shifted" not in name:
        torch.testing.assert_close(masked[1].double(), exact[1], rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(masked[2][valid].double(), exact[2], rtol=1e-3, atol=1e-5)


@every_path
def test_a_row_of_the_batch_may_be_left_out_of_lw_supcrd(path: str, take) -> None:
    take(path)
    s, t, y, z, _ = data(bank=0)
    valid = torch.arange(len(y)) % 4 != 1
    masked = run(lambda s, t, y, z, valid: lw_supcrd(s, t, y, z, valid=valid), s, t, y, z, valid)
    removed = run(lambda s, t, _, z, __: lw_supcrd(s, t, y, z, candidate_labels=y[valid]), s, t[valid], y, z, None)
    masked[2] = masked[2][valid]
    torch.testing.assert_close(masked, removed, rtol=1e-10, atol=1e-12)


LEFT = {"no positives": lambda y: y != 0, "no negatives": lambda y: y == 0, "none": lambda y: y != y}


@every_path
@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_lw_supcrd_is_zero_with_zero_gradient_without_positives_or_negatives(path, left, classes, take) -> None:
    take(path)
    s, t, y, z, _ = data(classes=classes)
    y[:ANCHORS] = 0
    found = run(LOSSES["lw_supcrd"], s, t, y, z, LEFT[left](y))
    assert all(x.eq(0).all() for x in found)


@every_path
@pytest.mark.parametrize("temperature", [0.07, 1e-3])
def test_crd_of_one_image_whose_bank_is_left_out_is_zero(path: str, temperature: float, take) -> None:
    take(path)
    s, t, y, z, _ = data(anchors=1)
    found = run(
        lambda s, t, y, z, valid: crd(s, t, temperature=temperature, valid=valid), s, t, y, z, torch.arange(len(t)) == 0
    )
    assert all(x.eq(0).all() for x in found)


def test_by_hand() -> None:
    # Student e1, teacher e1, then a bank of e2, -e1 at tau = 1: s = 1, 0, -1. Without the last: ln(e + 1) - 1;
    # without the one before: ln(e + 1/e) - 1.
    e = torch.eye(2, dtype=torch.float64)
    rows = torch.stack([e[0], e[1], -e[0]])
    losses = [crd(e[:1], rows, temperature=1.0, valid=torch.arange(3) != j).item() for j in (2, 1)]
    assert losses == pytest.approx([math.log(math.e + 1) - 1, math.log(math.e + 1 / math.e) - 1], rel=1e-12)


@pytest.mark.parametrize("name", [*LOSSES, "dkd"])
@pytest.mark.parametrize("bank", [BANK, 40_000])  # the small and the blocked way
def test_no_device_is_waited_for(name: str, bank: int) -> None:
    # A tensor without numbers refuses to be looked at; it says that it is on a device. (Forwards only: autograd asks
    # for the device itself.)
    with FakeTensorMode(), torch.device("cuda"):
        s, t, z = torch.randn(64, 8), torch.randn(64 + bank, 8), torch.randn(64, CLASSES)
        y, valid = torch.zeros(64 + bank, dtype=torch.int64), torch.ones(64 + bank, dtype=torch.bool)
        losses = dkd(z, z, y[:64]) if name == "dkd" else LOSSES[name](s, t, y, z, valid)
        assert losses.shape == (64,)
        assert losses.device.type == "cuda"
        with pytest.raises(Exception, match="_local_scalar_dense"):
            bool(valid.all())
