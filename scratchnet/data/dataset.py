"""Examples that can be counted and fetched, and parts of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scratchnet.rng import RNGLike
from scratchnet.tape import Array


class Dataset(ABC):
    """Examples that can be counted and fetched.

    A subclass writes ``__len__`` and ``__getitem__``, which gives the example of a number: an array, or a
    tuple of arrays. It overrides `batch` where it can fetch many examples faster than one by one.

    Example:
        >>> class Squares(Dataset):
        ...     def __len__(self):
        ...         return 10
        ...     def __getitem__(self, index):
        ...         return np.float32(index), np.float32(index**2)
        >>> Squares().batch(np.array([2, 3]))
        (array([2., 3.], dtype=float32), array([4., 9.], dtype=float32))
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: Any) -> Any: ...

    def batch(self, rows: Array) -> Any:
        """The examples with these numbers, stacked."""
        return collate([self[int(row)] for row in rows])


class TensorDataset(Dataset):
    """Arrays with one example in each row, dealt out together.

    Args:
        *tensors: Arrays or tensors of one length; they are not copied.

    Attributes:
        tensors: The arrays.

    Raises:
        ValueError: If the lengths differ or are zero.

    Example:
        >>> TensorDataset(np.arange(4.0), np.arange(4) % 2)[3]
        (np.float64(3.0), np.int64(1))
    """

    def __init__(self, *tensors: ArrayLike) -> None:
        self.tensors = tuple(np.asarray(tensor) for tensor in tensors)
        if any(tensor.ndim == 0 for tensor in self.tensors):
            raise ValueError("TensorDataset needs arrays with one example in each row, got a single number")
        lengths = [len(tensor) for tensor in self.tensors]
        if len(set(lengths)) != 1 or not lengths[0]:
            raise ValueError(f"TensorDataset needs arrays of one length, not empty, got lengths {lengths}")

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def batch(self, rows: Array) -> tuple[Array, ...]:
        """The rows of every array, as copies."""
        return self[rows]


class Subset(Dataset):
    """Some examples of a data set, in the order in which they are named.

    Args:
        dataset: Where the examples come from.
        indices: The numbers that they have there.

    Raises:
        IndexError: If there is no such example.

    Example:
        >>> Subset(TensorDataset(np.arange(10)), [7, 1]).batch(np.array([0, 1]))
        (array([7, 1]),)
    """

    def __init__(self, dataset: Any, indices: ArrayLike) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices, np.int64).reshape(-1)
        outside = self.indices[(self.indices < 0) | (self.indices >= len(dataset))]
        if outside.size:
            raise IndexError(f"Subset needs indices in 0..{len(dataset) - 1}, got {outside[0]}")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[self.indices[index]]

    def batch(self, rows: Array) -> Any:
        """The examples with these numbers, stacked."""
        return fetch(self.dataset, self.indices[rows])


def fetch(dataset: Any, rows: Array) -> Any:
    """A batch of a `Dataset`, or of anything else that has ``__getitem__``."""
    if isinstance(dataset, Dataset):
        return dataset.batch(rows)
    return collate([dataset[int(row)] for row in rows])


def collate(examples: Sequence[Any]) -> Any:
    """Stacks examples into a batch, part by part where an example is a tuple, list or mapping of arrays.

    Args:
        examples: At least one example; all of one structure and of the same shapes.

    Raises:
        ValueError: If shapes or structures differ.

    Example:
        >>> collate([(np.zeros(3), 1), (np.ones(3), 0)])
        (array([[0., 0., 0.],
               [1., 1., 1.]]), array([1, 0]))
    """
    first = examples[0]
    if isinstance(first, Mapping):
        return {key: collate([example[key] for example in examples]) for key in first}
    if isinstance(first, tuple | list):
        sizes = {len(example) for example in examples}
        if len(sizes) != 1:
            raise ValueError(f"collate needs examples with equally many parts, got {sorted(sizes)}")
        return tuple(collate(parts) for parts in zip(*examples, strict=True))
    arrays = [np.asarray(example) for example in examples]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) != 1:
        raise ValueError(
            f"collate needs examples of one shape, got {', '.join(map(str, shapes))}; "
            f"pad them in a collate_fn of your own"
        )
    return np.stack(arrays)


def random_split(dataset: Any, lengths: Sequence[float], *, rng: RNGLike = None) -> list[Subset]:
    """Deals a data set out at random into parts that do not overlap.

    Args:
        dataset: Anything with ``__len__`` and ``__getitem__``.
        lengths: Examples in each part, summing to the data set's length; or shares that sum to 1, of which
            each is rounded down and the rest goes one by one to the first parts.
        rng: Generator, seed or None for the order.

    Raises:
        ValueError: If the lengths do not sum to the number of examples.

    Example:
        >>> [len(part) for part in random_split(TensorDataset(np.arange(10)), [0.75, 0.25], rng=0)]
        [8, 2]
    """
    examples = len(dataset)
    sizes = list(lengths)
    if all(isinstance(share, float) and 0 <= share <= 1 for share in sizes) and np.isclose(sum(sizes), 1):
        sizes = [int(examples * share) for share in sizes]
        for part in range(examples - int(sum(sizes))):
            sizes[part % len(sizes)] += 1
    if any(size < 0 or size != int(size) for size in sizes) or sum(sizes) != examples:
        raise ValueError(
            f"random_split needs lengths that sum to the {examples} examples, or shares that sum to 1, "
            f"got {list(lengths)}"
        )
    order = np.random.default_rng(rng).permutation(examples)
    cuts = np.cumsum([int(size) for size in sizes])[:-1]
    return [Subset(dataset, rows) for rows in np.split(order, cuts)]
