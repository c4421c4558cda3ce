"""The losses and their gradients in log space: loops over Python floats, of which none can overflow.

Rows are lists of floats. Each loss gives one value an anchor, and the gradients of their sum.
"""

import math
from collections.abc import Sequence

Rows = Sequence[Sequence[float]]
Matrix = list[list[float]]


def logsumexp(values: Sequence[float]) -> float:
    top = max(values, default=-math.inf)
    return top if math.isinf(top) else top + math.log(math.fsum(math.exp(value - top) for value in values))


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x)) if x > -700 else 0.0


def unit(row: Sequence[float]) -> tuple[list[float], float]:
    """A row over its norm, and that norm; zeros stay zeros."""
    top = max(map(abs, row))
    if top == 0:
        return [0.0] * len(row), math.inf
    norm = math.sqrt(math.fsum((x / top) ** 2 for x in row))
    return [x / top / norm for x in row], top * norm


def scores(anchors: Rows, candidates: Rows, temperature: float) -> Matrix:
    ours, theirs = [unit(row)[0] for row in anchors], [unit(row)[0] for row in candidates]
    return [[math.fsum(a * b for a, b in zip(x, y, strict=True)) / temperature for y in theirs] for x in ours]


def through_scores(gradient: Matrix, anchors: Rows, candidates: Rows, temperature: float) -> tuple[Matrix, Matrix]:
    """d/d s_ij -> gradients of the rows: tangent to the sphere, over the norm."""
    ours, theirs = [unit(row) for row in anchors], [unit(row) for row in candidates]
    width = range(len(anchors[0]))

    def rows(pairs: Rows, of: list[tuple[list[float], float]], others: list[tuple[list[float], float]]) -> Matrix:
        done = []
        for (own, norm), shares in zip(of, pairs, strict=True):
            total = [
                math.fsum(share * other[d] for share, (other, _) in zip(shares, others, strict=True)) / temperature
                for d in width
            ]
            along = math.fsum(t * o for t, o in zip(total, own, strict=True))
            # over the norm in two steps: it may be as small as float64's smallest numbers
            done.append([0.0 if math.isinf(norm) else (t - along * o) / norm for t, o in zip(total, own, strict=True)])
        return done

    transposed = [[row[j] for row in gradient] for j in range(len(candidates))]
    return rows(gradient, ours, theirs), rows(transposed, theirs, ours)


def supcon(rows: Rows, labels: Sequence[int], *, temperature: float) -> tuple[list[float], Matrix]:
    similar = scores(rows, rows, temperature)
    losses, gradient = [], []
    for i, row in enumerate(similar):
        positives = [j for j in range(len(row)) if j != i and labels[j] == labels[i]]
        if not positives or len(positives) == len(row) - 1:
            losses.append(0.0)
            gradient.append([0.0] * len(row))
            continue
        whole = logsumexp([s for j, s in enumerate(row) if j != i])
        losses.append(math.fsum(whole - row[p] for p in positives) / len(positives))
        gradient.append(
            [0.0 if j == i else math.exp(s - whole) - (j in positives) / len(positives) for j, s in enumerate(row)]
        )
    as_anchor, as_candidate = through_scores(gradient, rows, rows, temperature)
    return losses, [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(as_anchor, as_candidate, strict=True)]


def crd(student: Rows, teacher: Rows, *, temperature: float) -> tuple[list[float], Matrix, Matrix]:
    losses, gradient = [], []
    for i, row in enumerate(scores(student, teacher, temperature)):
        others = logsumexp([s for j, s in enumerate(row) if j != i])
        losses.append(softplus(others - row[i]))
        away = sigmoid(others - row[i])
        gradient.append([-away if j == i else away * math.exp(s - others) for j, s in enumerate(row)])
    return losses, *through_scores(gradient, student, teacher, temperature)


def log_softmax(row: Sequence[float], temperature: float) -> list[float]:
    scaled = [x / temperature for x in row]
    whole = logsumexp(scaled)
    return [x - whole for x in scaled]


def lw_supcrd(
    student: Rows,
    teacher: Rows,
    labels: Sequence[int],
    logits: Rows,
    candidate_labels: Sequence[int],
    *,
    alpha: float,
    beta: float,
    temperature: float,
    adaptive: bool,
    teacher_temperature: float,
) -> tuple[list[float], Matrix, Matrix]:
    losses, gradient = [], []
    for i, row in enumerate(scores(student, teacher, temperature)):
        log_p = log_softmax(logits[i], teacher_temperature)
        own = log_p[labels[i]]
        log_pull = own + (math.log(math.exp(own) + 0.5) if adaptive else 0.0)
        # 1 - p of a class is the sum of the others, never a difference
        pushing = {
            j: s + logsumexp([p for c, p in enumerate(log_p) if c != y]) + math.log(beta) - math.log(alpha)
            for j, (s, y) in enumerate(zip(row, candidate_labels, strict=True))
            if y != labels[i]
        }
        pulling = {j: s for j, s in enumerate(row) if j not in pushing}
        if not pushing or not pulling:
            losses.append(0.0)
            gradient.append([0.0] * len(row))
            continue
        push, pull = logsumexp(list(pushing.values())), logsumexp(list(pulling.values()))
        margin = push - log_pull - pull
        losses.append(softplus(margin) / alpha)
        weight = sigmoid(margin) / alpha
        gradient.append(
            [weight * (math.exp(pushing[j] - push) if j in pushing else -math.exp(s - pull)) for j, s in enumerate(row)]
        )
    return losses, *through_scores(gradient, student, teacher, temperature)


def kd(student: Rows, teacher: Rows, *, temperature: float) -> tuple[list[float], Matrix]:
    losses, gradient = [], []
    for s, t in zip(student, teacher, strict=True):
        log_q, log_p = log_softmax(s, temperature), log_softmax(t, temperature)
        terms = [math.exp(p) * (p - q) if math.exp(p) > 0 else 0.0 for p, q in zip(log_p, log_q, strict=True)]
        losses.append(temperature**2 * math.fsum(terms))
        gradient.append([temperature * (math.exp(q) - math.exp(p)) for p, q in zip(log_p, log_q, strict=True)])
    return losses, gradient


def dkd(
    student: Rows, teacher: Rows, labels: Sequence[int], *, alpha: float, beta: float, temperature: float
) -> tuple[list[float], Matrix]:
    losses, gradient = [], []
    for s, t, y in zip(student, teacher, labels, strict=True):
        others = [c for c in range(len(s)) if c != y]
        parts = []
        for row in (s, t):
            rest = log_softmax([row[c] for c in others], temperature)
            parts.append((row[y] / temperature - logsumexp([row[c] / temperature for c in others]), rest))
        (ours, log_q), (theirs, log_p) = parts
        p, less = sigmoid(theirs), sigmoid(-theirs)
        # p ln(p / q) + (1 - p) ln((1 - p) / (1 - q)), the logarithms of probabilities being -softplus
        target = (p * (softplus(-ours) - softplus(-theirs)) if p > 0 else 0.0) + (
            less * (softplus(ours) - softplus(theirs)) if less > 0 else 0.0
        )
        terms = [math.exp(a) * (a - b) if math.exp(a) > 0 else 0.0 for a, b in zip(log_p, log_q, strict=True)]
        losses.append(temperature**2 * (alpha * target + beta * math.fsum(terms)))
        away = sigmoid(ours) - p if abs(ours) < 30 else less - sigmoid(-ours)
        row = [0.0] * len(s)
        row[y] = temperature * alpha * away
        for place, c in enumerate(others):
            own, other = math.exp(log_q[place]), math.exp(log_p[place])
            row[c] = temperature * (beta * (own - other) - alpha * away * own)
        gradient.append(row)
    return losses, gradient
