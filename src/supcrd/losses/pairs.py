"""What the losses of other papers share: the checks of their inputs, and maps of one size."""

import torch
from torch import Tensor
from torch.nn import functional

from supcrd.losses.similarity import at_least_float32, check_rows


def rows_of(student: Tensor, teacher: Tensor, *, least: int = 1) -> tuple[Tensor, Tensor]:
    """Both as matrices of float32 at least: (B, F) and (B, F'), whose widths may differ.

    Raises:
        ValueError: not float matrices, different numbers of rows, or fewer than `least`.
    """
    check_rows("student", student)
    check_rows("teacher", teacher)
    if len(student) != len(teacher):
        raise ValueError(f"student and teacher must have the same rows, got {len(student)} and {len(teacher)}")
    if len(student) < least:
        raise ValueError(f"{least} rows or more are compared with one another, got {len(student)}")
    return at_least_float32(student, teacher), at_least_float32(teacher, student)


def check_maps(student: Tensor, teacher: Tensor) -> None:
    """Raise ValueError unless both are float feature maps (B, channels, H, W) of the same images."""
    for name, maps in (("student", student), ("teacher", teacher)):
        if maps.ndim != 4 or maps.numel() == 0 or not maps.is_floating_point():
            raise ValueError(f"{name} must be float maps (B, channels, H, W), got {tuple(maps.shape)} {maps.dtype}")
    if len(student) != len(teacher):
        raise ValueError(f"student and teacher must have the same rows, got {len(student)} and {len(teacher)}")


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (B, channels, H, W) in float32 at least, the larger one pooled to the smaller height and width.

    Pooling is adaptive: each cell is the mean of the cells that it covers. Channels stay as they are.

    Raises:
        ValueError: not float maps of the same images.

    Example:
        >>> small, large = torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 8, 8)
        >>> [tuple(part.shape) for part in same_size(small, large)]
        [(1, 2, 4, 4), (1, 3, 4, 4)]
    """
    check_maps(student, teacher)
    size = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
    pair = at_least_float32(student, teacher), at_least_float32(teacher, student)
    first, second = (
        part if tuple(part.shape[2:]) == size else functional.adaptive_avg_pool2d(part, size) for part in pair
    )
    return first, second


def check_same_shape(student: Tensor, teacher: Tensor) -> None:
    """Raise ValueError unless both have one shape."""
    if student.shape != teacher.shape:
        raise ValueError(f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must have one shape")


def exact(tensor: Tensor) -> torch.autocast:
    """A context in which nothing is computed in half precision, whatever the caller's."""
    return torch.autocast(tensor.device.type, enabled=False)
