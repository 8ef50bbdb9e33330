"""Two-dimensional sets made by a formula: what a small network learns in a second, and what one can plot."""

import math

import numpy as np
from numpy.typing import ArrayLike

from scratchnet.rng import RNGLike
from scratchnet.tape import Array

Examples = tuple[Array, Array]


def make_moons(n: int, *, noise: float = 0.0, rng: RNGLike = None) -> Examples:
    """Two half circles that reach into each other; no straight line parts them.

    Class 0 is (cos t, sin t) and class 1 is (1 − cos t, ½ − sin t), t evenly spaced over [0, π].

    Args:
        n: Examples in all; the classes differ by one at most.
        noise: Standard deviation of the normal noise that is added to each coordinate.
        rng: Generator, seed or None for the order and the noise.

    Returns:
        float32 points of shape ``(n, 2)`` and int64 classes of shape ``(n,)``, shuffled.

    Raises:
        ValueError: If there are fewer examples than classes, or the noise is negative.

    Example:
        >>> x, y = make_moons(100, noise=0.1, rng=0)
        >>> x.shape, np.bincount(y)
        ((100, 2), array([50, 50]))
    """
    upper, lower = (_polar(1.0, np.linspace(0, math.pi, size)) for size in _sizes("make_moons", n, 2))
    points = [upper, np.array([1.0, 0.5]) - lower]
    return _dealt("make_moons", points, noise, rng)


def make_circles(n: int, *, factor: float = 0.5, noise: float = 0.0, rng: RNGLike = None) -> Examples:
    """One circle inside another; only their distance from the origin tells the classes apart.

    Class 0 is (cos t, sin t) and class 1 is ``factor`` times that, t evenly spaced over [0, 2π).

    Args:
        n: Examples in all; the classes differ by one at most.
        factor: Radius of the inner circle, in (0, 1); the outer one has radius 1.
        noise: Standard deviation of the normal noise that is added to each coordinate.
        rng: Generator, seed or None for the order and the noise.

    Returns:
        float32 points of shape ``(n, 2)`` and int64 classes of shape ``(n,)``, shuffled.

    Raises:
        ValueError: If there are fewer examples than classes, or an argument is out of range.
    """
    if not 0 < factor < 1:
        raise ValueError(f"make_circles needs factor in (0, 1), got {factor}")
    sizes = _sizes("make_circles", n, 2)
    angles = [np.linspace(0, 2 * math.pi, size, endpoint=False) for size in sizes]
    points = [_polar(radius, angle) for radius, angle in zip((1.0, factor), angles, strict=True)]
    return _dealt("make_circles", points, noise, rng)


def make_spirals(
    n: int, *, arms: int = 2, turns: float = 1.0, noise: float = 0.0, rng: RNGLike = None
) -> Examples:
    """Spiral arms wound around the origin, one class each; a hard set for a narrow network.

    The i-th of m points of arm k lies at radius r = i/m, i = 1 … m, and angle 2π (turns · r + k/arms): the
    origin, where all arms would meet, belongs to none.

    Args:
        n: Examples in all; the classes differ by one at most.
        arms: Number of arms, and of classes.
        turns: How often an arm goes round.
        noise: Standard deviation of the normal noise that is added to each coordinate.
        rng: Generator, seed or None for the order and the noise.

    Returns:
        float32 points of shape ``(n, 2)`` and int64 classes of shape ``(n,)``, shuffled.

    Raises:
        ValueError: If there are fewer examples than arms, or an argument is out of range.
    """
    if arms < 1:
        raise ValueError(f"make_spirals needs arms >= 1, got {arms}")
    points = []
    for arm, size in enumerate(_sizes("make_spirals", n, arms)):
        radius = np.arange(1, size + 1) / size
        points.append(_polar(radius, 2 * math.pi * (turns * radius + arm / arms)))
    return _dealt("make_spirals", points, noise, rng)


def make_blobs(
    n: int,
    *,
    centers: int | ArrayLike = 3,
    separation: float = 4.0,
    noise: float = 1.0,
    rng: RNGLike = None,
) -> Examples:
    """Normal clouds, one class each, whose best classifier is known: the nearest center.

    The i-th of k centers lies at angle 2πi/k on the circle around the origin on which neighbours are
    ``separation`` apart. For two clouds no classifier errs on a smaller share than
    Φ(−separation / (2 noise)), with Φ the distribution function of the normal distribution.

    Args:
        n: Examples in all; the classes differ by one at most.
        centers: Number of clouds, or their centers themselves, shape ``(classes, dimensions)``.
        separation: Distance of neighbouring centers, where ``centers`` is a number.
        noise: Standard deviation of each coordinate around its center.
        rng: Generator, seed or None for the order and the noise.

    Returns:
        float32 points of shape ``(n, dimensions)`` and int64 classes of shape ``(n,)``, shuffled.

    Raises:
        ValueError: If there are fewer examples than clouds, or an argument is out of range.

    Example:
        >>> x, y = make_blobs(30, centers=[[0, 0, 0], [5, 5, 5]], rng=0)
        >>> x.shape
        (30, 3)
    """
    places = _circle_of(centers, separation) if isinstance(centers, int) else np.asarray(centers, float)
    if places.ndim != 2 or not len(places):
        raise ValueError(f"make_blobs needs centers of shape (classes, dimensions), got {places.shape}")
    sizes = _sizes("make_blobs", n, len(places))
    points = [np.tile(place, (size, 1)) for size, place in zip(sizes, places, strict=True)]
    return _dealt("make_blobs", points, noise, rng)


def _circle_of(count: int, separation: float) -> Array:
    if count < 1:
        raise ValueError(f"make_blobs needs centers >= 1, got {count}")
    if separation < 0:
        raise ValueError(f"make_blobs needs separation >= 0, got {separation}")
    # The chord between neighbours on a circle of radius r is 2 r sin(π/k); a single cloud lies at the origin.
    radius = separation / (2 * math.sin(math.pi / count)) if count > 1 else 0.0
    return _polar(radius, 2 * math.pi * np.arange(count) / count)


def _polar(radius: Array | float, angle: Array) -> Array:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _sizes(caller: str, n: int, classes: int) -> list[int]:
    if n < classes:
        raise ValueError(f"{caller} needs an example for each of {classes} classes, got n={n}")
    return [n // classes + (index < n % classes) for index in range(classes)]


def _dealt(caller: str, points: list[Array], noise: float, rng: RNGLike) -> Examples:
    """Shuffled and noisy, float32; ``points`` has an array of shape (size, dimensions) for each class."""
    if noise < 0:
        raise ValueError(f"{caller} needs noise >= 0, got {noise}")
    x = np.concatenate(points)
    y = np.repeat(np.arange(len(points), dtype=np.int64), [len(part) for part in points])
    generator = np.random.default_rng(rng)
    order = generator.permutation(len(y))
    noisy = x[order] + noise * generator.standard_normal(x.shape)
    return noisy.astype(np.float32), y[order]
