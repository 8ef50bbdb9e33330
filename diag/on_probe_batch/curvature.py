"""The curvature of the loss, and what the optimiser can hold of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import probes
from diag.capture import Capture
from diag.events import Reading
from diag.on_probe_batch.density import density_readings
from diag.on_probe_batch.look import Closure, check_closures, check_numbers
from probes.arrays import namespace_of


@dataclass(frozen=True)
class Curvature:
    """The Hessian's largest eigenvalues, its trace, and what the optimiser can hold; see `Recorder.curvature`."""

    closure: Closure
    k: int
    samples: int
    seed: int
    has_density: bool = False
    work = "curvature"
    is_beside_the_rest = False

    def __post_init__(self) -> None:
        check_closures(self.work, [self.closure])
        check_numbers(self.work, k=self.k, samples=self.samples)

    def readings(self, capture: Capture) -> Iterator[Reading]:
        """See the class."""
        hvp, dim, like = capture.make_hvp(self.closure)
        top = probes.top_eigenvalues(hvp, dim, k=min(self.k, dim - 1), rng=self.seed, like=like)
        values = np.full((2, self.k), np.nan)
        values[:, : len(top.values)] = probes.to_host([top.values, top.residuals]).reshape(2, -1)
        yield Reading("top_eigenvalues", "", values[0], "curvature")
        yield Reading("top_eigenvalues_residual", "", values[1], "curvature")
        yield Reading("top_eigenvalues_products", "", top.products, "curvature")
        trace = probes.trace(hvp, dim, samples=self.samples, rng=self.seed, like=like)
        yield Reading("trace", "", float(trace.value), "curvature")
        yield Reading("trace_standard_error", "", float(trace.standard_error), "curvature")
        yield Reading("stability_threshold", "", stability_threshold(capture), "curvature")
        if capture.optimizer.kind in PRECONDITIONERS:
            sharpness = self._preconditioned(capture, hvp, dim, like)
            yield Reading("preconditioned_top_eigenvalue", "", sharpness, "curvature")
        if self.has_density:
            yield from density_readings(hvp, dim, self.seed, like)

    def _preconditioned(self, capture: Capture, hvp: Callable[[Any], Any], dim: int, like: Any) -> float:
        """The largest eigenvalue as the optimiser sees it; NaN before its first step."""
        diagonal = preconditioner(capture)
        if diagonal is None:
            return float("nan")
        seen = probes.preconditioned_hvp(hvp, diagonal)
        return float(probes.top_eigenvalues(seen, dim, k=1, rng=self.seed, like=like).values[0])


def stability_threshold(capture: Capture) -> float:
    """The sharpness at which the optimiser loses its footing; NaN where there is no formula for it.

    For those in `PRECONDITIONERS` it is that of the preconditioned Hessian.
    """
    group, kind = capture.hyperparameters()[0], capture.optimizer.kind
    rate, momentum = group["lr"], group.get("momentum", 0.0)
    if kind in ("Adam", "AdamW"):
        return probes.adam_stability_threshold(rate, group["betas"][0])
    if kind == "RMSprop" and not group["centered"]:
        return probes.stability_threshold(rate, momentum)
    if kind == "SGD":
        nesterov, decay = group.get("nesterov", False), group.get("weight_decay", 0.0)
        return probes.stability_threshold(rate, momentum, nesterov, decay)
    return float("nan")


def preconditioner(capture: Capture) -> Any:
    """What the optimiser divides its averaged gradient by, flat; None where some parameter has not moved yet."""
    make = PRECONDITIONERS[capture.optimizer.kind]
    parts = [make(state.kept, state.hyperparameters) for state in capture.optimizer_state()]
    if any(part is None for part in parts):
        return None
    return namespace_of(*parts).concat([part.reshape(-1) for part in parts])


def _of_adam(kept: Mapping[str, Any], group: Mapping[str, Any]) -> Any:
    average = kept.get("max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq")
    if average is None:
        return None
    beta1, beta2 = group["betas"]
    return probes.adam_preconditioner(average, int(kept["step"]), beta1=beta1, beta2=beta2, eps=group["eps"])


def _of_rmsprop(kept: Mapping[str, Any], group: Mapping[str, Any]) -> Any:
    average = kept.get("square_avg")
    return None if average is None or group["centered"] else average**0.5 + group["eps"]


PRECONDITIONERS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Any]] = {
    "Adam": _of_adam,
    "AdamW": _of_adam,
    "RMSprop": _of_rmsprop,
}
