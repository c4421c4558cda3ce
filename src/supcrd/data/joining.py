"""Images as others: grey ones as RGB, two sets as one."""

import numpy as np
import torch
from torch import Tensor

from supcrd.data.imagefile import File
from supcrd.data.stream import Files, Images, StreamedImages


def rgb(images: Images) -> Images:
    """Grey images as RGB, with the grey value in every channel, as Pillow converts them; RGB images as they are.

    Example:
        >>> rgb(torch.full((1, 1, 1, 1), 7, dtype=torch.uint8)).flatten().tolist()
        [7, 7, 7]
    """
    if images.shape[3] == 3:
        return images
    if isinstance(images, Tensor):
        return images.expand(*images.shape[:3], 3).contiguous()
    return images.changed(channels=3)


def joined(first: Images, second: Images) -> Images:
    """Images of one size and number of channels, one behind the other; both in memory, or both streamed.

    Example:
        >>> joined(torch.zeros(2, 8, 8, 1, dtype=torch.uint8), torch.zeros(1, 8, 8, 1, dtype=torch.uint8)).shape
        torch.Size([3, 8, 8, 1])
    """
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.cat([first, second])
    assert isinstance(first, StreamedImages)
    assert isinstance(second, StreamedImages)
    files = TwoFiles(first.files, second.files)
    rows = np.concatenate([first.rows, second.rows + len(first.files)])
    levels = first.levels or second.levels  # one of them has no deep image, or both have these
    return first.changed(files=files, levels=levels, rows=rows)


class TwoFiles:
    """The files of two sets, one behind the other; see `Files`."""

    def __init__(self, first: Files, second: Files) -> None:
        self.first, self.second = first, second

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def _place(self, row: int) -> tuple[Files, int]:
        before = len(self.first)
        return (self.first, row) if row < before else (self.second, row - before)

    def name(self, row: int) -> str:
        """That of the set that has it."""
        files, inside = self._place(row)
        return files.name(inside)

    def open(self, row: int) -> File:
        """That of the set that has it."""
        files, inside = self._place(row)
        return files.open(inside)

    def identity(self, row: int) -> bytes:
        """That of the set that has it."""
        files, inside = self._place(row)
        return files.identity(inside)
