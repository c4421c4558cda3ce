"""Wrong arguments of the losses: one line that names the thing and its value."""

from collections.abc import Callable

import pytest
import torch

from supcrd.losses import CRD, KD, Hybrid, LWSupCRD, SupCon, crd, hybrid, kd, lw_supcrd, supcon

X, Y, Z = torch.randn(4, 8), torch.tensor([0, 1, 0, 1]), torch.randn(4, 3)

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
    # Labels
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
        (lambda t=_bad: lw_supcrd(X, X, Y, Z, temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: lw_supcrd(X, X, Y, Z, teacher_temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: lw_supcrd(X, X, Y, Z, alpha=t), f"alpha .*{_bad}"),
        (lambda t=_bad: lw_supcrd(X, X, Y, Z, beta=t), f"beta .*{_bad}"),
        (lambda t=_bad: hybrid(X, X, Y, Z, temperature=t), f"temperature .*{_bad}"),
        # Modules refuse when they are made, not at the first batch.
        (lambda t=_bad: SupCon(t), f"temperature .*{_bad}"),
        (lambda t=_bad: CRD(t), f"temperature .*{_bad}"),
        (lambda t=_bad: KD(t), f"temperature .*{_bad}"),
        (lambda t=_bad: LWSupCRD(alpha=t), f"alpha .*{_bad}"),
        (lambda t=_bad: LWSupCRD(beta=t), f"beta .*{_bad}"),
        (lambda t=_bad: LWSupCRD(temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: LWSupCRD(teacher_temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: Hybrid(temperature=t), f"temperature .*{_bad}"),
        (lambda t=_bad: Hybrid(beta=t), f"beta .*{_bad}"),
    ]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_wrong_arguments_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
