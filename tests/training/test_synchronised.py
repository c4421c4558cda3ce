"""`train.sync_batchnorm`: torch's SyncBatchNorm over all processes, where GPUs train and the key does not say no.

That module computes on GPUs only (asked on a CPU it refuses, as the last test sees), so its numbers are not seen here:
what is, is that it stands in the student's network with the weights of before and the group of all processes.
"""

import pytest
import torch
from torch import distributed, nn

from jointly import together
from supcrd.models import Model
from supcrd.recipe.settings import TrainSettings
from supcrd.training.plan import plan


def network():
    torch.manual_seed(0)
    return Model(3, "resnet8", image_size=8)


def norms(model):
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def planned(on_gpu=True, **settings):
    return plan(TrainSettings(epochs=1, batch_size=8, **settings), others=False, on_gpu=on_gpu).world


def worker(rank, size, folder):
    before = network()
    model, world = network(), planned()
    world.synchronise(model)
    assert world.synchronised
    assert len(norms(model)) == len(norms(before)) > 0
    for norm in norms(model):
        assert type(norm) is nn.SyncBatchNorm
        group = norm.process_group or distributed.group.WORLD  # None is torch's word for all
        assert distributed.get_process_group_ranks(group) == [0, 1]
    assert model.state_dict().keys() == before.state_dict().keys()
    assert all(torch.equal(one, other) for one, other in zip(model.state_dict().values(), before.state_dict().values(),
                                                             strict=True))  # fmt: skip
    norms(model)[0].running_mean.fill_(rank)
    world.settle(model.train())  # nothing to be made equal: the statistics are those of all
    assert norms(model)[0].running_mean.eq(rank).all()
    with pytest.raises(ValueError, match="SyncBatchNorm expected input tensor to be on GPU"):
        model(torch.rand(4, 3, 8, 8))

    for off in (planned(sync_batchnorm=False), planned(on_gpu=False), planned(shards=2), planned(accumulate=2)):
        model = network()
        off.synchronise(model)
        assert not off.synchronised
        assert {type(norm) for norm in norms(model)} == {nn.BatchNorm2d}

    # without: each has its own images' statistics, and the running ones are the mean
    images = torch.rand(8, 3, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    norm, halves = nn.BatchNorm2d(3, momentum=1.0).double(), images.split(4)
    norm(halves[rank])
    off.settle(norm)
    for buffer, of in ((norm.running_mean, torch.mean), (norm.running_var, torch.var)):
        wanted = torch.stack([of(half.transpose(0, 1).flatten(1), dim=1) for half in halves]).mean(dim=0)
        torch.testing.assert_close(buffer, wanted, rtol=1e-12, atol=1e-12)


def test_two_processes(tmp_path):
    together(2, worker, tmp_path)
