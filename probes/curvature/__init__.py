"""Curvature of the loss from Hessian-vector products alone.

An ``hvp`` is any callable that takes a flat vector ``v`` and returns ``H v``, for one symmetric ``H`` of
shape ``(dim, dim)`` that stays the same from call to call. Vectors take the library, dtype and device of
``like``; random ones are drawn in NumPy first, so that a seed means the same everywhere.
"""

from probes.curvature.eigenvalues import TopEigenvalues, top_eigenvalues
from probes.curvature.stability import stability_threshold
from probes.curvature.trace import Trace, trace

__all__ = ["TopEigenvalues", "Trace", "stability_threshold", "top_eigenvalues", "trace"]
