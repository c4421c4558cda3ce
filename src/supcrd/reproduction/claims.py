"""What the reference claims, as comparisons of two experiments.

The claims were written down before any run was made: what is tested does not depend on the results.
"""

from typing import NamedTuple

UNIFORMITY = "uniformity goes with accuracy, and more than alignment does"


class Claim(NamedTuple):
    """A published order of two experiments by accuracy."""

    finding: str  # of the reference, which this is a part of
    text: str
    better: str
    worse: str


def _above(finding: str, better: str, first: str, **others: str) -> tuple[Claim, ...]:
    return tuple(Claim(finding, f"{first} above {text}", better, worse) for worse, text in others.items())


CLAIMS = (
    *_above(
        "LW-SupCRD is above the baselines",
        "lw_supcrd",
        "LW-SupCRD",
        undistilled="undistilled",
        baseline_supcon="SupCon",
        baseline_crd="CRD",
    ),
    *_above(
        "hybrids are below LW-SupCRD",
        "lw_supcrd",
        "LW-SupCRD",
        **{f"hybrid_lambda_{lam}": f"hybrid, lambda = {lam}" for lam in (0.3, 0.5, 0.7, 0.9)},
    ),
    *_above(
        "a hybrid loses as lambda grows", "hybrid_lambda_0.3", "lambda = 0.3", **{"hybrid_lambda_0.9": "lambda = 0.9"}
    ),
    *_above(
        "alpha = 1 is best",
        "lw_supcrd",
        "alpha = 1",
        **{f"alpha_{alpha}.0": f"alpha = {alpha}" for alpha in (2, 5, 10)},
    ),
    *_above(
        "beta = 10 is best",
        "lw_supcrd",
        "beta = 10",
        **{f"beta_{beta}.0": f"beta = {beta}" for beta in (12, 5, 1)},
    ),
    *_above("temperature 0.07 is above 0.05", "lw_supcrd", "temperature 0.07", **{"temp_0.05": "0.05"}),
    *_above("a memory bank helps", "bank_lw_supcrd", "LW-SupCRD with a bank", no_bank_lw_supcrd="without"),
    *_above("a memory bank helps", "bank_crd", "CRD with a bank", no_bank_crd="without"),
)
