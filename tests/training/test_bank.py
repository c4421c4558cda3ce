"""The memory bank against a plain simulation of it, and its draws against what uniform draws would be."""

import io
import math

import pytest
import torch
from scipy import stats

from supcrd import recipe
from supcrd.data.loader import Batch
from supcrd.jobs import run as pipeline
from supcrd.training.objective.bank import Bank
from typed import invoke, refused, student

N, D, B = 24, 6, 4


def label_of(index):
    """One of its own for each image, so that a drawn row's label says which image it is of."""
    return (7 * index + 3) % 97


LABELS = torch.tensor([label_of(index) for index in range(N)])
INDEX = {label_of(index): index for index in range(N)}


def make(size=5, momentum=0.5, seed=3):
    return Bank(LABELS, D, size=size, momentum=momentum, seed=seed)


def batch_of(indices, epoch=0, step=0):
    indices = torch.as_tensor(indices)
    return Batch(torch.zeros(1), LABELS[indices], indices, epoch=epoch, step=step)


def steps(epochs, seed=0):
    """Batches and features of two views; a third of the images is left out of each epoch, so that rows grow stale."""
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        order = torch.randperm(N, generator=generator)[: 2 * N // 3]
        for step, indices in enumerate(order.split(B)):
            yield batch_of(indices, epoch, step), torch.randn(2 * B, D, generator=generator)


def full(bank, epoch=0):
    """With a row of every image."""
    bank.update(batch_of(range(N), epoch), torch.randn(N, D, generator=torch.Generator().manual_seed(1)))
    return bank


class Naive:
    """Python floats in dictionaries."""

    def __init__(self, momentum):
        self.momentum, self.rows, self.written = momentum, {}, {}

    def eligible(self, batch):
        here = batch.indices.tolist()
        return {i for i, epoch in self.written.items() if epoch >= batch.epoch - 1 and i not in here}

    def update(self, batch, features):
        count = len(batch.indices)
        for place, index in enumerate(batch.indices.tolist()):
            views = [unit(row) for row in features.tolist()[place::count]]
            fresh = unit([math.fsum(column) for column in zip(*views, strict=True)])
            old = self.rows.get(index)
            if old is not None:
                fresh = [self.momentum * o + (1 - self.momentum) * f for o, f in zip(old, fresh, strict=True)]
            self.rows[index], self.written[index] = unit(fresh), batch.epoch


def unit(row):
    norm = math.sqrt(math.fsum(x * x for x in row))
    return [x / norm for x in row]


@pytest.mark.parametrize(
    ("size", "momentum", "dtype"),
    [(5, 0.5, torch.float32), (5, 0.0, torch.float32), (5, 0.9, torch.bfloat16), (N, 0.5, torch.float32)],
)
def test_a_bank_is_the_simulation(size, momentum, dtype):
    bank, naive = make(size, momentum), Naive(momentum)
    met = {"cold": 0, "stale": 0, "short": 0, "enough": 0}
    for batch, features in steps(6):
        drawn, eligible = bank.draw(batch), naive.eligible(batch)
        assert (drawn.rows.shape, drawn.labels.shape, drawn.valid.shape) == ((size, D), (size,), (size,))
        chosen = [INDEX[label] for label in drawn.labels[drawn.valid].tolist()]
        assert len(chosen) == len(set(chosen)) == min(size, len(eligible))  # as many as can be had, none twice
        assert set(chosen) <= eligible
        wanted = torch.tensor([naive.rows[index] for index in chosen]).view(-1, D)
        torch.testing.assert_close(drawn.rows[drawn.valid], wanted, rtol=0, atol=2e-6)
        met["cold"] += N - len(naive.rows)
        met["stale"] += sum(epoch < batch.epoch - 1 for epoch in naive.written.values())
        met["short" if len(eligible) < size else "enough"] += 1

        again = bank.draw(batch)  # to draw changes nothing
        assert all(torch.equal(one, other) for one, other in zip(drawn, again, strict=True))
        bank.update(batch, features.to(dtype))
        naive.update(batch, features.to(dtype).double())
    assert min(met["cold"], met["stale"], met["short"]) > 0  # each of these was there to be met
    assert met["enough"] > 0 or size == N
    rows = torch.tensor([naive.rows.get(index, [0.0] * D) for index in range(N)])
    torch.testing.assert_close(bank.rows, rows, rtol=0, atol=2e-6)


def test_rows_grow_stale_two_epochs_after_they_were_written():
    bank = make(size=N)
    bank.update(batch_of([0, 1, 2], epoch=4), torch.randn(3, D))
    bank.update(batch_of([3], epoch=5), torch.randn(1, D))

    def known(epoch):
        drawn = bank.draw(batch_of([9], epoch))
        return sorted(INDEX[label] for label in drawn.labels[drawn.valid].tolist())

    assert [known(epoch) for epoch in (5, 6, 7)] == [[0, 1, 2, 3], [3], []]


def test_no_zero_row_is_valid():
    bank = make(size=N)
    up, down = torch.eye(D)[:1], -torch.eye(D)[:1]
    bank.update(batch_of([0]), torch.cat([up, down]))  # two views that cancel out
    bank.update(batch_of([1]), up)
    bank.update(batch_of([1], step=1), down)  # a row that cancels the old one
    bank.update(batch_of([2]), torch.zeros(1, D))
    bank.update(batch_of([3]), up)
    drawn = bank.draw(batch_of([9], step=2))
    assert drawn.labels[drawn.valid].tolist() == [label_of(3)]
    bank.update(batch_of([0], step=3), up)  # and such a row comes back
    assert bank.draw(batch_of([9], step=4)).valid.sum() == 2


def test_a_very_long_training():
    bank = full(make(size=N), epoch=40_000)
    assert bank.draw(batch_of([0, 1], epoch=40_001)).valid.sum() == N - 2
    assert bank.draw(batch_of([0, 1], epoch=40_002)).valid.sum() == 0


def test_draws_depend_on_seed_epoch_and_step_alone():
    def labels(seed=3, epoch=1, step=0, bank=None):
        return (bank or full(make(seed=seed), epoch=1)).draw(batch_of([0, 1], epoch, step)).labels.tolist()

    other = make()
    torch.manual_seed(9)
    other.update(batch_of(range(N), epoch=1), torch.randn(N, D))  # other rows, and another history
    for step in range(5):
        other.draw(batch_of([4], 1, step))
    before = torch.get_rng_state()
    assert labels(bank=other) == labels()
    assert torch.equal(torch.get_rng_state(), before)
    assert len({tuple(labels(*at)) for at in [(3, 1, 0), (4, 1, 0), (3, 2, 0), (3, 1, 1), (3, 1, 2)]}) == 5


def test_draws_are_uniform_and_those_of_two_steps_independent():
    size, count = 7, 1500
    bank, here = full(make(size)), [2, 11, 17, 23]
    drawn = torch.zeros(count, N)
    for step in range(count):
        labels = bank.draw(batch_of(here, 0, step)).labels.tolist()
        drawn[step, [INDEX[label] for label in labels]] = 1
    assert (drawn.sum(dim=1) == size).all()
    assert drawn[:, here].sum() == 0
    others = N - len(here)
    share = size / others
    often = drawn.sum(dim=0)[[index for index in range(N) if index not in here]]
    # drawn without replacement, so a count's variance is count p (1 - p) and their sum is fixed
    statistic = ((often - count * share) ** 2).sum() / (count * share * (1 - share)) * (others - 1) / others
    assert 0.001 < stats.chi2.sf(statistic.item(), others - 1) < 0.999
    common = (drawn[1:] * drawn[:-1]).sum(dim=1)  # hypergeometric
    expected = stats.hypergeom(others, size, size)
    assert abs(common.mean().item() - expected.mean()) < 4 * expected.std() / (count - 1) ** 0.5


def test_a_bank_that_is_saved_and_loaded_goes_on_to_the_bit():
    bank, later = make(), list(steps(5))
    for batch, features in later[:9]:
        bank.update(batch, features)
    file = io.BytesIO()
    torch.save(bank.state_dict(), file)
    file.seek(0)
    again = make()
    again.load_state_dict(torch.load(file, weights_only=True))
    for batch, features in later[9:]:
        pair = bank.draw(batch), again.draw(batch)
        assert all(torch.equal(one, other) for one, other in zip(*pair, strict=True))
        for each in (bank, again):
            each.update(batch, features)
    assert torch.equal(bank.rows, again.rows)


def test_rows_take_no_gradient():
    bank, features = make(), torch.randn(N, D, requires_grad=True)
    bank.update(batch_of(range(N)), features)
    drawn = bank.draw(batch_of([0], step=1))
    assert not drawn.rows.requires_grad
    assert list(bank.parameters()) == []


def test_memory_is_what_the_docstring_says():
    bank = Bank(torch.zeros(45_000, dtype=torch.int16), 64, size=4096, momentum=0.5, seed=0)
    total = sum(buffer.numel() * buffer.element_size() for buffer in bank.buffers())
    assert total == 45_000 * (4 * 64 + 12)
    assert "N (4 D + 12) bytes, 12 MB" in " ".join(Bank.__doc__.split())


@pytest.mark.parametrize("size", [0, -1, N + 1])
def test_a_size_that_cannot_be(size):
    with pytest.raises(ValueError, match=rf"a bank of {N} rows cannot give {size} a step; 1 to {N} are right"):
        make(size)


def test_a_bank_larger_than_the_training_set_is_refused_before_any_work(base, tmp_path):
    count = len(pipeline.load_data(recipe.load("digits-crd", student(base))).train)
    out = tmp_path / "new"
    for method in ("crd", "lw-supcrd", "hybrid"):
        line = refused("train", f"digits-{method}", *student(base, f"method.bank={count + 1}"), "--out", out)
        assert line.startswith(f"error: method.bank = {count + 1}: ")
        assert f"has {count} training images" in line
    assert "method.bank" in refused("train", "digits-crd", *student(base, "method.bank=-1"), "--out", out)
    assert not out.exists()


def test_a_bank_of_the_whole_training_set_works(base, out):
    count = len(pipeline.load_data(recipe.load("digits-crd", student(base))).train)
    changes = [f"method.bank={count}", "method.bank_momentum=0.0", "name=banked", "probe.epochs=0"]
    assert invoke("train", "digits-crd", *student(base, *changes), "--out", out).exit_code == 0
