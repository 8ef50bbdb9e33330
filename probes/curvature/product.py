"""The caller's Hessian-vector product, counted and checked, with the ways into and out of its library."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import device, is_array_api_obj
from numpy.typing import NDArray

from probes.arrays import Array, detached, namespace_of, norm

Hvp: TypeAlias = Callable[[Array], Array]
Seed: TypeAlias = np.random.Generator | int | None


class Product:
    """The caller's product, counted and checked at every call, with the ways into and out of its library."""

    def __init__(self, caller: str, hvp: Hvp, dim: int, like: Array | None) -> None:
        self.caller, self.dim, self.count = caller, dim, 0
        self.like = np.empty(0) if like is None else like
        self.namespace: Any = namespace_of(self.like)
        self._hvp = hvp
        if self.like.dtype not in (self.namespace.float32, self.namespace.float64):
            raise ValueError(
                f"{caller} needs like to be float32 or float64, got {self.like.dtype}; "
                f"cast it, for narrower types hold too few digits to tell eigenvalues apart"
            )
        self.rounding = float(self.namespace.finfo(self.like.dtype).eps)
        # The cube root leaves room for products by finite differences, the roughest in use.
        self.asymmetry_allowed = self.rounding ** (1 / 3)

    def __call__(self, vector: Array) -> tuple[Array, float]:
        """``H v`` and its norm."""
        self.count += 1
        product = self._hvp(vector)
        self._check_form(product)
        product = self.namespace.astype(detached(product), self.like.dtype, copy=False)
        size = float(norm(product))
        if not math.isfinite(size):
            raise ValueError(
                f"{self.caller} needs finite Hessian-vector products, got NaN or infinity in number "
                f"{self.count}; check that the loss is finite on the probe batch"
            )
        return product, size

    def give(self, host: NDArray[Any]) -> Array:
        """A NumPy array in the library, dtype and place of the vectors."""
        # In "C" order, for torch takes no array that runs backwards.
        host = np.asarray(host, order="C")
        return self.namespace.asarray(host, dtype=self.like.dtype, device=device(self.like))

    def draw(self, rng: np.random.Generator) -> Array:
        """A random vector of norm 1, every direction as likely."""
        vector = self.give(rng.standard_normal(self.dim))
        return vector / float(norm(vector))

    def check_symmetry(self, difference: float, scale: float) -> None:
        """Refuse products of which ``<u, H v>`` and ``<v, H u>`` are too far apart for rounding."""
        if difference > self.asymmetry_allowed * scale:
            raise ValueError(
                f"{self.caller} needs a symmetric Hessian, got <u, Hv> and <v, Hu> that differ by "
                f"{difference:.2g} where products have norm {scale:.2g}; make every call compute the same "
                f"function: one fixed batch, no dropout, no batch statistics"
            )

    def _check_form(self, product: Any) -> None:
        if (
            is_array_api_obj(product)
            and namespace_of(product) is self.namespace
            and tuple(product.shape) == (self.dim,)
        ):
            return
        kind = f"{type(product).__module__}.{type(product).__qualname__}"
        shape = tuple(product.shape) if hasattr(product, "shape") else None
        raise ValueError(
            f"{self.caller} needs hvp to return a vector of shape ({self.dim},) in the library of its "
            f"argument, got {kind} of shape {shape}; flatten and join the parts, and give like= an array "
            f"of the library that hvp computes in"
        )
