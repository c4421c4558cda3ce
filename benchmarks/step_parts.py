"""The parts of a training step alone, and how much they compute: for benchmarks/step.py."""

from collections.abc import Callable

import torch

from supcrd.base import device
from supcrd.losses import lw_supcrd
from supcrd.models import Model
from supcrd.models.frozen import frozen_encoder


def parts(student: Model, teacher: Model, batch_size: int, place: device.Place) -> dict[str, Callable[[], object]]:
    """What a step cannot do without: each network's forward, the student's backward; and the loss alone."""
    where = place.device
    images = torch.rand(2 * batch_size, 3, 32, 32, device=where).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(2 * batch_size, device=where) % 100
    rows = torch.randn(2 * batch_size, 64, device=where, requires_grad=True)
    logits = torch.randn(2 * batch_size, 100, device=where)
    frozen = frozen_encoder(teacher.encoder, bfloat16=place.bfloat16)
    # on the CPU a product of the size of a layer's, in the precision of the networks: the rate they could reach
    matrix = torch.randn(4096, 4096, device=where, dtype=torch.bfloat16 if place.bfloat16 else torch.float32)

    def teach() -> None:
        with torch.inference_mode(), place.autocast():
            frozen(images)

    def learn() -> None:
        with place.autocast():
            output = student(images)
        (output.projections.float().sum() + output.logits.float().sum()).backward()

    def contrast() -> None:
        lw_supcrd(rows, rows.detach(), labels, logits).mean().backward()

    def multiply() -> None:
        torch.mm(matrix, matrix)

    return {"teacher_forward": teach, "student_forward_backward": learn, "loss": contrast, "product": multiply}


def flops(student: Model, teacher: Model, batch_size: int) -> dict[str, int]:
    """Floating-point operations of the networks in a step, two for a multiplication with its addition."""
    from torch.utils.flop_counter import FlopCounterMode

    found = {}
    images = torch.rand(2, 3, 32, 32)
    for name, network in (("teacher", teacher.encoder.cpu().eval()), ("student", student.cpu())):
        with FlopCounterMode(display=False) as counter:
            network(images)
        found[name] = counter.get_total_flops() * batch_size  # two images counted, two views a batch
    return {"teacher": found["teacher"], "student": 3 * found["student"]}  # backward: twice the forward
