"""Images without labels in a step: the gradient by hand, terms that skip them, parts, and a run that goes on."""

import signal

import pytest
import torch
from torch.nn import functional

from supcrd.base.device import choose
from supcrd.data.images import Split
from supcrd.data.loader import Batch, ViewBatches
from supcrd.data.shares import Shares
from supcrd.errors import RecipeError
from supcrd.models import Model
from supcrd.models.normalised import Normalised
from supcrd.recipe.settings import AugmentSettings, TrainSettings
from supcrd.training.fit import fit
from supcrd.training.objective.build import build
from supcrd.training.objective.checks import check_unlabelled
from supcrd.training.objective.term import Context, Outputs, Reads, Shapes, Step, TermSettings
from supcrd.training.tally import Tally
from supcrd.training.task import Distillation
from supcrd.training.teacher import Teaching
from supcrd.training.together import Together
from typed import images

CPU = choose("cpu", "float32")
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
SHAPES = Shapes(features=8, projections=4, logits=3)
CONTEXT = Context(classes=3, labels=LABELS, student=SHAPES, teachers={"teacher": SHAPES})
WITH = (0, 3, 4)
"""Places of images with a label in a batch of 5."""


def made_step(views=2, *, places=5, labelled: tuple[int, ...] | None = WITH):
    """Outputs of a batch, as leaves; images without a label have -1."""
    random = torch.Generator().manual_seed(0)

    def outputs():
        widths = {"features": 8, "projections": 4, "logits": 3}
        return {name: torch.randn(views * places, width, generator=random) for name, width in widths.items()}

    ours = {name: part.requires_grad_() for name, part in outputs().items()}
    mask = torch.isin(torch.arange(places), torch.tensor(labelled if labelled is not None else range(places)))
    labels = torch.where(mask, LABELS[:places], -1).repeat(views)
    indices = torch.where(mask, torch.arange(places), 6 + torch.arange(places))
    batch = Batch(torch.zeros(views * places, 1), labels, indices, labelled=labelled)
    return Step(batch, Outputs(**ours), {"teacher": Outputs(**outputs())})


def test_the_gradient_is_that_of_the_labelled_part_and_kd_of_all() -> None:
    """By hand, at the logits z of a student and t of a teacher, s being the softmax: cross-entropy has the gradient
    (s(z) - onehot) / (labelled rows), and KD of temperature T has T (s(z / T) - s(t / T)) / (all rows).
    """
    step = made_step()
    tables = {"cross_entropy": {"weight": 0.1}, "kd": {"weight": 0.9, "temperature": 4.0}}
    sum(build(tables, CONTEXT, epochs=4, views=2)(step, step).values()).backward()
    z, t = step.student.logits.detach().double(), step.teachers["teacher"].logits.double()
    expected = 0.9 * 4 * ((z / 4).softmax(1) - (t / 4).softmax(1)) / 10
    for row in (0, 3, 4, 5, 8, 9):
        expected[row] += 0.1 * (z[row].softmax(0) - functional.one_hot(LABELS[row % 5], 3)) / 6
    assert torch.allclose(step.student.logits.grad.double(), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["supcon", "dkd", "lw_supcrd", "crd", "crd_nce", "cross_entropy"])
def test_a_term_that_needs_labels_sees_those_images_alone(name: str) -> None:
    """As a batch of them would be; its bank holds them."""
    settings = {"bank": 6} if name in ("crd", "lw_supcrd") else {"negatives": 3} if name == "crd_nce" else {}
    values, gradients, banks = [], [], []
    mixed = made_step()
    rows = torch.tensor([0, 3, 4, 5, 8, 9])
    batch = Batch(torch.zeros(6, 1), LABELS[[0, 3, 4]].repeat(2), torch.tensor(WITH))
    teacher = {"teacher": mixed.teachers["teacher"].rows(rows)}
    for step in (mixed, Step(batch, mixed.student.rows(rows), teacher)):
        torch.manual_seed(0)
        objective = build({name: settings}, CONTEXT, epochs=4, views=2)
        read = getattr(mixed.student, "logits" if "logits" in objective.needs.student else
                       next(iter(objective.needs.student)))  # fmt: skip
        values.append(objective(step, step)[name])
        gradients.append(torch.autograd.grad(values[-1], read)[0])
        banks.append(objective.state_dict())
    assert torch.equal(*values)
    assert torch.equal(*gradients)
    assert not gradients[0][[1, 2, 6, 7]].any()
    assert gradients[0][rows].any()
    assert all(torch.equal(banks[0][key], banks[1][key]) for key in banks[0])


@pytest.mark.parametrize("name", ["kd", "crd", "rkd", "pkt", "dist", "rrd"])
def test_a_term_without_labels_sees_all_images(name: str) -> None:
    values = []
    for labelled in (WITH, None):
        torch.manual_seed(0)
        step = made_step(labelled=labelled)
        values.append(build({name: {}}, CONTEXT, epochs=4, views=2)(step, step)[name])
    assert torch.equal(*values)


@pytest.mark.parametrize(("labelled", "computed"), [((), []), ((2,), ["cross_entropy"]), ((2, 4), ["both"])])
def test_a_term_with_too_few_labels_is_left_out_of_a_step(labelled, computed) -> None:
    step = made_step(labelled=labelled)
    terms = build({"cross_entropy": {}, "supcon": {}, "kd": {}}, CONTEXT, epochs=4, views=2)(step, step)
    names = ["cross_entropy", "supcon"] if computed == ["both"] else computed
    assert [name for name, value in terms.items() if value.requires_grad] == [*names, "kd"]
    assert all(value == 0 for value in terms.values() if not value.requires_grad)


def test_accuracy_is_that_of_images_with_a_label() -> None:
    tally = Tally(torch.device("cpu"))
    tally.add({"kd": torch.tensor(1.0)}, torch.tensor(3), made_step().batch, 0)
    assert tally.means()["train_accuracy"] == 3 / 6
    # a sum of before, in which all images had one
    old = {key: value for key, value in tally.state().items() if key != "labelled"}
    assert Tally(torch.device("cpu"), old).means()["train_accuracy"] == 3 / 10


NONE, HARD = Reads(labels="none"), Reads(labels="hard")


@pytest.mark.parametrize(
    ("terms", "labelled", "words"),
    [
        ({"dkd": HARD}, 50, "every term of the objective needs labels (dkd)"),
        ({"kd": NONE, "supcon": HARD._replace(others=True)}, 20, "objective.supcon needs 2; 10 or more is right"),
        ({"kd": NONE, "cross_entropy": HARD}, 5, "0 of its images may have a label (5 of 100 training images have"),
    ],
)
def test_what_cannot_learn_is_refused(terms, labelled, words) -> None:
    read = {name: (reads, TermSettings()) for name, reads in terms.items()}
    with pytest.raises(RecipeError) as error:
        check_unlabelled("folder:more", read, labelled=labelled, images=100, batch_size=8)
    assert words in str(error.value)
    read |= {"kd": (NONE, TermSettings())}
    check_unlabelled("folder:more", read, labelled=labelled, images=100, batch_size=40)


def training(state=None, *, stop=None, together=None, accumulate=1, batch_norm=True):
    """Weights and metrics of a student of 8 images with a label and 9 without."""
    pixels, labels = images(17)
    labels = torch.from_numpy(labels)
    labels[8:] = -1
    torch.manual_seed(0)
    student, teacher = (Normalised(Model(3, "convnet", image_size=8), (0.5,) * 3, (0.2,) * 3) for _ in range(2))
    if not batch_norm:  # means over parts have other statistics
        student.model.encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 128))
    shapes = Shapes(features=128, projections=64, logits=3)
    context = Context(classes=3, labels=labels[:8], student=shapes, teachers={"teacher": shapes})
    tables = {"cross_entropy": {}, "kd": {}, "lw_supcrd": {"bank": 8}}
    objective = build(tables, context, epochs=3, views=2)
    task = Distillation(student, objective, {"teacher": Teaching(teacher)})
    batches = ViewBatches(Split(torch.from_numpy(pixels), labels), AugmentSettings(views=2), batch_size=8, seed=0,
                          device=torch.device("cpu"), sampling="balanced")  # fmt: skip
    settings = TrainSettings(epochs=3, lr=0.01, optimizer="sgd", accumulate=accumulate)

    def on_step(step):
        if step == stop:
            signal.raise_signal(signal.SIGINT)

    rows = fit(task, batches, settings, seed=0, place=CPU, state_file=state, on_step=on_step, together=together)
    return task.state_dict(), [{k: v for k, v in row.items() if "second" not in k} for row in rows]


def test_interrupted_and_gone_on_to_the_bit(tmp_path) -> None:
    whole = training()
    for stop in (0, 3):
        with pytest.raises(KeyboardInterrupt):
            training(tmp_path / "state.pt", stop=stop)
    weights, rows = training(tmp_path / "state.pt")
    assert rows == whole[1]
    for name, tensor in weights.items():
        assert not isinstance(tensor, torch.Tensor) or torch.equal(tensor, whole[0][name]), name


def test_parts_of_a_batch_have_the_loss_of_the_whole() -> None:
    """Parts have 1 to 3 labels each; the mean over labels is that of the batch."""
    whole = training(batch_norm=False)
    parts = training(batch_norm=False, accumulate=3, together=Together(Shares(3), recompute=True))
    for one, other in zip(whole[1], parts[1], strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    for name, tensor in whole[0].items():
        if isinstance(tensor, torch.Tensor):
            assert torch.allclose(tensor.float(), parts[0][name].float(), atol=1e-5), name
