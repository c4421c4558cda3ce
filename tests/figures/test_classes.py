"""Accuracy by class against loops, scikit-learn and scipy."""

import json

import numpy as np
import pytest
from made_points import clusters, folder, points
from scipy import stats
from sklearn.metrics import recall_score

from supcrd.errors import RunError
from supcrd.figures.by_class import arranged, class_accuracy, class_change
from supcrd.figures.kinds import classes
from supcrd.figures.points import read_points
from supcrd.figures.superclasses import SUPERCLASSES


def pair(tmp_path, count=60, number=3, names=None):
    """A run and a baseline on the same images."""
    projections, labels, logits = clusters(count, number)
    worse = logits + np.random.default_rng(5).normal(size=logits.shape).astype(np.float32)
    given = {"projections": projections, "labels": labels, "class_names": names}
    base = points(tmp_path, "base", logits=worse, recipe="digits-supcon", **given)
    return points(tmp_path, "run", logits=logits, **given), base


def hundred():
    return sorted(name for names in SUPERCLASSES.values() for name in names)


def test_accuracy_of_a_class_is_its_recall(tmp_path):
    _, labels, logits = clusters(90, 5)
    found = class_accuracy(logits, labels)
    expected = recall_score(labels, logits.argmax(axis=1), average=None)
    np.testing.assert_allclose(found.accuracy, expected)
    assert found.images.tolist() == [18] * 5
    run = read_points(folder(tmp_path, labels=labels, logits=logits, projections=logits))
    weighted = (found.images * found.accuracy).sum() / len(labels)
    assert weighted == pytest.approx(run.evaluation["accuracy"], abs=1e-12)


def test_change_and_its_error_are_those_of_paired_images():
    _, labels, logits = clusters(90, 3)
    _, _, baseline = clusters(90, 3, seed=1)
    found = class_change([logits], [baseline], labels)
    for number in range(3):
        steps = []
        for row in range(90):
            if labels[row] == number:
                steps.append(int(logits[row].argmax() == number) - int(baseline[row].argmax() == number))
        assert found.difference[number] == pytest.approx(np.mean(steps))
        assert found.error[number] == pytest.approx(stats.sem(steps))


def test_of_several_seeds_the_error_is_of_images_and_of_seeds():
    random = np.random.default_rng(3)
    labels = np.arange(80) % 4
    sides = [
        [random.normal(size=(80, 4)) + shift * np.eye(4)[labels] for _ in range(seeds)]
        for seeds, shift in ((3, 2), (2, 1))
    ]
    found = class_change(sides[0], sides[1], labels)
    accuracy = [[recall_score(labels, each.argmax(axis=1), average=None) for each in side] for side in sides]
    between = 0.0
    for side in accuracy:
        between += np.mean([np.var([seed[c] for seed in side], ddof=1) for c in range(4)]) / len(side)
    for number in range(4):
        rows = np.flatnonzero(labels == number)
        means = [[np.mean([each[row].argmax() == number for each in side]) for row in rows] for side in sides]
        image = stats.sem(np.subtract(*means)) ** 2
        assert found.difference[number] == pytest.approx(np.mean(means[0]) - np.mean(means[1]))
        assert found.error[number] == pytest.approx(np.sqrt(image + between))


def test_two_standard_errors_are_rarely_passed_by_chance():
    """Two methods that are one: images of unequal difficulty, seeds that move whole classes, both drawn anew."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(100), 100)
    passed = []
    for _ in range(20):
        hard = random.normal(size=10_000)
        sides = []
        for _ in range(2):
            moves = [0.3 * random.normal(size=100)[labels] for _ in range(3)]
            right = [hard + move + random.normal(size=10_000) > 0 for move in moves]
            sides.append([np.where((np.arange(100) == labels[:, None]) == each[:, None], 1.0, 0.0) for each in right])
        found = class_change(sides[0], sides[1], labels)
        passed.append(np.mean(np.abs(found.difference) > 2 * found.error))
    assert 0.01 < np.mean(passed) < 0.06


def test_superclasses_stand_together_the_best_first():
    names = hundred()
    accuracy = np.random.default_rng(0).random(100)
    groups = arranged(names, accuracy)
    assert sorted(number for group in groups for number in group.classes) == list(range(100))
    means = []
    for group in groups:
        assert {names[number] for number in group.classes} == set(SUPERCLASSES[group.name])
        own = [accuracy[number] for number in group.classes]
        assert own == sorted(own, reverse=True)
        means.append(np.mean(own))
    assert means == sorted(means, reverse=True)


def test_of_very_many_classes_those_that_changed_the_most_stay():
    names = [str(number) for number in range(1000)]
    change = np.random.default_rng(0).normal(size=1000)
    (group,) = arranged(names, np.random.default_rng(1).random(1000), change)
    order = np.argsort(change)
    assert set(group.classes) == {*order[:60], *order[-60:]}


def test_bars_and_numbers(tmp_path):
    run, _ = pair(tmp_path)
    own = class_accuracy(run.logits, run.labels).accuracy
    (axes,) = classes.draw([run]).axes
    widths = [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]
    assert widths == pytest.approx(sorted(100 * own, reverse=True))
    assert [text.get_text() for text in axes.texts] == [f"{each:.0f}" for each in sorted(100 * own, reverse=True)]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"class {number}" for number in np.argsort(-own, kind="stable")
    ]


def test_dots_of_run_and_baseline(tmp_path):
    run, baseline = pair(tmp_path)
    own, before = (class_accuracy(each.logits, run.labels).accuracy for each in (run, baseline))
    order = np.argsort(-own, kind="stable")
    (axes,) = classes.draw([run, baseline]).axes
    hollow, filled = axes.lines[:2]
    np.testing.assert_allclose(hollow.get_xdata(), 100 * before[order])
    np.testing.assert_allclose(filled.get_xdata(), 100 * own[order])
    assert [text.get_text() for text in axes.texts] == [f"{100 * each:+.0f}" for each in (own - before)[order]]
    change = class_change([run.logits], [baseline.logits], run.labels)
    bold = [text.get_fontweight() == "bold" for text in axes.texts]
    assert bold == (abs(change.difference) > 2 * change.error)[order].tolist()


def test_seeds_are_averaged_in_the_figure(tmp_path):
    _, labels, _ = clusters(60)
    given = {"labels": labels, "projections": clusters(60)[0]}
    runs = [
        points(
            tmp_path,
            f"{name}-seed{seed}",
            logits=clusters(60, seed=3 * seed + shift)[2],
            recipe=f"digits-{name}",
            run_seed=seed,
            **given,
        )
        for name, shift in (("crd", 1), ("supcon", 2))
        for seed in (0, 1)
    ]
    own, before = (
        np.mean([class_accuracy(run.logits, labels).accuracy for run in side], axis=0) for side in (runs[:2], runs[2:])
    )
    order = np.argsort(-own, kind="stable")
    figure = classes.draw(runs)
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[1].get_xdata(), 100 * own[order])
    np.testing.assert_allclose(axes.lines[0].get_xdata(), 100 * before[order])
    assert "crd (mean of 2 seeds) against supcon (mean of 2 seeds)" in figure.get_suptitle()
    assert "over the seeds (2 and 2)" in figure.get_supxlabel()
    text = json.loads(classes.interactive(runs).to_json())["data"][3]["text"][0]
    assert f"accuracy {100 * own[order[0]]:.1f} %" in text
    assert len(classes.draw(runs[:2]).axes[0].patches) == 3


def test_hovering_tells_class_and_change(tmp_path):
    run, baseline = pair(tmp_path, names=["cat", "<b>", "eel_fish"])
    figure = json.loads(classes.interactive([run, baseline]).to_json())
    data, note = figure["data"], figure["layout"]["meta"]["note"]
    assert "number: the change in points, its standard error under the pointer." in note
    drawn = " ".join(classes.draw([run, baseline]).get_supxlabel().split())
    assert note.replace(", its standard error under the pointer", "").split() == drawn.split()
    change = class_change([run.logits], [baseline.logits], run.labels)
    (text,) = (each for each in data[3]["text"] if "eel fish" in each)
    assert "20 images" in text
    assert f"change {100 * change.difference[2]:+.1f} ± {100 * change.error[2]:.1f}" in text
    assert any("&lt;b&gt;" in each for each in data[3]["text"])
    assert len(classes.interactive([run]).data) == 1


def test_a_hundred_classes_have_three_columns_and_keep_superclasses_whole(tmp_path):
    run, baseline = pair(tmp_path, 500, 100, hundred())
    figure = classes.draw([run, baseline])
    assert len(figure.axes) == 3
    headings = [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text() in SUPERCLASSES]
    assert len(headings) == 20
    assert [len(axes.get_yticks()) for axes in figure.axes] == [35, 35, 30]
    assert "5 images a class" in figure.get_supxlabel()


def test_a_class_without_an_image_is_said(tmp_path):
    projections, labels, logits = clusters(20, 2)
    logits = np.concatenate([logits, logits[:, :1] - 9], axis=1)
    run = points(tmp_path, projections=projections, labels=labels, logits=logits)
    (axes,) = classes.draw([run]).axes
    assert len(axes.patches) == 2
    assert "no image" in [text.get_text() for text in axes.texts]
    assert axes.get_yticklabels()[2].get_text() == "class 2"
    other = points(tmp_path, "other", projections=projections, labels=labels, logits=logits, recipe="digits-supcon")
    figure = classes.draw([run, other])
    assert len(figure.axes[0].lines[0].get_xdata()) == 2
    assert "accuracy" not in classes.interactive([run]).data[0].text[2]


def test_names_are_no_mathematics(tmp_path):
    projections, labels, logits = clusters(20, 2)
    run = points(tmp_path, projections=projections, labels=labels, logits=logits, class_names=[r"$\oops$", "$5"])
    classes.draw([run]).canvas.draw()


def test_other_images_and_too_many_runs_are_refused(tmp_path):
    run, base = pair(tmp_path)
    other = points(tmp_path, "fewer", labels=run.labels[:30], logits=run.logits[:30], projections=run.projections[:30])
    with pytest.raises(RunError, match=r"run and .*fewer have other labels in outputs.npz \(60 and 30 images\)"):
        classes.draw([run, other])
    third = points(tmp_path, "third", recipe="digits-hybrid")
    with pytest.raises(RunError, match=r"got 3 configurations: run, base, third"):
        classes.draw([run, base, third])
    with pytest.raises(RunError, match="have one recipe and seed"):
        classes.draw([run, run])


@pytest.mark.parametrize(
    ("own", "before", "said"), [(1, 1, "compare several"), (2, 1, "of the lone run"), (2, 2, "one class in twenty")]
)
def test_what_chance_can_do_is_said_by_what_is_known_of_the_seeds(tmp_path, own, before, said):
    runs = [
        points(
            tmp_path, f"{name}-seed{seed}", logits=clusters(60, seed=seed)[2], recipe=f"digits-{name}", run_seed=seed
        )
        for name, seeds in (("crd", own), ("supcon", before))
        for seed in range(seeds)
    ]
    assert said in " ".join(classes.draw(runs).get_supxlabel().split())


def counted(tmp_path, name, right, recipe="digits-crd"):
    """A run of a hundred images a class, so many of which are right."""
    labels = np.arange(100 * len(right)) % len(right)
    chosen = np.where(np.arange(len(labels)) // len(right) < np.array(right)[labels], labels, (labels + 1) % len(right))
    logits = np.eye(len(right), dtype=np.float32)[chosen]
    return points(tmp_path, name, logits=logits, projections=logits, labels=labels, recipe=recipe)


@pytest.mark.parametrize(
    ("own", "before", "low", "high"),
    [((93, 81, 88), (90, 80, 85), 80, 100), ((45, 41, 49), (42, 44, 48), 40, 50), ((0, 3, 9), (0, 1, 2), 0, 10),
     ((100, 100, 100), (100, 100, 100), 90, 100), ((31, 40, 50), (30, 40, 50), 30, 50)],
)  # fmt: skip
def test_points_have_the_tens_that_they_lie_between(tmp_path, own, before, low, high):
    """And room for the numbers at the right: 2 and 13 hundredths of the width beyond."""
    runs = [counted(tmp_path, "run", own), counted(tmp_path, "base", before, "digits-supcon")]
    part = (high - low) / 100
    axes = classes.draw(runs).axes[0]
    assert axes.get_xlim() == pytest.approx((low - 2 * part, high + 13 * part))
    assert min(axes.get_xticks()) >= low
    assert max(axes.get_xticks()) <= high
    figure = classes.interactive(runs)
    assert figure.layout.xaxis.range == pytest.approx((low - 2 * part, high + 13 * part))
    for trace in figure.data:
        inside = [x for x in trace.x if x is not None]
        assert all(low - 2 * part <= x <= high + 13 * part for x in inside)


def test_bars_have_all_of_the_range(tmp_path):
    assert classes.interactive([counted(tmp_path, "run", (93, 81))]).layout.xaxis.range == (-2, 101)


def test_the_interactive_figure_draws_what_its_note_promises(tmp_path):
    """Of 100 images a class 30 more are right: 30 points are far beyond 2 standard errors, 1 is not."""
    figure = classes.interactive(
        [counted(tmp_path, "run", (90, 81, 70)), counted(tmp_path, "base", (60, 80, 70), "digits-supcon")]
    )
    weak, strong, before, own, numbers = figure.data
    assert strong.x == (60, 90, None)
    assert strong.line.width > weak.line.width
    assert weak.x == (80, 81, None, 70, 70, None)
    assert (list(before.x), list(own.x)) == ([60, 80, 70], [90, 81, 70])
    assert numbers.text == ("<b>+30</b>", "+1", "+0")
    (line,) = figure.layout.shapes
    assert line.x0 == line.x1 == pytest.approx((90 + 81 + 70) / 3)
    assert line.line.dash == "dot"
    assert "dotted: the accuracy of all, 80.3 %" in figure.layout.meta["note"]
