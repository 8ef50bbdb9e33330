"""Is the batch large enough? Three tests of how well its gradient is known, from per-example gradients."""

from typing import Any

import numpy as np

from probes.arrays import Array, namespace_of
from probes.catalogue import probe
from probes.noise.examples import ExampleProducts

_SOURCE = (
    "Bollapragada et al., Adaptive Sampling Strategies for Stochastic Optimization, 2018, arXiv:1710.11258"
)

# How far the mean may be from that of the examples, over their root mean square: rounding of
# half-precision gradients stays below, forgetting a factor or a chunk does not.
_MEAN_TOLERANCE = 1e-2


@probe(unit="1", eats="example_products", cost="free", source=_SOURCE)
def norm_test(products: ExampleProducts) -> Array:
    """Standard error of the batch's gradient over its norm.

    Below a constant of about 1 the gradient's direction is known well enough to follow; above it the
    batch is too small for the slope that is left, and a larger one (or a smaller learning rate) is due
    [1]. It rises by itself as training converges and the gradient fades. Of its square, the noise along
    the gradient is `inner_product_test` squared and the rest is `orthogonality_test` squared; times the
    batch size its square is the noise scale, uncorrected for bias (see `example_noise`).

    Args:
        products: Of all examples of the batch with their mean, for one tensor or for all of them.

    Returns:
        A number of at least 0, 0-d, float64 in the library of the products; NaN where the mean gradient is
        zero, or where NaN or infinity is in the gradients.

    Raises:
        ValueError: If there are fewer than two examples, or the mean is not theirs.

    Example:
        >>> from probes import example_products
        >>> gradients = np.array([[1.0, 1.0], [1.0, -1.0]])
        >>> float(norm_test(example_products(gradients, gradients.mean(axis=0))))
        1.0

    References:
        [1] Bollapragada, Byrd and Nocedal, "Adaptive Sampling Strategies for Stochastic Optimization", 2018,
            arXiv:1710.11258.
    """
    examples, squared_norms, _, signal = _checked("norm_test", products)
    with np.errstate(all="ignore"):
        return _standard_error(squared_norms.sum() - examples * signal, signal, examples)


@probe(unit="1", eats="example_products", cost="free", source=_SOURCE)
def inner_product_test(products: ExampleProducts) -> Array:
    """Standard error of the batch's gradient **along itself**, over its norm.

    It asks less than `norm_test`: not that the step be right, only that it go downhill. Below 1 it most
    likely does [1]. Nothing is said of the noise across the gradient, which makes up nearly all of it
    in a large network: see `orthogonality_test`.

    Args:
        products: Of all examples of the batch with their mean, for one tensor or for all of them.

    Returns:
        A number of at least 0, 0-d, float64 in the library of the products; NaN where the mean gradient is
        zero, or where NaN or infinity is in the gradients.

    Raises:
        ValueError: If there are fewer than two examples, or the mean is not theirs.

    Example:
        >>> from probes import example_products
        >>> gradients = np.array([[1.0, 1.0], [1.0, -1.0]])
        >>> float(inner_product_test(example_products(gradients, gradients.mean(axis=0))))
        0.0

    References:
        [1] Bollapragada, Byrd and Nocedal, "Adaptive Sampling Strategies for Stochastic Optimization", 2018,
            arXiv:1710.11258.
    """
    examples, _, along, signal = _checked("inner_product_test", products)
    with np.errstate(all="ignore"):
        return _standard_error(((along - along.mean()) ** 2).sum(), signal, examples)


@probe(unit="1", eats="example_products", cost="free", source=_SOURCE)
def orthogonality_test(products: ExampleProducts) -> Array:
    """Standard error of the batch's gradient **across itself**, over its norm.

    It is the share of `norm_test` that turns the step aside; the authors keep it below about 6 [1], for
    such noise does not take the step uphill until the curvature across the gradient comes in.

    Args:
        products: Of all examples of the batch with their mean, for one tensor or for all of them.

    Returns:
        A number of at least 0, 0-d, float64 in the library of the products; NaN where the mean gradient is
        zero, or where NaN or infinity is in the gradients.

    Raises:
        ValueError: If there are fewer than two examples, or the mean is not theirs.

    Example:
        >>> from probes import example_products
        >>> gradients = np.array([[1.0, 1.0], [1.0, -1.0]])
        >>> float(orthogonality_test(example_products(gradients, gradients.mean(axis=0))))
        1.0

    References:
        [1] Bollapragada, Byrd and Nocedal, "Adaptive Sampling Strategies for Stochastic Optimization", 2018,
            arXiv:1710.11258.
    """
    examples, squared_norms, along, signal = _checked("orthogonality_test", products)
    with np.errstate(all="ignore"):
        return _standard_error((squared_norms - along**2).sum(), signal, examples)


def _standard_error(scatter: Array, signal: Array, examples: int) -> Array:
    namespace: Any = namespace_of(signal)
    # Gradients that are all alike leave a scatter of rounding errors, of either sign.
    scatter = namespace.maximum(scatter, namespace.zeros_like(scatter))
    relative = (scatter / signal / (examples * (examples - 1))) ** 0.5
    return namespace.where(signal == 0, namespace.full_like(signal, np.nan), relative)


def _checked(caller: str, products: ExampleProducts) -> tuple[int, Array, Array, Array]:
    """Number of examples, their squared norms, their lengths along the mean, and its own squared norm."""
    examples = products.squared_norms.shape[0]
    if examples < 2:
        raise ValueError(
            f"{caller} needs at least two examples, got {examples}; one says nothing of how they vary"
        )
    squared_norms, with_mean, signal = products
    with np.errstate(all="ignore"):
        average, along = with_mean.mean(), with_mean / signal**0.5
        off = float((average - signal) ** 2)
        allowed = _MEAN_TOLERANCE**2 * float(signal) * float(squared_norms.mean())
    if off > allowed:
        raise ValueError(
            f"{caller} needs products with the mean of the same examples, got ⟨g, G⟩ of "
            f"{float(average):.6g} on average and ‖G‖² of {float(signal):.6g}, which should be "
            f"equal; pass all examples of the batch, with gradients not divided by its size"
        )
    return examples, squared_norms, along, signal
