"""All options of training at once: cut between any two steps, and in the precision of graphics cards."""

import signal

import pytest
import torch

from supcrd.jobs import run as pipeline
from supcrd.models.rounded import rounded_layers
from supcrd.models.weights import load_state
from supcrd.recipe import load
from supcrd.runs.folder import RunFolder
from supcrd.training.task import Distillation

OPTIONS = [
    "train.epochs=3", "train.optimizer=sgd", "train.lr=0.05", "train.weight_decay=0.001", "train.decay=weights",
    "train.ema=0.9", "train.accumulate=3", "train.dot=0.07", "train.patience=2", "train.sampling=balanced",
    "train.grad_clip=1.0", "train.schedule=one_cycle", "data.validation=0.2",
    "train.quantize=true",
]  # fmt: skip


@pytest.fixture
def recipe(quick, quick_teacher):
    def make(*changes):
        return load("digits-kd", [*quick, *quick_teacher, *OPTIONS, "name=x", *changes])

    return make


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    else:
        assert one == other


def state(folder):
    kept = load_state(folder / "checkpoint.pt")
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in kept["history"]]
    return {"task": kept["task"], "optimizer": kept["optimizer"], "rows": rows}


def test_quantize_reaches_the_step(recipe, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "supcrd.training.task.rounded_layers", lambda *networks: (calls.append(networks), rounded_layers(*networks))[1]
    )
    pipeline.run(recipe("train.epochs=1", "train.quantize=false", "name=plain"), tmp_path)
    assert not calls
    pipeline.run(recipe("train.epochs=1"), tmp_path)
    assert calls


def test_cut_between_steps_and_gone_on_is_the_same_to_the_bit(recipe, tmp_path, monkeypatch):
    wanted = recipe("train.precision=float32")
    whole = pipeline.run(wanted, tmp_path)
    real = Distillation.forward
    for call in (5, 26):  # parts of a batch, three in most steps
        calls = []

        def forward(self, batch, call=call, calls=calls):
            if hasattr(self, "average") and self.average is not None:
                calls.append(batch)
                if len(calls) == call:
                    signal.raise_signal(signal.SIGINT)
            return real(self, batch)

        monkeypatch.setattr(Distillation, "forward", forward)
        again = wanted.model_copy(update={"name": f"cut{call}"})
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(again, tmp_path)
        assert not RunFolder(tmp_path / again.name).finished
        monkeypatch.setattr(Distillation, "forward", real)
        resumed = pipeline.run(again, tmp_path)
        assert resumed.status == "resumed"
        assert_same(state(whole.folder), state(resumed.folder))


def test_in_bfloat16_with_a_cache(recipe, tmp_path):
    result = pipeline.run(recipe("train.precision=bfloat16", "teacher.cache=2"), tmp_path)
    kept = state(result.folder)
    # averages and both momenta are in float32, as the weights are
    assert {value.dtype for name, value in kept["task"].items() if "running" in name or "weight" in name} == {
        torch.float32
    }
    held = kept["optimizer"]["state"]
    assert {tuple(sorted(buffers)) for buffers in held.values()} >= {("distillation", "task")}
    assert {buffer.dtype for buffers in held.values() for buffer in buffers.values()} == {torch.float32}
