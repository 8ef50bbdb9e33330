"""Sets made by a formula: without noise they lie on it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchnet.data import make_blobs, make_circles, make_moons, make_spirals

SETS: dict[str, tuple[Callable[..., Any], int]] = {
    "moons": (make_moons, 2),
    "circles": (make_circles, 2),
    "spirals": (make_spirals, 2),
    "blobs": (make_blobs, 3),
}
every_set = pytest.mark.parametrize(("make", "classes"), SETS.values(), ids=SETS.keys())


@every_set
@settings(max_examples=30, deadline=None)
@given(n=st.integers(3, 60), noise=st.floats(0, 2), seed=st.integers(0, 9))
def test_the_classes_are_balanced_and_a_seed_fixes_the_set(make, classes, n, noise, seed) -> None:
    x, y = make(n, noise=noise, rng=seed)
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((n, 2), np.float32, (n,), np.int64)
    counts = np.bincount(y, minlength=classes)
    assert len(counts) == classes
    assert counts.max() - counts.min() <= 1
    again = make(n, noise=noise, rng=seed)
    np.testing.assert_array_equal(x, again[0])
    np.testing.assert_array_equal(y, again[1])


@every_set
def test_another_seed_gives_another_order_and_other_noise(make, classes) -> None:
    (x, y), (other_x, other_y) = (make(60, noise=0.1, rng=seed) for seed in (0, 1))
    assert not np.array_equal(y, other_y)
    assert not set(x[:, 0].tolist()) & set(other_x[:, 0].tolist())


@every_set
def test_the_noise_is_normal_with_the_deviation_that_is_given(make, classes) -> None:
    clean, noisy = (make(20_000, noise=noise, rng=0)[0].astype(float) for noise in (0.0, 0.3))
    # The same seed deals the same order, so that the difference is the noise alone.
    noise = (noisy - clean) / 0.3
    assert abs(noise.mean()) < 4 / math.sqrt(noise.size)
    assert abs(noise.std() - 1) < 4 / math.sqrt(2 * noise.size)
    assert abs((noise**4).mean() - 3) < 4 * math.sqrt(96 / noise.size)


def test_moons_lie_on_their_half_circles() -> None:
    x, y = make_moons(101, rng=0)
    upper, lower = x[y == 0].astype(float), x[y == 1].astype(float)
    np.testing.assert_allclose(np.hypot(*upper.T), 1, atol=1e-6)
    np.testing.assert_allclose(np.hypot(*(lower - [1, 0.5]).T), 1, atol=1e-6)
    assert upper[:, 1].min() > -1e-6
    assert lower[:, 1].max() < 0.5 + 1e-6


def test_moons_and_circles_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    for ours, theirs in (
        (make_moons(60, rng=0), datasets.make_moons(60)),
        (make_circles(60, factor=0.3, rng=0), datasets.make_circles(60, factor=0.3)),
    ):
        for label in (0, 1):
            mine, other = (np.array(x[y == label], float) for x, y in (ours, theirs))
            # Each point of one set is a point of the other.
            distance = np.linalg.norm(mine[:, None] - other[None], axis=-1)
            assert distance.min(axis=0).max() < 1e-6
            assert distance.min(axis=1).max() < 1e-6


def test_circles_lie_on_their_radii() -> None:
    x, y = make_circles(101, factor=0.3, rng=0)
    np.testing.assert_allclose(np.hypot(*x.T.astype(float)), np.where(y == 0, 1, 0.3), atol=1e-6)


@pytest.mark.parametrize("arms", [1, 2, 5])
def test_spirals_follow_their_angle(arms: int) -> None:
    x, y = make_spirals(40 * arms, arms=arms, turns=1.5, rng=0)
    radius = np.hypot(*x.T.astype(float))
    angle = 2 * math.pi * (1.5 * radius + y / arms)
    np.testing.assert_allclose(x, radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1), atol=1e-5)
    for arm in range(arms):
        np.testing.assert_allclose(np.sort(radius[y == arm]), np.arange(1, 41) / 40, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_blobs_without_noise_are_their_centers_at_equal_distance(count: int) -> None:
    x, y = make_blobs(4 * count, centers=count, separation=3.0, noise=0.0, rng=0)
    centers = np.stack([x[y == label][0] for label in range(count)]).astype(float)
    np.testing.assert_array_equal(x, centers.astype(np.float32)[y])
    if count > 1:
        np.testing.assert_allclose(
            np.linalg.norm(centers - np.roll(centers, 1, axis=0), axis=1), 3, rtol=1e-6
        )


def test_blobs_lie_around_the_centers_that_are_given() -> None:
    centers = np.array([[0.0, 0, 9], [5, 5, 5]])
    x, y = make_blobs(20_000, centers=centers, noise=0.5, rng=0)
    for label in (0, 1):
        np.testing.assert_allclose(
            x[y == label].mean(axis=0), centers[label], atol=4 * 0.5 / math.sqrt(10_000)
        )


def test_the_nearest_center_errs_as_often_as_the_formula_says() -> None:
    x, y = make_blobs(40_000, centers=2, separation=2.0, noise=1.0, rng=0)
    wrong = np.mean((x[:, 0] < 0) != y)
    expected = 0.5 * math.erfc(2.0 / 2 / math.sqrt(2))
    assert abs(wrong - expected) < 4 * math.sqrt(expected * (1 - expected) / len(y))


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (make_moons, {"n": 1}, "make_moons needs an example for each of 2 classes, got n=1"),
        (make_moons, {"n": 9, "noise": -1}, "make_moons needs noise >= 0, got -1"),
        (make_circles, {"n": 9, "factor": 1.0}, r"make_circles needs factor in \(0, 1\), got 1\.0"),
        (make_spirals, {"n": 9, "arms": 0}, "make_spirals needs arms >= 1, got 0"),
        (make_blobs, {"n": 9, "centers": 0}, "make_blobs needs centers >= 1, got 0"),
        (make_blobs, {"n": 9, "separation": -2}, "make_blobs needs separation >= 0, got -2"),
        (make_blobs, {"n": 9, "centers": [1, 2]}, r"shape \(classes, dimensions\), got \(2,\)"),
        (make_blobs, {"n": 2, "centers": 3}, "make_blobs needs an example for each of 3 classes, got n=2"),
    ],
    ids=["moons n", "noise", "factor", "arms", "no centers", "separation", "shape", "blobs n"],
)
def test_what_cannot_be_made_is_refused(make, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        make(**arguments)
