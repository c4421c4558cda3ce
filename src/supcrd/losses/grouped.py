"""The one quadratic step of every contrastive loss: log-sum-exp of similarities by group of candidates, in blocks.

Anchors meet candidates in blocks of rows and columns that fit a cache; a block is reduced at once to one number for
each anchor and group, and made again in the backward pass. What a loss weighs by class is then plain autograd on B x C
numbers, and no B x N matrix is ever held (but a first part is kept: that saves its second making).
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from supcrd.losses.similarity import refuse_second_derivative, similarities

BLOCK = {"cpu": (1024, 256), "cuda": (4096, 8192)}  # rows and columns that were fastest (benchmarks/losses.py)
KEPT = {
    "cpu": 2**22,
    "cuda": 2**26,
}  # this many similarities are stored for the backward pass, the others are computed again
WIDTH = 128  # groups that a piece may have: its one-hot product then costs as much as its similarities
NARROW = 512  # groups; above, columns are sorted on a device too, at the price of waiting for it once


def kind(tensor: Tensor) -> str:
    """Which of the settings above apply: those of the CPU, or those of every device."""
    return "cpu" if tensor.device.type == "cpu" else "cuda"


class Piece(NamedTuple):
    """Consecutive candidates, and the groups first..last-1 that they belong to."""

    start: int
    stop: int
    first: int
    last: int
    members: Tensor | None  # (stop - start, last - first) one-hot; None where there is one group only


def leave_out(candidates: Tensor, valid: Tensor) -> Tensor:
    """Zeros, with zero gradient, in place of the rows of `candidates` (N, D) that are not `valid` (N,) bool.

    Whatever stood there, NaN included, can then reach nothing: neither a value nor, times 0, a gradient.

    Example:
        >>> leave_out(torch.tensor([[1.0], [torch.nan]]), torch.tensor([True, False])).tolist()
        [[1.0], [0.0]]
    """
    if valid.dtype != torch.bool or valid.shape != candidates.shape[:1]:
        raise ValueError(f"valid must be bool of shape ({len(candidates)},), got {tuple(valid.shape)} {valid.dtype}")
    return candidates.masked_fill(~valid[:, None], 0)


def grouped_logsumexp(
    anchors: Tensor,
    candidates: Tensor,
    temperature: float,
    *,
    groups: Tensor | None = None,
    count: int = 1,
    skip_own: bool = False,
) -> Tensor:
    """ln sum_{j in group c} exp(<anchor_i, candidate_j> / temperature), for every anchor i and group c.

    Args:
        anchors: (B, D) float32 or float64 rows of norm 1 or 0.
        candidates: (N, D), of the same type.
        temperature: > 0, unitless.
        groups: (N,) int64 in 0..count-1, the group of each candidate; None: all are of one group.
        count: C, the number of groups.
        skip_own: leave out j = i. With `groups`, and B > 1, each candidate i < B needs another one in its group.

    Returns:
        (B, C); the type's lowest finite number, with zero gradient, for a group without candidates.

    Cost: O(B N D) time. Beyond input and output, the memory of a block, and of at most KEPT similarities.
    Difference to torch.logsumexp on the whole matrix: rounding only. It cannot be differentiated twice, nor by
    torch.func.

    Example:
        >>> rows = torch.eye(2)
        >>> grouped_logsumexp(rows, rows, 1.0, groups=torch.tensor([1, 0]), count=2).round(decimals=3)
        tensor([[0., 1.],
                [1., 0.]])
    """
    if groups is None or count <= max(len(candidates), 0 if kind(anchors) == "cpu" else NARROW):
        result: Tensor = GroupedLogSumExp.apply(anchors, candidates, groups, temperature, count, skip_own)
        return result
    # more groups than candidates: only those that are there are computed (on a device this waits for it)
    present, groups = torch.unique(groups, return_inverse=True)
    reduced = GroupedLogSumExp.apply(anchors, candidates, groups, temperature, len(present), skip_own)
    lowest = torch.finfo(reduced.dtype).min
    everywhere: Tensor = reduced.new_full((len(anchors), count), lowest).index_copy(1, present, reduced)
    return everywhere


class GroupedLogSumExp(torch.autograd.Function):
    """See `grouped_logsumexp`."""

    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        candidates: Tensor,
        groups: Tensor | None,
        temperature: float,
        count: int,
        skip_own: bool,
    ) -> Tensor:
        """Sums by group, block after block."""
        pieces, order = cut(len(candidates), groups, count, anchors, in_place=skip_own)
        if order is not None:
            candidates = candidates[order]
        # exp needs no shift where its sums can neither overflow nor lose a whole group to underflow
        shifts = None
        if 2 / temperature > -math.log(torch.finfo(anchors.dtype).tiny):
            shifts = largest(anchors, candidates, temperature, pieces, count, skip_own)
        # a group without candidates begins with 1 in place of 0, whose logarithm is many times as slow
        empty = anchors.new_full((count,), float(skip_own and len(candidates) == 1))
        if groups is not None:
            others = groups[1:] if skip_own and len(anchors) == 1 else groups
            empty = empty.fill_(1).index_fill_(0, others, 0)
        sums = empty.expand(len(anchors), -1).clone()
        rows = BLOCK[kind(anchors)][0]
        room = KEPT[kind(anchors)] if any(ctx.needs_input_grad) else 0
        saved: list[Tensor] = []
        for piece in pieces:
            for start in range(0, len(anchors), rows):
                kernel = block(anchors, candidates, temperature, piece, start, start + rows, shifts, skip_own)
                part = sums[start : start + rows, piece.first : piece.last]
                if piece.members is None:
                    part += kernel.sum(dim=1, keepdim=True)
                else:
                    part.addmm_(kernel, piece.members)
                room -= kernel.numel()
                if room >= 0:
                    saved.append(kernel)
        result = sums.log().add_(empty, alpha=torch.finfo(sums.dtype).min)
        if shifts is not None:
            result += shifts
        ctx.save_for_backward(anchors, candidates, sums, *(t for t in (order, shifts) if t is not None), *saved)
        ctx.has = order is not None, shifts is not None
        ctx.pieces, ctx.rows, ctx.temperature, ctx.skip_own = pieces, rows, temperature, skip_own
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """d/ds_ij = gradient_ic exp(s_ij) / sum_ic for the group c of j."""
        refuse_second_derivative()
        anchors, candidates, sums, *rest = ctx.saved_tensors
        is_sorted, is_shifted = ctx.has
        order = rest.pop(0) if is_sorted else None
        shifts = rest.pop(0) if is_shifted else None
        saved = iter(rest)
        share = gradient / sums
        # with one group the share is a factor of the anchor's row: no block has to be multiplied by it
        one = share.shape[1] == 1
        rows = anchors * share if one else anchors
        for_anchors = torch.empty_like(anchors) if ctx.needs_input_grad[0] else None
        for_candidates = torch.empty_like(candidates) if ctx.needs_input_grad[1] else None
        scale = 1 / ctx.temperature
        with torch.autocast(anchors.device.type, enabled=False):
            for piece in ctx.pieces:
                columns = slice(piece.start, piece.stop)
                for start in range(0, len(anchors), ctx.rows):
                    stop = start + ctx.rows
                    weight = next(saved, None)
                    is_kept = weight is not None
                    if weight is None:
                        weight = block(anchors, candidates, ctx.temperature, piece, start, stop, shifts, ctx.skip_own)
                    if not one and piece.members is not None:
                        factor = share[start:stop, piece.first : piece.last] @ piece.members.T
                        weight = weight * factor if is_kept else weight.mul_(factor)
                    if for_anchors is not None:
                        part = for_anchors[start:stop]
                        part.addmm_(weight, candidates[columns], beta=float(piece.start > 0), alpha=scale)
                    if for_candidates is not None:
                        part = for_candidates[columns]
                        part.addmm_(weight.T, rows[start:stop], beta=float(start > 0), alpha=scale)
        if for_anchors is not None and one:
            for_anchors *= share
        if for_candidates is not None and order is not None:
            for_candidates = torch.empty_like(for_candidates).index_copy_(0, order, for_candidates)
        return for_anchors, for_candidates, None, None, None, None


def cut(
    total: int, groups: Tensor | None, count: int, like: Tensor, *, in_place: bool = False
) -> tuple[list[Piece], Tensor | None]:
    """Cut N candidates into pieces, and say in which order to take them (None: as they are, always if `in_place`).

    In the order of their groups a piece has few of them, so that its one-hot matrix is narrow. On a device the labels
    would have to be waited for, so the whole width is taken there while it is small.
    """
    columns = BLOCK[kind(like)][1]
    if count > WIDTH:  # so narrow that a piece has about WIDTH groups
        columns = min(columns, max(WIDTH // 2, WIDTH * total // count))
    starts = range(0, total, columns)
    if groups is None:
        return [Piece(start, min(start + columns, total), 0, 1, None) for start in starts], None
    order = None
    ends = [(0, count)] * len(starts)
    if total > columns and not in_place and (like.device.type == "cpu" or count > NARROW):
        groups, order = groups.sort(stable=True)
        firsts, lasts = (
            groups[::columns],
            groups[torch.arange(columns - 1, total + columns - 1, columns).clamp_(max=total - 1).to(groups.device)],
        )
        ends = [(first, last + 1) for first, last in torch.stack([firsts, lasts], dim=1).tolist()]
    pieces = []
    for start, (first, last) in zip(starts, ends, strict=True):
        stop = min(start + columns, total)
        own_group = groups[start:stop, None]
        members = like.new_zeros(stop - start, last - first).scatter_(1, own_group - first if first else own_group, 1)
        pieces.append(Piece(start, stop, first, last, members))
    return pieces, order


def block(
    anchors: Tensor,
    candidates: Tensor,
    temperature: float,
    piece: Piece,
    start: int,
    stop: int,
    shifts: Tensor | None,
    skip_own: bool,
) -> Tensor:
    """exp of the similarities of anchors start..stop-1 with a piece's candidates, less their shifts."""
    scores = similarities(anchors[start:stop], candidates[piece.start : piece.stop], temperature)
    if shifts is not None:
        part = shifts[start:stop, piece.first : piece.last]
        scores -= part if piece.members is None else part @ piece.members.T
    kernel = scores.exp_()
    if skip_own:
        own(kernel, piece, start).zero_()
    return kernel


def own(scores: Tensor, piece: Piece, start: int) -> Tensor:
    """The entries of a block (its rows from `start` on) whose anchor and candidate have the same place."""
    offset = start - piece.start  # the column of the block's first row
    if not -len(scores) < offset < scores.shape[1]:
        return scores[:0, 0]
    return scores.diagonal(offset)


def largest(
    anchors: Tensor, candidates: Tensor, temperature: float, pieces: list[Piece], count: int, skip_own: bool
) -> Tensor:
    """The largest similarity of each anchor with each group, (B, count); 0 for a group without candidates."""
    reduced = anchors.new_full((len(anchors), count), -torch.inf)
    rows = BLOCK[kind(anchors)][0]
    for piece in pieces:
        for start in range(0, len(anchors), rows):
            scores = similarities(anchors[start : start + rows], candidates[piece.start : piece.stop], temperature)
            if skip_own:
                own(scores, piece, start).fill_(-torch.inf)
            part = reduced[start : start + rows, piece.first : piece.last]
            if piece.members is None:
                torch.maximum(part, scores.amax(dim=1, keepdim=True), out=part)
            else:
                columns = piece.members.argmax(dim=1).expand(len(scores), -1)
                part.scatter_reduce_(1, columns, scores, "amax")
    return torch.where(reduced.isfinite(), reduced, 0)
