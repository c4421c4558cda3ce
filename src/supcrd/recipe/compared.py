"""The methods of other papers: the keys of their terms, and a preset of `[method]` for each, made from one table.

A preset is cross-entropy through the encoder + KD + the term, as RepDistiller adds them: its gamma, alpha and beta are
`ce_weight`, `kd_weight` and `weight`. A term's settings (`supcrd.training.objective.terms`) have the same keys.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BeforeValidator, Field, create_model

from supcrd.recipe.types import BelowOne, Count, NonNegative, Settings, Temperature


def _several(value: Any) -> Any:
    """Text is a list of one, or of what commas part."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


MAPS = "names of maps, such as stage1"
Maps = Annotated[tuple[str, ...], BeforeValidator(_several), Field(strict=False, json_schema_extra={"range": MAPS})]
Temperatures = Annotated[tuple[Temperature, ...], Field(strict=False, min_length=1, max_length=64)]


class MapKeys(Settings):
    """Keys of terms that compare feature maps."""

    student_maps: Maps = ()
    """the student's maps; if not given, the term's own choice (docs/terms.md)"""
    teacher_maps: Maps = ()
    """the teacher's maps, one for each of the student's; if not given, chosen as the student's are"""


class RKDKeys(Settings):
    """Keys of `rkd`."""

    distance: NonNegative = 25.0
    """weight of the distances' part"""
    angle: NonNegative = 50.0
    """weight of the angles' part"""


class VIDKeys(Settings):
    """Keys of `vid`, beside its maps."""

    variance: Annotated[float, Field(gt=1e-5, le=1e6)] = 5.0
    """variance that every channel starts with"""


class CCKeys(Settings):
    """Keys of `cc`."""

    dim: Count = 128
    """width of the linear embeddings of both networks' features"""


class DISTKeys(Settings):
    """Keys of `dist`."""

    beta: NonNegative = 2.0
    """weight of the correlations within an image, over the classes"""
    gamma: NonNegative = 2.0
    """weight of the correlations within a class, over the images"""
    temperature: Temperature = 4.0
    """divides both logits before the softmax"""


class CRDNCEKeys(Settings):
    """Keys of `crd_nce`."""

    negatives: Count = 16384
    """images drawn in every step, without those of an anchor's class its negatives; at most the training images"""
    momentum: BelowOne = 0.5
    """share of the old row of a bank in the new one"""
    temperature: Temperature = 0.07
    """divides cosine similarities"""
    dim: Count = 128
    """width of the linear embeddings of both networks' features"""


class ReviewKeys(Settings):
    """Keys of `review`, beside its maps."""

    preact: bool = True
    """compare with the teacher's maps before their final ReLU; maps that teacher_maps names are read as named"""


class MLKDKeys(Settings):
    """Keys of `mlkd`."""

    temperatures: Temperatures = (2.0, 3.0, 4.0, 5.0, 6.0)
    """each divides both logits before the softmax; the losses are added"""
    standardise: bool = False
    """z-score both logits first (Sun et al. 2024)"""


class LSKeys(Settings):
    """Keys of `ls`."""

    temperature: Temperature = 2.0
    """divides the z-scores of both logits before the softmax"""


class RRDKeys(Settings):
    """Keys of `rrd`."""

    queue: Count = 16384
    """rows of the queue of the teacher's embeddings"""
    temperature: Temperature = 0.1
    """divides the student's cosine similarities"""
    teacher_temperature: Temperature = 0.02
    """divides the teacher's cosine similarities"""
    dim: Count = 128
    """width of the linear embeddings of both networks' features"""


class Compared(Settings):
    """What the presets share: ce_weight * cross-entropy + kd_weight * kd + weight * the term."""

    reads_teacher: ClassVar[bool] = True
    contrastive: ClassVar[bool] = False
    name: str
    """the method"""
    weight: NonNegative = 1.0
    """weight of the term (beta in RepDistiller)"""
    ce_weight: NonNegative = 1.0
    """weight of cross-entropy, which teaches encoder and classifier (gamma in RepDistiller)"""
    kd_weight: NonNegative = 0.0
    """weight of an added `kd` term (alpha in RepDistiller); 0 for none"""
    kd_temperature: Temperature = 4.0
    """divides both logits in the added `kd` term"""
    warmup_epochs: NonNegative = 0.0
    """epochs over which the term's weight rises linearly at the start"""


class _Of(NamedTuple):
    """A preset: the keys of its term, its published weight, and whether the term compares images with one another."""

    keys: tuple[type[Settings], ...]
    weight: float
    about: str
    others: bool = False
    changed: Mapping[str, float] = MappingProxyType({})
    """defaults of `Compared` that the published runs had otherwise"""


_PRESETS = {
    "fitnet": _Of((MapKeys,), 100.0, "FitNets (Romero et al. 2015)"),
    "at": _Of((MapKeys,), 1000.0, "Attention transfer (Zagoruyko & Komodakis 2017)"),
    "sp": _Of((MapKeys,), 3000.0, "Similarity-preserving distillation (Tung & Mori 2019)", others=True),
    "cc": _Of((CCKeys,), 0.02, "Correlation congruence (Peng et al. 2019)", others=True),
    "vid": _Of((VIDKeys, MapKeys), 1.0, "Variational information distillation (Ahn et al. 2019)"),
    "rkd": _Of((RKDKeys,), 1.0, "Relational knowledge distillation (Park et al. 2019)", others=True),
    "pkt": _Of((), 30000.0, "Probabilistic knowledge transfer (Passalis & Tefas 2018)", others=True),
    "nst": _Of((MapKeys,), 50.0, "Neuron selectivity transfer (Huang & Wang 2017)"),
    "crd_nce": _Of((CRDNCEKeys,), 0.8, "Contrastive representation distillation as published (Tian et al. 2020)",
                   others=True),
    "review": _Of((ReviewKeys, MapKeys), 5.0, "Knowledge review (Chen et al. 2021)", changed={"warmup_epochs": 20.0}),
    "dist": _Of((DISTKeys,), 1.0, "DIST (Huang et al. 2022)", others=True),
    "mlkd": _Of((MLKDKeys,), 0.9, "Multi-level logit distillation (Jin et al. 2023)", others=True,
                changed={"ce_weight": 0.1}),
    "simkd": _Of((), 1.0, "SimKD: the teacher's classifier, reused (Chen et al. 2022)", changed={"ce_weight": 0.0}),
    "rrd": _Of((RRDKeys,), 1.0, "Relational representation distillation (Giakoumoglou & Stathaki 2024)", others=True),
    "ls": _Of((LSKeys,), 9.0, "Logit standardisation: KD of z-scores (Sun et al. 2024)", changed={"ce_weight": 0.1}),
}  # fmt: skip
"""Weights are those of RepDistiller's and, for the later ones, of the authors' scripts; see docs/terms.md."""


def _preset(name: str, of: _Of) -> type[Compared]:
    known = Compared.model_fields
    fields: dict[str, Any] = {"name": (Literal[name], Field(description=known["name"].description))}
    for key, value in {"weight": of.weight, **of.changed}.items():
        fields[key] = (NonNegative, Field(default=value, description=known[key].description))
    bases: Any = (Compared, *of.keys)
    about = f"{of.about}: ce_weight * cross-entropy + kd_weight * kd + weight * {name}; see docs/terms.md."
    preset: type[Compared] = create_model(name, __base__=bases, __module__=__name__, __doc__=about, **fields)
    preset.contrastive = of.others
    return preset


COMPARED: dict[str, type[Compared]] = {name: _preset(name, of) for name, of in _PRESETS.items()}
"""Name -> preset, each with the defaults of the published runs."""
globals().update(COMPARED)  # where pickle looks for a class: recipes go to the processes that draw a report
