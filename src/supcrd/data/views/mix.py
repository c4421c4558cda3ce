"""Images mixed with one another: mixup and CutMix inside a batch, and bytes of two images of one class."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from supcrd.base.seeding import generator
from supcrd.data.views.occlusion import inside
from supcrd.recipe.views import AugmentSettings


class Pairs(NamedTuple):
    """With which image of the batch each one is mixed, and how, on the CPU."""

    partners: Tensor  # (B,) int64, rows of the batch
    shares: Tensor  # (B,) float32, of the own image
    boxes: Tensor | None  # (B, 4) int64 top, left, bottom, right of the partner's part; None: mixup

    def of(self, own: slice, rows: Tensor) -> "Pairs":
        """Those of some images of the batch, with partners told by their places among `rows`.

        Args:
            own: rows of the batch.
            rows: (M,) int64, rows of the batch without doubles: first `own`, then others, with all partners.

        Example:
            >>> pairs = Pairs(torch.tensor([3, 2, 1, 0]), torch.tensor([0.1, 0.2, 0.3, 0.4]), None)
            >>> pairs.of(slice(2, 4), torch.tensor([2, 3, 0, 1]))
            Pairs(partners=tensor([3, 2]), shares=tensor([0.3000, 0.4000]), boxes=None)
        """
        places = torch.empty_like(self.partners)
        places[rows] = torch.arange(len(rows))
        boxes = None if self.boxes is None else self.boxes[own]
        return Pairs(places[self.partners[own]], self.shares[own], boxes)


def draw_pairs(
    settings: AugmentSettings, count: int, *, size: int, seed: int, epoch: int, step: int, view: int
) -> Pairs | None:
    """Draw how one view of a batch is mixed; None if it is not.

    Args:
        settings: alphas of mixup and cutmix, and the probability `mix`.
        count: B.
        size: H, pixels a side.
        seed, epoch, step, view: what the draw is a function of.

    Source: Zhang et al. 2018, ICLR (mixup); Yun et al. 2019, ICCV, section 3.1 and algorithm A1 (CutMix): the box is
    cut off at the border, and the share is that of the area which is then left. Difference: both papers' code draws one
    share for a batch, this one for every image, as the formulas have it.

    Example:
        >>> pairs = draw_pairs(AugmentSettings(cutmix=1.0), 4, size=32, seed=0, epoch=0, step=0, view=0)
        >>> sorted(pairs.partners.tolist()), pairs.boxes.shape
        ([0, 1, 2, 3], torch.Size([4, 4]))
    """
    s = settings
    if not s.mixes:
        return None
    random = generator("views.mix", seed, epoch, step, view)
    chance, which = random.random(2)
    if chance >= s.mix:
        return None
    partners = torch.from_numpy(random.permutation(count))
    cut = s.cutmix > 0 and (s.mixup == 0 or which < 0.5)
    alpha = s.cutmix if cut else s.mixup
    shares = torch.from_numpy(random.beta(alpha, alpha, count))
    if not cut:
        return Pairs(partners, shares.float(), None)
    centres = torch.from_numpy(random.integers(0, size, (count, 2)))
    boxes = cut_boxes(shares, centres, size)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    return Pairs(partners, (1 - area / size**2).float(), boxes)


def apart(partners: Tensor, labelled: Sequence[int]) -> Tensor:
    """Partners of which images with a label have some with a label, and those without have some without.

    Args:
        partners: (B,) int64, a permutation.
        labelled: places of the images with a label.

    Returns:
        (B,) int64: within both kinds a permutation, in the order that `partners` has there.

    Example:
        >>> apart(torch.tensor([3, 0, 1, 2]), (0, 2)).tolist()
        [2, 1, 0, 3]
    """
    has_label = torch.zeros(len(partners), dtype=torch.bool)
    has_label[list(labelled)] = True
    result = torch.empty_like(partners)
    for kind in (has_label, ~has_label):
        places = kind.nonzero().flatten()
        result[places] = places[partners[places].argsort()]
    return result


def cut_boxes(shares: Tensor, centres: Tensor, size: int) -> Tensor:
    """CutMix's boxes of area (1 - share), cut off at the border.

    Args:
        shares: (B,) in [0, 1], of the own image.
        centres: (B, 2) int64: row and column.
        size: H, pixels a side.

    Returns:
        (B, 4) int64: top, left, bottom, right (exclusive).

    Source: Yun et al. 2019, equation 2; torchvision.transforms.v2.CutMix.

    Example:
        >>> cut_boxes(torch.tensor([0.75]), torch.tensor([[0, 16]]), 32).tolist()
        [[0, 8, 8, 24]]
    """
    half = (0.5 * size * (1 - shares).sqrt()).long()[:, None]
    return torch.cat([centres - half, centres + half], dim=1).clamp(0, size)


def mix_in_place(images: Tensor, pairs: Pairs) -> Tensor:
    """Mix every image of a batch with its partner.

    Args:
        images: (M, channels, H, W) float; the first B are changed in place, further ones are partners only.
        pairs: of B images.

    Returns:
        `images` itself.

    Source: see `draw_pairs`; `MixUp` and `CutMix` of torchvision.transforms.v2 for partners that are one row before.

    Example:
        >>> images = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
        >>> mix_in_place(images, Pairs(torch.tensor([1, 0]), torch.tensor([0.75, 0.75]), None)).flatten().tolist()
        [0.25, 0.75]
    """
    device = images.device
    own, partners = images[: len(pairs.partners)], images.index_select(0, pairs.partners.to(device, non_blocking=True))
    if pairs.boxes is None:
        shares = pairs.shares.to(device, non_blocking=True)[:, None, None, None]
        own.mul_(shares).add_(partners.mul_(1 - shares))
    else:
        box = inside(pairs.boxes.to(device, non_blocking=True), *images.shape[2:])[:, None]
        own.copy_(torch.where(box, partners, own))
    return images


def mix_bytes(images: Tensor, partners: Tensor, shares: Tensor) -> Tensor:
    """share * image + (1 - share) * partner, rounded.

    Args:
        images, partners: (B, H, W, channels) uint8.
        shares: (B,) float in [0, 1].

    Example:
        >>> a, b = torch.full((1, 1, 1, 1), 100, dtype=torch.uint8), torch.full((1, 1, 1, 1), 200, dtype=torch.uint8)
        >>> mix_bytes(a, b, torch.tensor([0.25])).item()
        175
    """
    share = shares[:, None, None, None]
    return (images * share).add_(partners * (1 - share)).round_().clamp_(0, 255).to(torch.uint8)
