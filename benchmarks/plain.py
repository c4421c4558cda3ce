"""What our losses are measured against: the published formulas on a whole B x N matrix, as a good notebook has them.

Nothing slower than it need be: one matrix product, in-place where autograd allows, no loops, no copies.
"""

import torch
from torch import Tensor
from torch.nn import functional


def lw_supcrd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    teacher_logits: Tensor,
    *,
    candidate_labels: Tensor | None = None,
    alpha: float = 1.0,
    beta: float = 10.0,
    temperature: float = 0.07,
) -> Tensor:
    """LW-SupCRD, adaptive, as the reference computes it: masks, gathered weights, the row's maximum subtracted."""
    candidate_labels = labels if candidate_labels is None else candidate_labels
    scores = functional.normalize(student, dim=1) @ functional.normalize(teacher, dim=1).T / temperature
    scores = scores - scores.detach().amax(dim=1, keepdim=True)
    probabilities = teacher_logits.softmax(dim=1)
    own = probabilities.gather(1, labels[:, None])
    same = (labels[:, None] == candidate_labels[None, :]).float()
    push = beta / (own + 0.5) * (1 - probabilities[:, candidate_labels])
    kernel = scores.exp()
    positive = alpha * own.squeeze(1) * (kernel * same).sum(dim=1)
    negative = (push * kernel * (1 - same)).sum(dim=1)
    return -torch.log((positive + 1e-8) / (positive + negative + 1e-8)) / alpha


def crd(student: Tensor, teacher: Tensor, *, temperature: float = 0.07) -> Tensor:
    """CRD by torch's fused cross-entropy."""
    scores = functional.normalize(student, dim=1) @ functional.normalize(teacher, dim=1).T / temperature
    return functional.cross_entropy(scores, torch.arange(len(student), device=student.device), reduction="none")


def supcon(embeddings: Tensor, labels: Tensor, *, temperature: float = 0.07) -> Tensor:
    """SupCon after the authors' published code (HobbitLong/SupContrast), written anew."""
    points = functional.normalize(embeddings, dim=1)
    scores = points @ points.T / temperature
    scores = scores - scores.detach().amax(dim=1, keepdim=True)
    others = 1 - torch.eye(len(labels), device=labels.device)
    same = (labels[:, None] == labels[None, :]).float() * others
    log_probability = scores - (scores.exp() * others).sum(dim=1, keepdim=True).log()
    return -(same * log_probability).sum(dim=1) / same.sum(dim=1).clamp(min=1)
