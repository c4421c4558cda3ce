"""The methods of `[method]` as objectives: per method a function from its settings to tables of terms.

The order of the terms is fixed, so that floating-point sums of the terms equal those of version 0.1 to the bit.
"""

from collections.abc import Callable, Mapping
from typing import Any

from supcrd.recipe.compared import Compared
from supcrd.recipe.settings import CRD, DKD, KD, CrossEntropy, Hybrid, Joint, LWSupCRD, Settings, SupCon, Taught

Tables = dict[str, dict[str, Any]]

PROBE = {"term": "cross_entropy", "detach": True}
"""The classifier of a method that does not use it: an online probe, which gives the encoder no gradient."""


def tables(method: Settings) -> Tables:
    """The objective that a `[method]` table stands for.

    Example:
        >>> tables(KD(name="kd", weight=0.5))
        {'cross_entropy': {'weight': 0.5}, 'kd': {'weight': 0.5, 'temperature': 4.0, 'standardise': False}}
    """
    if isinstance(method, Compared):
        return _compared(method)
    return _PRESETS[type(method)](method)


def _cross_entropy(method: CrossEntropy) -> Tables:
    return {"cross_entropy": method.model_dump(include={"label_smoothing", "class_weights"})}


def _kd(method: KD) -> Tables:
    distilled = {"weight": method.weight, "temperature": method.temperature, "standardise": method.standardise}
    return {"cross_entropy": {"weight": 1 - method.weight}, "kd": distilled}


def _dkd(method: DKD) -> Tables:
    own = method.model_dump(include={"alpha", "beta", "temperature", "standardise"})
    return {"cross_entropy": {"weight": method.ce_weight}, "dkd": own | {"rise_epochs": method.warmup_epochs}}


def _supcon(method: SupCon) -> Tables:
    return {"supcon": {"temperature": method.temperature}, "probe": PROBE}


def _crd(method: CRD) -> Tables:
    own = method.model_dump(include={"temperature", "bank", "bank_momentum"})
    return {"crd": own} | _added_kd(method) | {"probe": PROBE}


def _lw_supcrd(method: LWSupCRD) -> Tables:
    own = method.model_dump(exclude={"name", "kd_weight", "kd_temperature", "lam"})
    return {"lw_supcrd": own} | _added_kd(method) | {"probe": PROBE}


def _hybrid(method: Hybrid) -> Tables:
    taught = _lw_supcrd(method)
    taught["lw_supcrd"]["weight"] = 1 - method.lam
    return {"supcon": {"weight": method.lam, "temperature": method.temperature}} | taught


def _joint(method: Joint) -> Tables:
    own = method.model_dump(include={"label_smoothing", "class_weights"})
    objective: Tables = {"cross_entropy": own | {"weight": method.ce_weight}}
    if method.kd_weight > 0:
        objective[method.logits] = {"weight": method.kd_weight, "temperature": method.kd_temperature}
        objective[method.logits] |= {"fall": method.kd_fall}
        if method.logits == "kd":
            objective["kd"] |= {"standardise": method.standardise}
    if method.contrast != "none" and method.contrast_weight > 0:
        own = method.model_dump(include=CONTRASTS[method.contrast])
        own |= {"weight": method.contrast_weight, "fall": method.contrast_fall}
        objective[method.contrast] = own | {"views": method.contrast_views, "mixed": method.contrast_mixed}
    return objective


CONTRASTS = {
    "supcon": {"temperature"},
    "crd": {"temperature", "bank", "bank_momentum"},
    "lw_supcrd": {"temperature", "bank", "bank_momentum", "alpha", "beta", "adaptive", "teacher_temperature"},
}
"""The keys of `joint` that its contrastive term has."""


def _added_kd(method: Taught) -> Tables:
    if method.kd_weight == 0:
        return {}
    return {"kd": {"weight": method.kd_weight, "temperature": method.kd_temperature}}


def _compared(method: Compared) -> Tables:
    """Every one of `supcrd.recipe.compared`: its term has the method's name and the keys that no other preset has."""
    values = method.model_dump()
    own = {key: value for key, value in values.items() if key == "weight" or key not in Compared.model_fields}
    objective: Tables = {"cross_entropy": {"weight": method.ce_weight}}
    if method.kd_weight > 0:
        objective["kd"] = {"weight": method.kd_weight, "temperature": method.kd_temperature}
    return objective | {values["name"]: own | {"rise_epochs": method.warmup_epochs}}


_PRESETS: Mapping[type[Settings], Callable[[Any], Tables]] = {
    CrossEntropy: _cross_entropy,
    KD: _kd,
    DKD: _dkd,
    SupCon: _supcon,
    CRD: _crd,
    LWSupCRD: _lw_supcrd,
    Hybrid: _hybrid,
    Joint: _joint,
}
