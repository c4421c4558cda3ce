"""RESULTS.md: what stands in it for finished runs made by hand, whole and in part; tables that are tables."""

import functools
import json
import re
from pathlib import Path

import pytest

from supcrd.reproduction import plan as reproduce
from supcrd.reproduction.published import TABLES
from supcrd.reproduction.results import TITLES, markdown, write_results

NONE = {"n": 0, "mean": None, "std": None}
planned = functools.cache(reproduce.plan)
"""Plans are not changed here, and each has a hundred recipes."""


def collected(tables=tuple(TABLES), recipe_set="small", accuracies=None, **changed):
    """What `collect` gives, with accuracies by experiment in place of run folders."""
    told = reproduce.collect(planned(recipe_set, tuple(tables)), Path("no-such-folder"))
    for name, values in (accuracies or {}).items():
        runs = [{"seed": k} | dict.fromkeys(reproduce.KEPT, value) for k, value in enumerate(values)]
        told["experiments"][name]["runs"] = runs
        told["experiments"][name]["summary"] = {
            key: reproduce._short(run[key] for run in runs) for key in reproduce.KEPT
        }
        told["finished"] += len(values)
    told["data"] |= {"split": "test", "n": 10000}
    return told | changed


def rows(page):
    """Cells by table (its heading) and first cell."""
    found, heading = {}, None
    for line in page.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if line.startswith("| "):
            first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            found.setdefault(heading, {})[first] = cells
    return found


@pytest.mark.parametrize("recipe_set", ["published", "strong", "small"])
@pytest.mark.parametrize("values", [(), (0.5,), (0.5, 0.52, 0.51), (0.5, 0.5)])
def test_tables_are_tables_whatever_is_there(recipe_set, values):
    told = collected(recipe_set=recipe_set)
    page = markdown(collected(recipe_set=recipe_set, accuracies=dict.fromkeys(told["experiments"], values)))
    blocks = re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE)
    assert len(blocks) == len(TABLES) + 2
    for block in blocks:
        lines = block.splitlines()
        assert len({line.count("|") for line in lines}) == 1
        assert re.fullmatch(r"\|(---\|)+", lines[1])
        assert "\n\n" + block in page
    assert not re.search(r"\b(nan|None|inf)\b", page, re.IGNORECASE)
    assert list(rows(page)) == [*(TITLES[table] for table in TABLES), "What it says"]


def test_cells_by_hand():
    page = rows(markdown(collected(["main", "temperature"], accuracies={"lw_supcrd": (0.70, 0.72, 0.74)})))
    assert page["Main table"]["LW-SupCRD"] == [
        "73.19",
        "72.00 ± 2.00",
        "3",
        "72.00 ± 2.00",
        "72.00 ± 2.00",
        "0.720 ± 0.020 (1.1518)",
        "0.720 ± 0.020 (-3.7027)",
    ]
    assert page["Main table"]["KD"] == ["-", "-", "0", "-", "-", "-", "-"]
    assert page["Main table"]["teacher"][0] == "80.75"
    again = page["Temperature"]["temperature 0.07 (LW-SupCRD, published once more)"]
    assert again[:3] == ["73.35", "72.00 ± 2.00", "3"]
    one = rows(markdown(collected(["main"], accuracies={"undistilled": (0.5,)})))
    assert one["Main table"]["undistilled (cross-entropy)"][1:3] == ["50.00", "1"]


def test_the_teacher_s_row():
    teacher = dict.fromkeys(reproduce.KEPT) | {"accuracy": 0.8, "alignment": 0.5, "uniformity": -3.0}
    page = rows(markdown(collected(["main"], teacher=teacher)))
    assert page["Main table"]["teacher"] == [
        "80.75",
        "80.00",
        "1",
        "-",
        "-",
        "0.500 (0.5928)",
        "-3.000 (-3.4649)",
    ]


def test_replicates_and_aliases_are_marked():
    page = rows(markdown(collected(["alpha", "beta", "bank"])))
    assert [label for label in page["alpha (beta = 10)"] if "replicate" in label] == [
        "alpha = 2 (beta/alpha = 5); replicate of `beta_5.0`",
        "alpha = 10 (beta/alpha = 1); replicate of `beta_1.0`",
    ]
    assert "beta = 5 (beta/alpha = 5); replicate of `alpha_2.0`" in page["beta (alpha = 1)"]
    assert "CRD without a bank; the runs of `baseline_crd`" in page["Memory bank (momentum 0.5)"]
    strong = markdown(collected(["alpha", "beta"], "strong", {"alpha_2.0": (0.5,), "beta_5.0": (0.6,)}))
    assert "eplicate" not in strong  # under SGD they are not
    assert "the runs of" not in markdown(collected(["bank"], "published"))
    both = markdown(collected(["alpha", "beta"], accuracies={"alpha_2.0": (0.5,), "beta_5.0": (0.6,)}))
    assert "they differ by -10.00 points here (the same seeds), +1.15 as published" in both


def test_what_was_run_stands_above():
    told = collected(["main"], overrides=["train.epochs=2"], hardware=["A"], torch=["2.9", "2.11"], commits=["a" * 40])
    told |= {"finished": 3, "environment": {"packages": {"supcrd": "0.3"}}, "left_out": {"x": "cannot be read"}}
    page = markdown(told)
    assert "3 of 24 runs finished" in page
    assert "* Changed in all runs: `train.epochs=2`." in page
    assert "* A, torch 2.9 and 2.11, supcrd 0.3 (aaaaaaa)." in page
    assert "* Left out: `x` (cannot be read)." in page
    assert "Data `cifar100`, test split, n = 10000" in page
    assert "compare the order" in page
    published = collected(["main"], "published", command="c")
    assert "compare the order" not in markdown(published)
    assert "Data " not in markdown(published)  # nothing is finished: nothing was measured


def test_verdicts_stand_below():
    ours = {"lw_supcrd": (0.70, 0.71, 0.72), "undistilled": (0.60, 0.612, 0.622), "baseline_crd": (0.65,)}
    page = markdown(collected(["main"], accuracies=ours))
    told = rows(page)["What it says"]
    assert told["LW-SupCRD is above the baselines"][0] == "cannot be told"  # SupCon is not there
    assert told["LW-SupCRD above undistilled"][:2] == ["holds", "+9.87 (+9.58 to +10.15)"]
    assert told["LW-SupCRD above undistilled"][3] == "3"
    assert told["LW-SupCRD above SupCon"] == ["cannot be told", "-", "-", "0", "no common seed yet"]
    assert "alpha" not in page.split("What it says")[1]  # was not asked for
    assert "Provisional: runs are missing." in page
    full = dict.fromkeys(collected(["temperature"])["experiments"], (0.5,))
    assert "Provisional" not in markdown(collected(["temperature"], accuracies=full))


def test_headings_from_another_level():
    page = markdown(collected(["alpha"]), level=3)
    assert re.findall(r"^#+ ", page, re.MULTILINE) == ["### ", "#### ", "#### "]


def test_files(tmp_path):
    planned = reproduce.plan("small", ["temperature"])
    write_results(planned, tmp_path / "deep" / "out")
    told = json.loads((tmp_path / "deep" / "out" / "results.json").read_text())
    assert [each["verdict"] for each in told.pop("findings")] == ["cannot be told"]
    assert told == reproduce.collect(planned, tmp_path / "deep" / "out")
    assert (tmp_path / "deep" / "out" / "RESULTS.md").read_text() == markdown(told)
    assert len(list((tmp_path / "deep" / "out").iterdir())) == 2
