"""float16 with loss scaling, on a CPU: the gradient is that of float32, skipped steps change nothing, runs go on."""

import signal
from typing import Any

import pytest
import torch

from supcrd.base.device import Place, choose
from supcrd.data.loader import Batch, FeatureBatches
from supcrd.errors import RecipeError, RunError
from supcrd.recipe.settings import FitSettings, TrainSettings
from supcrd.training import fit as fits
from supcrd.training.fit import fit
from supcrd.training.plan import check_processes
from supcrd.training.scaling import LEAST, LossScaler, scaler_of
from supcrd.training.step import take_step
from supcrd.training.task import ProbeFit

CPU = torch.device("cpu")
HALF = Place(CPU, bfloat16=False, float16=True)
LABELS = torch.arange(40) % 2
FEATURES = torch.eye(2)[LABELS] + torch.randn(40, 2, generator=torch.Generator().manual_seed(0)) / 4


def stepped(scaler: LossScaler | None, place: Place, **options: Any) -> torch.Tensor:
    """The weights after a step of SGD."""
    torch.manual_seed(0)
    task = ProbeFit(2, 2)
    optimizer = torch.optim.SGD(task.parameters(), lr=1.0)
    clip = options.pop("grad_clip", None)
    take_step(task, optimizer, Batch(FEATURES, LABELS, torch.arange(40)), place, clip, scaler=scaler, **options)
    return task.classifier.weight.detach()


@pytest.mark.parametrize("options", [{}, {"grad_clip": 0.1}, {"accumulate": 3}])
def test_the_step_is_that_of_float32(options: dict[str, Any]) -> None:
    exact = stepped(None, choose("cpu", "float32"), **options)
    assert torch.allclose(stepped(LossScaler(CPU, scale=1024.0), HALF, **options), exact, atol=2e-3)
    # powers of two are exact in float32
    assert torch.equal(stepped(LossScaler(CPU, scale=1024.0), choose("cpu", "float32"), **options), exact)


def test_a_step_whose_gradient_is_not_finite_changes_nothing_and_halves_the_scale() -> None:
    torch.manual_seed(0)
    start = ProbeFit(2, 2).classifier.weight.detach()
    scaler = LossScaler(CPU, scale=2.0**30)  # beyond what float16 has
    assert torch.equal(stepped(scaler, HALF), start)
    assert (scaler.skipped, scaler.scaler.get_scale()) == (1, 2.0**29)
    assert scaler.of_epoch(0) == {"skipped_steps": 1}
    assert scaler.of_epoch(1) == {"skipped_steps": 0}


def test_a_gradient_that_is_finite_at_no_scale_stops_the_run() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    scaler, optimizer = LossScaler(CPU, scale=2 * LEAST), torch.optim.SGD([weight], lr=1.0)

    def step() -> None:
        weight.grad = torch.full((1,), torch.inf)
        scaler.scale(weight.sum())
        scaler.unscale(optimizer)
        scaler.step(optimizer)

    step()
    step()  # at LEAST itself
    with pytest.raises(RunError, match="gradients are not finite, even at a loss scale of"):
        step()
    weight.grad = None  # a step in which no term has a weight
    scaler.unscale(optimizer)
    scaler.step(optimizer)
    assert weight.item() == 1


def trained(state=None, stop=None, place=HALF, lr=0.05, **options):
    torch.manual_seed(0)
    task = ProbeFit(2, 2)

    def on_step(step: int) -> None:
        if step == stop:
            signal.raise_signal(signal.SIGINT)

    batches = FeatureBatches(FEATURES, LABELS, batch_size=8, seed=0)
    settings = FitSettings(epochs=3, lr=lr, **options)
    rows = fit(task, batches, settings, seed=0, place=place, state_file=state, on_step=on_step)
    return task.classifier.weight.detach(), [{k: v for k, v in row.items() if "second" not in k} for row in rows]


def test_interrupted_and_gone_on_to_the_bit(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scale, and the steps skipped in an interrupted epoch, are state."""
    monkeypatch.setattr(fits, "scaler_of", lambda place: LossScaler(CPU, scale=2.0**21))
    whole = trained()
    assert [row["skipped_steps"] for row in whole[1]][1:] == [0, 0]
    assert whole[1][0]["skipped_steps"] > 1
    assert whole[1][-1]["train_accuracy"] > 0.9
    for stop in (1, 6):
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "state.pt", stop)
    weight, rows = trained(tmp_path / "state.pt")
    assert torch.equal(weight, whole[0])
    assert rows == whole[1]


def test_a_run_that_diverges_is_stopped() -> None:
    with pytest.raises(RunError, match="was not finite"):
        trained(lr=1000.0, optimizer="sgd", weight_decay=1000.0)


def test_other_precisions_have_no_scaler() -> None:
    assert scaler_of(choose("cpu", "float32")) is None
    assert "skipped_steps" not in trained(place=choose("cpu", "float32"))[1][0]
    assert str(HALF) == "cpu (float16)"


def test_where_it_cannot_be_it_is_refused() -> None:
    with pytest.raises(RunError, match="'float16' is for CUDA devices, and this run is on cpu"):
        choose("cpu", "float16")
    with pytest.raises(RecipeError, match="'float16' is for one process, not 2"):
        check_processes(TrainSettings(epochs=1, precision="float16"), 2)
    with pytest.raises(ValueError, match="its two gradients have no loss scaling"):
        TrainSettings(epochs=1, precision="float16", dot=0.05, optimizer="sgd")
