"""Softness of outputs against loops over rows and scipy."""

import math
import statistics

import pytest
import scipy.stats
import torch

from supcrd.metrics import softness


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_against_a_loop_and_scipy(scale):
    logits = scale * torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    entropies, ratios, spreads = [], [], []
    for row in logits.double().tolist():
        top = max(row)
        entropies.append(scipy.stats.entropy([math.exp(z - top) for z in row]))  # which normalises
        first, second = sorted((z - math.fsum(row) / 7 for z in row), reverse=True)[:2]
        ratios.append(second / first)
        spreads.append(statistics.pstdev(row))
    found = softness(logits)
    assert found == pytest.approx([statistics.fmean(values) for values in (entropies, ratios, spreads)])


def test_a_number_added_to_all_logits_changes_nothing():
    logits = torch.randn(20, 5, generator=torch.Generator().manual_seed(1)).double()
    assert softness(logits + 100) == pytest.approx(softness(logits))


def test_the_ends_of_the_ranges():
    certain = softness(torch.tensor([[5000.0, 0.0, 0.0]]))  # probabilities that underflow
    assert certain.entropy == 0
    assert certain.ratio == pytest.approx(-0.5)  # 2/3 and -1/3 of 5000
    even = softness(torch.full((3, 4), 2.5))
    assert even == pytest.approx((math.log(4), 1.0, 0.0))
    assert softness(torch.zeros(0, 3)) is None
