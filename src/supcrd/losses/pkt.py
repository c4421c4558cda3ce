"""Probabilistic knowledge transfer: how probable each image of a batch is as a neighbour of another."""

from torch import Tensor

from supcrd.losses.pairs import exact, rows_of
from supcrd.losses.similarity import unit_rows

EPS = 1e-7


def pkt(student: Tensor, teacher: Tensor) -> Tensor:
    """Probabilistic knowledge transfer: the student's neighbourhoods in a batch are to be the teacher's.

    loss_i = (1/B) sum_j t_ij ln((t_ij + 1e-7) / (s_ij + 1e-7))
    s_ij = k_ij / sum_l k_il,  k_ij = (1 + cos(x_i, x_j)) / 2, and t_ij likewise of the teacher's rows

    Args:
        student: (B, F) float, receives gradient; normalised here.
        teacher: (B, F') float of the same images; F' may differ.

    Returns:
        (B,) nats over B, >= 0 to rounding, unreduced: about 1/B^2, hence the published weight of 30,000. 0 where both
        have the same cosines, whatever their scale.

    Raises:
        ValueError: not float matrices of the same rows.

    Source: Passalis & Tefas 2018 (ECCV), arXiv:1803.10837, section 3, with the cosine kernel. Differences, as in the
    authors' code: the mean over all pairs in place of the sum, 1e-7 in the logarithm, and j = i counts. That code adds
    1e-7 to the norms of the rows as well.

    Example:
        >>> import torch
        >>> line, corner = torch.tensor([[1.0], [1.0]]), torch.eye(2)
        >>> pkt(line, corner)  # t = 2/3, 1/3 and s = 1/2, 1/2: (2/3 ln 4/3 + 1/3 ln 2/3) / 2
        tensor([0.0283, 0.0283])
    """
    ours, theirs = rows_of(student, teacher)
    with exact(ours):
        mine, wanted = _neighbours(ours), _neighbours(theirs)
        return (wanted * ((wanted + EPS) / (mine + EPS)).log()).mean(dim=1)


def _neighbours(rows: Tensor) -> Tensor:
    """(B, B), rows of sum 1."""
    unit = unit_rows(rows)
    # opposite rows may come out below -1 by rounding
    kernel = ((1 + unit @ unit.T) / 2).clamp_min(0)
    return kernel / kernel.sum(dim=1, keepdim=True)
