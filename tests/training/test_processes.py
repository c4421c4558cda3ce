"""Every term that compares images, and a whole step, on several processes: the value and gradient of one."""

import pytest
import torch

from jointly import together
from supcrd.base.device import choose
from supcrd.data.loader import Batch
from supcrd.data.shares import Shares
from supcrd.errors import RunError
from supcrd.models.names import PROJECTED
from supcrd.training import processes
from supcrd.training.objective.build import build
from supcrd.training.objective.term import TERMS, Context, Outputs, Shapes, Step
from supcrd.training.processes import Group
from supcrd.training.world import ALONE

N, V, C, F, P = 40, 2, 4, 6, 5
LABELS = (torch.arange(N) * 7 % 10).clamp(max=C - 1)  # one class has seven times the images of another
MAP = (3, 4, 4)
TABLES = {
    "supcon": {}, "crd": {"bank": 9}, "crd_plain": {"term": "crd"}, "lw_supcrd": {"bank": 5},
    "lw_plain": {"term": "lw_supcrd"}, "pkt": {}, "rkd": {}, "dist": {},
    "mlkd": {}, "sp": {}, "cc": {"dim": 7}, "rrd": {"queue": 24}, "crd_nce": {"negatives": 30}, "kd": {},
    "cross_entropy": {}, "weighed": {"term": "cross_entropy", "class_weights": "balanced"},
}  # fmt: skip
NEEDED = {"review": {"preact": False}}
"""What terms that look at one image at a time need to be made here."""
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def objective(tables=TABLES, features=F, **maps):
    """In float64, with layers, banks and queues."""
    shapes = Shapes(features=features, projections=P, logits=C, maps={f"stage{i}": MAP for i in (1, 2, 3)} | maps)
    context = Context(classes=C, labels=LABELS, student=shapes, teachers={"teacher": shapes}, seed=3)
    torch.manual_seed(0)
    return build(tables, context, epochs=1, views=V).double()


def outputs(rows, seed):
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(rows, *shape, generator=g, dtype=torch.float64)  # noqa: E731
    return {"features": draw(F), "projections": draw(P), "logits": draw(C),
            **{f"maps/stage{i}": draw(*MAP) for i in (1, 2, 3)}}  # fmt: skip


def computed(world, images, shares=None):
    """Values and gradients of all terms in two steps, of this process's images."""
    terms, found = objective(), {}
    for number in range(2):
        index = torch.arange(images) * 3 % N + number
        own = torch.arange(images)[shares.images(images) if shares else slice(None)]
        rows = torch.cat([own + view * images for view in range(V)])
        whole = [outputs(V * images, seed + number) for seed in (10, 20)]
        partners, portions = LABELS[index].flip(0).repeat(V)[rows], torch.linspace(0, 1, V * images)[rows]
        batch = Batch(torch.zeros(len(rows), 1), LABELS[index[own]].repeat(V), index[own], None, 0, number, 2)
        batch = batch._replace(partner_labels=partners, shares=portions, mixed=(1,))
        world.begin(images)
        factor = world.size * len(own) / images
        for name, term in terms.terms.items():
            parts = [{key: value[rows].requires_grad_() for key, value in part.items()} for part in whole]
            value = term(Step(batch, Outputs.of(parts[0]), {"teacher": Outputs.of(parts[1])}, world))
            assert value.dtype == torch.float64, name
            leaves = [leaf for part in parts for leaf in part.values()]
            adapters = [parameter for parameter in term.parameters() if parameter.requires_grad]
            gradients = torch.autograd.grad(factor * value, leaves + adapters, allow_unused=True)
            gradients = [None if g is None else g / world.size for g in gradients]
            found[f"{name} {number}"] = (
                value.detach() * len(own) / images,
                rows,
                gradients[: len(leaves)],
                gradients[len(leaves) :],
                [part.clone() for part in term.buffers()],
            )
    return found


def worker(rank, size, folder, images, broken):
    if broken == "detached":
        processes._Gather.apply = lambda rows, sizes, rank: _local(rows, sizes, rank)
    shares = Shares(size, rank, size)
    torch.save(computed(Group(shares), images, shares), folder / f"{size}-{images}-{broken}-{rank}.pt")


def _local(rows, sizes, rank):
    """What most do: the others' rows without a gradient."""
    whole = processes._gathered(rows, sizes).clone()
    start = sum(sizes[:rank])
    return torch.cat([whole[:start], rows, whole[start + sizes[rank] :]])


def gathered(folder, size, images, broken=""):
    """The sums of values, and the rows' gradients in the order of one process."""
    together(size, worker, folder, images, broken)
    parts = [torch.load(folder / f"{size}-{images}-{broken}-{rank}.pt") for rank in range(size)]
    whole = {}
    for name in parts[0]:
        value = sum(part[name][0] for part in parts)
        rows = torch.cat([part[name][1] for part in parts])
        gradients = []
        for leaf in zip(*(part[name][2] for part in parts), strict=True):
            if leaf[0] is None:
                gradients.append(None)
                continue
            joined = torch.cat(leaf)
            ordered = torch.empty_like(joined)
            ordered[rows] = joined
            gradients.append(ordered)
        adapters = [sum(g) for g in zip(*(part[name][3] for part in parts), strict=True)]
        whole[name] = (value, gradients, adapters, [part[name][4] for part in parts])
    return whole


@pytest.mark.parametrize(("size", "images"), [(2, 8), (2, 7), (4, 10)])
def test_terms_have_the_value_and_gradient_of_one_process(tmp_path, size, images):
    right, found = computed(ALONE, images), gathered(tmp_path, size, images)
    for name, (value, _, gradients, adapters, buffers) in right.items():
        near = CLOSE | {"msg": lambda text, name=name: f"{name}: {text}"}
        torch.testing.assert_close(found[name][0], value, **near)
        for one, other in zip(found[name][1], gradients, strict=True):
            assert (one is None) == (other is None), name
            if one is not None:
                torch.testing.assert_close(one, other, **near)
        torch.testing.assert_close(found[name][2], adapters, **near)
        for own in found[name][3]:  # banks and queues, in every process
            torch.testing.assert_close(own, buffers, **near)


def compared(tables):
    """Built-in terms that look at other images, by whether these tables have them."""
    there = {table.get("term", name) for name, table in tables.items()}
    others = set()
    for name in TERMS:
        if TERMS.get(name).__module__.startswith("supcrd."):
            tables = {name: (TABLES | NEEDED).get(name, {})}
            (term,) = objective(tables, features=MAP[0], **{PROJECTED: MAP}).terms.values()  # as simkd wants them
            others |= {name} if term.reads.others else set()
    return others & there, others - there


def test_every_term_that_compares_images_is_compared_here():
    """A new one has to be added to TABLES; one that is left out there is named."""
    there, missing = compared(TABLES)
    assert missing == set()
    assert {"cc", "supcon", "sp"} <= there
    assert compared({name: table for name, table in TABLES.items() if name != "cc"})[1] == {"cc"}


def test_detached_rows_of_others_are_seen(tmp_path):
    """The mistake that this is tested against: every term that gathers has another gradient then."""
    right, found = computed(ALONE, 8), gathered(tmp_path, 2, 8, "detached")
    for name in ("supcon", "crd_plain", "lw_plain", "rkd", "pkt", "sp", "cc"):
        _, _, gradients, *_ = right[f"{name} 0"]
        pairs = zip(found[f"{name} 0"][1], gradients, strict=True)
        assert not all(torch.allclose(one, other) for one, other in pairs if other is not None), name


def test_every_process_has_a_gpu_of_its_own(monkeypatch):
    """Of torchrun's processes on a machine with two; one that is named is that one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose("auto", "float32").device == torch.device("cuda")
    monkeypatch.setenv("WORLD_SIZE", "4")
    for rank in (0, 1):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert choose("auto", "float32").device == choose("cuda", "float32").device == torch.device("cuda", rank)
    assert choose("cuda:0", "float32").device == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(RunError, match="'cuda:2': this machine has 2 CUDA devices"):
        choose("auto", "float32")
