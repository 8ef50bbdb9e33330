"""Layers that leave a random part out while they train."""

import numpy as np

from scratchnet.nn import functional as F
from scratchnet.nn.functional.dropout import check_probability
from scratchnet.nn.module import Module
from scratchnet.rng import RNGLike
from scratchnet.tensor import Tensor


class _Dropout(Module):
    """A probability, and a generator that draws a new mask in every training pass."""

    def __init__(self, p: float = 0.5, *, rng: RNGLike = None) -> None:
        super().__init__()
        check_probability(type(self).__name__, p)
        self.p = p
        self._generator = np.random.default_rng(rng)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"p={self.p}"


class Dropout(_Dropout):
    """Sets each element to zero with probability p while it trains, and divides the others by 1 − p.

    With a mask m of zeros and ones, y = m x / (1 − p) and x̄ = m ȳ / (1 − p): the expectation of y is x,
    so evaluation mode has nothing to correct and gives x itself.

    Args:
        p: Probability of zero, in [0, 1].
        rng: Where masks come from: a generator, a seed, or None for fresh entropy.

    Shape:
        Any, and the same.

    Raises:
        ValueError: If p is no probability.

    Example:
        >>> layer = Dropout(0.5, rng=0)
        >>> layer(np.ones(6)).numpy()
        array([2., 2., 2., 0., 0., 0.])
        >>> layer.eval()(np.ones(6)).numpy()
        array([1., 1., 1., 1., 1., 1.])

    References:
        Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.dropout(x, self.p, self.training, self._generator)


class Dropout1d(_Dropout):
    """Dropout of whole channels: neighbours along a sequence are alike, and single elements tell too much.

    Args:
        p: Probability that a channel is zero, in [0, 1].
        rng: Where masks come from: a generator, a seed, or None for fresh entropy.

    Shape:
        ``(batch, channels, length)`` or ``(channels, length)``, and the same.

    Raises:
        ValueError: If p is no probability, or the input has another number of axes.

    References:
        Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015, arXiv:1411.4280.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.dropout1d(x, self.p, self.training, self._generator)


class Dropout2d(_Dropout):
    """Dropout of whole channels of images, see `Dropout1d`.

    Args:
        p: Probability that a channel is zero, in [0, 1].
        rng: Where masks come from: a generator, a seed, or None for fresh entropy.

    Shape:
        ``(batch, channels, height, width)``, and the same.

    Raises:
        ValueError: If p is no probability, or the input has another number of axes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.dropout2d(x, self.p, self.training, self._generator)


class AlphaDropout(_Dropout):
    """Dropout for networks of `SELU`, which keeps mean 0 and variance 1 where the input has them.

    A dropped element takes the value −1.758 where SELU saturates, then all are scaled and shifted;
    `scratchnet.nn.functional.alpha_dropout` has the formula.

    Args:
        p: Probability that an element is dropped, in [0, 1].
        rng: Where masks come from: a generator, a seed, or None for fresh entropy.

    Shape:
        Any, and the same.

    Raises:
        ValueError: If p is no probability.

    References:
        Klambauer et al., "Self-Normalizing Neural Networks", 2017, arXiv:1706.02515.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.alpha_dropout(x, self.p, self.training, self._generator)
