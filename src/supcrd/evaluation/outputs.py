"""A model's outputs of plain images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from supcrd.base.device import Place
from supcrd.data.augment import to_float
from supcrd.data.stream import Images, fetch
from supcrd.errors import RunError
from supcrd.models import Output
from supcrd.models.normalised import Normalised
from supcrd.models.portable import Portable
from supcrd.training.blocks import at_a_time, in_blocks


def outputs(subject: Normalised, images: Images, place: Place, *, batch_size: int | None = None) -> Output:
    """A model's outputs of plain (not augmented) images, in eval mode; of a split of a run by all its processes.

    Never in bfloat16: numbers that are kept shall not depend on what precision a device likes to train in. (torch lets
    recent NVIDIA devices convolve in TF32 unless `torch.backends.cudnn.allow_tf32` is false.)

    Args:
        subject: the model, moved to the place's device, and its normalisation.
        images: (N, H, W, channels) uint8, or streamed.
        place: the device.
        batch_size: images at a time; None: as `at_a_time` says.

    Returns:
        Output of (N, F), (N, P), (N, C) float32 on the CPU.

    Raises:
        RunError: an image whose outputs are not finite: no number can be had of such a model.

    Example:
        >>> from supcrd.base.device import choose
        >>> from supcrd.models import Model
        >>> subject = Normalised(Model(2, "resnet8", in_channels=1, image_size=8), (0.5,), (0.5,))
        >>> outputs(subject, torch.zeros(3, 8, 8, 1, dtype=torch.uint8), choose("cpu")).logits.shape
        torch.Size([3, 2])
    """
    whole: list[Tensor] = []
    start = 0
    for parts in _run(subject, images, place, batch_size, features_only=False):
        # room for all at once, out of inference mode, so that a probe can be trained on them: logits of thousands of
        # classes are gigabytes, and parts put together would be there twice
        whole = whole or [torch.empty(len(images), *part.shape[1:]) for part in parts]
        for rows, part in zip(whole, parts, strict=True):
            rows[start : start + len(part)] = part
        start += len(parts[0])
    return Output(*whole)


def features(subject: Normalised, images: Images, place: Place, *, batch_size: int | None = None) -> Tensor:
    """The features alone, (N, F) as of `outputs`: of a large training split the rest would fill the memory."""
    rows = torch.empty(len(images), subject.model.feature_dim)
    start = 0
    for (part,) in _run(subject, images, place, batch_size, features_only=True):
        rows[start : start + len(part)] = part
        start += len(part)
    return rows


def _run(
    subject: Normalised, images: Images, place: Place, batch_size: int | None, *, features_only: bool
) -> Iterator[tuple[Tensor, ...]]:
    if batch_size is None:
        batch_size = at_a_time(max(images.shape[1], subject.model.image_size))
    blocks = [slice(start, start + batch_size) for start in range(0, len(images), batch_size)]
    return in_blocks(Pass(Portable(subject), features_only), images, torch.empty(0), blocks, place)


@dataclass(frozen=True)
class Pass:
    """A pass of a model over images, in shares where there are several processes: a `supcrd.training.blocks.Work`."""

    model: Portable
    features_only: bool

    def results(
        self, images: Images, labels: Tensor, blocks: Sequence[slice], place: Place
    ) -> Iterator[tuple[Tensor, ...]]:
        """The fields of `Output` of each block, or its features alone; float32 on the CPU."""
        subject = self.model.subject
        model = place.put(subject.model).eval()
        for block, pixels in zip(blocks, fetch(images, blocks, place.device), strict=True):
            with torch.inference_mode():
                output = model(subject.prepare(to_float(pixels)))
                finite = torch.stack([part.isfinite().all(dim=1) for part in output]).all(dim=0)
                if not bool(finite.all()):
                    bad = block.start + int(finite.logical_not().nonzero()[0])
                    raise RunError(
                        f"the model's outputs of image {bad} are not finite (NaN or infinity), so that nothing can be "
                        "measured; its weights or its normalisation are damaged"
                    )
                yield tuple(part.float().cpu() for part in (output[:1] if self.features_only else output))
