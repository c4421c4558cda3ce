"""The table of a benchmark: the text of benchmark.md, and the cells that a terminal shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from supcrd.benchmark import published
from supcrd.benchmark.protocol import BASE, KD

COLUMNS = (
    "method", "n", "last %", "95 %", "at best val. %", "less last", "less KD", "95 %", "less CE", "95 %", "probe %",
    "s", "+ params", "published % (epoch, view-epochs)",
)  # fmt: skip
LEGEND = (
    "last: test accuracy of the last epoch, mean ± standard deviation over seeds; 95 %: half the width of the mean's "
    "interval, or the interval of a difference (Student's t)",
    "at best val.: of the epoch of highest validation accuracy, which the test split had no part in; less last: what "
    "that gains",
    "less KD, less CE: the last epoch's accuracy less that of plain KD and of plain cross-entropy, in points: by least "
    "squares over methods and seeds, with the noise of all methods together; intervals each by itself",
    "probe: of a linear classifier trained afterwards on the frozen features; s: seconds of training; + params: "
    "parameters of the deployed network beyond the plain student's",
)
DETACHED = ("supcon", "crd", "lw_supcrd", "hybrid")
"""Methods whose classifier is a linear probe, trained together with the encoder."""
VERDICTS = {"holds": "holds", "reversed": "reversed", "cannot tell": "cannot be told"}
"""Of a published ordering, and how a list of such begins."""


def rows(result: Mapping[str, Any]) -> list[list[str]]:
    """The cells of a pair's table, as `COLUMNS`; `result` is of `results.results`."""
    return [_cells(name, row) for name, row in result["rows"].items()]


def _cells(name: str, row: Mapping[str, Any]) -> list[str]:
    mark = " !" if row["failed"] else ""
    kd, plain = (_difference(row, baseline) for baseline in (KD, BASE))
    extra = row.get("extra_parameters")
    return [
        f"{name}{mark}",
        str(row["n"]),
        percent(row["last"]),
        _half(row["last"]),
        percent(row["selected"]),
        _points(row["selected_less_last"]["mean"]),
        *kd,
        *plain,
        percent(row["probe"]),
        "-" if row["seconds"]["mean"] is None else f"{row['seconds']['mean']:.0f}",
        "-" if extra is None else f"{extra:,}",
        "; ".join(figure(one) for one in row["published"]) or "-",
    ]


def _difference(row: Mapping[str, Any], baseline: str) -> tuple[str, str]:
    known = row["differences"].get(baseline, {}).get("last")
    if known is None or known["mean"] is None:
        return "-", "-"
    interval = "-" if known["low"] is None else f"{_points(known['low'])} to {_points(known['high'])}"
    return _points(known["mean"]), interval


def percent(value: Mapping[str, Any]) -> str:
    """Mean ± standard deviation.

    Example:
        >>> percent({"mean": 0.5, "std": 0.01}), percent({"mean": None, "std": None})
        ('50.00 ± 1.00', '-')
    """
    if value["mean"] is None:
        return "-"
    return f"{100 * value['mean']:.2f}" + ("" if value["std"] is None else f" ± {100 * value['std']:.2f}")


def figure(one: Mapping[str, Any]) -> str:
    """A published figure with its protocol and source.

    Example:
        >>> figure({"accuracy": 0.7, "std": None, "epoch": "last", "view_epochs": 240, "source": "repdistiller"})
        '70.00 (last, 240) [repdistiller]'
    """
    std = "" if one["std"] is None else f" ± {100 * one['std']:.2f}"
    epoch = "epoch?" if one["epoch"] == "not stated" else one["epoch"]
    return f"{100 * one['accuracy']:.2f}{std} ({epoch}, {one['view_epochs'] or '?'}) [{one['source']}]"


def _half(value: Mapping[str, Any]) -> str:
    return "-" if value["low"] is None else f"±{50 * (value['high'] - value['low']):.2f}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.2f}"


def notes(document: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """What to be careful about in a pair's table, a line each."""
    lines = []
    images, teacher = document["images"], result["teacher"]
    held_out = (
        "none held out, so no epoch is selected" if not images["validation"] else f"{images['validation']:,} held out"
    )
    size = f"{images['train']:,} training images ({held_out}), {images['test']:,} test images"
    published_too = any(row["published"] for row in result["rows"].values())
    lines.append(f"{size}; the published figures are of 50,000 training images" if published_too else size)
    if teacher is not None:
        theirs = (
            "; published: " + ", ".join(figure(one) for one in teacher["published"]) if teacher["published"] else ""
        )
        lines.append(f"teacher {teacher['run']}: {_accuracy(teacher)}{theirs}")
        if not teacher["same_data"]:
            lines.append(
                "the teacher was trained on other data or another validation split: it may have learnt from the "
                "students' validation images, which then flatter methods that copy it"
            )
    half = [name for name, row in result["rows"].items() if row["views"] > 1]
    if half:
        lines.append(f"two views an image or more, and so fewer epochs: {', '.join(half)}")
    probes = [name for name in DETACHED if name in result["rows"]]
    if probes:
        lines.append(
            f"their classifier is a linear probe trained along, far from what probe % shows: {', '.join(probes)}"
        )
    lines += result["caveats"]
    for name, row in result["rows"].items():
        if row["warnings"]:
            kinds = ", ".join(line.partition(":")[0] for line in row["warnings"])
            lines.append(f"warned of {name} (supcrd report has the details): {kinds}")
    lines += [f"{name} is left out: {why}" for name, why in document["left_out"].get(result["pair"], {}).items()]
    for name, row in result["rows"].items():
        lines += [f"{name}: {one['run']} {one['status']}: {one['reason']}" for one in row["failed"]]
    return lines


def _accuracy(teacher: Mapping[str, Any]) -> str:
    if teacher["accuracy"] is None:
        return "its accuracy is not known"
    return f"{100 * teacher['accuracy']:.2f} % on its own {teacher['split']} split"


def ordering_lines(result: Mapping[str, Any]) -> list[str]:
    """Which of the published orderings hold, a line a source and verdict, with our differences in points."""
    lines = []
    pair = next((row["pair"] for row in result["orderings"]), result["pair"])
    if pair != result["pair"]:
        lines.append(f"nothing was published of this pair: the orderings are those of {pair.replace(':', ' to ')}")
    for source in dict.fromkeys(row["source"] for row in result["orderings"]):
        own = [row for row in result["orderings"] if row["source"] == source]
        by = {verdict: [row for row in own if row["verdict"] == verdict] for verdict in VERDICTS}
        lines.append(
            f"{source}: of {len(own)} published orderings of two methods {len(by['holds'])} hold, "
            f"{len(by['reversed'])} are reversed, {len(by['cannot tell'])} cannot be told"
        )
        for verdict, those in by.items():
            if those:
                shown = ", ".join(f"{row['better']} > {row['worse']} ({_points(row['ours'])})" for row in those)
                lines.append(f"{source}, {VERDICTS[verdict]}: {shown}")
    return lines


def markdown(document: Mapping[str, Any]) -> str:
    """benchmark.md of what benchmark.json has."""
    lines = ["# Benchmark", "", f"`{document['command']}`", ""]
    lines += [f"* {line}" for line in about(document)]
    for result in document["pairs"]:
        lines += ["", f"## {result['pair'].replace(':', ' to ')}", ""]
        lines += [_line(COLUMNS), "|---|" + "---:|" * (len(COLUMNS) - 2) + "---|"]
        lines += [_line(cells) for cells in rows(result)]
        lines += ["", *(f"* {line}" for line in notes(document, result))]
        if result["orderings"]:
            lines += [
                "",
                "Published orderings, by our last epochs: least squares over methods and seeds, with the noise of all "
                "methods together; p < 0.05 after Holm's correction:",
                "",
            ]
            lines += [f"* {line}" for line in ordering_lines(result)]
    lines += ["", "## Columns", "", *(f"* {line}" for line in LEGEND)]
    used = {
        one["source"] for result in document["pairs"] for row in result["rows"].values() for one in row["published"]
    } | {row["source"] for result in document["pairs"] for row in result["orderings"]}
    if used:
        lines += ["", "## Published figures", ""]
        lines += [f"* {key}: {source(key)}" for key in published.sources() if key in used]
    return "\n".join(lines) + "\n"


def source(key: str) -> str:
    """A source of figures in a line."""
    of = published.sources()[key]
    commit = f", commit {of['commit']}" if "commit" in of else ""
    title = f"[{of['title']}]({of['url']})" if "url" in of else of["title"]
    epoch = {"last": "last test epoch", "best": "best test epoch"}.get(of["epoch"], "which test epoch is not stated")
    return f"{title}{commit}: {epoch}, {of['view_epochs']} view-epochs; {of['protocol']}"


def about(document: Mapping[str, Any]) -> list[str]:
    """What all runs share, a line each."""
    runs = [run for result in document["pairs"] for row in result["rows"].values() for run in row["runs"]]
    machines = list(dict.fromkeys(", ".join([run["processor"] or "?", *(run["gpus"] or [])]) for run in runs))
    threads = sorted({run["threads"] for run in runs if run["threads"]})
    packages = document["environment"]["packages"]
    return [
        f"{document['view_epochs']} view-epochs (epochs x views an image) of every student, on "
        f"{_named(document['images']['source'])}; the settings are those of the published runs' 240, scaled",
        f"{len(runs)} of {document['planned']} runs finished; "
        f"{'; '.join(machines) or 'no machine yet'}{f', {threads[0]} thread(s)' if len(threads) == 1 else ''}; "
        f"torch {packages.get('torch')}, supcrd {packages.get('supcrd')}, commit {document['environment']['commit']}",
        "validation chooses the epoch; the test split is read when a run is over. Published figures of the best test "
        "epoch chose it on test",
    ]


def _named(source: str) -> str:
    """A data source, a path by its last part."""
    kind, colon, path = source.partition(":")
    return f"{kind}{colon}{path.rstrip('/').rpartition('/')[2]}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
