"""Where a nonlinearity is flat, and lets no gradient through: judged from its output, or from its slope."""

import math

from probes.arrays import Array, fraction, namespace_of, readable, returned
from probes.catalogue import probe
from probes.rows import check_has_units, check_holds_something

# A slope below this share of its largest counts as flat.
_FLAT_SLOPE = 0.01


@probe(
    unit="fraction of entries",
    eats=("activation", "limits"),
    cost="cheap",
    source="Glorot and Bengio, Understanding the difficulty of training deep networks, 2010",
)
def saturation_rate(activation: Array, low: float, high: float) -> Array:
    """Fraction of entries at which a sigmoid-like nonlinearity is flat, judged from its output.

    Where the slope is nearly zero, nearly no gradient comes through [1]. For an output ``a`` between the
    limits the slope, over its largest, is ``(a - low) (high - a) / ((high - low) / 2)²``: 1 - a² for tanh,
    4 a (1 - a) for the logistic sigmoid. Below 1 % an entry counts as saturated, at either end. Gates and
    the last sigmoid of a confident classifier saturate in health, and for an output without limits, such
    as that of a linear layer, the rate means nothing.

    Args:
        activation: Output of the nonlinearity, any shape that is not empty.
        low: Its lower limit: -1 for tanh, 0 for the sigmoid.
        high: Its upper limit.

    Returns:
        A number in [0, 1], 0-d, float64 in the library of ``activation``. NaN entries are not counted as
        saturated; entries beyond the limits are.

    Raises:
        ValueError: If there are no entries, or not ``low < high``, both finite.

    Example:
        >>> float(saturation_rate(np.array([[-0.999, 0.0], [0.5, 0.999]]), low=-1.0, high=1.0))
        0.5

    References:
        [1] Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
            networks", 2010.
    """
    check_holds_something("saturation_rate", activation)
    return returned(_rate(_at_an_end("saturation_rate", activation, low, high)), activation)


@probe(
    unit="fraction of units",
    eats=("activation", "limits"),
    cost="cheap",
    source="Glorot and Bengio, Understanding the difficulty of training deep networks, 2010",
)
def saturated_unit_rate(activation: Array, low: float, high: float) -> Array:
    """Fraction of units that are saturated on every example: what dead units are to a rectifier.

    A sigmoid unit that is stuck at 0 is dead for the rest of the training, and so is one stuck at 1 [1];
    `dead_unit_rate` sees neither, for such an output is small or 1 and hardly ever zero. A unit that jumps
    from end to end without a stay between counts too: it says something, but learns nothing.

    Args:
        activation: Output of the nonlinearity, shape ``(batch, units)`` or ``(batch, units, *space)``; a
            channel is a unit, which is saturated where all of its positions are.
        low: Its lower limit: -1 for tanh, 0 for the sigmoid.
        high: Its upper limit.

    Returns:
        A number in [0, 1], 0-d, float64 in the library of ``activation``. An entry is saturated as in
        `saturation_rate`; a NaN is not.

    Raises:
        ValueError: If there is no axis of units, there are no examples, units or positions, or not
            ``low < high``, both finite.

    Example:
        >>> float(saturated_unit_rate(np.array([[1e-4, 0.3], [1e-5, 0.999]]), low=0.0, high=1.0))
        0.5

    References:
        [1] Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
            networks", 2010.
    """
    check_has_units("saturated_unit_rate", activation)
    return returned(_unit_rate(_at_an_end("saturated_unit_rate", activation, low, high)), activation)


@probe(
    unit="fraction of entries",
    eats="slope",
    cost="cheap",
    source="Glorot and Bengio, Understanding the difficulty of training deep networks, 2010",
)
def flat_slope_rate(slope: Array, steepest: float = 1.0) -> Array:
    """Fraction of entries at which any nonlinearity is flat, judged from its derivative there.

    It takes what `saturation_rate` cannot: a nonlinearity without limits, or of which the output does not
    tell the slope. For GELU, SiLU and softplus the derivative goes to 0 at the lower end alone, and for
    leaky ReLU nowhere. About half of a healthy rectifier's slopes are 0; whether it is always the same
    units is what `flat_unit_rate` tells.

    Args:
        slope: Derivative of the nonlinearity at each entry of its input, any shape that is not empty.
        steepest: The largest slope of the nonlinearity, above 0: 1 for ReLU, tanh and softplus, 0.25 for the
            logistic sigmoid, about 1.13 for GELU and 1.10 for SiLU. Below 1 % of it an entry counts as flat,
            whatever the sign.

    Returns:
        A number in [0, 1], 0-d, float64 in the library of ``slope``. NaN is not flat.

    Raises:
        ValueError: If there are no entries, or ``steepest`` is not finite and above 0.

    Example:
        >>> preactivation = np.array([[-9.0, 0.0, 9.0]])
        >>> sigmoid = 1 / (1 + np.exp(-preactivation))
        >>> round(float(flat_slope_rate(sigmoid * (1 - sigmoid), steepest=0.25)), 6)
        0.666667

    References:
        [1] Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
            networks", 2010.
    """
    check_holds_something("flat_slope_rate", slope)
    return returned(_rate(_flat("flat_slope_rate", slope, steepest)), slope)


@probe(
    unit="fraction of units",
    eats="slope",
    cost="cheap",
    source="Lu et al., Dying ReLU and Initialization, 2019, arXiv:1903.06733",
)
def flat_unit_rate(slope: Array, steepest: float = 1.0) -> Array:
    """Fraction of units at which any nonlinearity is flat on every example: dead in the sense of the gradient.

    For a rectifier it is `dead_unit_rate` [1]. It also finds a GELU or SiLU unit that is pushed far to the
    left, whose output is small but not zero, and does not blame a leaky rectifier that is negative on the
    whole batch but learns. One batch is only a sample: the rate can fall, never rise, as examples are
    added.

    Args:
        slope: Derivative of the nonlinearity at each entry of its input, shape ``(batch, units)`` or
            ``(batch, units, *space)``; a channel is a unit.
        steepest: The largest slope of the nonlinearity, above 0; see `flat_slope_rate`.

    Returns:
        A number in [0, 1], 0-d, float64 in the library of ``slope``. NaN is not flat.

    Raises:
        ValueError: If there is no axis of units, there are no examples, units or positions, or ``steepest``
            is not finite and above 0.

    Example:
        >>> preactivation = np.array([[-2.0, 1.0], [-3.0, -1.0]])
        >>> leaky_slope = np.where(preactivation > 0, 1.0, 0.1)
        >>> float(flat_unit_rate(preactivation > 0)), float(flat_unit_rate(leaky_slope))
        (0.5, 0.0)

    References:
        [1] Lu et al., "Dying ReLU and Initialization", 2019, arXiv:1903.06733.
    """
    check_has_units("flat_unit_rate", slope)
    return returned(_unit_rate(_flat("flat_unit_rate", slope, steepest)), slope)


def _at_an_end(caller: str, activation: Array, low: float, high: float) -> Array:
    """Which outputs lie so near to either limit that the slope is flat there."""
    if not -math.inf < low < high < math.inf:
        raise ValueError(
            f"{caller} needs finite limits low < high, got low={low} and high={high}; "
            f"use -1 and 1 for tanh, 0 and 1 for the logistic sigmoid"
        )
    seen = readable(activation)
    # The slope is a parabola in the output, so that two comparisons tell as much as evaluating it would.
    middle, reach = (low + high) / 2, (high - low) / 2 * math.sqrt(1 - _FLAT_SLOPE)
    return (seen < middle - reach) | (seen > middle + reach)


def _flat(caller: str, slope: Array, steepest: float) -> Array:
    if not 0 < steepest < math.inf:
        raise ValueError(
            f"{caller} needs the largest slope of the nonlinearity, finite and above 0, got "
            f"steepest={steepest}; use 1 for ReLU and tanh, 0.25 for the logistic sigmoid"
        )
    seen, limit = readable(slope), _FLAT_SLOPE * steepest
    if namespace_of(seen).isdtype(seen.dtype, "bool"):
        return ~seen
    return (seen < limit) & (seen > -limit)


def _rate(flat: Array) -> Array:
    return fraction(namespace_of(flat).count_nonzero(flat), math.prod(flat.shape))


def _unit_rate(flat: Array) -> Array:
    stuck = namespace_of(flat).all(flat, axis=(0, *range(2, flat.ndim)))
    return _rate(stuck)
