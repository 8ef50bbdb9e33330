"""Random vectors, their products with a Hessian, and how far a mean of samples may be off."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from array_api_compat import device, to_device
from numpy.typing import NDArray

from probes.arrays import Array
from probes.curvature.product import Product


def check_samples(caller: str, dim: int, samples: int) -> None:
    """Refuse a matrix without entries, and samples too few to show their spread."""
    if dim < 1 or samples < 2:
        raise ValueError(
            f"{caller} needs dim >= 1 and samples >= 2, got dim={dim} and samples={samples}; "
            f"take 2 samples or more, for one alone has no standard error"
        )


def check_budget(caller: str, dim: int, max_products: int, least: int) -> None:
    """Refuse a matrix without entries, and products too few for two estimates."""
    if dim < 1 or max_products < least:
        raise ValueError(
            f"{caller} needs dim >= 1 and max_products >= {least}, got dim={dim} and "
            f"max_products={max_products}; with fewer products nothing shows how far the estimate is off"
        )


def random_signs(product: Product, rng: np.random.Generator) -> Array:
    """A vector of independent entries +1 and -1."""
    return product.give(rng.integers(0, 2, product.dim, dtype=np.int8) * 2 - 1)


def sign_images(product: Product, samples: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Random sign vectors z, each with H z; the first two tell whether H is symmetric."""
    dot = product.namespace.matmul
    first: tuple[Array, Array, float] | None = None
    for sample in range(samples):
        signs = random_signs(product, rng)
        image, size = product(signs)
        if first is None:
            # A copy, for the caller's product may write every result into the same array.
            first = signs, product.namespace.asarray(image, copy=True), size
        elif sample == 1:
            other_signs, other_image, other_size = first
            difference = abs(float(dot(signs, other_image) - dot(other_signs, image)))
            product.check_symmetry(difference, max(size, other_size) * math.sqrt(product.dim))
        yield signs, image


def images_of(product: Product, vectors: Array) -> Array:
    """The product with each of some vectors, one a row, after a look at whether H is symmetric."""
    namespace = product.namespace
    images = namespace.empty(vectors.shape, dtype=vectors.dtype, device=device(vectors))
    largest = 0.0
    for row in range(vectors.shape[0]):
        images[row, ...], size = product(vectors[row, ...])
        largest = max(largest, size)
    forms = on_host(namespace.matmul(vectors, images.T))
    lengths = np.sqrt(on_host(namespace.sum(vectors * vectors, axis=1)))
    difference = np.abs(forms - forms.T).max(initial=0.0)
    product.check_symmetry(float(difference), largest * lengths.max(initial=0.0))
    return images


def mean_with_error(samples: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """Mean of independent samples and its standard error."""
    values = np.asarray(samples)
    return float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))


def on_host(array: Array) -> NDArray[np.float64]:
    """A small matrix as float64 in NumPy."""
    return np.asarray(to_device(array, "cpu"), dtype=np.float64)
