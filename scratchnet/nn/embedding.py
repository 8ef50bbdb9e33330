"""Vectors for words, users, positions: whatever is told by a number."""

from typing import Any, Self

import numpy as np

from scratchnet.nn import functional as F
from scratchnet.nn import init
from scratchnet.nn.module import Module, Parameter
from scratchnet.rng import RNGLike
from scratchnet.tensor import Tensor


class Embedding(Module):
    """A vector for each of a vocabulary's numbers, y = W[index].

    It equals a `Linear` layer without bias on one-hot vectors, at the cost of reading one row. The
    gradient W̄ adds each ȳ to the row that it came from. As in PyTorch, rows start standard normal.

    Args:
        num_embeddings: Size of the vocabulary.
        embedding_dim: Size of each vector.
        padding_idx: Number whose row starts at zero and gets no gradient; a negative one counts from the end.
        max_norm: Must be None: rows are never rescaled in a forward pass.
        norm_type: Belongs to ``max_norm``.
        scale_grad_by_freq: Must be False.
        sparse: Must be False: gradients are dense.
        _weight: First values, shape ``(num_embeddings, embedding_dim)``.
        rng: Where the first values come from: a generator, a seed, or None for fresh entropy.

    Shape:
        ``(...)``, integers, to ``(..., embedding_dim)``.

    Raises:
        ValueError: If sizes or ``padding_idx`` do not fit, or what is not built is asked for; from a
            call, if a number is out of range.
        TypeError: From a call on anything but integers.

    Example:
        >>> words = Embedding(10, 3, padding_idx=0, rng=0)
        >>> words(np.array([[4, 2, 0]])).shape, words(np.array([0])).numpy()
        ((1, 3, 3), array([[0., 0., 0.]], dtype=float32))
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Any = None,
        *,
        rng: RNGLike = None,
    ) -> None:
        super().__init__()
        _refuse(max_norm, scale_grad_by_freq, sparse)
        shape = (num_embeddings, embedding_dim)
        if min(shape) < 1:
            raise ValueError(f"Embedding needs num_embeddings and embedding_dim >= 1, got {shape}")
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(
                f"Embedding needs a padding_idx within its {num_embeddings} embeddings, got {padding_idx}"
            )
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.norm_type = norm_type
        if _weight is not None:
            self.weight = Parameter(_fitting(_weight, shape))
            return
        self.weight = Parameter(np.empty(shape, np.float32))
        init.normal_(self.weight, rng=rng)
        if self.padding_idx is not None:
            self.weight.array[self.padding_idx] = 0.0

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None) -> Self:
        """An embedding of given vectors, whose row for ``padding_idx`` is kept as it is.

        Args:
            embeddings: Shape ``(num_embeddings, embedding_dim)``; not copied where it is an array of floats.
            freeze: Whether no gradient is wanted.
            padding_idx: As in the class.

        Example:
            >>> Embedding.from_pretrained(np.eye(3))(np.array([1])).numpy()
            array([[0., 1., 0.]])
        """
        if np.ndim(embeddings) != 2:
            raise ValueError(
                f"from_pretrained needs a table (embeddings, columns), got shape {np.shape(embeddings)}"
            )
        rows, columns = np.shape(embeddings)
        layer = cls(rows, columns, padding_idx=padding_idx, _weight=embeddings)
        layer.weight.requires_grad = not freeze
        return layer

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        return F.embedding(x, self.weight, self.padding_idx)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


def _refuse(max_norm: float | None, scale_grad_by_freq: bool, sparse: bool) -> None:
    if max_norm is not None:
        raise ValueError(
            f"Embedding needs max_norm=None, got {max_norm}; rescale weight.array after each optimiser step"
        )
    if scale_grad_by_freq or sparse:
        raise ValueError(
            f"Embedding needs scale_grad_by_freq=False and sparse=False, got {scale_grad_by_freq} and "
            f"{sparse}; its gradient is the dense sum over all occurrences"
        )


def _fitting(weight: Any, shape: tuple[int, int]) -> Any:
    array = weight.array if isinstance(weight, Tensor) else weight
    if np.shape(array) != shape:
        raise ValueError(f"Embedding needs a _weight of shape {shape}, got {np.shape(array)}")
    return array
