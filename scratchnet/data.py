"""Small real data, and a loader that deals it out in batches."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from scratchnet.rng import RNGLike
from scratchnet.tape import Array


class Split(NamedTuple):
    """Examples to learn from, and examples to be judged by."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array


def load_digits(*, test_size: float = 0.2, rng: RNGLike = 0) -> Split:
    """The 1,797 handwritten 8 × 8 digits that scikit-learn carries, shuffled, split and standardised.

    Each of the 64 pixels is shifted and scaled by its mean and standard deviation over the training part;
    a pixel that never changes there becomes zero.

    Args:
        test_size: Share of the examples that is kept for the test, in (0, 1).
        rng: Generator, seed or None for the shuffle.

    Returns:
        float32 images of shape ``(n, 64)`` and int64 labels in 0..9 of shape ``(n,)``.

    Raises:
        ValueError: If ``test_size`` leaves either part empty.
    """
    from sklearn.datasets import load_digits as bundled  # a slow import, which only this function needs

    if not 0 < test_size < 1:
        raise ValueError(f"load_digits needs test_size in (0, 1), got {test_size}")
    images, labels = bundled(return_X_y=True)
    order = np.random.default_rng(rng).permutation(len(labels))
    x, y = images[order], labels[order].astype(np.int64)
    first = round(len(y) * (1 - test_size))
    if not 0 < first < len(y):
        raise ValueError(f"load_digits needs a test_size that leaves examples in both parts, got {test_size}")
    mean, std = x[:first].mean(axis=0), x[:first].std(axis=0)
    scaled = ((x - mean) / np.where(std > 0, std, 1.0) * (std > 0)).astype(np.float32)
    return Split(scaled[:first], y[:first], scaled[first:], y[first:])


class DataLoader:
    """Deals arrays out in batches, in a new order each time it is gone through.

    Args:
        dataset: Arrays with one example in each row, such as ``(x, y)``.
        batch_size: Examples in a batch.
        shuffle: Whether the order changes from pass to pass.
        drop_last: Leaves out a last batch that is not full.
        rng: Generator, seed or None for the order.

    Raises:
        ValueError: If the arrays differ in length or a batch would be empty.

    Example:
        >>> [x.tolist() for x, in DataLoader((np.arange(5),), batch_size=2)]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Sequence[ArrayLike],
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        *,
        rng: RNGLike = None,
    ) -> None:
        self.dataset = tuple(np.asarray(array) for array in dataset)
        lengths = [len(array) for array in self.dataset]
        if len(set(lengths)) != 1 or not lengths[0]:
            raise ValueError(f"DataLoader needs arrays of one length, not empty, got lengths {lengths}")
        if batch_size < 1:
            raise ValueError(f"DataLoader needs batch_size >= 1, got {batch_size}")
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self._rng = np.random.default_rng(rng)

    def __len__(self) -> int:
        examples = len(self.dataset[0])
        return examples // self.batch_size if self.drop_last else -(-examples // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        examples = len(self.dataset[0])
        order = self._rng.permutation(examples) if self.shuffle else np.arange(examples)
        for number in range(len(self)):
            rows = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield tuple(array[rows] for array in self.dataset)
