"""A training that is ready to begin: its task, its batches and how they are divided."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from supcrd.base.device import Place
from supcrd.base.seeding import seed_for
from supcrd.data import ImageSet
from supcrd.data.loader import ViewBatches
from supcrd.jobs.shared import agreed, ended
from supcrd.jobs.taught import Teacher
from supcrd.models.normalised import Normalised
from supcrd.recipe.settings import Recipe
from supcrd.runs.folder import RunFolder
from supcrd.training import cache
from supcrd.training.fit import fit
from supcrd.training.objective.build import Objective
from supcrd.training.plan import Plan, plan
from supcrd.training.processes import Group, fingerprint
from supcrd.training.task import Distillation
from supcrd.training.teacher import Teaching


@dataclass(frozen=True)
class Ready:
    """What `fit` needs, the same in all processes."""

    task: Distillation
    batches: ViewBatches
    plan: Plan
    seed: int

    def fit(self, recipe: Recipe, place: Place, run: RunFolder, **watching: Any) -> list[dict[str, Any]]:
        """Train in the run's folder; `watching`: on_epoch and report of `supcrd.training.fit.fit`."""
        history = fit(
            self.task,
            self.batches,
            recipe.train,
            seed=self.seed,
            place=place,
            state_file=run.checkpoint,
            on_step=self.task.average.update if self.task.average is not None else None,
            world=self.plan.world,
            together=self.plan.together,
            **watching,
        )
        ended()
        return history


def prepare(
    recipe: Recipe,
    student: Normalised,
    images: ImageSet,
    objective: Objective,
    teachers: Mapping[str, Teacher],
    caches: Mapping[str, cache.FeatureCache],
    place: Place,
) -> Ready:
    """Make the task and the batches of a training; every process does, and all compare what they have.

    Raises:
        SupcrdError: the processes cannot share it, or have other data or weights.
    """
    assert images.train is not None
    # the mean over images with a label is one over the whole batch, not over its parts
    others = objective.needs.others or images.unlabelled is not None
    divided = plan(recipe.train, others=others, on_gpu=place.device.type == "cuda")
    if isinstance(divided.world, Group):
        divided.world.synchronise(student.model)
    # copies of the parts that run: whole teachers are neither on the device nor in memory during the training
    task = place.put(
        Distillation(
            student,
            objective,
            _teaching(recipe, teachers, caches),  # without a name, which would keep the whole teachers
            bfloat16=place.bfloat16,
            ema=recipe.train.ema,
            quantize=recipe.train.quantize,
            world=divided.of_terms,
        )
    )
    for teacher in teachers.values():
        teacher.let_go()
    if recipe.train.compile != "off":
        task.compile_encoders(recipe.train.compile)
    seed = seed_for("run", recipe.seed)
    batches = ViewBatches(
        images.shown,
        recipe.view_groups,
        batch_size=recipe.train.batch_size,
        seed=seed,
        device=place.device,
        taught=caches,
        sampling=recipe.train.sampling,
        shares=divided.shares,
        least=divided.least,
        block=recipe.data.block,
    )
    if isinstance(divided.world, Group):
        kind = f"{place.device.type} {place.precision}"
        facts = {"data set": images.shown_fingerprint, "set of first weights": fingerprint(task), "place": kind}
        agreed(divided.world, facts)
    return Ready(task, batches, divided, seed)


def _teaching(recipe: Recipe, teachers: Mapping[str, Teacher], cached: Collection[str]) -> dict[str, Teaching]:
    settings = recipe.all_teachers
    return {
        name: Teaching(teacher.whole(), settings[name].joint, settings[name].joint_lr_scale, cached=name in cached)
        for name, teacher in teachers.items()
    }
