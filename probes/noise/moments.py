"""Mean and variance of each entry of a gradient over the examples, a chunk of examples at a time."""

import math
from typing import NamedTuple

import numpy as np

from probes.arrays import Array, fraction, namespace_of, quotient, readable, returned
from probes.catalogue import probe
from probes.noise.examples import check_linear, rows_of_positions
from probes.rows import wide

# Equal entries are left with a variance of rounding errors, below this share of their squared mean.
_ROUNDING = 1e-13


class SignalToNoise(NamedTuple):
    """What `gradient_signal_to_noise` finds.

    Attributes:
        mean: Squared mean over variance, averaged over the entries that vary, 0-d; NaN if none does.
        constant_fraction: Fraction of the entries that are, up to rounding, the same in every example, and
            are left out of the mean, 0-d.
    """

    mean: Array
    constant_fraction: Array


@probe(
    unit="1",
    eats="example_gradients",
    cost="dear",
    source="Liu et al., Understanding Why Neural Networks Generalize Well Through GSNR, 2020, arXiv:2001.07384",
)
def gradient_signal_to_noise(gradients: Array) -> SignalToNoise:
    """Signal-to-noise ratio of a gradient: squared mean over variance of each entry, averaged over entries.

    High while all examples pull a weight the same way, which is what generalises; it falls when what is
    left to learn differs from example to example [1]. Pure noise does not read 0 but about one over the
    number of examples, so compare at the same batch size only. A few entries with nearly no variance
    dominate the average. For more examples than fit in memory, see `GradientMoments`.

    Args:
        gradients: Per-example gradients of one tensor, shape ``(examples, *shape)``.

    Returns:
        The mean ratio, at least 0, and the fraction of entries without variance, which have no ratio (weights
        behind a dead unit); float64 in the library of ``gradients``. NaN and infinity make the mean NaN.

    Raises:
        ValueError: If there are fewer than two examples, or no entries.

    Example:
        >>> found = gradient_signal_to_noise(np.array([[1.0, 2.0, 0.0], [3.0, 2.0, 0.0]]))
        >>> float(found.mean), round(float(found.constant_fraction), 6)
        (2.0, 0.666667)

    References:
        [1] Liu et al., "Understanding Why Neural Networks Generalize Well Through the Gradient
            Signal-to-Noise Ratio of Parameters", 2020, arXiv:2001.07384.
    """
    moments = GradientMoments()
    moments.add(gradients)
    return moments.signal_to_noise()


class GradientMoments:
    """Mean and variance of each entry of one tensor's gradient, from chunks of per-example gradients.

    It keeps two arrays of the tensor's size in float64, whatever the number of examples; the chunks are
    merged as Chan, Golub and LeVeque do, so that a large mean does not drown a small variance [1].

    Attributes:
        examples: How many examples have been seen.

    Example:
        >>> moments = GradientMoments()
        >>> for chunk in (np.array([[1.0], [3.0]]), np.array([[5.0]])):
        ...     moments.add(chunk)
        >>> moments.examples, moments.mean().tolist(), moments.variance().tolist()
        (3, [3.0], [4.0])

    References:
        [1] Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance", 1983.
    """

    def __init__(self) -> None:
        self.examples = 0
        self._given: Array = np.empty(0)
        self._mean: Array = 0.0
        self._scatter: Array = 0.0

    def add(self, gradients: Array) -> None:
        """Take in a chunk of per-example gradients, shape ``(examples, *shape)``.

        Raises:
            ValueError: If there are no examples or no entries, or the shape changes.
        """
        if gradients.ndim == 0 or 0 in gradients.shape:
            raise ValueError(
                f"GradientMoments.add needs gradients of shape (examples, *shape), got "
                f"{tuple(gradients.shape)}; leave empty chunks out"
            )
        self._check_shape(tuple(gradients.shape[1:]))
        chunk = wide(readable(gradients))
        with np.errstate(all="ignore"):
            mean = chunk.mean(0)
            deviation = chunk - mean
            deviation *= deviation
            self._merge(chunk.shape[0], mean, deviation.sum(0))
        self._given = returned(np.empty(0), gradients)

    def add_linear(self, inputs: Array, output_gradients: Array) -> None:
        """Take in examples of a linear layer's weight without forming the gradient of each.

        Over several positions one gradient is formed at a time.

        Args:
            inputs: Shape ``(examples, in_features)`` or ``(examples, *positions, in_features)``.
            output_gradients: Same shape up to the features, of each example's own loss.

        Raises:
            ValueError: If there are no examples, positions or features, or the shapes do not fit.
        """
        check_linear("GradientMoments.add_linear", inputs, output_gradients)
        self._check_shape((output_gradients.shape[-1], inputs.shape[-1]))
        x, delta = rows_of_positions(inputs), rows_of_positions(output_gradients)
        with np.errstate(all="ignore"):
            if x.shape[1] == 1:
                self._merge(x.shape[0], *_outer_moments(x[:, 0, :], delta[:, 0, :]))
            else:
                for one, other in zip(x, delta, strict=True):
                    gradient = other.T @ one
                    self._merge(1, gradient, 0 * gradient)
        self._given = returned(np.empty(0), inputs)

    def mean(self) -> Array:
        """Mean gradient over the examples seen, in the tensor's shape.

        Raises:
            ValueError: If there are no examples.
        """
        self._check_examples("mean", 1)
        return returned(self._mean, self._given)

    def variance(self) -> Array:
        """Unbiased variance of each entry over the examples seen, in the tensor's shape; its sum is ``tr Σ``.

        Raises:
            ValueError: If there are fewer than two examples.
        """
        self._check_examples("variance", 2)
        return returned(self._scatter / (self.examples - 1), self._given)

    def signal_to_noise(self) -> SignalToNoise:
        """`gradient_signal_to_noise` of the examples seen.

        Raises:
            ValueError: If there are fewer than two examples.
        """
        self._check_examples("signal_to_noise", 2)
        namespace = namespace_of(self._scatter)
        with np.errstate(all="ignore"):
            constant = self._scatter <= _ROUNDING * self.examples * self._mean**2
            ones = namespace.ones_like(self._scatter)
            ratio = self._mean**2 / namespace.where(constant, ones, self._scatter) * (self.examples - 1)
            total = namespace.where(constant, namespace.zeros_like(ratio), ratio).sum()
        still = namespace.count_nonzero(constant)
        mean = quotient(total, namespace.count_nonzero(~constant))
        share = fraction(still, math.prod(constant.shape))
        return SignalToNoise(returned(mean, self._given), returned(share, self._given))

    def _merge(self, examples: int, mean: Array, scatter: Array) -> None:
        total = self.examples + examples
        away = mean - self._mean
        self._mean = self._mean + away * (examples / total)
        self._scatter = self._scatter + scatter + away * away * (self.examples * examples / total)
        self.examples = total

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if self.examples and tuple(self._mean.shape) != shape:
            raise ValueError(
                f"GradientMoments needs gradients of one tensor, got shape {shape} after "
                f"{tuple(self._mean.shape)}; keep one GradientMoments per tensor"
            )

    def _check_examples(self, caller: str, least: int) -> None:
        if self.examples < least:
            raise ValueError(
                f"GradientMoments.{caller} needs at least {least} examples, got {self.examples}; "
                f"add per-example gradients first"
            )


def _outer_moments(x: Array, delta: Array) -> tuple[Array, Array]:
    """Mean and scatter of the outer products, from two matrix products."""
    namespace, examples = namespace_of(x, delta), x.shape[0]
    mean = delta.T @ x / examples
    scatter = (delta**2).T @ x**2 - examples * mean**2
    return mean, namespace.maximum(scatter, namespace.zeros_like(scatter))
