"""What the published layout calls a run: the names of the reference's files and figures."""

import re
from typing import NamedTuple

from supcrd.recipe.settings import CrossEntropy, Hybrid, Joint, LWSupCRD, Recipe, SupCon, Taught

TITLES = {"baseline_supcon": "Baseline_SupCon", "baseline_crd": "Baseline_CRD", "undistilled": "Undistilled_Student"}


class Name(NamedTuple):
    """What the published layout calls a run."""

    file: str
    """of its weights, without .pth; no two runs may share it"""
    log: str
    """of its training log, without .json"""
    result: str
    """its key in the comprehensive results"""
    plot: str
    """in the names of its hypersphere and its alignment sheet"""
    title: str
    """in the name of its t-SNE sheet"""
    published: bool = True
    """whether the reference has such a run; if not, the names are the run's own"""


def published_name(recipe: Recipe, *, teaches: bool = False) -> Name:
    """The names of a run in the published layout.

    They are those of the reference's repository, where `adaptive` stands in place of a temperature that was not swept.
    A method's other settings must be the published ones; data, network and training may be any.

    Args:
        recipe: of the run.
        teaches: whether it is the teacher of another. A cross-entropy run without a teacher of its own is one too, if
            its projection head was fitted, which only it needs.

    Example:
        >>> from supcrd.recipe import load
        >>> published_name(load("cifar100-hybrid")).file
        'student_hybrid_lambda_0.3_resnet18_cifar100'
        >>> name = published_name(load("cifar100-lw-supcrd", ["method.beta=5"]))
        >>> name.file, name.plot
        ('student_alpha_1.0_beta_5.0_adaptive_resnet18_cifar100', 'beta_5.0')
        >>> published_name(load("cifar100-resnet50")).file
        'teacher_resnet50_cifar100'
    """
    arch, source = recipe.model.arch, recipe.data.source
    about, loud = _about(arch, source)
    untaught = recipe.teacher is None
    fitted = recipe.method.name == "cross_entropy" and recipe.head.epochs > 0
    if recipe.method.name == "imported":
        return teacher_name(arch, source)
    if untaught and (teaches or fitted):
        return teacher_name(arch, source)
    known = _student(recipe)
    stem, plot = known or (recipe.name, recipe.name)
    file = f"student_{stem}_{about}"
    if known and "bank" in stem:
        return Name(file, f"{stem}_training_log", stem, plot, plot)
    title = TITLES.get(stem) or re.sub("^hybrid", "Hybrid", re.sub("^alpha", "SupCRD_alpha", stem))
    result = "undistilled_student" if stem == "undistilled" else plot
    return Name(file, file, result, plot, f"{title}_{loud}", known is not None)


def teacher_name(arch: str, source: str) -> Name:
    """The names of a teacher of this architecture, on this data source."""
    about, loud = _about(arch, source)
    return Name(f"teacher_{about}", f"teacher_{about}", "teacher", "teacher", f"Teacher_{loud}")


def _about(arch: str, source: str) -> tuple[str, str]:
    """What names of files and titles of figures end in."""
    arch, data = short_arch(arch), short_source(source)
    return f"{arch}_{data}", f"{arch}_{data.upper()}"


def _student(recipe: Recipe) -> tuple[str, str] | None:
    """(stem of the file's name, name in plots) of a student that the reference has; None of any other."""
    method, train = recipe.method, recipe.train
    if isinstance(method, CrossEntropy):
        return ("undistilled", "undistilled") if method.label_smoothing == 0 else None
    if isinstance(method, SupCon):
        return ("baseline_supcon", "baseline_supcon") if method.temperature == 0.07 else None
    if not isinstance(method, Taught) or isinstance(method, Joint) or method.kd_weight > 0:
        return None
    usual = method.temperature == 0.07
    if isinstance(method, LWSupCRD):
        if method.teacher_temperature != 1:
            return None
        usual = usual and (method.alpha, method.beta, method.adaptive) == (1, 10, True)
    if isinstance(method, Hybrid):
        name = f"hybrid_lambda_{method.lam}"
        return (name, name) if usual and method.bank == 0 else None
    # the reference's later experiments, with a bank and, under the same recipe, without
    later = (train.optimizer, train.schedule, train.weight_decay) == ("adam", "cosine", 1e-4)
    if method.bank > 0 or (usual and later):
        bank = f"bank{method.bank}" if method.bank > 0 else "nobank"
        name = f"{'baseline_crd' if method.name == 'crd' else 'lwsupcrd'}_{bank}"
        return (name, name) if usual else None
    if isinstance(method, LWSupCRD):
        return _weighted(method)
    return ("baseline_crd", "baseline_crd") if usual else None


def _weighted(method: LWSupCRD) -> tuple[str, str] | None:
    """Of the sweeps of alpha, beta and temperature."""
    alpha, beta, temperature = method.alpha, method.beta, method.temperature
    stem = f"alpha_{alpha}_beta_{beta}"
    if not method.adaptive:
        return None if temperature != 0.07 else (stem, stem)
    swept = {
        name: value
        for name, value, usual in (("alpha", alpha, 1.0), ("beta", beta, 10.0), ("temp", temperature, 0.07))
        if value != usual
    }
    if "temp" in swept or not swept:
        stem += f"_temp_{temperature}"
        swept = swept or {"temp": temperature}
    else:
        stem += "_adaptive"
    return stem, "_".join(f"{name}_{value}" for name, value in swept.items())


def short_arch(arch: str) -> str:
    """An architecture as file names have it.

    Example:
        >>> short_arch("timm:resnet50"), short_arch("timm:hf_hub:owner/vit-tiny")
        ('resnet50', 'vit-tiny')
    """
    return _plain(re.split("[:/]", arch)[-1])


def short_source(source: str) -> str:
    """A data source as file names have it.

    Example:
        >>> short_source("cifar100"), short_source("npz:my/tiny.npz"), short_source("folder:my/birds/")
        ('cifar100', 'tiny', 'birds')
    """
    return _plain(re.sub(r"\.npz$", "", re.split("[:/]", source.rstrip("/"))[-1]))


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text) or "data"
