"""The losses as the reference and their papers write them: double loops over Python floats, eps = 0, nothing shared.

`student` and the others are lists of rows of floats; each function returns a list with one loss an anchor.
"""

import math
from collections.abc import Sequence

Rows = Sequence[Sequence[float]]


def cosines(anchors: Rows, candidates: Rows) -> list[list[float]]:
    def unit(row: Sequence[float]) -> list[float]:
        norm = math.sqrt(math.fsum(x * x for x in row))
        return [x / norm for x in row]

    anchors, candidates = [unit(row) for row in anchors], [unit(row) for row in candidates]
    return [[math.fsum(map(float.__mul__, a, b)) for b in candidates] for a in anchors]


def softmax(row: Sequence[float], temperature: float) -> list[float]:
    exps = [math.exp((x - max(row)) / temperature) for x in row]
    return [e / math.fsum(exps) for e in exps]


def supcon(rows: Rows, labels: Sequence[int], *, temperature: float) -> list[float]:
    cosine, losses = cosines(rows, rows), []
    for i in range(len(rows)):
        positives = [p for p in range(len(rows)) if p != i and labels[p] == labels[i]]
        if not positives or all(label == labels[i] for label in labels):
            losses.append(0.0)
            continue
        everyone = math.log(math.fsum(math.exp(cosine[i][j] / temperature) for j in range(len(rows)) if j != i))
        losses.append(-math.fsum(cosine[i][p] / temperature - everyone for p in positives) / len(positives))
    return losses


def crd(student: Rows, teacher: Rows, *, temperature: float) -> list[float]:
    cosine = cosines(student, teacher)
    return [
        -row[i] / temperature + math.log(math.fsum(math.exp(c / temperature) for c in row))
        for i, row in enumerate(cosine)
    ]


def lw_supcrd(
    student: Rows,
    teacher: Rows,
    labels: Sequence[int],
    logits: Rows,
    candidate_labels: Sequence[int],
    *,
    alpha: float = 1.0,
    beta: float = 10.0,
    temperature: float = 0.07,
    adaptive: bool = True,
    teacher_temperature: float = 1.0,
) -> list[float]:
    cosine, losses = cosines(student, teacher), []
    for i in range(len(student)):
        p = softmax(logits[i], teacher_temperature)
        own = p[labels[i]]
        beta_i = beta / (own + 0.5) if adaptive else beta
        positive, negative = [], []
        for j, label in enumerate(candidate_labels):
            e = math.exp(cosine[i][j] / temperature)
            if label == labels[i]:
                positive.append(e)
            else:
                negative.append(beta_i * (1 - p[label]) * e)
        pull = alpha * own * math.fsum(positive)
        # ln(1 + NEG / pull) is -ln(pull / (pull + NEG)) without its cancellation where NEG is small.
        losses.append(math.log1p(math.fsum(negative) / pull) / alpha if positive and negative else 0.0)
    return losses


def kd(student: Rows, teacher: Rows, *, temperature: float) -> list[float]:
    losses = []
    for s, t in zip(student, teacher, strict=True):
        q, p = softmax(s, temperature), softmax(t, temperature)
        losses.append(temperature**2 * math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    return losses


def dkd(
    student: Rows,
    teacher: Rows,
    labels: Sequence[int],
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> list[float]:
    losses = []
    for s, t, y in zip(student, teacher, labels, strict=True):
        q, p = softmax(s, temperature), softmax(t, temperature)
        others = [c for c in range(len(p)) if c != y]
        rest_p, rest_q = math.fsum(p[c] for c in others), math.fsum(q[c] for c in others)
        target = p[y] * math.log(p[y] / q[y]) + rest_p * math.log(rest_p / rest_q)
        other = math.fsum(p[c] / rest_p * math.log((p[c] / rest_p) / (q[c] / rest_q)) for c in others)
        losses.append(temperature**2 * (alpha * target + beta * other))
    return losses


def standardise(rows: Rows) -> list[list[float]]:
    scores = []
    for row in rows:
        mean = math.fsum(row) / len(row)
        deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in row) / len(row))
        scores.append([(x - mean) / deviation for x in row])
    return scores
