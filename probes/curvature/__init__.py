"""Curvature of the loss from Hessian-vector products alone.

An ``hvp`` is any callable that takes a flat vector ``v`` and returns ``H v``, for one symmetric ``H`` of
shape ``(dim, dim)`` that stays the same from call to call. Vectors take the library, dtype and device of
``like``; random ones are drawn in NumPy first, so that a seed means the same everywhere.
"""

from probes.curvature.alignment import directional_sharpness, eigenspace_alignment
from probes.curvature.blocks import block_hvp
from probes.curvature.density import SpectralDensity, spectral_density
from probes.curvature.diagonal import HessianDiagonal, hessian_diagonal
from probes.curvature.eigenvalues import (
    Eigenpairs,
    bottom_eigenvalues,
    largest_magnitude_eigenvalues,
    top_eigenvalues,
)
from probes.curvature.frobenius import FrobeniusNorm, frobenius_norm, squared_frobenius_norm
from probes.curvature.gauss_newton import make_empirical_fisher_vp, make_gauss_newton_vp
from probes.curvature.landscape import filter_normalized, loss_along_line, loss_over_plane
from probes.curvature.stability import (
    adam_preconditioner,
    adam_stability_threshold,
    preconditioned_hvp,
    stability_threshold,
)
from probes.curvature.trace import Trace, hutch_pp_trace, trace, xtrace

__all__ = [
    "Eigenpairs",
    "FrobeniusNorm",
    "HessianDiagonal",
    "SpectralDensity",
    "Trace",
    "adam_preconditioner",
    "adam_stability_threshold",
    "block_hvp",
    "bottom_eigenvalues",
    "directional_sharpness",
    "eigenspace_alignment",
    "filter_normalized",
    "frobenius_norm",
    "hessian_diagonal",
    "hutch_pp_trace",
    "largest_magnitude_eigenvalues",
    "loss_along_line",
    "loss_over_plane",
    "make_empirical_fisher_vp",
    "make_gauss_newton_vp",
    "preconditioned_hvp",
    "spectral_density",
    "squared_frobenius_norm",
    "stability_threshold",
    "top_eigenvalues",
    "trace",
    "xtrace",
]
