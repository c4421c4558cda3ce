"""Contrastive representation distillation as published: two memory banks and drawn negatives."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from supcrd import losses
from supcrd.base.seeding import seed_for
from supcrd.data.loader import Batch
from supcrd.errors import RecipeError
from supcrd.losses.crd_nce import estimated_log_z
from supcrd.losses.similarity import unit_rows
from supcrd.recipe.compared import CRDNCEKeys
from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term
from supcrd.training.world import World

STUDENT, TEACHER = 0, 1


@term("crd_nce")
class CRDNCE(Term):
    """`supcrd.losses.crd_nce` of both networks' features, each against a bank of the other's; see there for the source.

    Features go through linear layers, both trained, and to norm 1. A bank has one row a training image, random at
    first; row = momentum * row + (1 - momentum) * embedding (the mean over the views), renormalised. An image's
    positive is its row as it was before the step. Negatives are drawn without replacement on the device, once a step
    for the whole batch; images of an anchor's class are none of its (as in RepDistiller). The constants Z are estimated
    in the first step from all drawn rows, and stay.
    """

    class Settings(CRDNCEKeys, TermSettings):
        """Settings of `crd_nce`."""

    paper: ClassVar[str] = "Tian et al. 2020, arXiv:1910.10699"
    reads = Reads({"features"}, {"features"}, others=True)

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.count, self.negatives, self.seed = len(context.labels), settings.negatives, context.seed
        self.momentum, self.temperature = settings.momentum, settings.temperature
        self.student = nn.Linear(context.student.features, settings.dim)
        self.teacher = nn.Linear(context.teachers[settings.teacher].features, settings.dim)
        spread = math.sqrt(3 / settings.dim)  # norms of about 1
        self.register_buffer("banks", (2 * torch.rand(2, self.count, settings.dim) - 1) * spread)
        self.register_buffer("log_z", torch.full((2,), -torch.inf))
        self.register_buffer("labels", context.labels.long(), persistent=False)  # belong to the data, not to the state
        self._estimated: set[int] = set()  # banks, since a state was loaded; what is in the state stays
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    @classmethod
    def plan(cls, settings: TermSettings, context: Context) -> Reads | None:
        """Refuse more negatives than there are images."""
        assert isinstance(settings, cls.Settings)
        if settings.negatives > len(context.labels):
            raise RecipeError(
                f"negatives = {settings.negatives}: there are {len(context.labels)} training images, from which they "
                f"are drawn without replacement; at most {len(context.labels)} is right"
            )
        return super().plan(settings, context)

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows of the sum of both directions, nats."""
        batch, banks, log_z = step.batch, self.get_buffer("banks"), self.get_buffer("log_z")
        ours = unit_rows(self.student(step.student.features).to(banks.dtype))
        theirs = unit_rows(self.teacher(step.teachers[self.settings.teacher].features).to(banks.dtype))
        drawn = self._drawn(batch)
        own = batch.indices.repeat(len(ours) // len(batch.indices))
        valid = self.get_buffer("labels")[drawn] != batch.labels[:, None]
        total = ours.new_zeros(len(ours))
        for bank, anchors in ((TEACHER, ours), (STUDENT, theirs)):
            positives, negatives = banks[bank][own], banks[bank][drawn]
            self._set_z(bank, anchors.detach(), negatives, step.world)
            total = total + losses.crd_nce(
                anchors,
                positives,
                negatives,
                count=self.count,
                log_z=log_z[bank].clone(),
                temperature=self.temperature,
                valid=valid,
            )
        self._update(batch, {STUDENT: ours.detach(), TEACHER: theirs.detach()}, step.world)
        return total.mean()

    def _drawn(self, batch: Batch) -> Tensor:
        """Numbers of images, (K,) without doubles: a function of (seed, epoch, step)."""
        device = batch.labels.device
        generator = torch.Generator(device).manual_seed(seed_for("crd_nce", self.seed, batch.epoch, batch.step))
        return torch.rand(self.count, generator=generator, device=device).topk(self.negatives, sorted=False).indices

    @torch.no_grad()
    def _set_z(self, bank: int, anchors: Tensor, rows: Tensor, world: World) -> None:
        """Estimate Z in the first step, from the anchors of all processes; no step waits for the device to know it."""
        if bank in self._estimated:
            return
        log_z = self.get_buffer("log_z")
        estimate = estimated_log_z(world.gather(anchors), rows, count=self.count, temperature=self.temperature)
        log_z[bank] = torch.where(log_z[bank] == -torch.inf, estimate, log_z[bank])
        self._estimated.add(bank)

    @torch.no_grad()
    def _update(self, batch: Batch, embeddings: dict[int, Tensor], world: World) -> None:
        """Write the rows of the images of all processes."""
        banks, indices = self.get_buffer("banks"), world.gather(batch.indices)
        for bank, rows in embeddings.items():
            by_view = rows.view(-1, len(batch.indices), rows.shape[1])
            fresh = world.gather(unit_rows(by_view.mean(dim=0)))
            banks[bank, indices] = unit_rows(self.momentum * banks[bank][indices] + (1 - self.momentum) * fresh)


def _forget(term: CRDNCE, _: object) -> None:
    """After a state was loaded, which may be one of before the first step."""
    term._estimated.clear()
