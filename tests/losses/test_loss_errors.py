"""Wrong arguments of the losses: one line that names the thing and its value."""

from collections.abc import Callable

import pytest
import torch

from supcrd.losses import CRD, DKD, KD, Hybrid, LWSupCRD, SupCon, crd, dkd, hybrid, kd, lw_supcrd, standardise, supcon

X, Y, Z = torch.randn(4, 8), torch.tensor([0, 1, 0, 1]), torch.randn(4, 3)
ALL = torch.ones(4, dtype=torch.bool)

ERRORS: list[tuple[Callable[[], object], str]] = [
    # Embeddings and logits
    (lambda: supcon(X[0], Y), r"embeddings .*\(8,\)"),
    (lambda: supcon(X[:, None, None], Y), r"embeddings .*\(4, 1, 1, 8\)"),
    (lambda: supcon(X.long(), Y), "embeddings .*int64"),
    (lambda: supcon(X[:0], Y[:0]), r"embeddings .*\(0, 8\)"),
    (lambda: supcon(X[:, :0], Y), r"embeddings .*\(4, 0\)"),
    (lambda: supcon(X[:, None][:, :0], Y), r"embeddings .*\(0, 8\)"),
    (lambda: crd(X[0], X), r"student .*\(8,\)"),
    (lambda: crd(X, X[:, :7]), "teacher .*8 columns.*7"),
    (lambda: crd(X, X[:3]), "teacher .*4 student rows.*3"),
    (lambda: crd(X, X.long()), "teacher .*int64"),
    (lambda: kd(Z, Z[:, :2]), "teacher_logits .*3 columns.*2"),
    (lambda: kd(Z, Z[:2]), r"\(4, 3\).*\(2, 3\)"),
    (lambda: kd(Z[0], Z[0]), r"student_logits .*\(3,\)"),
    (lambda: kd(Z[:, :0], Z[:, :0]), r"student_logits .*\(4, 0\)"),
    (lambda: lw_supcrd(X[None], X, Y, Z), r"student .*\(1, 4, 8\)"),
    (lambda: lw_supcrd(X, X[:, :7], Y, Z), "teacher .*8 columns.*7"),
    (lambda: lw_supcrd(X, X, Y, Z[:3]), "teacher_logits .*4 rows.*3"),
    (lambda: lw_supcrd(X, X, Y, Z.long()), "teacher_logits .*int64"),
    (lambda: hybrid(X, X, Y, Z[:3]), "teacher_logits .*4 rows.*3"),
    (lambda: dkd(Z, Z[:, :2], Y), "teacher_logits .*3 columns.*2"),
    (lambda: dkd(Z, Z[:2], Y), r"\(4, 3\).*\(2, 3\)"),
    (lambda: dkd(Z.long(), Z, Y), "student_logits .*int64"),
    (lambda: dkd(Z[:, :1], Z[:, :1], Y), "student_logits .*2 columns.*1"),
    (lambda: standardise(Z[0]), r"logits .*\(3,\)"),
    (lambda: standardise(Y[:, None]), "logits .*int64"),
    (lambda: standardise(Z[:0]), r"logits .*\(0, 3\)"),
    (lambda: KD(standardise=True)(Z, Z[:2]), r"\(4, 3\).*\(2, 3\)"),
    # Masks
    (lambda: crd(X, X, valid=ALL[:3]), r"valid .*\(4,\).*\(3,\)"),
    (lambda: crd(X, X, valid=ALL[:, None]), r"valid .*\(4, 1\)"),
    (lambda: crd(X, X, valid=ALL.long()), "valid .*bool.*int64"),
    (lambda: crd(X, torch.cat([X, X]), valid=torch.arange(8) != 2), "valid .*first 4 rows.*row 2 "),
    (lambda: lw_supcrd(X, X, Y, Z, valid=ALL[:3]), r"valid .*\(4,\).*\(3,\)"),
    (lambda: lw_supcrd(X, X, Y, Z, valid=ALL.float()), "valid .*bool.*float32"),
    (lambda: lw_supcrd(X, X, Y, Z, candidate_labels=Y + 7, valid=Y == 0), "label 7 "),
    # Labels
    (lambda: dkd(Z, Z, Y[:3]), r"labels .*\(4,\).*\(3,\)"),
    (lambda: dkd(Z, Z, Y.float()), "labels .*integers.*float32"),
    (lambda: dkd(Z, Z, Y + 2), r"labels .*0\.\.2.*3"),
    (lambda: dkd(Z, Z, Y - 1), r"labels .*0\.\.2.*-1"),
    (lambda: supcon(X, Y[:3]), r"labels .*\(4,\).*\(3,\)"),
    (lambda: supcon(X, Y[:, None]), r"labels .*\(4, 1\)"),
    (lambda: supcon(X, Y.float()), "labels .*integers.*float32"),
    (lambda: supcon(X, Y > 0), "labels .*integers.*bool"),
    (lambda: lw_supcrd(X, X, Y[:3], Z), r"labels .*\(4,\).*\(3,\)"),
    (lambda: lw_supcrd(X, X, Y.double(), Z), "labels .*integers.*float64"),
    (lambda: lw_supcrd(X, X[:3], Y, Z), "3 candidates for 4 anchors .*candidate_labels"),
    (lambda: lw_supcrd(X, X, Y, Z, candidate_labels=Y[:3]), r"candidate_labels .*\(4,\).*\(3,\)"),
    (lambda: lw_supcrd(X, X, Y, Z, candidate_labels=Y.float()), "candidate_labels .*float32"),
    (lambda: lw_supcrd(X, X, Y + 2, Z), "label 3 .*3 teacher logits"),
    (lambda: lw_supcrd(X, X, Y - 1, Z), "label -1 "),
    (lambda: lw_supcrd(X, X, Y, Z, candidate_labels=Y + 7), "label [78] "),
    (lambda: lw_supcrd(X, X, Y, Z, classes=torch.tensor([5, 1, 9])), "label 0 "),
    (lambda: lw_supcrd(X, X, Y + 99, Z, classes=torch.tensor([5, 1, 9])), "label 99 "),
    (lambda: lw_supcrd(X, X, Y, Z, classes=torch.tensor([0, 1])), r"classes .*\(3,\).*\(2,\)"),
    (lambda: lw_supcrd(X, X, Y, Z, classes=torch.tensor([0.0, 1, 2])), "classes .*float32"),
    # lambda
    (lambda: hybrid(X, X, Y, Z, lam=1.5), r"lam .*1\.5"),
    (lambda: hybrid(X, X, Y, Z, lam=-0.1), r"lam .*-0\.1"),
    (lambda: Hybrid(lam=float("nan")), "lam .*nan"),
]
for _bad in (0.0, -1.0, float("inf"), float("nan")):
    ERRORS += [
        (lambda t=_bad: supcon(X, Y, temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: crd(X, X, temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: kd(Z, Z, temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: dkd(Z, Z, Y, temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: lw_supcrd(X, X, Y, Z, temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: lw_supcrd(X, X, Y, Z, teacher_temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: lw_supcrd(X, X, Y, Z, alpha=t), f"alpha .*{_bad}"),
        (lambda t=_bad: lw_supcrd(X, X, Y, Z, beta=t), f"beta .*{_bad}"),
        (lambda t=_bad: hybrid(X, X, Y, Z, temperature=t), f"temperature .*{_bad}"),
        # Modules refuse when they are made, not at the first batch.
        (lambda t=_bad: SupCon(t), f"temperature .*{_bad}"),
        (lambda t=_bad: CRD(t), f"temperature .*{_bad}"),
        (lambda t=_bad: KD(t), f"temperature .*{_bad}"),
        (lambda t=_bad: DKD(temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: LWSupCRD(alpha=t), f"alpha .*{_bad}"),
        (lambda t=_bad: LWSupCRD(beta=t), f"beta .*{_bad}"),
        (lambda t=_bad: LWSupCRD(temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: LWSupCRD(teacher_temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: Hybrid(temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: Hybrid(beta=t), f"beta .*{_bad}"),
    ]
    if _bad != 0:  # of these weights 0 is one, and leaves a part out
        ERRORS += [
            (lambda t=_bad: dkd(Z, Z, Y, alpha=t), f"alpha .*{_bad}"),
            (lambda t=_bad: dkd(Z, Z, Y, beta=t), f"beta .*{_bad}"),
            (lambda t=_bad: DKD(alpha=t), f"alpha .*{_bad}"),
            (lambda t=_bad: DKD(beta=t), f"beta .*{_bad}"),
        ]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_wrong_arguments_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
