"""Examples to learn from, and examples to be judged by."""

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


def train_test_split(*arrays: ArrayLike, test_size: float = 0.2, rng: RNGLike = None) -> list[Array]:
    """Shuffles arrays together and cuts each into a part for training and a part for the test.

    Args:
        *arrays: Arrays with one example in each row, all of one length.
        test_size: Share of the examples that is kept for the test, in (0, 1).
        rng: Generator, seed or None for the shuffle.

    Returns:
        ``[x_train, x_test, y_train, y_test, …]``: copies, two for each array.

    Raises:
        ValueError: If ``test_size`` leaves either part empty, or the arrays differ in length.

    Example:
        >>> train, test = train_test_split(np.arange(5), test_size=0.4, rng=0)
        >>> sorted([*train.tolist(), *test.tolist()]), len(test)
        ([0, 1, 2, 3, 4], 2)
    """
    examples = [np.asarray(array) for array in arrays]
    lengths = {array.shape[:1] for array in examples}
    if len(lengths) != 1 or lengths == {()}:
        raise ValueError(
            f"train_test_split needs arrays of one length, got shapes {[array.shape for array in examples]}"
        )
    if not 0 < test_size < 1:
        raise ValueError(f"train_test_split needs test_size in (0, 1), got {test_size}")
    ((length,),) = lengths
    first = round(length * (1 - test_size))
    if not 0 < first < length:
        raise ValueError(
            f"train_test_split needs a test_size that leaves examples in both parts of {length}, got {test_size}"
        )
    order = np.random.default_rng(rng).permutation(length)
    return [array[rows] for array in examples for rows in (order[:first], order[first:])]
