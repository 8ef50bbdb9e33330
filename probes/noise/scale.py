"""The gradient noise scale: the batch size at which noise and signal in a gradient are as large as each other."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from probes.arrays import Array, detached, namespace_of, quotient, widest_float
from probes.catalogue import probe
from probes.noise.examples import ExampleProducts

_SOURCE = "McCandlish et al., An Empirical Model of Large-Batch Training, 2018, arXiv:1812.06162"


class GradientNoise(NamedTuple):
    """Signal and noise of a gradient, as estimated without bias.

    Attributes:
        squared_norm: ``|G|²`` of the true gradient, 0-d; an estimate may fall below 0.
        variance: ``tr Σ``, the variance of one example's gradient summed over its entries, 0-d; likewise.
    """

    squared_norm: Array
    variance: Array

    @property
    def scale(self) -> Array:
        """``tr Σ / |G|²`` in examples, 0-d; NaN where the estimate of ``|G|²`` is not positive."""
        namespace = namespace_of(self.squared_norm)
        nothing = namespace.full_like(self.squared_norm, math.nan)
        signal = namespace.where(self.squared_norm > 0, self.squared_norm, nothing)
        return quotient(self.variance, signal)


@probe(unit="squared loss per squared weight", eats=("norms", "batch_sizes"), cost="free", source=_SOURCE)
def gradient_noise(norms: Array, batch_sizes: Sequence[float]) -> GradientNoise:
    """Signal and noise in a gradient, from its norm over a small and over a large batch.

    The squared norm over ``B`` examples is ``|G|² + tr Σ / B`` in expectation; two sizes give both [1].
    Their ratio, the noise scale, tells which batch size pays: well below it twice the batch is as good as
    twice the steps, well above it the rest of the batch is wasted. Two norms of one step are a rough
    estimate, often negative, and the ratio of rough estimates is biased: average numerator and
    denominator over steps first, as `GradientNoiseScale` does.

    Args:
        norms: Gradient norms over either batch, shape ``(2,)``. Where many small batches make up the large
            one (micro-batches, the workers of a group), the root mean square of their norms is better.
        batch_sizes: Examples in each of the two, in the same order.

    Returns:
        ``|G|²`` and ``tr Σ``, float64 in the library of ``norms``; its property ``scale`` is their ratio.
        NaN carries through.

    Raises:
        ValueError: If there are not two norms, or the batch sizes are not two positive, different numbers.

    Example:
        >>> noise = gradient_noise(np.array([2.0, 1.0]), (10, 100))
        >>> [round(float(number), 6) for number in (*noise, noise.scale)]
        [0.666667, 33.333333, 50.0]

    References:
        [1] McCandlish et al., "An Empirical Model of Large-Batch Training", 2018, arXiv:1812.06162,
            appendix A.1.
    """
    if tuple(norms.shape) != (2,):
        raise ValueError(f"gradient_noise needs two norms in a 1-D array, got shape {tuple(norms.shape)}")
    if len(batch_sizes) != 2 or min(batch_sizes) <= 0 or batch_sizes[0] == batch_sizes[1]:
        raise ValueError(
            f"gradient_noise needs two positive batch sizes that differ, got {tuple(batch_sizes)}; "
            f"measure a part of the batch beside the whole"
        )
    first, second = (float(size) for size in batch_sizes)
    with np.errstate(all="ignore"):
        squares = namespace_of(norms).astype(detached(norms), widest_float(norms)) ** 2
        squared_norm = (second * squares[1] - first * squares[0]) / (second - first)
        variance = (squares[0] - squares[1]) / (1 / first - 1 / second)
    return GradientNoise(squared_norm, variance)


@probe(unit="squared loss per squared weight", eats="example_products", cost="free", source=_SOURCE)
def example_noise(products: ExampleProducts) -> GradientNoise:
    """`gradient_noise` from the gradients of single examples: a small batch of one, averaged over all of them.

    It is the best estimate that a batch has of its own noise [1]. With fewer examples than the noise
    scale, the estimate of ``|G|²`` is mostly noise still, and its ratio is not to be trusted.

    Args:
        products: Of all examples of the batch with their mean.

    Returns:
        ``|G|²`` and ``tr Σ``, float64 in the library of the products. NaN carries through.

    Raises:
        ValueError: If there are fewer than two examples.

    Example:
        >>> from probes import example_products
        >>> gradients = np.array([[2.0, 1.0], [2.0, -1.0]])
        >>> noise = example_noise(example_products(gradients, gradients.mean(axis=0)))
        >>> [round(float(number), 6) for number in noise]
        [3.0, 2.0]

    References:
        [1] McCandlish et al., "An Empirical Model of Large-Batch Training", 2018, arXiv:1812.06162.
    """
    examples = products.squared_norms.shape[0]
    if examples < 2:
        raise ValueError(
            f"example_noise needs at least two examples, got {examples}; one says nothing of how they vary"
        )
    namespace = namespace_of(products.squared_norms)
    squares = namespace.stack([products.squared_norms.mean(), products.mean_squared_norm])
    return gradient_noise(namespace.sqrt(squares), (1, examples))


class GradientNoiseScale:
    """The gradient noise scale over a run: a ratio of moving averages.

    Signal and noise are averaged apart, and divided last; an average of ratios would be drawn to the
    steps whose signal was estimated near zero [1]. The state is four numbers on the device of the norms.

    Args:
        decay: What a step's weight is multiplied by at the next one, in [0, 1): 0.99 looks back on about
            a hundred steps. The noise scale grows over a run, and a longer memory lags behind it.

    Raises:
        ValueError: If ``decay`` is out of range.

    Example:
        >>> noise_scale = GradientNoiseScale(decay=0.9)
        >>> for _ in range(3):
        ...     noise = noise_scale.add(np.array([2.0, 1.0]), (10, 100))
        >>> round(float(noise.scale), 6), int(noise_scale.left_out)
        (50.0, 0)

    References:
        [1] McCandlish et al., "An Empirical Model of Large-Batch Training", 2018, arXiv:1812.06162,
            appendix A.1.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(
                f"GradientNoiseScale needs a decay in [0, 1), got {decay}; use 0.99 for about 100 steps"
            )
        self.decay = decay
        self._averages: Array | None = None
        self._left_out: Array = np.int64(0)

    @property
    def left_out(self) -> Array:
        """How many steps were not finite and are in no average, an integer, 0-d, in the library of the norms."""
        return self._left_out

    def add(self, norms: Array, batch_sizes: Sequence[float]) -> GradientNoise:
        """Take in one step's norms over the two batch sizes; for both arguments see `gradient_noise`.

        Returns:
            The averages so far, whose ``scale`` is the reading. A step whose norms are not finite reads NaN,
            is counted in `left_out`, and leaves the averages as they were.

        Raises:
            ValueError: As `gradient_noise` does.
        """
        estimate = gradient_noise(norms, batch_sizes)
        namespace = namespace_of(norms)
        # The weights are averaged beside the numbers: over them, the first steps have no bias towards 0.
        now = namespace.stack([*estimate, namespace.ones_like(estimate.variance)])
        before = namespace.zeros_like(now) if self._averages is None else self._averages
        finite = namespace.isfinite(now).all()
        self._averages = namespace.where(finite, self.decay * before + (1 - self.decay) * now, before)
        self._left_out = self._left_out + namespace.astype(~finite, namespace.int64)
        numbers = namespace.where(finite, self._averages, namespace.full_like(now, math.nan))
        return GradientNoise(numbers[0] / numbers[2], numbers[1] / numbers[2])
