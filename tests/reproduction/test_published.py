"""The published figures and the experiments, against the reference's tables and protocol as they stand there."""

import re
from typing import Any

import pytest

from supcrd import recipe as recipes
from supcrd.errors import SupcrdError
from supcrd.reproduction import plan as reproduce
from supcrd.reproduction.claims import CLAIMS
from supcrd.reproduction.findings import published
from supcrd.reproduction.published import BANK, EXPERIMENTS, PLAIN, REPLICATES, SETS, TABLES, TEACHER, tables

# Section 4 of the reference's facts, as text.
REFERENCE = """
| Teacher ResNet-50 | 80.75 | 0.5928 | -3.4649 |
| LW-SupCRD tau=0.07 (alpha=1, beta=10, adaptive) | 73.35 | 1.1990 | -3.7104 |
| LW-SupCRD alpha=1, beta=10 | 73.19 | 1.1518 | -3.7027 |
| Hybrid lambda=0.3 | 72.58 | 0.6043 | -3.2880 |
| SupCon | 69.08 | 0.4377 | -2.5665 |
| CRD | 68.05 | 0.9008 | -2.2358 |
| Undistilled | 67.93 | 0.6631 | -1.7332 |
| alpha = 1 / 2 / 5 / 10 (beta=10) | 73.19 / 71.78 / 70.67 / 70.07 | 1.1518 / 1.1129 / 1.1589 / 1.2754 | -3.7027 / -3.6744 / -3.6712 / -3.6728 |
| beta = 10 / 12 / 5 / 1 (alpha=1) | 73.19 / 71.31 / 70.63 / 70.46 | 1.1518 / 1.2068 / 1.2487 / 1.1862 | -3.7027 / -3.6654 / -3.6785 / -3.6390 |
| tau = 0.07 / 0.05 | 73.35 / 68.08 | 1.1990 / 1.3503 | -3.7104 / -3.6645 |
| Hybrid lambda = 0.3 / 0.5 / 0.7 / 0.9 | 72.58 / 72.07 / 71.57 / 70.69 | 0.6043 / 0.5166 / 0.4845 / 0.4394 | -3.2880 / -2.9451 / -2.8290 / -2.6273 |
"""  # noqa: E501
OF_LINE = {  # its experiments, in the order of the line
    "LW-SupCRD tau": ("temperature", ["lw_supcrd"]),
    "LW-SupCRD alpha": ("main", ["lw_supcrd"]),
    "Hybrid lambda=0.3": ("main", ["hybrid_lambda_0.3"]),
    "SupCon": ("main", ["baseline_supcon"]),
    "CRD": ("main", ["baseline_crd"]),
    "Undistilled": ("main", ["undistilled"]),
    "alpha = ": ("alpha", ["lw_supcrd", "alpha_2.0", "alpha_5.0", "alpha_10.0"]),
    "beta = ": ("beta", ["lw_supcrd", "beta_12.0", "beta_5.0", "beta_1.0"]),
    "tau = ": ("temperature", ["lw_supcrd", "temp_0.05"]),
    "Hybrid lambda = ": ("hybrid", [f"hybrid_lambda_{lam}" for lam in (0.3, 0.5, 0.7, 0.9)]),
}
BANKS = {"no_bank_lw_supcrd": 74.76, "bank_lw_supcrd": 75.63, "no_bank_crd": 68.15, "bank_crd": 69.56}


def lines():
    for line in REFERENCE.strip().splitlines():
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        columns = [[float(number) for number in cell.split("/")] for cell in cells]
        yield name, list(zip(*columns, strict=True))


def close(figures):
    accuracy, alignment, uniformity = figures
    return pytest.approx((accuracy / 100, alignment, uniformity), abs=1e-9)


def test_every_published_figure():
    seen = set()
    for name, figures in lines():
        if name.startswith("Teacher"):
            assert close(figures[0]) == TEACHER
            continue
        ((table, experiments),) = [told for start, told in OF_LINE.items() if name.startswith(start)]
        for experiment, each in zip(experiments, figures, strict=True):
            (row,) = [row for row in TABLES[table] if row.experiment == experiment]
            assert row.published == close(each)
            seen.add((table, experiment))
    for experiment, accuracy in BANKS.items():
        (row,) = [row for row in TABLES["bank"] if row.experiment == experiment]
        assert row.published == (pytest.approx(accuracy / 100, abs=1e-9), None, None)
    rows = [(name, row) for name, table in TABLES.items() for row in table if row.published and name != "bank"]
    again = [(name, row) for name, row in rows if (name, row.experiment) not in seen]
    assert [row.label for _, row in again] == ["lambda = 0 (LW-SupCRD)", "lambda = 1 (SupCon)"]
    main = {row.experiment: row.published for row in TABLES["main"]}
    assert all(row.published == main[row.experiment] for _, row in again)


def test_claims_are_the_published_order():
    figures = published()
    figures |= {"lw_supcrd": TABLES["main"][5].published}
    assert TABLES["main"][5].label == "LW-SupCRD"
    for claim in CLAIMS:
        assert figures[claim.better].accuracy > figures[claim.worse].accuracy, claim
    assert len({(claim.better, claim.worse) for claim in CLAIMS}) == len(CLAIMS)
    # of a sweep, the value that is said to be best is held against every other one
    for table, prefix in (("alpha", "alpha_"), ("beta", "beta_"), ("hybrid", "hybrid_"), ("temperature", "temp_")):
        others = {row.experiment for row in TABLES[table] if row.experiment.startswith(prefix)}
        held = {claim.worse for claim in CLAIMS if claim.better == "lw_supcrd"}
        assert others <= held


def test_labels_name_what_is_changed():
    for table in ("alpha", "beta", "temperature", "hybrid"):
        for row in TABLES[table]:
            recipe = recipe_of("published", row.experiment)
            number = float(re.search(r"[\d.]+", row.label).group())
            key = {"hybrid": "lam"}.get(table, table)
            plain = {"baseline_supcon": 1.0, "lw_supcrd": 0.0}.get(row.experiment) if table == "hybrid" else None
            assert number == (getattr(recipe.method, key) if plain is None else plain)
            ratio = re.search(r"beta/alpha = ([\d.]+)", row.label)
            assert ratio is None or float(ratio[1]) == recipe.method.beta / recipe.method.alpha


def recipe_of(recipe_set, name, k=0, overrides=()):
    return reproduce._recipe(recipe_set, name, k, overrides)


# what section 3 and the tables say that differs; the rest is alpha 1, beta 10, tau 0.07, adaptive
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "undistilled": ("cross_entropy", {}),
    "baseline_supcon": ("supcon", {"temperature": 0.07}),
    "baseline_crd": ("crd", {"temperature": 0.07}),
    "lw_supcrd": ("lw_supcrd", {}),
    **{f"alpha_{a}.0": ("lw_supcrd", {"alpha": a}) for a in (2, 5, 10)},
    **{f"beta_{b}.0": ("lw_supcrd", {"beta": b}) for b in (1, 5, 12)},
    "temp_0.05": ("lw_supcrd", {"temperature": 0.05}),
    **{f"hybrid_lambda_{lam}": ("hybrid", {"lam": lam}) for lam in (0.3, 0.5, 0.7, 0.9)},
    "no_bank_lw_supcrd": ("lw_supcrd", {}),
    "bank_lw_supcrd": ("lw_supcrd", {"bank": 4096}),
    "no_bank_crd": ("crd", {"temperature": 0.07}),
    "bank_crd": ("crd", {"temperature": 0.07, "bank": 4096}),
}
LW = {"alpha": 1, "beta": 10, "temperature": 0.07, "adaptive": True, "teacher_temperature": 1}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("recipe_set", SETS)
def test_methods_of_the_experiments(recipe_set, name):
    method, changed = METHODS[name]
    held = recipe_of(recipe_set, name).method.model_dump()
    assert held.pop("name") == method
    wanted = {"lw_supcrd": LW, "hybrid": LW}.get(method, {}) | changed
    wanted |= {"bank": changed.get("bank", 0), "bank_momentum": 0.5, "kd_weight": 0} if "bank" in held else {}
    held.pop("kd_temperature", None)  # of a term of weight 0
    assert (
        held == {"label_smoothing": 0, "class_weights": "none"} | wanted
        if method == "cross_entropy"
        else held == wanted
    )


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_published_protocol_to_the_letter(name):
    recipe = recipe_of("published", name)
    train, augment = recipe.train, recipe.augment
    assert recipe.seed == 42
    assert (recipe.data.source, recipe.data.validation, recipe.model.arch) == ("cifar100", 0.0, "resnet18")
    assert (recipe.data.mean, recipe.data.std) == ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
    assert (train.epochs, train.batch_size, train.optimizer, train.lr) == (50, 128, "adam", 1e-3)
    assert (train.schedule, train.weight_decay) == (("cosine", 1e-4) if name in BANK else ("constant", 0.0))
    assert (train.warmup_epochs, train.grad_clip) == (0.0, None)
    assert augment.identity() == {
        "views": 1 if name in PLAIN else 2,
        "crop_padding": 4,
        "flip": 0.5,
        "brightness": 0.2,
        "contrast": 0.2,
        "saturation": 0.2,
    }
    assert (recipe.teacher.joint, recipe.teacher.joint_lr_scale, recipe.teacher.cache) == (True, 0.1, 0)
    teacher = recipes.teacher_recipe(recipe)
    assert (teacher.name, teacher.model.arch, teacher.method.name) == ("published-teacher", "resnet50", "cross_entropy")
    fit = teacher.train
    assert (fit.epochs, fit.batch_size, fit.optimizer, fit.lr, fit.schedule) == (50, 128, "adam", 1e-3, "cosine")
    head = teacher.head
    assert (head.epochs, head.optimizer, head.lr, head.schedule, head.temperature) == (
        10,
        "adam",
        1e-3,
        "constant",
        0.07,
    )


@pytest.mark.parametrize("recipe_set", SETS)
def test_replicates_have_one_ratio(recipe_set):
    for one, other in REPLICATES:
        a, b = (recipe_of(recipe_set, name).method for name in (one, other))
        assert a.beta / a.alpha == b.beta / b.alpha
        assert a != b


def test_names_of_tables():
    assert tables(" alpha ,beta,alpha") == ["alpha", "beta"]
    for text, said in (("betta", "did you mean beta?"), ("", "there are main, alpha"), ("main,", "--tables ''")):
        with pytest.raises(SupcrdError, match=re.escape(said)):
            tables(text)
