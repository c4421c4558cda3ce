"""The reference's experiments: what was changed in each, what was published of it, and in which table it stands."""

from typing import NamedTuple

from supcrd.base.wording import nearest
from supcrd.errors import SupcrdError


class Figures(NamedTuple):
    """What was published of one run (one seed each)."""

    accuracy: float  # of the test split, 0..1
    alignment: float | None = None
    uniformity: float | None = None


class Row(NamedTuple):
    """A line of a table."""

    label: str
    experiment: str  # key of EXPERIMENTS
    published: Figures | None = None


class RecipeSet(NamedTuple):
    """How all experiments are trained."""

    recipe: str  # a built-in one, of lw_supcrd with alpha = 1, beta = 10, adaptive, temperature 0.07
    about: str
    plain: tuple[str, ...] = ()  # changes for methods without a contrast
    bank: tuple[str, ...] = ()  # changes for the bank's experiments, with and without it


SETS = {
    "published": RecipeSet(
        "cifar100-lw-supcrd",
        "the reference's protocol to the letter: ResNet-50 to ResNet-18, 50 epochs, Adam at 1e-3, no validation split",
        plain=("augment.views=1", "head.epochs=0"),
        bank=("train.weight_decay=1e-4", "train.schedule=cosine"),
    ),
    "strong": RecipeSet(
        "reproduce-strong",
        "the reference's networks and view-epochs, one better recipe for every method: SGD, cosine, decay of weights, "
        "one view, the classifier that is better on validation",
    ),
    "small": RecipeSet(
        "reproduce-small",
        "small networks and few epochs, for two CPU cores: resnet20 to convnet, two views for every method",
    ),
}

# Names are the reference's where it has one (see `supcrd reproduce layout` and REFERENCE's plots).
EXPERIMENTS: dict[str, tuple[str, ...]] = {
    "undistilled": ("method.name=cross_entropy",),
    "kd": ("method.name=kd", "method.temperature=4.0"),
    "kd_standardised": (
        "method.name=kd",
        "method.temperature=2.0",  # base temperature and weight (9 to 0.1) of Sun et al. 2024
        "method.weight=0.989",
        "method.standardise=true",
    ),
    "dkd": ("method.name=dkd", "method.temperature=4.0", "method.alpha=1.0", "method.beta=8.0"),
    "dkd_standardised": (
        "method.name=dkd",
        "method.temperature=2.0",
        "method.alpha=1.0",
        "method.beta=8.0",
        "method.standardise=true",
    ),
    "baseline_supcon": ("method.name=supcon",),
    "baseline_crd": ("method.name=crd",),
    "crd_kd": ("method.name=crd", "method.kd_weight=1.0"),
    "lw_supcrd": (),
    "lw_supcrd_kd": ("method.kd_weight=1.0",),
    "alpha_2.0": ("method.alpha=2.0",),
    "alpha_5.0": ("method.alpha=5.0",),
    "alpha_10.0": ("method.alpha=10.0",),
    "beta_1.0": ("method.beta=1.0",),
    "beta_5.0": ("method.beta=5.0",),
    "beta_12.0": ("method.beta=12.0",),
    "temp_0.05": ("method.temperature=0.05",),
    "hybrid_lambda_0.3": ("method.name=hybrid", "method.lam=0.3"),
    "hybrid_lambda_0.5": ("method.name=hybrid", "method.lam=0.5"),
    "hybrid_lambda_0.7": ("method.name=hybrid", "method.lam=0.7"),
    "hybrid_lambda_0.9": ("method.name=hybrid", "method.lam=0.9"),
    "no_bank_lw_supcrd": (),
    "bank_lw_supcrd": ("method.bank=4096",),
    "no_bank_crd": ("method.name=crd",),
    "bank_crd": ("method.name=crd", "method.bank=4096"),
}
PLAIN = ("undistilled", "kd", "kd_standardised", "dkd", "dkd_standardised")
BANK = ("no_bank_lw_supcrd", "bank_lw_supcrd", "no_bank_crd", "bank_crd")

LW_SUPCRD = Figures(0.7319, 1.1518, -3.7027)
HYBRID = Figures(0.7258, 0.6043, -3.2880)

TABLES: dict[str, tuple[Row, ...]] = {
    "main": (
        Row("undistilled (cross-entropy)", "undistilled", Figures(0.6793, 0.6631, -1.7332)),
        Row("KD", "kd"),
        Row("DKD", "dkd"),
        Row("SupCon", "baseline_supcon", Figures(0.6908, 0.4377, -2.5665)),
        Row("CRD", "baseline_crd", Figures(0.6805, 0.9008, -2.2358)),
        Row("LW-SupCRD", "lw_supcrd", LW_SUPCRD),
        Row("Hybrid, lambda = 0.3", "hybrid_lambda_0.3", HYBRID),
        Row("LW-SupCRD + KD", "lw_supcrd_kd"),
    ),
    "alpha": (
        Row("alpha = 1 (beta/alpha = 10)", "lw_supcrd", LW_SUPCRD),
        Row("alpha = 2 (beta/alpha = 5)", "alpha_2.0", Figures(0.7178, 1.1129, -3.6744)),
        Row("alpha = 5 (beta/alpha = 2)", "alpha_5.0", Figures(0.7067, 1.1589, -3.6712)),
        Row("alpha = 10 (beta/alpha = 1)", "alpha_10.0", Figures(0.7007, 1.2754, -3.6728)),
    ),
    "beta": (
        Row("beta = 10 (beta/alpha = 10)", "lw_supcrd", LW_SUPCRD),
        Row("beta = 12 (beta/alpha = 12)", "beta_12.0", Figures(0.7131, 1.2068, -3.6654)),
        Row("beta = 5 (beta/alpha = 5)", "beta_5.0", Figures(0.7063, 1.2487, -3.6785)),
        Row("beta = 1 (beta/alpha = 1)", "beta_1.0", Figures(0.7046, 1.1862, -3.6390)),
    ),
    "temperature": (
        Row("temperature 0.07 (LW-SupCRD, published once more)", "lw_supcrd", Figures(0.7335, 1.1990, -3.7104)),
        Row("temperature 0.05", "temp_0.05", Figures(0.6808, 1.3503, -3.6645)),
    ),
    "hybrid": (
        Row("lambda = 0 (LW-SupCRD)", "lw_supcrd", LW_SUPCRD),
        Row("lambda = 0.3", "hybrid_lambda_0.3", HYBRID),
        Row("lambda = 0.5", "hybrid_lambda_0.5", Figures(0.7207, 0.5166, -2.9451)),
        Row("lambda = 0.7", "hybrid_lambda_0.7", Figures(0.7157, 0.4845, -2.8290)),
        Row("lambda = 0.9", "hybrid_lambda_0.9", Figures(0.7069, 0.4394, -2.6273)),
        Row("lambda = 1 (SupCon)", "baseline_supcon", Figures(0.6908, 0.4377, -2.5665)),
    ),
    "bank": (
        Row("LW-SupCRD without a bank", "no_bank_lw_supcrd", Figures(0.7476)),
        Row("LW-SupCRD with 4,096 rows", "bank_lw_supcrd", Figures(0.7563)),
        Row("CRD without a bank", "no_bank_crd", Figures(0.6815)),
        Row("CRD with 4,096 rows", "bank_crd", Figures(0.6956)),
    ),
    "logits": (
        Row("KD", "kd"),
        Row("KD, standardised logits", "kd_standardised"),
        Row("DKD", "dkd"),
        Row("DKD, standardised logits", "dkd_standardised"),
        Row("CRD + KD", "crd_kd"),
        Row("LW-SupCRD + KD", "lw_supcrd_kd"),
    ),
}
REPLICATES = (("alpha_2.0", "beta_5.0"), ("alpha_10.0", "beta_1.0"))
"""Equal beta/alpha, which under Adam is one experiment run twice (docs/theory.md, 1)."""

TEACHER = Figures(0.8075, 0.5928, -3.4649)


def tables(text: str) -> list[str]:
    """The names of tables in a list separated by commas.

    Raises:
        SupcrdError: one that there is not.

    Example:
        >>> tables("main,beta")
        ['main', 'beta']
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in TABLES:
            raise SupcrdError(f"--tables {name!r}{nearest(name, list(TABLES))}; there are {', '.join(TABLES)}")
    return names
