"""The loader that deals examples out in batches."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scratchnet.data.dataset import TensorDataset, fetch
from scratchnet.rng import RNGLike


class DataLoader:
    """Deals examples out in batches, in a new order each time it is gone through.

    Args:
        dataset: A tuple or list of arrays with one example in each row, such as ``(x, y)``; or a `Dataset`,
            or anything else with ``__len__`` and ``__getitem__``, whose examples are stacked.
        batch_size: Examples in a batch.
        shuffle: Whether the order changes from pass to pass.
        drop_last: Leaves out a last batch that is not full.
        collate_fn: Makes a batch of a list of examples; without it they are stacked. For examples of
            unequal length, which need padding.
        rng: Generator, seed or None for the order. A seed fixes the orders of all passes.

    Raises:
        ValueError: If the arrays differ in length, or a batch or the data set would be empty.

    Example:
        >>> [x.tolist() for x, in DataLoader((np.arange(5),), batch_size=2)]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        *,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        rng: RNGLike = None,
    ) -> None:
        self.dataset = TensorDataset(*dataset) if isinstance(dataset, tuple | list) else dataset
        if not len(self.dataset):
            raise ValueError(f"DataLoader needs at least one example, got an empty {type(dataset).__name__}")
        if batch_size < 1:
            raise ValueError(f"DataLoader needs batch_size >= 1, got {batch_size}")
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.collate_fn = collate_fn
        self._rng = np.random.default_rng(rng)

    def __len__(self) -> int:
        examples = len(self.dataset)
        return examples // self.batch_size if self.drop_last else -(-examples // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        examples = len(self.dataset)
        order = self._rng.permutation(examples) if self.shuffle else np.arange(examples)
        for number in range(len(self)):
            rows = order[number * self.batch_size : (number + 1) * self.batch_size]
            if self.collate_fn is None:
                yield fetch(self.dataset, rows)
            else:
                yield self.collate_fn([self.dataset[int(row)] for row in rows])
