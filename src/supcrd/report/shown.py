"""Which figures a report has, and of which runs."""

from dataclasses import dataclass
from typing import NamedTuple

from supcrd.figures.draw import KINDS
from supcrd.report.collect import DataSet
from supcrd.runs.folder import RunFolder


@dataclass(frozen=True)
class Shown:
    """What a report shows of a kind of figure."""

    title: str
    caption: str
    of: str  # all: one of all runs; first: of the first of each configuration; each, student: one of each (student)
    seeds: bool = False  # whether it shows all seeds of a configuration, not the first alone


SHOWN = {
    "spread": Shown(
        "Alignment against uniformity",
        "Where each configuration's projections lie between tight classes (low alignment) and an even spread over the "
        "sphere (low uniformity), coloured by accuracy.",
        "all",
    ),
    "curves": Shown(
        "Training",
        "Loss, accuracy and learning rate by epoch. Runs of one colour differ only in their seed. Training accuracy is "
        "of augmented images, while learning.",
        "all",
    ),
    "classes": Shown(
        "Accuracy of each class",
        "Share of each class's images that is classified rightly, and its change against the baseline or the teacher. "
        "Of runs that differ only in their seed the mean.",
        "each",
        seeds=True,
    ),
    "reliability": Shown(
        "Reliability",
        "Accuracy of the images by the confidence of the prediction. On the diagonal a network is right as often as it "
        "says; below it is too sure.",
        "first",
    ),
    "similarity": Shown(
        "Which classes lie near which",
        "Cosines of class centroids, for the student and for its teacher. The rank correlation over all pairs of "
        "classes says how far the student keeps the teacher's order of what is similar.",
        "student",
    ),
    "neighbours": Shown(
        "Nearest neighbours",
        "A few test images, and what lies nearest to them in the student's space and in its teacher's.",
        "student",
    ),
    "tsne": Shown(
        "t-SNE",
        "Projections of up to 20 classes on a plane, student beside teacher, embedded together. Distances between "
        "groups, and their sizes, mean little. A seeded draw of the images, as many of each class.",
        "each",
    ),
    "hypersphere": Shown(
        "Hypersphere",
        "Projections reduced to three dimensions and normalised. Drag to turn, scroll to come nearer, click a class to "
        "hide it, double click to see it alone.",
        "each",
    ),
    "alignment": Shown(
        "Alignment and uniformity",
        "Squared distances of pairs of one class, and where the projections, reduced to two dimensions, lie on the "
        "circle.",
        "each",
    ),
}


class Task(NamedTuple):
    """A figure to be made."""

    name: str  # of KINDS
    called: str  # what people choose it by; empty for one of all runs
    runs: tuple[RunFolder, ...]  # that it shows
    anchor: str  # unique on the page
    own: int = 1  # of the runs, those before what they are shown beside


def tasks(data: DataSet, key: str, *, baseline: str | None = None) -> list[Task]:
    """The figures of a data set, by kind.

    Args:
        data: the runs.
        key: what the anchors begin with.
        baseline: label of the configuration that classes are compared with.
    """
    found = []
    for name, shown in SHOWN.items():
        if name not in KINDS:
            continue
        anchor = f"{key}-{name}"
        if shown.of == "all":
            found.append(Task(name, "", tuple(data.runs), anchor))
            continue
        if shown.of == "first":
            found.append(Task(name, "", tuple(group[0] for group in data.configurations.values()), anchor))
            continue
        for place, (label, group) in enumerate(data.configurations.items()):
            beside = _beside(name, group[0], label, data, baseline)
            if shown.of == "student" and not beside:
                continue
            both = (group, beside) if shown.seeds else (group[:1], beside[:1])
            runs = tuple(run for side in both for run in side)
            called = label if len(group) > 1 else group[0].recipe.name
            found.append(Task(name, called, runs, f"{anchor}-{place}", len(both[0])))
    return found


def _beside(name: str, run: RunFolder, label: str, data: DataSet, baseline: str | None) -> list[RunFolder]:
    """The runs that a figure shows a run beside: the baseline's, or else its teacher; [] for none."""
    if name not in ("classes", "similarity", "neighbours", "tsne"):
        return []
    if name == "classes" and baseline is not None and baseline in data.configurations:
        return data.configurations[baseline] if label != baseline else []
    return [other for other in data.runs if other == run.teacher]
