"""What the tests of the batch size need of per-example gradients: three products, and never all gradients at once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from probes.arrays import Array, namespace_of, readable, returned
from probes.rows import wide

# Two sums over the same numbers agree at least this well, whatever their order.
_SAME = 1e-9


class ExampleProducts(NamedTuple):
    """Per-example gradients ``g_i`` as their products with themselves and with their mean ``G``.

    They add up over the tensors of a network (`summed_tensors`), and stand one after another over chunks
    of examples (`joined_examples`), so that a chunk of one tensor is all that need ever be held.

    Attributes:
        squared_norms: ``‖g_i‖²`` of each example, shape ``(examples,)``.
        with_mean: ``⟨g_i, G⟩`` of each example, shape ``(examples,)``.
        mean_squared_norm: ``‖G‖²``, 0-d.
    """

    squared_norms: Array
    with_mean: Array
    mean_squared_norm: Array


def example_products(gradients: Array, mean: Array) -> ExampleProducts:
    """Products of one tensor's per-example gradients, all of them or a chunk.

    The mean is the gradient of the batch, which the usual backward pass of a mean-reduced loss has left
    already; so a second pass over the examples, a chunk at a time, is all that is added to it.

    Args:
        gradients: Shape ``(examples, *shape)``: of each example's own loss, not divided by the batch size.
        mean: Their mean over **all** examples of the batch, shape ``shape``.

    Returns:
        The products, float64 in the library of ``gradients``; it takes a copy of the chunk in that type.

    Raises:
        ValueError: If there are no examples or no entries, or the shapes do not fit.

    Example:
        >>> gradients = np.array([[3.0, 4.0], [1.0, 0.0]])
        >>> products = example_products(gradients, gradients.mean(axis=0))
        >>> products.squared_norms.tolist(), products.with_mean.tolist(), float(products.mean_squared_norm)
        ([25.0, 1.0], [14.0, 2.0], 8.0)
    """
    if gradients.ndim == 0 or 0 in gradients.shape or tuple(gradients.shape[1:]) != tuple(mean.shape):
        raise ValueError(
            f"example_products needs gradients of shape (examples, *shape) and a mean of shape (*shape), "
            f"got {tuple(gradients.shape)} and {tuple(mean.shape)}; put the examples on the first axis"
        )
    rows, whole = wide(readable(gradients)), wide(readable(mean))
    namespace = namespace_of(rows, whole)
    rows, whole = namespace.reshape(rows, (rows.shape[0], -1)), namespace.reshape(whole, (-1,))
    with np.errstate(all="ignore"):
        products = namespace.vecdot(rows, rows), rows @ whole, whole @ whole
    return ExampleProducts(*(returned(product, gradients) for product in products))


def linear_example_products(inputs: Array, output_gradients: Array, mean: Array) -> ExampleProducts:
    """Products of the per-example gradients of a linear layer's weight, from what goes in and what comes back.

    An example's gradient is the outer product of its output gradient ``δ`` with its input ``x``, so
    ``‖g‖² = ‖x‖² ‖δ‖²`` and ``⟨g, G⟩ = δᵀ G x``: no gradient need be formed [1]. Over several positions
    (a sequence, the patches of a convolution) ``‖g‖²`` is the sum of the entrywise product of the two
    Gram matrices, or the gradient is formed, one example at a time, where that is smaller.

    For the layer's bias take `example_products` of the output gradients, summed over positions.

    Args:
        inputs: Shape ``(examples, in_features)`` or ``(examples, *positions, in_features)``.
        output_gradients: Of each example's own loss, not divided by the batch size; shape
            ``(examples, out_features)`` or ``(examples, *positions, out_features)``.
        mean: Gradient of the weight, the mean over **all** examples of the batch, shape
            ``(out_features, in_features)``.

    Returns:
        The products, float64 in the library of ``inputs``.

    Raises:
        ValueError: If there are no examples, positions or features, or the shapes do not fit.

    Example:
        >>> inputs, output_gradients = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[1.0], [2.0]])
        >>> products = linear_example_products(inputs, output_gradients, output_gradients.T @ inputs / 2)
        >>> products.squared_norms.tolist(), products.with_mean.tolist()
        ([25.0, 4.0], [15.5, 5.0])

    References:
        [1] Goodfellow, "Efficient Per-Example Gradient Computations", 2015, arXiv:1510.01799.
    """
    check_linear("linear_example_products", inputs, output_gradients)
    if tuple(mean.shape) != (output_gradients.shape[-1], inputs.shape[-1]):
        raise ValueError(
            f"linear_example_products needs a mean gradient of shape "
            f"{(output_gradients.shape[-1], inputs.shape[-1])}, got {tuple(mean.shape)}; "
            f"pass the gradient of the weight as (out_features, in_features)"
        )
    x, delta, whole = rows_of_positions(inputs), rows_of_positions(output_gradients), wide(readable(mean))
    with np.errstate(all="ignore"):
        with_mean = ((x @ whole.T) * delta).sum((1, 2))
        products = _linear_squared_norms(x, delta), with_mean, (whole * whole).sum()
    return ExampleProducts(*(returned(product, inputs) for product in products))


def summed_tensors(tensors: Sequence[ExampleProducts]) -> ExampleProducts:
    """Products of the whole gradient from those of its tensors, for the same examples.

    Args:
        tensors: At least one, all of the same examples in the same order.

    Returns:
        Their sums.

    Raises:
        ValueError: If there are none, or they are of different numbers of examples.

    Example:
        >>> part = example_products(np.array([[1.0], [3.0]]), np.array([2.0]))
        >>> summed_tensors([part, part]).squared_norms.tolist()
        [2.0, 18.0]
    """
    counts = [part.squared_norms.shape[0] for part in tensors]
    if len(set(counts)) != 1:
        raise ValueError(
            f"summed_tensors needs at least one tensor, all of the same examples, got {counts} examples; "
            f"join the chunks of each tensor first"
        )
    return ExampleProducts(*(sum(parts[1:], start=parts[0]) for parts in zip(*tensors, strict=True)))


def joined_examples(chunks: Sequence[ExampleProducts]) -> ExampleProducts:
    """Products of a batch from those of its chunks, all against the mean of the whole batch.

    Args:
        chunks: At least one, of the same tensors and with the same mean.

    Returns:
        The examples one after another.

    Raises:
        ValueError: If there are none, or their means differ.

    Example:
        >>> mean = np.array([2.0])
        >>> chunks = [example_products(np.array([[1.0]]), mean), example_products(np.array([[3.0]]), mean)]
        >>> joined_examples(chunks).with_mean.tolist()
        [2.0, 6.0]
    """
    means = [float(chunk.mean_squared_norm) for chunk in chunks]
    if not means or any(abs(mean - means[0]) > _SAME * means[0] for mean in means):
        raise ValueError(
            f"joined_examples needs at least one chunk, all with the same mean, got squared norms of the "
            f"mean {means}; take the mean over the whole batch first"
        )
    namespace = namespace_of(chunks[0].squared_norms)
    squared_norms, with_mean, _ = zip(*chunks, strict=True)
    return ExampleProducts(
        namespace.concat(squared_norms), namespace.concat(with_mean), chunks[0].mean_squared_norm
    )


def check_linear(caller: str, inputs: Array, output_gradients: Array) -> None:
    """Raises where these are not the two sides of one linear layer, at the same examples and positions."""
    shapes = tuple(inputs.shape), tuple(output_gradients.shape)
    if inputs.ndim < 2 or shapes[0][:-1] != shapes[1][:-1] or 0 in shapes[0] + shapes[1]:
        raise ValueError(
            f"{caller} needs inputs and output gradients of shapes (examples, *positions, features) that "
            f"differ in features alone, got {shapes[0]} and {shapes[1]}; put the features on the last axis"
        )


def rows_of_positions(array: Array) -> Array:
    """The array as ``(examples, positions, features)`` in the widest float."""
    seen = wide(readable(array))
    return namespace_of(seen).reshape(seen, (seen.shape[0], -1, seen.shape[-1]))


def _linear_squared_norms(x: Array, delta: Array) -> Array:
    namespace = namespace_of(x, delta)
    examples, positions, features = x.shape
    gradient, gram = features * delta.shape[2], positions**2
    # As many examples at a time as their Gram matrices are no larger than one gradient.
    at_once = max(1, gradient // gram)
    product = _gram_product if gram <= gradient else _formed_product
    parts = (slice(start, start + at_once) for start in range(0, examples, at_once))
    return namespace.concat([product(x[part], delta[part]) for part in parts])


def _gram_product(x: Array, delta: Array) -> Array:
    return ((x @ x.swapaxes(1, 2)) * (delta @ delta.swapaxes(1, 2))).sum((1, 2))


def _formed_product(x: Array, delta: Array) -> Array:
    gradient = delta.swapaxes(1, 2) @ x
    return (gradient * gradient).sum((1, 2))
