import json
import math
import signal
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional

from supcrd.base.device import choose
from supcrd.data.images import Split
from supcrd.data.loader import FeatureBatches, ViewBatches
from supcrd.data.order import index_batches
from supcrd.errors import RunError, Terminated
from supcrd.jobs import run as pipeline
from supcrd.models.weights import load_state
from supcrd.recipe import load
from supcrd.recipe.settings import AugmentSettings, FitSettings, TrainSettings
from supcrd.runs.folder import RunFolder
from supcrd.training.fit import fit
from supcrd.training.optimiser import learning_rate_factor, make_optimizer
from supcrd.training.signals import interruptible
from supcrd.training.task import ProbeFit, Step

CPU = choose("cpu", "float32")


def features(seed=0, rows=64):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % 3
    return torch.randn(rows, 5, generator=generator) + 2 * functional.one_hot(labels, 5), labels


def probe():
    torch.manual_seed(0)
    return ProbeFit(5, 3)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_fit_is_the_plain_loop(optimizer):
    """Against torch's own optimisers and schedule in a loop as a notebook has it."""
    x, y = features()
    settings = FitSettings(
        epochs=3, batch_size=16, optimizer=optimizer, lr=0.02, weight_decay=0.01, schedule="cosine", grad_clip=0.5
    )
    task = probe()
    history = fit(task, FeatureBatches(x, y, batch_size=16, seed=7), settings, seed=1, place=CPU)

    plain = probe().classifier
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer]
    extra = {"momentum": 0.9, "nesterov": True} if optimizer == "sgd" else {}
    opt = kind(plain.parameters(), lr=0.02, weight_decay=0.01, foreach=False, **extra)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=12)
    for epoch in range(3):
        total, right = 0.0, 0
        for index in index_batches(64, 16, seed=7, epoch=epoch):
            logits = plain(x[index])
            loss = functional.cross_entropy(logits, y[index])
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
            opt.step()
            schedule.step()
            total += loss.item() * len(index)
            right += (logits.argmax(1) == y[index]).sum().item()
        assert history[epoch]["loss"] == pytest.approx(total / 64, rel=1e-5)
        assert history[epoch]["train_accuracy"] == pytest.approx(right / 64)
    torch.testing.assert_close(task.classifier.weight, plain.weight, rtol=1e-5, atol=1e-6)


def test_schedules():
    def factors(steps, **settings):
        s = FitSettings(epochs=10, **settings)
        return [learning_rate_factor(s, step, steps // 10) for step in range(steps)]

    assert set(factors(100)) == {1.0}
    assert factors(100, schedule="cosine")[50] == pytest.approx(0.5)
    # warm-up over 2 epochs of 10 steps: 1/20, 2/20, ...
    assert factors(100, warmup_epochs=2.0)[:3] == pytest.approx([0.05, 0.1, 0.15])
    cycle = factors(1000, schedule="one_cycle")
    opt = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    peer = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=1.0, total_steps=1000)
    for ours in cycle:
        assert ours == pytest.approx(peer.get_last_lr()[0], abs=0.006)  # torch's turning points lie one step off
        opt.step()
        if peer.last_epoch < 999:
            peer.step()
    assert max(cycle) == pytest.approx(1.0, abs=1e-4)
    assert cycle[0] == pytest.approx(1 / 25)


def test_the_step_schedule_is_torchs_multisteplr():
    """RepDistiller lowers the rate in the epochs (from 1) 151, 181 and 211 of 240, which torch counts from 0."""
    for epochs, given, used in (
        (240, (150, 180, 210), [150, 180, 210]),
        (240, (), [150, 180, 210]),
        (24, (3, 20), [3, 20]),
        (8, (), [5, 6, 7]),
    ):
        settings = TrainSettings(epochs=epochs, schedule="step", milestones=given, decay_factor=0.2)
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        peer = torch.optim.lr_scheduler.MultiStepLR(optimizer, used, gamma=0.2)
        for epoch in range(epochs):
            rates = {learning_rate_factor(settings, 7 * epoch + step, 7) for step in range(7)}
            assert sorted(rates) == pytest.approx(peer.get_last_lr())
            optimizer.step()
            peer.step()
    # of 10 epochs 5/8 are 6.25: in the middle of an epoch
    settings = TrainSettings(epochs=10, schedule="step", warmup_epochs=1.0)
    factors = [learning_rate_factor(settings, step, 4) for step in range(40)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert [step for step in range(1, 40) if factors[step] < factors[step - 1]] == [25, 30, 35]
    assert factors[-1] == pytest.approx(1e-3)


def test_last_batch_of_one_image_is_left_out():
    assert [len(i) for i in index_batches(9, 4, seed=0, epoch=0)] == [4, 4]
    assert [len(i) for i in index_batches(10, 4, seed=0, epoch=0)] == [4, 4, 2]
    assert [len(i) for i in index_batches(3, 1, seed=0, epoch=0)] == [1, 1, 1]
    assert [len(i) for i in index_batches(1, 4, seed=0, epoch=0)] == [1]
    every = torch.cat(index_batches(10, 4, seed=0, epoch=3))
    assert sorted(every.tolist()) == list(range(10))
    assert every.tolist() != torch.cat(index_batches(10, 4, seed=0, epoch=4)).tolist()


def test_views_do_not_depend_on_the_batch_size():
    split = Split(torch.randint(0, 256, (20, 8, 8, 3), dtype=torch.uint8), torch.arange(20))
    seen = []
    for size in (4, 20):
        batches = ViewBatches(split, AugmentSettings(), batch_size=size, seed=3, device=torch.device("cpu"))
        views = {}
        for batch in batches.epoch(2):
            assert torch.equal(batch.labels, batch.indices.repeat(2))
            for row, (image, label) in enumerate(zip(batch.inputs, batch.labels, strict=True)):
                views[label.item(), row // len(batch.indices)] = image
        seen.append(views)
    assert seen[0].keys() == seen[1].keys()
    assert all(torch.equal(seen[0][key], seen[1][key]) for key in seen[0])
    assert not torch.equal(seen[0][0, 0], seen[0][0, 1])


def test_cut_anywhere_and_resumed_is_bit_identical(tmp_path):
    x, y = features()
    settings = FitSettings(epochs=4, batch_size=16, lr=0.02, schedule="one_cycle")

    def run(path, stop_at=None):
        task, told = probe(), 0
        task.classifier = nn.Sequential(nn.Dropout(0.5), task.classifier)  # draws of the network are resumed, too
        inner = task.forward

        def forward(batch):
            nonlocal told
            told += 1
            if told == stop_at:
                signal.raise_signal(signal.SIGINT)
            return inner(batch)

        task.forward = forward
        batches = FeatureBatches(x, y, batch_size=16, seed=7)
        return task, fit(task, batches, settings, seed=1, place=CPU, state_file=path)

    whole, history = run(tmp_path / "whole.pt")
    for stop in (1, 3, 4, 6, 16):
        path = tmp_path / f"cut{stop}.pt"
        with pytest.raises(KeyboardInterrupt):
            run(path, stop)
        again, resumed = run(path)
        assert torch.equal(again.classifier[1].weight, whole.classifier[1].weight)
        timeless = [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in resumed]
        assert timeless == [
            {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in history
        ]


@pytest.mark.parametrize("method", ["lw-supcrd", "hybrid", "cross-entropy", "kd", "crd", "supcon"])
def test_half_and_resumed_equals_whole_run(method, tmp_path, quick, quick_teacher, monkeypatch):
    recipe = load(f"digits-{method}", [*quick, *quick_teacher, "train.epochs=4", "train.precision=float32"])
    whole = pipeline.run(recipe, tmp_path / "whole")

    real = RunFolder.write_metrics

    def interrupt(self, rows):
        real(self, rows)
        if len(rows) == 2 and self.recipe.name == recipe.name:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunFolder, "write_metrics", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(recipe, tmp_path / "cut")
    monkeypatch.setattr(RunFolder, "write_metrics", real)
    folder = tmp_path / "cut" / recipe.name
    assert not (folder / "evaluation.json").exists()
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
    resumed = pipeline.run(recipe, tmp_path / "cut")
    assert resumed.status == "resumed"

    states = [load_state(result.folder / "checkpoint.pt") for result in (whole, resumed)]
    assert_same(states[0]["task"], states[1]["task"])
    timing = {"train_seconds", "evaluation_seconds", "teacher"}
    a, b = ({k: v for k, v in r.evaluation.items() if k not in timing} for r in (whole, resumed))
    assert a == b
    rows = [[json.loads(line) for line in (r.folder / "metrics.jsonl").open()] for r in (whole, resumed)]
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]


def assert_same(one, other):
    """The same state to the bit, however deep."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


class Bad(nn.Module):
    """A task whose second term turns bad at a step."""

    def __init__(self, at, value):
        super().__init__()
        self.weight, self.at, self.value, self.calls = nn.Parameter(torch.ones(1)), at, value, 0

    def groups(self, lr):
        return [{"params": [self.weight], "lr": lr}]

    def forward(self, batch):
        self.calls += 1
        bad = self.weight.sum() * (self.value if self.calls == self.at else 1.0)
        return Step({"good": self.weight.sum(), "bad": bad}, torch.tensor(0))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_term_epoch_and_step(tmp_path, value):
    x, y = features()
    path = tmp_path / "checkpoint.pt"
    batches = FeatureBatches(x, y, batch_size=16, seed=0)  # 4 steps an epoch
    with pytest.raises(RunError, match="loss term bad was not finite in epoch 2, step 3"):
        fit(Bad(7, value), batches, FitSettings(epochs=3), seed=0, place=CPU, state_file=path)
    good = load_state(path)
    assert good["epoch"] == 1
    assert good["task"]["weight"].isfinite().all()


def test_weights_that_are_not_finite_stop_the_run():
    class Explodes(Bad):
        def forward(self, batch):
            self.weight.data.fill_(math.inf)
            return Step({"good": (self.weight * 0).nan_to_num().sum()}, torch.tensor(0))

    x, y = features()
    batches = FeatureBatches(x, y, batch_size=16, seed=0)
    with pytest.raises(RunError, match="a weight was not finite at the end of epoch 1"):
        fit(Explodes(0, 0), batches, FitSettings(epochs=1), seed=0, place=CPU)


def test_a_second_interrupt_ends_at_once():
    with interruptible() as noted:
        signal.raise_signal(signal.SIGINT)
        assert noted.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_termination_is_noted_once_and_told_apart():
    before = signal.getsignal(signal.SIGTERM)
    with interruptible() as noted:
        signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is before  # a second one acts as if nobody listened
        signal.raise_signal(signal.SIGINT)
    assert isinstance(noted.error(), Terminated)
    assert signal.getsignal(signal.SIGTERM) is before
    with interruptible() as noted:
        signal.raise_signal(signal.SIGINT)
    assert type(noted.error()) is KeyboardInterrupt


def test_fit_works_outside_the_main_thread():
    x, y = features()
    result = []
    batches = FeatureBatches(x, y, batch_size=16, seed=0)
    thread = threading.Thread(
        target=lambda: result.append(fit(probe(), batches, FitSettings(epochs=1), seed=0, place=CPU))
    )
    thread.start()
    thread.join()
    assert len(result[0]) == 1


def test_joint_group_learns_at_the_scaled_rate():
    groups = [
        {"params": [nn.Parameter(torch.zeros(1))], "lr": 0.1},
        {"params": [nn.Parameter(torch.zeros(1))], "lr": 0.01},
    ]
    optimizer = make_optimizer(groups, FitSettings(epochs=1, lr=0.1))
    assert [group["peak_lr"] for group in optimizer.param_groups] == [0.1, 0.01]


def test_devices_that_are_not_there():
    with pytest.raises(RunError, match=r"device 'tpu9'"):
        choose("tpu9")
    if not torch.cuda.is_available():
        with pytest.raises(RunError, match=r"device 'cuda': this machine has 0 CUDA devices"):
            choose("cuda")
