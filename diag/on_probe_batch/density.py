"""How the Hessian's eigenvalues are spread, over time."""

from collections.abc import Callable, Iterator
from typing import Any

import probes
from diag.events import Reading

# As many numbers for the grid as for the density, at every look: enough for a smooth line.
POINTS = 128
STEPS, STARTS = 40, 4


def density_readings(hvp: Callable[[Any], Any], dim: int, seed: int, like: Any) -> Iterator[Reading]:
    """The spectral density and its grid, one number a point; 160 products."""
    found = probes.spectral_density(hvp, dim, steps=STEPS, starts=STARTS, points=POINTS, rng=seed, like=like)
    grid, density = probes.to_host([found[0], found[1]]).reshape(2, -1)
    yield Reading("spectral_density_grid", "", grid, "curvature")
    yield Reading("spectral_density", "", density, "curvature")
