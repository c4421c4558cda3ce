"""The final linear probe: how far apart the classes lie in a model's features."""

from collections.abc import Callable

import torch
from torch import Tensor

from supcrd import metrics
from supcrd.base.device import Place
from supcrd.base.seeding import forked
from supcrd.data.loader import FeatureBatches
from supcrd.recipe.settings import ProbeSettings
from supcrd.training.fit import Progress, fit
from supcrd.training.task import ProbeFit


def probe_accuracy(
    train_features: Tensor,
    train_labels: Tensor,
    features: Tensor,
    labels: Tensor,
    settings: ProbeSettings,
    num_classes: int,
    *,
    seed: int,
    report: Callable[[Progress], None] | None = None,
) -> float | None:
    """Accuracy of a linear classifier trained on frozen features, which are standardised by the training rows.

    Args:
        train_features, train_labels: (M, F) float and (M,) int64.
        features, labels: (N, F) and (N,), to classify.
        settings: of the fit.
        num_classes: C.
        seed: initial weights and order.
        report: called with the progress.

    Returns:
        0..1.
    """
    mean, std = train_features.mean(dim=0), train_features.std(dim=0, unbiased=False)
    std = torch.where(std > 0, std, 1)
    with forked() as reseed:
        reseed(seed)
        task = ProbeFit(train_features.shape[1], num_classes)
    place = Place(torch.device("cpu"), bfloat16=False)  # a step is too small for a device to gain from
    batches = FeatureBatches((train_features - mean) / std, train_labels, batch_size=settings.batch_size, seed=seed)
    fit(task, batches, settings, seed=seed, place=place, report=report)
    with torch.no_grad():
        return metrics.top_k_accuracy(task.classifier((features - mean) / std), labels)
