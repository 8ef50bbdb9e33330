"""Measurements of a network in training: arrays in, numbers out.

Each probe is a function with a definition, a source and a test against a known answer. It knows no
framework: it computes in the library of the arrays that it is given, NumPy or torch, and returns 0-d (or
1-D) arrays of that library, which for NumPy are its scalars or 0-d arrays. `probe` registers a new one,
`catalogue` lists them all.

    >>> import probes
    >>> float(probes.dead_unit_rate(np.array([[0.0, 1.0], [0.0, 0.0]])))
    0.5
    >>> probes.probe_of(probes.dead_unit_rate).unit
    'fraction of units'
    >>> "update_ratio" in [entry.name for entry in probes.catalogue()]
    True
"""

from probes.activations import (
    UnitActivity,
    activation_mean,
    activation_rms,
    dead_unit_rate,
    firing_units,
    non_finite_count,
    saturation_rate,
)
from probes.arrays import norm, norms, to_host
from probes.catalogue import Probe, catalogue, probe, probe_of
from probes.curvature import TopEigenvalues, Trace, stability_threshold, top_eigenvalues, trace
from probes.gradients import combined_norm, gradient_norm, gradient_norm_ratio
from probes.summaries import Summary, summary
from probes.weights import ratio_of_norms, update_norm, update_ratio, weight_norm

__all__ = [
    "Probe",
    "Summary",
    "TopEigenvalues",
    "Trace",
    "UnitActivity",
    "activation_mean",
    "activation_rms",
    "catalogue",
    "combined_norm",
    "dead_unit_rate",
    "firing_units",
    "gradient_norm",
    "gradient_norm_ratio",
    "non_finite_count",
    "norm",
    "norms",
    "probe",
    "probe_of",
    "ratio_of_norms",
    "saturation_rate",
    "stability_threshold",
    "summary",
    "to_host",
    "top_eigenvalues",
    "trace",
    "update_norm",
    "update_ratio",
    "weight_norm",
]
