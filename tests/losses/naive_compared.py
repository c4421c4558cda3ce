"""The losses of other papers as their equations read: loops over Python floats, nothing shared with the package.

Rows are lists of floats; maps are nested lists [image][channel][row][column].
"""

import itertools
import math


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def unit(a):
    return [x / math.sqrt(dot(a, a)) for x in a]


def flat(maps):
    """[channel][row][column] -> numbers in one list."""
    return [x for channel in maps for row in channel for x in row]


def pooled(maps, size):
    """Means of equal cells, for sizes that divide."""
    step = len(maps[0]) // size
    cells = range(size)
    return [
        [
            [
                math.fsum(channel[y * step + a][x * step + b] for a in range(step) for b in range(step)) / step**2
                for x in cells
            ]
            for y in cells
        ]
        for channel in maps
    ]


def one_size(one, other):
    size = min(len(one[0]), len(other[0]))
    return pooled(one, size), pooled(other, size)


def rkd(student, teacher, *, distance, angle):
    count = len(student)

    def lengths(rows):
        table = [[math.dist(a, b) for b in rows] for a in rows]
        mean = math.fsum(itertools.chain(*table)) / (count * (count - 1))
        return [[x / mean for x in row] for row in table]

    def cosine(rows, i, j, k):
        if i in (j, k):
            return 0.0
        return dot(unit([x - y for x, y in zip(rows[j], rows[i], strict=True)]),
                   unit([x - y for x, y in zip(rows[k], rows[i], strict=True)]))  # fmt: skip

    def huber(x):
        return x * x / 2 if abs(x) <= 1 else abs(x) - 1 / 2

    ours, theirs, every = lengths(student), lengths(teacher), range(count)
    values = []
    for i in every:
        apart = math.fsum(huber(ours[i][j] - theirs[i][j]) for j in every) / count
        turned = math.fsum(huber(cosine(student, i, j, k) - cosine(teacher, i, j, k)) for j in every for k in every)
        values.append(distance * apart + angle * turned / count**2)
    return values


def pkt(student, teacher):
    def shares(rows):
        kernel = [[(1 + dot(unit(a), unit(b))) / 2 for b in rows] for a in rows]
        return [[x / math.fsum(row) for x in row] for row in kernel]

    pairs = zip(shares(student), shares(teacher), strict=True)
    return [
        math.fsum(t * math.log((t + 1e-7) / (s + 1e-7)) for s, t in zip(ours, theirs, strict=True)) / len(student)
        for ours, theirs in pairs
    ]


def sp(student, teacher):
    def gram(maps):
        return [unit([dot(flat(a), flat(b)) for b in maps]) for a in maps]

    return [
        math.fsum((x - y) ** 2 for x, y in zip(ours, theirs, strict=True)) / len(student)
        for ours, theirs in zip(gram(student), gram(teacher), strict=True)
    ]


def at(student, teacher):
    def attention(maps):
        size = range(len(maps[0]))
        return unit([math.fsum(channel[y][x] ** 2 for channel in maps) / len(maps) for y in size for x in size])

    values = []
    for one, other in zip(student, teacher, strict=True):
        ours, theirs = map(attention, one_size(one, other))
        values.append(math.fsum((x - y) ** 2 for x, y in zip(ours, theirs, strict=True)) / len(ours))
    return values


def nst(student, teacher):
    def mean(ones, others):
        return math.fsum(dot(a, b) ** 2 for a in ones for b in others) / (len(ones) * len(others))

    values = []
    for one, other in zip(student, teacher, strict=True):
        ours, theirs = ([unit(flat([channel])) for channel in maps] for maps in one_size(one, other))
        values.append(mean(ours, ours) + mean(theirs, theirs) - 2 * mean(ours, theirs))
    return values


def fitnet(student, teacher):
    return [
        math.fsum((x - y) ** 2 for x, y in zip(flat(one), flat(other), strict=True)) / len(flat(one))
        for one, other in zip(student, teacher, strict=True)
    ]


def vid(student, teacher, scale):
    variances = [math.log(1 + math.exp(x)) + 1e-5 for x in scale]
    values = []
    for one, other in zip(student, teacher, strict=True):
        parts = [
            ((x - y) ** 2 / v + math.log(v)) / 2
            for ours, theirs, v in zip(*one_size(one, other), variances, strict=True)
            for x, y in zip(flat([ours]), flat([theirs]), strict=True)
        ]
        values.append(math.fsum(parts) / len(parts))
    return values


def review(student, teacher):
    def error(one, other):
        return fitnet([one], [other])[0]

    values = []
    for one, other in zip(student, teacher, strict=True):
        total, weights, weight = error(one, other), 1.0, 1.0
        for size in (4, 2, 1):
            if size < len(one[0]):
                weight /= 2
                total += weight * error(pooled(one, size), pooled(other, size))
                weights += weight
        values.append(total / weights)
    return values


def cc(student, teacher):
    errors = [[abs(x - y) for x, y in zip(a, b, strict=True)] for a, b in zip(student, teacher, strict=True)]
    return [dot(one, other) for one, other in itertools.pairwise(errors)]


def softmax(row, temperature):
    powers = [math.exp((x - max(row)) / temperature) for x in row]
    return [x / math.fsum(powers) for x in powers]


def dist(student, teacher, *, beta, gamma, temperature):
    def correlation(a, b):
        a, b = ([x - math.fsum(row) / len(row) for x in row] for row in (a, b))
        return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))

    q, p = ([softmax(row, temperature) for row in rows] for rows in (student, teacher))
    classes = [
        1 - correlation([row[c] for row in q], [row[c] for row in p])
        for c in range(len(q[0]))
    ]  # fmt: skip
    within = math.fsum(classes) / len(classes)
    return [
        temperature**2 * (beta * (1 - correlation(a, b)) + gamma * within) for a, b in zip(q, p, strict=True)
    ]  # fmt: skip


def mlkd(student, teacher, *, temperatures):
    values = [0.0] * len(student)
    for heat in temperatures:
        q, p = ([softmax(row, heat) for row in rows] for rows in (student, teacher))
        columns = range(len(q[0]))
        product = [[[dot([r[c] for r in rows], [r[d] for r in rows]) for d in columns] for c in columns]
                   for rows in (q, p)]  # fmt: skip
        among = math.fsum((product[0][c][d] - product[1][c][d]) ** 2 for c in columns for d in columns) / len(columns)
        for i, (own, taught) in enumerate(zip(q, p, strict=True)):
            values[i] += heat**2 * math.fsum(t * math.log(t / s) for s, t in zip(own, taught, strict=True))
            values[i] += math.fsum((dot(own, a) - dot(taught, b)) ** 2 for a, b in zip(q, p, strict=True)) + among
    return values


def rrd(student, teacher, queue, *, temperature, teacher_temperature):
    rows, values = [unit(row) for row in queue], []
    for one, other in zip(student, teacher, strict=True):
        q = softmax([dot(unit(one), row) for row in rows], temperature)
        p = softmax([dot(unit(other), row) for row in rows], teacher_temperature)
        values.append(-math.fsum(t * math.log(s) for s, t in zip(q, p, strict=True)))
    return values


def crd_nce(anchors, positives, negatives, *, count, z, temperature, valid):
    values = []
    for anchor, positive, allowed in zip(anchors, positives, valid, strict=True):
        rows = [row for row, good in zip(negatives, allowed, strict=True) if good]
        noise = len(rows) / count
        own = math.exp(dot(anchor, positive) / temperature) / z
        others = [math.exp(dot(anchor, row) / temperature) / z for row in rows]
        right = math.log(own / (own + noise))
        values.append(-right - math.fsum(math.log(noise / (other + noise)) for other in others))
    return values
