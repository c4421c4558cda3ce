"""What README and recipes say of results, made from the JSON files of docs/results: `python benchmarks/tables.py`.

A table stands between `<!-- results NAME -->` and `<!-- end -->`, a recipe's result in its second line;
tests/test_docs.py checks that all are up to date.
"""

import inspect
import json
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import auto_teacher
import first_student
import int8
import networks
import rehearse
import scale_model
import scale_recipes
import student_tables
import summary
import terms as timed
from supcrd.benchmark import published
from supcrd.benchmark import table as benchmark_table
from supcrd.benchmark.orderings import orderings
from supcrd.benchmark.pairs import Pair
from supcrd.evaluation.measures import MEASURES
from supcrd.recipe.meanings import Table, group_of, groups
from supcrd.recipe.settings import METHOD_SETTINGS
from supcrd.reproduction.results import markdown
from supcrd.training.objective.presets import tables as preset
from supcrd.training.objective.term import TERMS, TermSettings

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
RECIPES = ROOT / "src" / "supcrd" / "recipe" / "builtin"
METHODS = RECIPES.parent / "methods.json"
DOCUMENTS = (
    "README.md",
    "docs/benchmark.md",
    "docs/best-student.md",
    "docs/classifier.md",
    "docs/export.md",
    "docs/objectives.md",
    "docs/log.md",
    "docs/measures.md",
    "docs/networks.md",
    "docs/performance.md",
    "docs/results.md",
    "docs/scale.md",
    "docs/start.md",
    "docs/terms.md",
    "examples/paper-table/README.md",
    "examples/plug-in/README.md",
    "examples/sign-digits/README.md",
)


def shown(value: dict[str, Any] | None, scale: float, digits: int) -> str:
    """Mean ± standard deviation, or the mean alone of a single run."""
    if value is None:
        return "-"
    text = f"{scale * value['mean']:.{digits}f}"
    return text if value["std"] is None else f"{text} ± {scale * value['std']:.{digits}f}"


def table(name: str) -> str:
    """The Markdown table of docs/results/NAME.json; `performance` is that of all benchmarks, `speed` a choice of it.

    NAME:TABLE is one of the tables of benchmarks/best_student.py.
    """
    if name in ("performance", "speed"):
        return performance_table(short=name == "speed")
    if name in MADE:
        return MADE[name]()
    name, _, part = name.partition(":")
    results = json.loads((RESULTS / f"{name}.json").read_text())
    if part:
        return "\n".join([student_tables.table(results, part), "", told_of(results)])
    for key, made in (("unzip_seconds", first_student.table), ("processor_seconds", auto_teacher.table)):
        if key in results:
            return "\n".join([made(results), "", told_of(results)])
    if "int8" in results:
        return int8_table(results)
    if "experiments" in results:
        return markdown(results, level=2)
    if "pairs" in results:
        return field_table(results)
    if "ratio_to_one_process" in results:
        return process_table(results)
    if "starts" in results:
        return start_table(results)
    if "sizes" in results:
        return "\n".join([*speed_lines(summary.losses(results)), "", told_of(results)])
    if "times_as_fast" in results:
        return step_table(results)
    if "milliseconds" in results:
        return precision_table(results)
    if "views_per_second" in results:
        load = results["load_average"]
        note = f"Load average of the machine {load['before']:.1f} before, {load['after']:.1f} after."
        return "\n".join([*speed_lines(summary.views(results)), "", told_of(results | {"note": note})])
    if "kinds" in results:
        return report_table(results)
    # a saved classifier of its own beside the one trained with the encoder
    own = ["as trained %", "ECE %"] * any("trained_accuracy" in told for told in results["summary"].values())
    head = ["accuracy %", *own, "probe %", "kNN %", "alignment", "uniformity", "train s"]
    lines = [f"| run | model | params | epochs | n | {' | '.join(head)} |", f"|---|---|{'---:|' * (3 + len(head))}"]
    for run, told in results["summary"].items():
        cells = [
            f"`{run.split('_source=')[0]}`",
            told["arch"],
            f"{told['parameters']:,}",
            str(results["training"][run]["epochs"]),
            str(told["n"]),
            shown(told.get("accuracy"), 100, 2),
            *[shown(told.get(key), 100, 2) for key in ("trained_accuracy", "ece") if own],
            shown(told.get("probe_accuracy"), 100, 2),
            shown(told.get("knn_accuracy"), 100, 2),
            shown(told.get("alignment"), 1, 3),
            shown(told.get("uniformity"), 1, 3),
            shown(told.get("train_seconds"), 1, 0),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", told_of(results)])


def speed_lines(rows: Iterable[summary.Row]) -> list[str]:
    """Lines of speed as a Markdown table."""
    return [
        f"| {' | '.join(summary.HEAD)} |",
        "|---|---:|---:|---|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def performance_table(*, short: bool) -> str:
    """The lines of `make bench`, in Markdown; `short` leaves out what only docs/performance.md needs."""
    left_out = ("x 128", "= 256,", "= 1,024,", "= 65,536,", "crd, B = N = 16", "supcon", "npz", "folder, decoded")
    left_out += ("bank,", "report of")
    rows = [row for row in summary.rows(RESULTS) if not (short and any(part in row[0] for part in left_out))]
    lines = speed_lines(rows)
    places: dict[str, list[str]] = {}
    for kind in summary.KINDS:
        path = RESULTS / f"{kind}-cpu.json"
        if path.exists():
            environment = json.loads(path.read_text())["environment"]
            place = f"{environment['processor']}, torch {environment['packages']['torch']}"
            places.setdefault(place, []).append(kind)
    where = "; ".join(f"{place}: {', '.join(kinds)}" for place, kinds in places.items())
    told = (
        "Medians, by `python benchmarks/all.py`; the command and commit of each line are in `docs/results/*-cpu.json`."
    )
    return "\n".join([*lines, "", f"{told} {where}."])


def step_table(results: dict[str, Any]) -> str:
    """The table of benchmarks/step.py."""
    old = isinstance(results["times_as_fast"], float)  # of a run before there was a cache
    ratios = {"ours": results["times_as_fast"]} if old else results["times_as_fast"]
    outside = {} if old else results["share_outside_networks"]
    rate = {} if old else results["share_of_product_rate"]
    head = ["step", "ms", "min to max", "images/s", "times as fast", "outside the networks", "of a product's rate"]
    lines = [f"| {' | '.join(head)} |", "|---|---:|---:|---:|---:|---:|---:|"]
    for name in results["seconds_per_step"]:
        low, high = (1000 * each for each in results["spread"][name])
        cells = [
            "plain, reference-style" if name == "plain" else name.replace("ours", "supcrd"),
            f"{1000 * results['seconds_per_step'][name]:,.0f}",
            f"{low:,.0f} to {high:,.0f}",
            f"{results['images_per_second'][name]:.1f}",
            f"{ratios[name]:.2f}" if name in ratios else "1",
            f"{outside[name]:.1%}" if name in outside else "",
            f"{rate[name]:.0%}" if name in rate else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    what = (
        f"{results['teacher']} to {results['student']}, batch {results['batch_size']}, two views, {results['place']}; "
        f"medians of {results['steps']} steps."
    )
    if "ours, train.compile" in results["seconds_per_step"]:
        what += f" The first compiled step took {results['first_step_seconds']['ours, train.compile']:.0f} s."
    return "\n".join([*lines, "", f"{what} {told_of(results)}"])


def precision_table(results: dict[str, Any]) -> str:
    """The table of benchmarks/precision.py."""
    ways = list(next(iter(results["milliseconds"].values())))
    lines = [f"| ms | {' | '.join(ways)} |", "|---|" + "---:|" * len(ways)]
    for case, times in results["milliseconds"].items():
        lines.append(f"| {case} | {' | '.join(f'{times[way]:.1f}' for way in ways)} |")
    return "\n".join([*lines, "", f"Forward and backward, medians of {results['n']}. {told_of(results)}"])


def report_table(results: dict[str, Any]) -> str:
    """The table of benchmarks/report.py."""
    total = sum(each["seconds"] for each in results["kinds"].values())
    lines = ["| kind | figures | s | slowest | of all figures |", "|---|---:|---:|---:|---:|"]
    for kind, told in sorted(results["kinds"].items(), key=lambda item: -item[1]["seconds"]):
        cells = [kind, told["figures"], f"{told['seconds']:.1f}", f"{told['slowest']:.1f}"]
        lines.append(f"| {' | '.join(map(str, cells))} | {told['seconds'] / total:.0%} |")
    own, other, peak = results["seconds"]["report"], results["seconds"]["tsne"], max(results["peak_bytes"])
    what = (
        f"The whole command, {results['runs']} runs of {results['images']:,} images: {own['median']:.0f} s "
        f"({own['min']:.0f} to {own['max']:.0f}, n = {results['n']}), {peak / 1e6:,.0f} MB at most, "
        f"a page of {results['page_bytes'] / 1e6:.1f} MB. scikit-learn's t-SNE of one run in its turn: "
        f"{other['median']:.0f} s, {results['times_as_fast_as_tsne']:.2f} times as long."
    )
    return "\n".join([*lines, "", f"{what} {told_of(results)}"])


def told_of(results: dict[str, Any]) -> str:
    """Command, hardware and versions, in one line."""
    e = results["environment"]
    packages = e["packages"]
    where = ", ".join(e["gpus"]) or f"{e['processor']}, {e['threads']} thread{'s' * (e['threads'] != 1)}"
    split = f" Split: {results['split']}, {results['images']:,} images." if "split" in results else ""
    note = f" {results['note']}" if results.get("note") else ""
    return (
        f"`{results['command']}`;{split}{note} {where}; torch {packages['torch']}, Python {e['python']}, "
        f"commit {', '.join(commit[:10] for commit in (e['commit'] or 'unknown').split(', '))}."
    )


def filled(text: str) -> str:
    """The document with its tables made anew."""
    pattern = re.compile(r"(<!-- results (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}\n{table(match[2])}\n\n{match[3]}", text)


def keys() -> str:
    """docs/recipes.md: every key of a recipe with its default, range and meaning, read from the settings themselves."""
    lines = ["# The keys of a recipe", ""]
    lines += ["Made by `python benchmarks/tables.py` from the docstrings in `src/supcrd/recipe/`; in a terminal:"]
    lines += ["`supcrd recipes --keys [PREFIX]`. Keys of `[objective.NAME]`: `docs/objectives.md`.", ""]
    for group in groups():
        lines += [f"## {group.title}", "", group.about, "", *key_lines(group), ""]
    return "\n".join(lines)


def key_lines(group: Table) -> list[str]:
    """The keys of a table as a Markdown table."""
    lines = ["| key | default | range | meaning |", "|---|---|---|---|"]
    for key in group.keys:
        default = key.default if key.default in ("required", "not set", "the file's name") else f"`{key.default}`"
        lines.append(f"| `{key.name}` | {default} | {key.range} | {key.meaning} |")
    return lines


def common_keys() -> str:
    """The keys of every term."""
    return "\n".join(key_lines(group_of(TermSettings, "", "")))


def terms() -> str:
    """The built-in terms with the keys of their own."""
    lines = []
    for name in TERMS:
        kind = TERMS.get(name)
        if not kind.__module__.startswith("supcrd.training.objective.terms."):
            continue  # an example's or a plug-in's
        group = group_of(kind.Settings, "", name)
        own = tuple(key for key in group.keys if key.name not in TermSettings.model_fields)
        about = inspect.cleandoc(kind.__doc__ or "").replace("\n", " ").replace("  ", "\n\n")
        lines += [f"### {name}", "", about, "", *key_lines(group._replace(keys=own)), ""]
    return "\n".join(lines).rstrip()


def presets() -> str:
    """What each method stands for, with its defaults."""
    lines = ["| `method.name` | terms |", "|---|---|"]
    for method, kind in METHOD_SETTINGS.items():
        cells = []
        for name, settings in preset(kind.model_validate({"name": method})).items():
            notes = [f"`{settings['term']}`"] if "term" in settings else []
            notes += ["detached"] if settings.get("detach") else []
            notes += [f"weight {settings['weight']:.3g}"] if settings.get("weight", 1.0) != 1.0 else []
            cells.append(f"`{name}`" + (f" ({', '.join(notes)})" if notes else ""))
        lines.append(f"| `{method}` | {' + '.join(cells)} |")
    return "\n".join(lines)


@cache
def methods() -> dict[str, Any]:
    """What `supcrd methods` lists: from the code, and from docs/results/terms-cpu.json."""
    results = json.loads((RESULTS / "terms-cpu.json").read_text())
    facts = {}
    for method in METHOD_SETTINGS:
        objective = timed.objective_of(method, *timed.pair(results["teacher"], results["student"], method))
        needs, kept = objective.needs, objective.state_dict().keys() - dict(objective.named_parameters()).keys()
        term = dict(objective.terms.items()).get(method)
        facts[method] = {
            "paper": term.paper if term is not None else "",
            "student": read(term.reads.student if term is not None else needs.student),
            "teacher": read(term.reads.teacher if term is not None else needs.teachers.get("teacher", ())),
            "parameters": sum(part.numel() for part in objective.parameters() if part.requires_grad),
            "kept_bytes": sum(objective.state_dict()[name].nbytes for name in kept),
            "to_kd": results["methods"][method]["to_kd"],
        }
    about = (f"{results['teacher']} teaches {results['student']}, batch {results['batch_size']}, 100 classes, "
             f"50,000 images, {results['environment']['processor']}")  # fmt: skip
    return {"about": about, "methods": facts}


def read(parts: Iterable[str]) -> list[str]:
    """What is read, heads and features first."""
    return sorted((part.removeprefix("maps/") for part in parts), key=lambda part: (part.startswith("stage"), part))


def compared() -> str:
    """The table of docs/terms.md."""
    results = json.loads((RESULTS / "terms-cpu.json").read_text())
    head = [
        "`method.name`",
        "terms and weights",
        "student",
        "teacher",
        "parameters",
        "kept",
        "step to KD",
        "half of the rounds",
    ]
    lines = [f"| {' | '.join(head)} |", "|---|---|---|---|---:|---:|---:|---|"]
    for name, fact in methods()["methods"].items():
        low, high = results["methods"][name]["quartiles"]
        tables = preset(METHOD_SETTINGS[name].model_validate({"name": name}))
        weights = " + ".join(f"{table.get('weight', 1.0):g} {term}" for term, table in tables.items())
        same = fact["teacher"] and fact["teacher"] == fact["student"]
        cells = [
            f"`{name}`",
            weights,
            ", ".join(fact["student"]),
            "the same" if same else ", ".join(fact["teacher"]) or "-",
            f"{fact['parameters']:,}",
            f"{fact['kept_bytes'] / 1e6:.1f} MB" if fact["kept_bytes"] >= 1e5 else "-",
            f"{fact['to_kd']:.2f}",
            f"{low:.2f} to {high:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    what = (
        f"{results['teacher']} teaches {results['student']}, batch {results['batch_size']}, one view, 100 classes, "
        f"50,000 images; medians of {results['rounds']} rounds in which the methods take turns, each divided by KD's "
        "step of the same round."
    )
    return "\n".join([*lines, "", f"{what} {told_of(results)}"])


def int8_table(results: dict[str, Any]) -> str:
    """A row a network; a JSON file has them of several sittings."""
    rows = list(results["int8"].values())
    (images,) = {row["n"] for row in rows}
    lines = [f"| {' | '.join(int8.HEAD)} |", f"|---|---{'|---:' * (len(int8.HEAD) - 2)}|"]
    lines += [f"| {' | '.join(int8.cells(row))} |" for row in rows]
    return "\n".join([*lines, "", told_of(results | {"images": images})])


def field_table(results: dict[str, Any]) -> str:
    """The short table of `supcrd benchmark` on one pair, and which of the published orderings hold."""
    (pair,) = results["pairs"]
    wanted = [0, 1, 2, 6, 7, 8, 9, 10]  # of benchmark_table.COLUMNS
    head = [benchmark_table.COLUMNS[place] for place in wanted]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    lines += [
        f"| `{cells[0]}` | {' | '.join(cells[at] for at in wanted[1:])} |" for cells in benchmark_table.rows(pair)
    ]
    orderings = [f"* {line}" for line in benchmark_table.ordering_lines(pair)]
    return "\n".join([*lines, "", *orderings, "", told_of(results)])


def fields() -> dict[Path, dict[str, Any]]:
    """What `supcrd benchmark` left, with the published orderings of today: more are known than when it ran."""
    documents = {}
    for path in sorted(RESULTS.glob("field-*.json")):
        document = json.loads(path.read_text())
        for result in document["pairs"]:
            last = {
                name: {run["seed"]: run["last"] for run in row["runs"] if run["last"] is not None}
                for name, row in result["rows"].items()
            }
            result["orderings"] = orderings(Pair(*result["pair"].split(":")), last) if result["comparable"] else []
        documents[path] = document | {"sources": published.sources()}
    return documents


def process_table(results: dict[str, Any]) -> str:
    """The table of benchmarks/processes.py."""
    lines = ["| way | images/s | to the first |", "|---|---:|---:|"]
    for way, rate in results["images_per_second"].items():
        ratios = [row[way] / row[next(iter(row))] for row in results["each_round"]]
        spread = "" if len(set(ratios)) == 1 else f" ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"| {way} | {rate:,.0f} | {results['ratio_to_one_process'][way]:.2f}{spread} |")
    return "\n".join([*lines, "", told_of(results)])


def start_table(results: dict[str, Any]) -> str:
    """The table of benchmarks/index.py."""
    lines = ["| start | s | images/s then | MB gained |", "|---|---:|---:|---:|"]
    for number, start in enumerate(results["starts"]):
        cells = [f"{start['seconds']:.1f}", f"{start['images_per_second']:,.0f}", f"{start['bytes'] / 1e6:,.0f}"]
        lines.append(f"| {'again' if number else 'first'} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", told_of(results | {"split": "train"})])


def measures() -> str:
    """What is measured of every model."""
    lines = ["| key of `evaluation.json` | column | better | needs | meaning |", "|---|---|---|---|---|"]
    for known in MEASURES:
        better = {1: "higher", -1: "lower", 0: ""}[known.better]
        names = {"train": "training images", "teacher": "a teacher", "probe": "`probe.epochs` > 0"}
        needs = names.get(known.needs or "", "")
        error = f", `{known.key}_standard_error`" if known.estimated else ""
        lines.append(f"| `{known.key}`{error} | {known.title} | {better} | {needs} | {known.meaning} |")
    return "\n".join(lines)


def sizes() -> str:
    """The table of docs/networks.md."""
    return networks.table(json.loads((RESULTS / "networks.json").read_text()))


def scale() -> str:
    """The table of docs/scale.md."""
    return scale_model.table(json.loads((RESULTS / "scale-model.json").read_text()))


def scale_recipe_costs() -> str:
    """The other table of docs/scale.md."""
    return scale_recipes.table(json.loads((RESULTS / "scale-recipes.json").read_text()))


def rehearsed() -> str:
    """What recipes of docs/scale.md were seen to do at their true shapes."""
    results = json.loads((RESULTS / "rehearsed-cpu.json").read_text())
    return "\n".join([rehearse.markdown(results), "", told_of(results)])


MADE = {"compared": compared, "measures": measures, "networks": sizes, "objective": common_keys, "presets": presets,
        "rehearsed": rehearsed, "scale": scale, "scale-recipes": scale_recipe_costs, "terms": terms}  # fmt: skip


def recipe_lines() -> dict[Path, str]:
    """The text of each measured recipe with its second line made anew, and of each large one with its third."""
    texts = {}
    for path in sorted(RESULTS.glob("*.json")):
        results = json.loads(path.read_text())
        for name, told in measured_recipes(results).items():
            recipe = RECIPES / f"{name}.toml"
            if not recipe.exists():  # a study, not a recipe's own result
                continue
            first, _, *rest = recipe.read_text().split("\n")
            accuracy, probe = (shown(told.get(key), 100, 2) for key in ("accuracy", "probe_accuracy"))
            data = results.get("data") or {
                "n": results["images"],
                "split": results["split"],
            }
            runs = f"{told['n']} run{'s' * (told['n'] > 1)}, {data['n']:,} {data['split']} images"
            hardware = results["environment"]["processor"]
            line = f"# Result: accuracy {accuracy} %, linear probe {probe} % ({runs}; {hardware})"
            texts[recipe] = "\n".join([first, line, *rest])
    for row in json.loads((RESULTS / "scale-recipes.json").read_text())["rows"]:
        recipe = RECIPES / f"{row['recipe']}.toml"
        first, second, _, *rest = texts.get(recipe, recipe.read_text()).split("\n")
        texts[recipe] = "\n".join([first, second, scale_recipes.line(row), *rest])
    return texts


def measured_recipes(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Recipes whose own numbers a file has: those of its runs, or what a reproduction trains unchanged."""
    if "experiments" not in results:
        return {run.split("_source=")[0]: told for run, told in results.get("summary", {}).items()}
    if any(not change.startswith("data.source=") for change in results["overrides"]):
        return {}
    own = results["experiments"]["lw_supcrd"]["summary"]
    teacher = {key: {"mean": value, "std": None} for key, value in (results["teacher"] or {}).items()}
    found = {results["recipe"]: own | {"n": own["accuracy"]["n"]}, f"{results['recipe']}-teacher": teacher | {"n": 1}}
    return {name: told for name, told in found.items() if told["n"] and "accuracy" in told}


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(f"{__doc__}\nIt takes no arguments.")
    for path, field in fields().items():
        path.write_text(json.dumps(field, indent=1) + "\n")
        path.with_suffix(".md").write_text(benchmark_table.markdown(field))
    for document in DOCUMENTS:
        path = ROOT / document
        path.write_text(filled(path.read_text()))
    for path, text in recipe_lines().items():
        path.write_text(text)
    (ROOT / "docs" / "recipes.md").write_text(keys())
    METHODS.write_text(json.dumps(methods(), indent=1) + "\n")
