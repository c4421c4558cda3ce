"""Mixup, CutMix and holes against torchvision, and their draw against its distribution."""

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as v2
from scipy.stats import beta, kstest
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import CutMix, MixUp

from supcrd.data.views.mix import Pairs, cut_boxes, draw_pairs, mix_bytes, mix_in_place
from supcrd.data.views.occlusion import erase
from supcrd.recipe.settings import AugmentSettings

B, SIZE = 64, 16


def pictures(count: int = B) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def pairs(step: int = 0, count: int = B, **options: float) -> Pairs | None:
    settings = AugmentSettings.model_validate(options)
    return draw_pairs(settings, count, size=SIZE, seed=0, epoch=0, step=step, view=0)


def before() -> Tensor:
    """Torchvision's partners: the image one row before."""
    return torch.arange(B).roll(1)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixup_equals_torchvision(share: float) -> None:
    images = pictures()
    expected = MixUp(num_classes=2).transform(
        tv_tensors.Image(images), {"lam": share, "labels": torch.zeros(B), "batch_size": B}
    )
    result = mix_in_place(images.clone(), Pairs(before(), torch.full((B,), share), None))
    torch.testing.assert_close(result, expected.as_subclass(Tensor), rtol=0, atol=1e-6)


def test_cutmix_equals_torchvision() -> None:
    images = pictures()
    transform = CutMix(num_classes=2)
    for seed in range(5):
        torch.manual_seed(seed)
        params = transform.make_params([tv_tensors.Image(images)])
        left, top, right, bottom = params["box"]
        boxes = torch.tensor([top, left, bottom, right]).repeat(B, 1)
        result = mix_in_place(images.clone(), Pairs(before(), torch.full((B,), params["lam_adjusted"]), boxes))
        params |= {"labels": None, "batch_size": B}
        assert torch.equal(result, transform.transform(tv_tensors.Image(images), params).as_subclass(Tensor))


def test_boxes_of_cutmix_equal_the_papers() -> None:
    g = torch.Generator().manual_seed(0)
    shares, centres = torch.rand(200, generator=g, dtype=torch.float64), torch.randint(0, SIZE, (200, 2), generator=g)
    for share, (y, x), box in zip(shares.tolist(), centres.tolist(), cut_boxes(shares, centres, SIZE), strict=True):
        side = int(SIZE * np.sqrt(1 - share))
        rows = np.clip([y - side // 2, y + side // 2], 0, SIZE)
        columns = np.clip([x - side // 2, x + side // 2], 0, SIZE)
        assert box.tolist() == [rows[0], columns[0], rows[1], columns[1]]


def test_the_share_is_that_of_the_area_left() -> None:
    drawn = pairs(cutmix=1.0)
    assert drawn is not None
    assert drawn.boxes is not None
    own = torch.ones(B, 1, SIZE, SIZE)
    own[0] = 0  # its partner's part shows as what is not its own
    for i, (top, left, bottom, right) in enumerate(drawn.boxes.tolist()):
        outside = SIZE**2 - (bottom - top) * (right - left)
        assert drawn.shares[i].item() == pytest.approx(outside / SIZE**2)


def test_pairs_are_a_permutation_and_shares_beta() -> None:
    many = [drawn for step in range(100) if (drawn := pairs(step, mixup=0.3)) is not None]
    assert len(many) == 100
    assert all(sorted(drawn.partners.tolist()) == list(range(B)) for drawn in many)
    assert all(drawn.boxes is None for drawn in many)
    shares = torch.cat([drawn.shares for drawn in many]).double().numpy()
    assert kstest(shares, beta(0.3, 0.3).cdf).pvalue > 1e-4


def test_a_function_of_step_epoch_seed_and_view() -> None:
    settings = AugmentSettings(mixup=1.0)

    def drawn(**changes: int) -> Pairs:
        where = {"size": SIZE, "seed": 0, "epoch": 0, "step": 0, "view": 0} | changes
        result = draw_pairs(settings, B, **where)
        assert result is not None
        return result

    assert torch.equal(drawn().shares, drawn().shares)
    for name in ("seed", "epoch", "step", "view"):
        assert not torch.equal(drawn(**{name: 1}).shares, drawn().shares), name


def test_how_often_batches_are_mixed_and_by_what() -> None:
    none = [pairs(step, count=2, mixup=1.0, mix=0.3) is None for step in range(400)]
    assert abs(np.mean(none) - 0.7) < 0.09
    boxes = [pairs(step, count=2, mixup=1.0, cutmix=1.0) for step in range(400)]
    cut = [drawn.boxes is not None for drawn in boxes if drawn is not None]
    assert len(cut) == 400
    assert abs(np.mean(cut) - 0.5) < 0.1
    assert pairs() is None
    assert pairs(mixup=1.0, mix=0.0) is None


def test_bytes_are_mixed_and_rounded() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randint(256, (2, 20, 4, 4, 3), generator=g, dtype=torch.uint8)
    shares = torch.linspace(0, 1, 20)
    result = mix_bytes(a, b, shares)
    exact = shares.double()[:, None, None, None] * a.double() + (1 - shares.double())[:, None, None, None] * b.double()
    assert (result.double() - exact).abs().max() <= 0.5 + 1e-4
    assert torch.equal(result[-1], a[-1])
    assert torch.equal(result[0], b[0])


def test_holes_equal_torchvision() -> None:
    images = pictures(8)
    g = torch.Generator().manual_seed(1)
    corners = torch.randint(0, SIZE + 1, (8, 2, 2, 2), generator=g).sort(dim=2).values
    holes = corners.flatten(2)  # top, left, bottom, right
    expected = images.clone()
    for i in range(8):
        for top, left, bottom, right in holes[i].tolist():
            expected[i] = v2.erase(expected[i], top, left, bottom - top, right - left, torch.zeros(3, 1, 1))
    result = images.clone()
    assert erase(result, holes) is result
    assert torch.equal(result, expected)
    assert torch.equal(erase((images * 255).to(torch.uint8), holes), ((expected * 255).to(torch.uint8)))
