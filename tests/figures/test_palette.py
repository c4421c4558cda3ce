"""Palettes by the published model of colour blindness."""

import itertools

import numpy as np
import pytest

from supcrd.figures import style
from supcrd.figures.style.palette import looks, palette
from supcrd.figures.superclasses import SUPERCLASSES, order

# G. Machado et al. 2009, severity 1: what linear RGB becomes
BLIND = {
    "nobody": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colors):
    values = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in colors]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIELAB of linear sRGB, by its definition."""
    xyz = (
        np.clip(rgb, 0, 1)
        @ np.array(
            [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
        ).T
    )
    ratio = xyz / [0.95047, 1.0, 1.08883]
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def closest(colors, matrix):
    return min(
        float(np.linalg.norm(a - b)) for a, b in itertools.combinations(lab(linear(colors) @ np.array(matrix).T), 2)
    )


def contrast(a, b):
    dark, light = sorted(float(linear([color])[0] @ [0.2126, 0.7152, 0.0722]) for color in (a, b))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("count", "marker", "least"), [(10, "o", 15), (20, "o", 15), (20, "^", 6)])
@pytest.mark.parametrize("blind", list(BLIND))
def test_no_two_classes_of_one_marker_look_alike(count, marker, least, blind):
    colors = [look.color for look in palette(count) if look.marker == marker]
    assert len(colors) == 10
    assert closest(colors, BLIND[blind]) > least  # a difference of 2.3 is just noticed


def test_of_a_hundred_neighbouring_groups_differ_in_hue_and_members_in_lightness_and_marker():
    found = palette(100)
    assert len(set(found)) == 100
    for group in range(20):
        members = found[5 * group : 5 * group + 5]
        lightness = lab(linear([look.color for look in members]))[:, 0]
        assert (np.diff(lightness) > 5).all()
        assert len({look.marker for look in members}) == 5
    hues = [np.arctan2(b, a) for _, a, b in lab(linear([found[5 * group + 2].color for group in range(20)]))]
    apart = np.abs(np.angle(np.exp(1j * np.diff(hues))))
    assert apart.min() > 1.2  # radians


@pytest.mark.parametrize("theme", [style.LIGHT, style.DARK], ids=lambda theme: theme.name)
def test_text_and_classes_are_seen_on_the_background(theme):
    assert contrast(theme.ink, theme.background) > 10
    assert contrast(theme.muted, theme.background) > 4.5
    assert contrast(theme.accent, theme.background) > 3
    for look in palette(100):
        assert contrast(look.color, theme.background) > 1.5


@pytest.mark.parametrize("count", [0, 1, 11, 20, 21, 37, 250])
def test_a_palette_has_a_look_for_each(count):
    assert len(palette(count)) == count


def test_cifar100_is_ordered_by_superclass():
    names = sorted(name for members in SUPERCLASSES.values() for name in members)
    assert len(set(names)) == 100
    found = order(names)
    assert sorted(found.classes) == list(range(100))
    assert [names[number] for number in found.classes[10:15]] == ["orchid", "poppy", "rose", "sunflower", "tulip"]
    assert found.groups[2] == "flowers"
    dealt = looks(names)
    assert dealt[names.index("orchid")] == palette(100)[10]
