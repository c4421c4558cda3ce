"""Which rows a term reads: of which views, and only those with a label where it needs one."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from supcrd.base.wording import nearest
from supcrd.data.loader import Batch
from supcrd.errors import RecipeError
from supcrd.recipe.settings import METHOD_SETTINGS, AugmentSettings
from supcrd.recipe.views import numbered
from supcrd.training.objective.term import Reads, Step, TermSettings

Groups = Mapping[str, AugmentSettings]
"""Groups of views by name, in the order of the views."""


def groups_of(views: int | Groups) -> Groups:
    """Groups as they are; a number of views as one group without mixing."""
    return {"augment": AugmentSettings(views=views)} if isinstance(views, int) else views


def chosen(name: str, settings: TermSettings, groups: Groups) -> tuple[int, ...]:
    """The numbers of the views that a term reads, without doubles.

    Raises:
        RecipeError: a group or a number that there is not.

    Example:
        >>> from supcrd.recipe.settings import ViewSettings
        >>> groups = {"weak": ViewSettings(), "strong": ViewSettings(views=2)}
        >>> chosen("kd", TermSettings(views=["strong", 0]), groups), chosen("kd", TermSettings(), groups)
        ((1, 2, 0), (0, 1, 2))
    """
    numbers = numbered(groups)
    count = sum(map(len, numbers.values()))
    if settings.views is None:
        return tuple(range(count))
    views: list[int] = []
    for view in settings.views:
        if isinstance(view, str) and view not in groups:
            hint = nearest(view, list(groups)) or f"; there are {', '.join(groups)}"
            hint = hint if list(groups) != ["augment"] else f"; [views.{view}] would bring it"
            raise RecipeError(f"objective.{name}.views has the group {view!r}, which the recipe lacks{hint}")
        if isinstance(view, int) and not 0 <= view < count:
            raise RecipeError(
                f"objective.{name}.views has view {view}; there are {count} (augment.views, or the sum over "
                "[views.NAME]), from 0"
            )
        views += [view] if isinstance(view, int) else numbers[view]
    return tuple(dict.fromkeys(views))


def check_mixed(name: str, reads: Reads, settings: TermSettings, groups: Groups, *, method: str | None = None) -> None:
    """Refuse a term that needs every image's own label and reads mixed views, or that would never be computed.

    Args:
        name, reads, settings: of the term.
        groups: of views.
        method: that the term is of, whose recipe has no keys of terms; None in a recipe with [objective].

    Raises:
        RecipeError: as said.
    """
    if reads.labels != "hard" and settings.mixed == "refuse":
        return
    by_number = {view: group for group, numbers in numbered(groups).items() for view in numbers}
    read = {by_number[view] for view in chosen(name, settings, groups)}
    mixed = [group for group in groups if group in read and groups[group].mixes]
    never = len(mixed) == len(read) and all(groups[group].mix == 1 for group in mixed)
    own, views = f"objective.{name}.mixed", "views"
    if method is not None:
        own, views = "method.contrast_mixed", "method.contrast_views"
    if settings.mixed == "skip":
        if never:
            raise RecipeError(
                f"{own} = 'skip': every view that it reads is mixed in every step "
                f"({_where(mixed[0])}.mix = 1), so it would never be computed; mix below 1 is right, or "
                f"{views} = [...] of an unmixed group"
            )
    elif mixed:
        by = "cutmix" if groups[mixed[0]].cutmix else "mixup"
        key = f"{_where(mixed[0])}.{by}"
        skip = f"{own} = 'skip', which leaves mixed images out"
        skip += f", with {_where(mixed[0])}.mix below 1" * never
        if method is None:
            right = f"objective.{name}.views = [...] of an unmixed group is right, or {skip}"
        elif "contrast_mixed" in METHOD_SETTINGS[method].model_fields:
            right = f"{key} = 0 is right, or {skip}"
        else:
            right = f"{key} = 0 is right, or a recipe with [objective], whose terms choose views: docs/objectives.md"
        raise RecipeError(
            f"{f'objective.{name}' if method is None else f'method {method}'} needs the label of every image, and "
            f"{key} = {getattr(groups[mixed[0]], by):g} mixes images; {right}"
        )


def _where(group: str) -> str:
    return "augment" if group == "augment" else f"views.{group}"


def enough_labels(reads: Reads, step: Step) -> bool:
    """Whether a step has the images that a term needs: one with a label, or two if it compares them."""
    return step.batch.labelled is None or len(step.batch.labelled) >= (2 if reads.others else 1)


def with_labels(step: Step) -> Step:
    """The rows of the images that have a label, of all views."""
    batch = step.batch
    if batch.labelled is None:
        return step
    device, views = batch.labels.device, len(batch.labels) // len(batch.indices)
    places = torch.tensor(batch.labelled).to(device, non_blocking=True)
    index = (places + len(batch.indices) * torch.arange(views, device=device)[:, None]).flatten()
    chosen = _rows(batch, index)._replace(indices=batch.indices[places], labelled=None)
    return _step(step, chosen, index)


def of_views(step: Step, views: Iterable[int]) -> Step:
    """The rows of some views; rows are ordered view after view, and views are numbered anew."""
    batch, views = step.batch, tuple(views)
    size, device = len(batch.indices), batch.labels.device
    index = torch.cat([torch.arange(size, device=device) + view * size for view in views])
    mixed = tuple(place for place, view in enumerate(views) if view in batch.mixed)
    return _step(step, _rows(batch, index)._replace(mixed=mixed), index)


def _rows(batch: Batch, index: Tensor) -> Batch:
    return batch._replace(
        inputs=batch.inputs[index],
        labels=batch.labels[index],
        partner_labels=None if batch.partner_labels is None else batch.partner_labels[index],
        shares=None if batch.shares is None else batch.shares[index],
    )


def _step(step: Step, batch: Batch, index: Tensor) -> Step:
    teachers = {name: part.rows(index) for name, part in step.teachers.items()}
    return Step(batch, step.student.rows(index), teachers, step.world)
