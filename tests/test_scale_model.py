"""The model of the efficiency in docs/scale.md: counted sizes are published ones, times are those of a sum by hand."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TORCHVISION = {"ResNet-18": 11_689_512, "ResNet-50": 25_557_032}
"""Parameters for 1,000 classes, as torchvision's documentation gives them."""


def test_networks_have_their_published_size_and_the_heads():
    rows = json.loads((ROOT / "docs" / "results" / "scale-model.json").read_text())["rows"]
    for row in rows:
        features = {"ResNet-18": 512, "ResNet-50": 2048}[row["network"]]
        head = features * 128 + 128 + 128 * 64 + 64
        assert row["parameters"] == TORCHVISION[row["network"]] + head
        assert row["multiply_adds"] == pytest.approx(
            {"ResNet-18": 1.814e9, "ResNet-50": 4.089e9}[row["network"]], rel=2e-3
        )


def test_times_are_those_of_a_sum_by_hand(monkeypatch):
    """Two nodes of one GPU, a batch of 8: every bandwidth and speed such that the seconds can be counted."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    model = importlib.import_module("scale_model")
    easy = {"gpus_a_node": 1, "flops": 100.0, "memory": 1e30, "within": 1e30, "fast": 10.0, "slow": 1.0,
            "latency": 1.0, "message": 3.0, "bucket": 100, "passes": 1}  # fmt: skip
    monkeypatch.setattr(model, "ASSUMED", easy)
    network = model.Network(parameters=50, multiply_adds=25, norms=2, projections=4)
    times = model.step(network, 8, 2, easy["fast"])
    # 4 own images x 25 x 2 operations x 3 passes; 32 pairs x 4 numbers x 6
    assert times["computing"] == pytest.approx(6.0)
    assert times["loss"] == pytest.approx(7.68)
    # 200 bytes in two buckets: 20 s and 2 x 2 hops; the last bucket is not hidden, of the rest 4 s are
    assert times["gradients"] == pytest.approx(12 + (24 - 12 - 4))
    # of 8 rows of 16 bytes half, three times
    assert times["rows"] == pytest.approx(192 / 10 + 3)
    assert times["norms"] == pytest.approx(4)
    assert times["flag"] == pytest.approx(6)
    assert times["efficiency"] == pytest.approx(6 / (6 + 7.68 + 20 + 22.2 + 4 + 6))
