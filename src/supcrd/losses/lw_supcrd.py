"""Logit-weighted supervised contrastive representation distillation: the core of this package."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from supcrd.losses.grouped import grouped_logsumexp, leave_out
from supcrd.losses.similarity import (
    at_least_float32,
    check_labels,
    check_rows,
    check_temperature,
    is_small,
    refuse_second_derivative,
    similarities,
    unit_pair,
)

SURE = 1e-12  # probabilities above it can be multiplied and divided in float32


def lw_supcrd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    teacher_logits: Tensor,
    *,
    candidate_labels: Tensor | None = None,
    classes: Tensor | None = None,
    valid: Tensor | None = None,
    alpha: float = 1.0,
    beta: float = 10.0,
    temperature: float = 0.07,
    adaptive: bool = True,
    teacher_temperature: float = 1.0,
) -> Tensor:
    """Student rows are pulled to teacher rows of their class and pushed from the others, as sure as the teacher is.

    p_i = softmax(teacher_logits_i / teacher_temperature),  s_ij = cos(student_i, teacher_j) / temperature
    w_pull_i = alpha p_i(y_i);  w_push_ij = beta_i (1 - p_i(y_j))
    beta_i = beta / (p_i(y_i) + 0.5) if adaptive, else beta
    POS_i = sum_{j: y_j = y_i} exp(s_ij);  NEG_i = sum_{j: y_j != y_i} w_push_ij exp(s_ij)
    loss_i = -(1/alpha) ln( w_pull_i POS_i / (w_pull_i POS_i + NEG_i) ), which is
    softplus( ln NEG_i - ln w_pull_i - ln POS_i ) / alpha

    Args:
        student: (B, D) float, the anchors; receives gradient; normalised here.
        teacher: (N, D) float, the candidates; receives gradient if it requires it (joint training); normalised here.
        labels: (B,) integers, the classes of the anchors.
        teacher_logits: (B, C) float, the teacher's logits of the anchors' images; of magnitude below 1e38.
        candidate_labels: (N,) integers, the classes of the candidates; by default the anchors' (then N = B).
        classes: (C,) distinct integers, the label that each column of `teacher_logits` stands for; by default
            0..C-1. With it labels may be any integers.
        valid: (N,) bool, False for a candidate that is left out as if it were not there: its row may hold anything,
            NaN included, and its label any integer; its gradient is 0. By default all take part.
        alpha: > 0, weight of the pull.
        beta: > 0, weight of the push; only beta/alpha matters inside the logarithm.
        temperature: > 0, unitless; usually 0.05 to 0.2.
        adaptive: push less where the teacher is sure of the anchor's class.
        teacher_temperature: > 0, softens the teacher's probabilities.

    Returns:
        (B,) nats, >= 0, unreduced. An anchor without negatives or without positives among the candidates gives 0
        with zero gradient. Finite for any finite input whose loss and gradient the type can hold (a row whose norm is
        below 1e-38 counts as zeros): 1 - p is computed as the other classes' share, never as a
        difference, so a teacher that is certain still pushes by its true, tiny weight.

    Raises:
        ValueError: wrong shapes or types; alpha, beta or a temperature not positive; a label that no column stands
            for (checked on the CPU only, since elsewhere looking would wait for the device).

    Cost: O(B N D + B C) time, O((B + N) D + B C) memory (see `grouped_logsumexp`).
    All candidates valid equals no `valid` to rounding.
    Source: LW-SupCRD as published in github.com/reducereX/ATML_Proj (Murtaza et al., December 2025), where it is
    called SFW-SupCon now; the softmax temperature is its proposal's.
    Difference: computed in log space, without the published eps = 1e-8 in numerator and denominator.

    Example:
        >>> labels = torch.tensor([0, 1])
        >>> # p = 1/2 everywhere: w_pull = 1/2, w_push = 1/2; loss = ln(1 + 1/e)
        >>> lw_supcrd(torch.eye(2), torch.eye(2), labels, torch.zeros(2, 2), beta=1.0, temperature=1.0)
        tensor([0.3133, 0.3133])
    """
    check_weights(alpha, beta)
    check_temperature(temperature)
    check_temperature(teacher_temperature)
    check_rows("student", student)
    check_rows("teacher", teacher, student.shape[1])
    check_labels("labels", labels, len(student))
    check_rows("teacher_logits", teacher_logits)
    if len(teacher_logits) != len(student):
        raise ValueError(f"teacher_logits must have {len(student)} rows, one an anchor, got {len(teacher_logits)}")
    if candidate_labels is None:
        if len(teacher) != len(student):
            raise ValueError(f"{len(teacher)} candidates for {len(student)} anchors need candidate_labels")
        candidate_labels = labels
    check_labels("candidate_labels", candidate_labels, len(teacher))
    if valid is not None:
        teacher = leave_out(teacher, valid)
        candidate_labels = torch.where(valid, candidate_labels.long(), labels[0].long())

    with torch.autocast(student.device.type, enabled=False):
        logits = at_least_float32(teacher_logits)
        logits = logits if teacher_temperature == 1 else logits / teacher_temperature
        count = logits.shape[1]
        own = label_columns(labels, classes, count)
        anchors, candidates = unit_pair(student, teacher)
        if candidate_labels is labels and is_small(student, teacher):
            small = plain_lw_supcrd(anchors, candidates, own, logits, beta / alpha, temperature, adaptive)
            if small is not None:
                return small / alpha
        columns = own if candidate_labels is labels else label_columns(candidate_labels, classes, count)
        log_p, log_not_p = log_probabilities(logits)
        log_own = log_p.gather(1, own[:, None])
        log_pull = log_own + torch.log(log_own.exp() + 0.5) if adaptive else log_own
        # of the push over that of the pull; its own class does not push
        log_weights = log_not_p - (log_pull - math.log(beta / alpha))
        lowest = torch.finfo(log_p.dtype).min
        log_weights = log_weights.scatter(1, own[:, None], lowest)
        if valid is not None:  # one class more, of those left out, which does not push either
            columns, count = columns.masked_fill(~valid, count), count + 1
            log_weights = nn.functional.pad(log_weights, (0, 1), value=lowest)

        log_sums = grouped_logsumexp(anchors, candidates, temperature, groups=columns, count=count)
        loss: Tensor = PushOverPull.apply(log_sums, log_weights, own[:, None])
        return loss if alpha == 1 else loss / alpha


def plain_lw_supcrd(
    anchors: Tensor, candidates: Tensor, own: Tensor, logits: Tensor, beta: float, temperature: float, adaptive: bool
) -> Tensor | None:
    """ln(1 + NEG / POS) on the whole B x B matrix without logarithms, which is quickest for a small batch on the CPU.

    None where a number could leave float32: a teacher surer than `SURE` of anything, a low temperature, weights of
    which one is a million times the other, a gradient of the fraction that overflows. (To look at the numbers means to
    wait for a device, so there it is always None.)
    """
    if logits.device.type != "cpu" or logits.dtype != anchors.dtype or temperature < 0.03 or not 1e-6 < beta < 1e6:
        return None
    p = logits.softmax(dim=1)
    top = p.max(dim=1, keepdim=True).indices
    rest = p.scatter(1, top, 0).sum(dim=1, keepdim=True)  # 1 - p of the most probable, without a difference
    p_own = p.gather(1, own[:, None])
    if not torch.minimum(rest, p_own).min() > SURE:
        return None
    pull = p_own * (p_own + 0.5) if adaptive else p_own
    push = (1 - p).scatter(1, top, rest).scatter(1, own[:, None], 0) * (beta / pull)
    kernel = similarities(anchors, candidates, temperature).exp()
    same = (own[:, None] == own).to(kernel.dtype)
    negative = torch.linalg.vecdot(kernel, push.index_select(1, own))
    positive = torch.linalg.vecdot(kernel, same)
    ratio = negative / positive
    if not (ratio.detach() / positive.detach()).max() < torch.inf:  # what the derivative by `positive` has in it
        return None
    return torch.log1p(ratio)


class PushOverPull(torch.autograd.Function):
    """softplus(ln sum_c exp(log_sums_ic + log_weights_ic) - log_sums_i,own), (B, C), (B, C), (B, 1) -> (B,).

    0 without positives (the lowest number in the place of `own`). One function with its gradient in closed form, since
    at usual batch sizes it is the number of kernels that costs.
    """

    @staticmethod
    def forward(ctx: Any, log_sums: Tensor, log_weights: Tensor, own: Tensor) -> Tensor:
        """By softplus, so that a tiny loss keeps its digits."""
        pushing = log_sums + log_weights
        log_share = pushing.log_softmax(dim=1)
        positive = log_sums.gather(1, own)
        margin = pushing.amax(dim=1, keepdim=True) - log_share.amax(dim=1, keepdim=True) - positive
        missing = (positive == torch.finfo(positive.dtype).min) & (margin == margin)  # a NaN is never made a number
        margin.masked_fill_(missing, -torch.inf)
        ctx.save_for_backward(log_share, margin, own)
        # Above its threshold softplus(x) is x; at the default of 20 float64 would lose its digits beyond the ninth.
        return nn.functional.softplus(margin, threshold=50).squeeze(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """sigmoid(margin) times (the share of each pushing class; -1 for the own one)."""
        refuse_second_derivative()
        log_share, margin, own = ctx.saved_tensors
        pull = margin.sigmoid() * gradient[:, None]
        pushed = log_share.exp().mul_(pull)
        for_weights = pushed.clone() if ctx.needs_input_grad[1] else None
        return pushed.scatter_(1, own, pull.neg_()), for_weights, None


def check_weights(alpha: float, beta: float) -> None:
    """Raise ValueError unless both weights are positive finite numbers."""
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be a positive finite number, got {value}")


def log_probabilities(logits: Tensor) -> tuple[Tensor, Tensor]:
    """ln p and ln(1 - p) of softmax(logits), (B, C) -> two of (B, C), both without cancellation.

    Every class but the most probable has p <= 1/2, where log1p(-p) is exact; for the most probable one, 1 - p is the
    softmax mass of all others.

    Example:
        >>> log_p, log_not_p = log_probabilities(torch.tensor([[50.0, 0.0]]))  # 1 - p of the first is e^-50, not 0
        >>> log_p[0].tolist(), log_not_p[0, 0].item()
        ([0.0, -50.0], -50.0)
    """
    log_p = logits.log_softmax(dim=1)
    top = log_p.max(dim=1, keepdim=True).indices
    others = log_p.scatter(1, top, torch.finfo(log_p.dtype).min)
    # ln of their sum: what log_softmax takes from each of them, seen at the largest
    log_rest = others.amax(dim=1, keepdim=True) - others.log_softmax(dim=1).amax(dim=1, keepdim=True)
    small = log_p.clamp(max=-0.69)  # but for the most probable all are below ln(1/2); no logarithm of 0, which is slow
    return log_p, torch.log1p(-small.exp()).scatter(1, top, log_rest)


def label_columns(labels: Tensor, classes: Tensor | None, count: int) -> Tensor:
    """The column of the teacher's logits that stands for each label, (N,) -> (N,) in 0..count-1."""
    columns = labels.long().contiguous()
    if classes is not None:
        check_labels("classes", classes, count)
        values, order = classes.long().sort()
        place = torch.searchsorted(values, columns).clamp(max=count - 1)
        columns = torch.where(values[place] == columns, order[place], -1)
    if labels.device.type == "cpu" and not (columns.min() >= 0 and columns.max() < count):
        wrong = labels[(columns < 0) | (columns >= count)][0].item()
        raise ValueError(f"label {wrong} stands for no column of the {count} teacher logits; pass classes=")
    return columns


class LWSupCRD(nn.Module):
    """`lw_supcrd` averaged over all anchors.

    Example:
        >>> loss = LWSupCRD(beta=1.0, temperature=1.0)
        >>> loss(torch.eye(2), torch.eye(2), torch.tensor([0, 1]), torch.zeros(2, 2))
        tensor(0.3133)
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 10.0,
        temperature: float = 0.07,
        adaptive: bool = True,
        teacher_temperature: float = 1.0,
    ) -> None:
        super().__init__()
        check_weights(alpha, beta)
        check_temperature(temperature)
        check_temperature(teacher_temperature)
        self.alpha, self.beta, self.temperature = alpha, beta, temperature
        self.adaptive, self.teacher_temperature = adaptive, teacher_temperature

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        labels: Tensor,
        teacher_logits: Tensor,
        candidate_labels: Tensor | None = None,
        classes: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Mean loss, a scalar in nats; arguments as for `lw_supcrd`."""
        loss = lw_supcrd(
            student,
            teacher,
            labels,
            teacher_logits,
            candidate_labels=candidate_labels,
            classes=classes,
            valid=valid,
            alpha=self.alpha,
            beta=self.beta,
            temperature=self.temperature,
            adaptive=self.adaptive,
            teacher_temperature=self.teacher_temperature,
        )
        return loss.mean()
