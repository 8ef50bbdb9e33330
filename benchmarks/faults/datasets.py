"""Small data sets: those that come with scikit-learn, and made ones; standardised, split by a seed, and spoilt."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import sklearn.datasets
from numpy.typing import NDArray

from benchmarks.faults.program import Data
from scratchnet.data import make_blobs, make_moons, make_spirals

Array = NDArray[Any]

# No training set is larger, nor any validation set: accuracy is measured twenty times for each mutant.
MOST = 500
VALIDATION = 250


class Examples(NamedTuple):
    """Inputs and targets; classes where targets are integers."""

    x: Array
    y: Array


class Split(NamedTuple):
    """What is trained on, what is validated on, and how many outputs a network needs."""

    train: Examples
    validation: Examples
    outputs: int


def _bundled(name: str) -> tuple[Array, Array]:
    loaded: Any = getattr(sklearn.datasets, f"load_{name}")()
    return loaded.data, loaded.target


def _images() -> tuple[Array, Array]:
    x, y = _bundled("digits")
    return x.reshape(-1, 1, 8, 8), y


def _left_from_right() -> tuple[Array, Array]:
    """Of each handwritten digit the ink of the left half, to be told from the right half."""
    x, _ = _images()
    right = x.copy()
    right[..., :4] = 0
    return right, x[..., :4].mean(axis=(1, 2, 3))[:, None]


def _column_of(name: str, column: int) -> tuple[Array, Array]:
    """One measurement of a data set, to be told from the others."""
    x, _ = _bundled(name)
    return np.delete(x, column, axis=1), x[:, [column]]


def _diabetes() -> tuple[Array, Array]:
    x, y = _bundled("diabetes")
    return x, y[:, None]


def _friedman() -> tuple[Array, Array]:
    x, y = sklearn.datasets.make_friedman1(700, n_features=10, noise=1.0, random_state=0)
    return x, y[:, None]


def _clouds() -> tuple[Array, Array]:
    centers = np.random.default_rng(0).standard_normal((6, 20)) * 1.2
    return make_blobs(750, centers=centers, noise=1.5, rng=0)


def _stripes() -> tuple[Array, Array]:
    """Noisy stripes of four directions."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 750)
    angle, phase = y * np.pi / 4, rng.uniform(0, 2 * np.pi, 750)
    row, column = np.mgrid[:8, :8]
    along = row[None] * np.sin(angle)[:, None, None] + column[None] * np.cos(angle)[:, None, None]
    waves = np.sin(1.6 * along + phase[:, None, None])
    return (waves + 0.8 * rng.standard_normal(waves.shape))[:, None], y


def _spot() -> tuple[Array, Array]:
    """Where in a noisy image a spot lies, both coordinates."""
    rng = np.random.default_rng(0)
    place = rng.uniform(1, 6, (750, 2))
    row, column = np.mgrid[:8, :8]
    distance = (row - place[:, 0, None, None]) ** 2 + (column - place[:, 1, None, None]) ** 2
    return (np.exp(-distance / 2) + 0.15 * rng.standard_normal(distance.shape))[:, None], place


def _rows_of_digits() -> tuple[Array, Array]:
    """Handwritten digits as sequences of eight rows."""
    x, y = _images()
    return x[:, 0], y


def _tones() -> tuple[Array, Array]:
    """Noisy tones of five pitches, of any phase."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 750)
    time = np.arange(12)
    waves = np.sin((0.35 + 0.5 * y[:, None]) * time + rng.uniform(0, 2 * np.pi, (750, 1)))
    return (waves + 0.3 * rng.standard_normal(waves.shape))[..., None], y


def _majority() -> tuple[Array, Array]:
    """Which of four signs occurs most often in a sequence."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 750)
    signs = np.where(rng.random((750, 12)) < 0.4, y[:, None], rng.integers(0, 4, (750, 12)))
    counts = np.stack([(signs == sign).sum(axis=1) for sign in range(4)], axis=1)
    return np.eye(4)[signs], counts.argmax(axis=1)


def _waves() -> tuple[Array, Array]:
    """The next value of a noisy sum of two waves."""
    rng = np.random.default_rng(0)
    time = np.arange(13)
    phases = rng.uniform(0, 2 * np.pi, (2, 750, 1))
    waves = np.sin(0.5 * time + phases[0]) + 0.5 * np.sin(1.3 * time + phases[1])
    seen = waves + 0.1 * rng.standard_normal(waves.shape)
    return seen[:, :-1, None], waves[:, -1:]


def _sums() -> tuple[Array, Array]:
    """The sum of the two marked numbers of a sequence."""
    rng = np.random.default_rng(0)
    numbers = rng.uniform(-1, 1, (750, 8))
    marks = np.zeros_like(numbers)
    for row in marks:
        row[rng.choice(8, 2, replace=False)] = 1
    return np.stack([numbers, marks], axis=2), (numbers * marks).sum(axis=1)[:, None]


SETS: dict[str, Callable[[], tuple[Array, Array]]] = {
    "digits": _images,
    "rows of digits": _rows_of_digits,
    "breast cancer": lambda: _bundled("breast_cancer"),
    "wine": lambda: _bundled("wine"),
    "iris": lambda: _bundled("iris"),
    "moons": lambda: make_moons(750, noise=0.2, rng=0),
    "spirals": lambda: make_spirals(750, turns=0.8, noise=0.03, rng=0),
    "clouds": _clouds,
    "stripes": _stripes,
    "tones": _tones,
    "majority": _majority,
    "diabetes": _diabetes,
    "petal width": lambda: _column_of("iris", 3),
    "alcohol": lambda: _column_of("wine", 0),
    "tumour area": lambda: _column_of("breast_cancer", 3),
    "friedman": _friedman,
    "spot": _spot,
    "left from right": _left_from_right,
    "waves": _waves,
    "sums": _sums,
}


@cache
def _loaded(name: str) -> Examples:
    """The whole set, inputs standardised feature by feature (images as a whole), real targets too."""
    x, y = SETS[name]()
    axes = None if x.ndim == 4 else tuple(range(x.ndim - 1))
    x = (x - x.mean(axis=axes)) / np.maximum(x.std(axis=axes), 1e-6)
    if y.dtype.kind == "f":
        return Examples(x.astype(np.float32), ((y - y.mean(axis=0)) / y.std(axis=0)).astype(np.float32))
    return Examples(x.astype(np.float32), y.astype(np.int64))


def split(data: Data, seed: int) -> Split:
    """The set as a program sees it: which examples are trained on depends on the seed."""
    whole = _loaded(data.name)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(whole.x))
    held_out = min(len(order) // 3, VALIDATION)
    chosen = order[held_out : held_out + MOST]
    train = Examples(whole.x[chosen], whole.y[chosen])
    validation = Examples(whole.x[order[:held_out]], whole.y[order[:held_out]])
    outputs = int(whole.y.max()) + 1 if whole.y.ndim == 1 else whole.y.shape[1]
    spoilt = _spoilt(data, train, rng)
    return Split(_preprocessed(data, spoilt), _preprocessed(data, validation), outputs)


def _preprocessed(data: Data, examples: Examples) -> Examples:
    x = _blanked(examples.x, data.blanked) * np.float32(data.scale) + np.float32(data.shift)
    if examples.y.dtype.kind == "f":
        y = examples.y * np.float32(data.target_scale) + np.float32(data.target_shift)
        return Examples(x, y)
    return Examples(x, examples.y)


def _blanked(x: Array, share: float) -> Array:
    """The inputs without the first so many of their features, or of their rows or steps."""
    if not share:
        return x
    count = round(share * x.shape[-1])
    kept = x.copy()
    kept[..., :count] = 0
    return kept


def _spoilt(data: Data, train: Examples, rng: np.random.Generator) -> Examples:
    """The training set with what is wrong with it."""
    x, y = train.x, train.y.copy()
    keep = np.flatnonzero(_is_kept(data, y, rng))
    x, y = x[keep].copy(), y[keep]
    if data.noise:
        x += (data.noise * rng.standard_normal(x.shape)).astype(np.float32)
    if data.wrong_labels:
        y = _mislabelled(y, data.wrong_labels, rng)
    if data.mispaired:
        some = rng.choice(len(y), round(data.mispaired * len(y)), replace=False)
        y[np.sort(some)] = y[some]
    if data.relabelled:
        classes, counts = np.unique(y, return_counts=True)
        second, first = classes[np.argsort(counts, kind="stable")][-2:]
        of_first = np.flatnonzero(y == first)
        y[of_first[: round(data.relabelled * len(of_first))]] = second
    if data.broken:
        x[rng.choice(len(x), min(data.broken, len(x)), replace=False)] = np.nan
    if data.sorted_share:
        end = round(data.sorted_share * len(y))
        order = np.argsort(y[:end] if y.ndim == 1 else y[:end, 0], kind="stable")
        x[:end], y[:end] = x[:end][order], y[:end][order]
    return Examples(x, y)


def _is_kept(data: Data, y: Array, rng: np.random.Generator) -> Array:
    """Which training examples are there."""
    kept = rng.random(len(y)) < data.kept
    common = y == 0 if y.ndim == 1 else y[:, 0] <= np.median(y[:, 0])
    kept &= common | (rng.random(len(y)) >= data.rarefied)
    # One of each class at least, and a few of all: without any there is nothing to train.
    for label in np.unique(y) if y.ndim == 1 else [None]:
        some = np.arange(len(y)) if label is None else np.flatnonzero(y == label)
        kept[some[:2]] = True
    return kept


def _mislabelled(y: Array, share: float, rng: np.random.Generator) -> Array:
    if y.ndim == 2:
        return (y + share * 2 * y.std() * rng.standard_normal(y.shape)).astype(np.float32)
    wrong = rng.random(len(y)) < share
    return np.where(wrong, rng.integers(0, y.max() + 1, len(y)), y)
