"""Curvature of one layer's weights alone."""

from array_api_compat import device

from probes.arrays import Array, namespace_of
from probes.curvature.product import Hvp


def block_hvp(hvp: Hvp, block: slice, dim: int) -> Hvp:
    """The Hessian-vector product of some of the weights while the others stay: a block on the diagonal.

    Every measure of an ``hvp`` is then one of a layer: its sharpness, its trace. The traces of all blocks
    add up to the whole one, but the largest eigenvalue is at least that of each block, for the sharpest
    direction may go through several layers [1].

    Args:
        hvp: Takes a flat vector of shape ``(dim,)`` and returns the Hessian times it, same shape.
        block: Where the weights stand in the flat vector: ``slice(first, one behind the last)``.
        dim: Number of all weights.

    Returns:
        A product on vectors as long as the block. Each call is one call of ``hvp``, with zeros elsewhere.

    Raises:
        ValueError: If the block is not a run of at least one of the ``dim`` weights; when called, if the
            vector is not as long as the block, or ``hvp`` returns another shape than ``(dim,)``.

    Example:
        >>> hessian = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 9.0]])
        >>> first_layer = block_hvp(lambda v: hessian @ v, slice(0, 2), 3)
        >>> first_layer(np.array([1.0, 0.0])).tolist()
        [2.0, 1.0]

    References:
        [1] Martens and Grosse, "Optimizing Neural Networks with Kronecker-factored Approximate Curvature",
            2015, arXiv:1503.05671.
    """
    size = len(range(dim)[block])
    if block != slice(block.start, (block.start or 0) + size) or size == 0:
        raise ValueError(
            f"block_hvp needs a slice(first, end) with 0 <= first < end <= dim, got {block} and dim={dim}; "
            f"add up the sizes of the parameters before the layer"
        )

    def product(vector: Array) -> Array:
        if tuple(vector.shape) != (size,):
            raise ValueError(
                f"block_hvp needs vectors of shape ({size},), got {tuple(vector.shape)}; "
                f"give the measure the size of the block as its dim"
            )
        whole = namespace_of(vector).zeros(dim, dtype=vector.dtype, device=device(vector))
        whole[block] = vector
        image = hvp(whole)
        if tuple(getattr(image, "shape", ())) != (dim,):
            raise ValueError(
                f"block_hvp needs hvp to return a vector of shape ({dim},), got {type(image).__name__} of "
                f"shape {getattr(image, 'shape', None)}; flatten and join the parts"
            )
        return image[block]

    return product
