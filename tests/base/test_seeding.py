"""Seeds and draws as functions of what they are for."""

import math
import subprocess
import sys

import numpy as np
import torch

from supcrd.base.seeding import permutation, seed_for, uniform


def test_seeds_lie_in_range_and_do_not_collide() -> None:
    seeds = [seed_for(seed, name, epoch) for seed in range(20) for name in ("order", "crop") for epoch in range(100)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    mean = sum(seeds) / len(seeds) / 2**63
    assert abs(mean - 0.5) < 5 / math.sqrt(12 * len(seeds))


def test_every_part_its_kind_and_its_place_matter() -> None:
    parts = [
        (1, 2),
        (2, 1),
        (12,),
        ("1", 2),
        (1, "2"),
        ("1, 2",),
        (1, 2, 0),
        (-1, 2),
        ("a", "b"),
        ("ab",),
        ("a, b",),
        (),
    ]
    assert len({seed_for(*p) for p in parts}) == len(parts)


def test_the_same_in_another_process() -> None:
    # PYTHONHASHSEED must not matter, as it does for hash() of a str.
    code = "from supcrd.base.seeding import *; print(seed_for(3, 'x'), permutation(9, 3, 'x').tolist())"
    here = f"{seed_for(3, 'x')} {permutation(9, 3, 'x').tolist()}"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == here


def test_uniform_is_pure_and_uniform() -> None:
    torch.rand(5)
    state = torch.get_rng_state()
    first = uniform((100, 100), 0, "crop")
    torch.manual_seed(7)
    assert torch.equal(uniform((100, 100), 0, "crop"), first)
    torch.set_rng_state(state)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() < 1
    counts = np.bincount((first * 10).long().flatten().numpy(), minlength=10)
    assert abs(((counts - 1000) ** 2 / 1000).sum() - 9) < 5 * math.sqrt(18)
    correlation = np.corrcoef(first.flatten().numpy(), uniform((100, 100), 1, "crop").flatten().numpy())[0, 1]
    assert abs(correlation) < 0.05


def test_drawing_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    uniform((10,), 0)
    permutation(10, 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_permutations() -> None:
    assert permutation(0, 1).tolist() == []
    assert permutation(1, 1).tolist() == [0]
    one = permutation(1000, 0, "order", 0)
    assert one.dtype == torch.int64
    assert sorted(one.tolist()) == list(range(1000))
    assert torch.equal(permutation(1000, 0, "order", 0), one)
    assert (permutation(1000, 0, "order", 1) == one).sum() < 10
    # Each of the six orders of three items about as often as the others.
    seen = [tuple(permutation(3, seed).tolist()) for seed in range(1200)]
    counts = np.array([seen.count(order) for order in set(seen)])
    assert len(counts) == 6
    assert ((counts - 200) ** 2 / 200).sum() < 25
