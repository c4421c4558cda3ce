"""Arrays of images at another size: to the bit what files of the same pixels become."""

import numpy as np
import torch
from torch import Tensor

from supcrd.data.cut import centre
from supcrd.data.encoded import BLOCK, Reading
from supcrd.data.imagefile import LARGE
from supcrd.data.images import Contents, Split
from supcrd.data.stream import decoding_pool


def sized(images: Tensor, reading: Reading) -> Tensor:
    """Images with the shorter side resized to `reading.image_size` and the centre cropped; as they are without one.

    Args:
        images: (N, H, W, channels) uint8, channels 1 or 3.
        reading: its size S, and how many threads.

    Returns:
        (N, S, S, channels) uint8; beside it and the images there are in memory no more than a few of them.

    Example:
        >>> sized(torch.full((2, 9, 12, 3), 7, dtype=torch.uint8), Reading(image_size=4)).shape
        torch.Size([2, 4, 4, 3])
    """
    from PIL import Image

    size = reading.image_size
    if size is None or images.shape[1:3] == (size, size):
        return images
    resized = torch.empty((len(images), size, size, images.shape[3]), dtype=torch.uint8)

    def block(start: int) -> None:
        for row in range(start, min(start + BLOCK, len(images))):
            pixels = images[row].numpy()
            image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
            part = centre(image, size, image.size, reduced=1, largest=LARGE)
            resized[row] = torch.from_numpy(np.array(part).reshape(size, size, -1))

    with decoding_pool(reading.workers) as pool:
        for _ in pool.map(block, range(0, len(images), BLOCK)):
            pass  # so that a thread's exception is raised
    return resized


def all_sized(contents: Contents, reading: Reading) -> Contents:
    """A set whose images are `sized`; streamed ones stay as they are."""

    def one(split: Split | None) -> Split | None:
        if split is None or not isinstance(split.images, Tensor):
            return split
        return Split(sized(split.images, reading), split.labels, split.groups)

    return contents._replace(train=one(contents.train), validation=one(contents.validation), test=one(contents.test))
