"""Which classifier is saved: candidates are worth what a loop says, and validation chooses."""

import math

import numpy as np
import pytest
import torch

from supcrd.evaluation import final
from supcrd.evaluation.final import Candidate, Final, Rows, candidate, choose, refit, scores
from supcrd.metrics.calibration import TEMPERATURES
from supcrd.training.logistic import PENALTIES, Linear, logistic_path


def drawn(rows, seed=0, spread=1.5):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(5, 8, generator=torch.Generator().manual_seed(9))
    labels = torch.randint(5, (rows,), generator=generator)
    return Rows(centres[labels] + spread * torch.randn(rows, 8, generator=generator), labels)


def test_scores_by_a_loop():
    rows, linear, temperature = drawn(50), Linear(torch.randn(5, 8), torch.randn(5)), 1.7
    known = scores(linear, temperature, rows)
    right = likelihood = 0.0
    bins = {key: [[0.0, 0.0, 0] for _ in range(15)] for key in ("ece_before", "ece")}
    for x, y in zip(rows.features.double().numpy(), rows.labels.tolist(), strict=True):
        z = linear.weight.double().numpy() @ x + linear.bias.double().numpy()
        right += z.argmax() == y
        for key, t in (("ece_before", 1.0), ("ece", temperature)):
            p = np.exp(z / t) / np.exp(z / t).sum()
            place = bins[key][max(math.ceil(15 * p.max()), 1) - 1]
            place[0] += p.max()
            place[1] += z.argmax() == y
            place[2] += 1
        likelihood -= math.log(p[y])
    assert known["accuracy"] == right / 50
    assert known["nll"] == pytest.approx(likelihood / 50, rel=1e-5)
    for key, places in bins.items():
        assert known[key] == pytest.approx(sum(abs(a - b) for a, b, _ in places) / 50, rel=1e-5)


def test_the_path_is_searched_until_it_gets_worse():
    seen = []
    train, validation = drawn(200, 1), drawn(100, 2)
    best, fitted = refit(train, validation, 5, seen.append)
    every = [candidate(one.linear, validation) for one in logistic_path(train.features, train.labels, 5)]
    losses = [one.validation["nll"] for one in every]
    at = losses.index(min(losses))
    assert (best.validation, fitted.penalty) == (every[at].validation, PENALTIES[at])
    assert 0 < at < len(PENALTIES) - 1  # neither end
    assert seen[-1] == len(PENALTIES)
    assert len(seen) == at + 2 + final.PATIENCE


@pytest.mark.parametrize("missing", ["train", "validation"])
def test_a_class_that_one_split_lacks(missing):
    splits = {"train": drawn(200, 1), "validation": drawn(100, 2)}
    there = splits[missing].labels != 3
    splits[missing] = Rows(splits[missing].features[there], splits[missing].labels[there])
    best, _ = refit(splits["train"], splits["validation"], 5)
    assert best.calibrated.finite
    assert 0.5 < best.validation["accuracy"] < 1
    assert math.isfinite(best.validation["nll"])


def test_features_that_cannot_be_fitted():
    rows = Rows(torch.arange(8)[:, None] * 1e-42, torch.arange(8) % 2)
    assert refit(rows, rows, 2) is None
    trained = candidate(Linear(torch.eye(2)[:, :1], torch.zeros(2)), rows)
    for asked in ("best", "refit"):
        assert choose(asked, trained, None, 8) == ("trained", "no classifier can be fitted to features of this size")


def known(accuracy, nll):
    return Candidate(Linear(torch.eye(2), torch.zeros(2)), 1.0, {"accuracy": accuracy, "nll": nll})


def test_validation_chooses():
    assert choose("best", known(0.5, 0.1), known(0.6, 0.9), 10)[0] == "refit"
    assert choose("best", known(0.6, 0.9), known(0.5, 0.1), 10)[0] == "trained"
    assert choose("best", known(0.6, 0.2), known(0.6, 0.1), 10)[0] == "refit"
    assert choose("best", known(0.6, 0.1), known(0.6, 0.1), 10)[0] == "trained"  # nothing speaks for another
    saved, why = choose("refit", known(0.6, 0.1), known(0.5, 0.2), 1234)
    assert saved == "refit"
    assert why == (
        "asked for; the refitted one is right on 50.00 % of 1,234 validation images, the one trained with the encoder "
        "on 60.00 %"
    )
    with pytest.raises(ValueError, match="asked = 'bset'; did you mean best"):
        choose("bset", known(0.6, 0.1), known(0.5, 0.2), 10)


def test_a_temperature_at_its_bound_is_said():
    at = [
        Final("best", "trained", "", {"trained": known(1, 0)._replace(temperature=t)}).at_bound
        for t in (*TEMPERATURES, 1.0)
    ]
    assert at == [True, True, False]
    assert not Final("trained", "trained", "", {}).at_bound


def test_where_all_of_validation_is_right_it_is_not_taken_as_certain():
    """Two classes, logits (1, 0): smoothed by 1/22 the probability of the right class is 1 - 1/44."""
    rows = Rows(torch.eye(2).repeat(10, 1), torch.arange(20) % 2)
    known = candidate(Linear(torch.eye(2), torch.zeros(2)), rows)
    assert known.temperature == pytest.approx(1 / math.log(43), rel=1e-9)
    assert known.validation["nll"] == pytest.approx(-math.log(1 - 1 / 44), rel=1e-5)
