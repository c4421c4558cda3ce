import pytest
import torch
from torch import nn

from supcrd.errors import CheckpointError
from supcrd.export.trace import traced


class Chooses(nn.Module):
    """What no tracer can follow: a branch on values."""

    def forward(self, rows):
        return rows if rows.sum() > 0 else -rows


def test_the_innermost_module_that_fails_is_named(capfd):
    network = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(), Chooses()), nn.Linear(3, 2))
    with pytest.raises(CheckpointError, match=r"^1\.1 \(Chooses\) cannot be exported: \S"):
        traced(network, torch.zeros(2, 3))
    assert capfd.readouterr() == ("", "")


def test_a_network_that_fails_as_a_whole_is_named():
    with pytest.raises(CheckpointError, match=r"^Chooses cannot be exported"):
        traced(Chooses(), torch.zeros(2, 3))


def test_any_number_of_images():
    network = nn.Linear(3, 2)
    rows = torch.rand(7, 3)
    assert torch.equal(traced(network, torch.zeros(2, 3)).module()(rows), network(rows))
