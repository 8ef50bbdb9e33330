"""What rival rules read and our log does not hold by itself: recorded beside it, by probes of the user's kind."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import probes

SAGEMAKER = "Amazon SageMaker Debugger"
DEEPCHECKER = "TheDeepChecker"
TORCHMORTEM = "torchmortem"

# Inputs beyond these count as saturated in SageMaker Debugger; here their images, for outputs are what is heard.
TANH_END = float(np.tanh(9.4999))
SIGMOID_ENDS = 1 / (1 + np.exp(23.0)), 1 / (1 + np.exp(-16.99999))


def _plain(array: Any) -> NDArray[Any]:
    return np.asarray(array.detach().numpy() if hasattr(array, "detach") else array)


def _units(array: Any) -> NDArray[Any]:
    """Examples (and places) by units."""
    plain = _plain(array)
    # Of images the second axis has the units, of sequences the last.
    return (
        np.moveaxis(plain, 1, -1).reshape(-1, plain.shape[1])
        if plain.ndim == 4
        else plain.reshape(-1, plain.shape[-1])
    )


@probes.probe(unit="fraction of entries", eats="activation", cost="cheap", source=TORCHMORTEM)
def rival_zero_share(activation: Any) -> Any:
    """Entries below a millionth, which torchmortem calls dead units."""
    return np.mean(np.abs(_plain(activation)) < 1e-6)


@probes.probe(unit="fraction of entries", eats="activation", cost="cheap", source=TORCHMORTEM)
def rival_beyond_share(activation: Any) -> Any:
    """Entries beyond 0.95, which torchmortem calls saturated in any layer."""
    return np.mean(np.abs(_plain(activation)) > 0.95)


@probes.probe(unit="norm", eats="output_gradient", cost="cheap", source=TORCHMORTEM)
def rival_output_gradient(gradient: Any) -> Any:
    """Norm of the gradient of a layer's output."""
    return np.linalg.norm(_plain(gradient))


@probes.probe(unit="fraction of units", eats="activation", cost="cheap", source=SAGEMAKER)
def rival_quiet_units(activation: Any) -> Any:
    """Units above zero on fewer than one example in a hundred."""
    return np.mean(np.mean(_units(activation) > 0, axis=0) < 0.01)


@probes.probe(unit="fraction of units", eats="activation", cost="cheap", source=SAGEMAKER)
def rival_tanh_ends(activation: Any) -> Any:
    """Units of a tanh that leave its ends on fewer than one example in a hundred."""
    return np.mean(np.mean(np.abs(_units(activation)) < TANH_END, axis=0) < 0.01)


@probes.probe(unit="fraction of units", eats="activation", cost="cheap", source=SAGEMAKER)
def rival_sigmoid_ends(activation: Any) -> Any:
    """The same of a sigmoid."""
    units = _units(activation)
    return np.mean(np.mean((units > SIGMOID_ENDS[0]) & (units < SIGMOID_ENDS[1]), axis=0) < 0.01)


@probes.probe(unit="fraction of units", eats="activation", cost="cheap", source=DEEPCHECKER)
def rival_dead_units(activation: Any) -> Any:
    """Units whose 95th percentile is practically zero."""
    return np.mean(np.percentile(np.abs(_units(activation)), 95, axis=0) <= 1e-5)


@probes.probe(unit="fraction of units", eats="activation", cost="cheap", source=DEEPCHECKER)
def rival_tanh_saturation(activation: Any) -> Any:
    """Units of a tanh whose outputs lie farther than 0.85 from the middle on average."""
    return np.mean(np.mean(np.abs(_units(activation)), axis=0) > 0.85)


@probes.probe(unit="fraction of units", eats="activation", cost="cheap", source=DEEPCHECKER)
def rival_sigmoid_saturation(activation: Any) -> Any:
    """The same of a sigmoid, with its range brought to that of a tanh."""
    return np.mean(np.mean(np.abs(2 * _units(activation) - 1), axis=0) > 0.85)


@probes.probe(unit="gradient", eats="gradient", cost="cheap", source=SAGEMAKER)
def rival_gradient_size(gradient: Any) -> Any:
    """Mean of the entries' sizes."""
    return np.mean(np.abs(_plain(gradient)))


@probes.probe(unit="fraction of entries", eats="gradient", cost="cheap", source="AUTOTRAINER")
def rival_gradient_zeros(gradient: Any) -> Any:
    """Entries that are exactly zero."""
    return np.mean(_plain(gradient) == 0)


@probes.probe(unit="gradient", eats="gradient", cost="cheap", source=SAGEMAKER)
def rival_gradient_range(gradient: Any) -> Any:
    """From the 5th to the 95th percentile."""
    low, high = np.percentile(_plain(gradient), (5, 95))
    return high - low


PROBES = (
    rival_zero_share,
    rival_beyond_share,
    rival_output_gradient,
    rival_quiet_units,
    rival_tanh_ends,
    rival_sigmoid_ends,
    rival_dead_units,
    rival_tanh_saturation,
    rival_sigmoid_saturation,
    rival_gradient_size,
    rival_gradient_zeros,
    rival_gradient_range,
)
