"""What a layer puts out: how large it is, which of its units never fire, and how many entries are stuck."""

import math
from typing import Any

import numpy as np
from array_api_compat import is_numpy_array

from probes.arrays import Array, fraction, namespace_of, norm, readable, returned, widest_float
from probes.catalogue import probe

# A slope below this share of its largest counts as flat.
_FLAT_SLOPE = 0.01


@probe(unit="activation", eats="activation", cost="cheap", source="LeCun et al., Efficient BackProp, 1998")
def activation_mean(activation: Array) -> Array:
    """Mean over all entries of the batch.

    A mean far from zero, relative to the root mean square, shifts every unit of the next layer the same
    way and slows learning [1]. After a rectifier it is positive by construction, so watch it over time
    there and not against zero.

    Args:
        activation: Output of the layer, any shape that is not empty.

    Returns:
        The mean, 0-d, in the library of ``activation`` and in its precision, float32 at least. Infinities
        and NaN carry through.

    Raises:
        ValueError: If there are no entries.

    Example:
        >>> float(activation_mean(np.array([[1.0, 3.0], [2.0, 2.0]])))
        2.0

    References:
        [1] LeCun et al., "Efficient BackProp", 1998.
    """
    _check_holds_something("activation_mean", activation)
    seen = readable(activation)
    namespace = namespace_of(seen)
    with np.errstate(all="ignore"):
        mean = namespace.mean(namespace.astype(seen, _mean_type(seen), copy=False))
    return returned(mean, activation)


@probe(
    unit="activation",
    eats="activation",
    cost="cheap",
    source="He et al., Delving Deep into Rectifiers, 2015, arXiv:1502.01852",
)
def activation_rms(activation: Array) -> Array:
    """Root mean square over all entries of the batch: how large the signal is at this layer.

    It should neither fade nor grow from layer to layer at initialisation [1]. A few huge entries
    dominate it.

    Args:
        activation: Output of the layer, any shape that is not empty.

    Returns:
        A number of at least 0, 0-d, float64 in the library of ``activation``. Infinities and NaN carry
        through.

    Raises:
        ValueError: If there are no entries.

    Example:
        >>> float(activation_rms(np.array([[1.0, -1.0], [1.0, -1.0]])))
        1.0

    References:
        [1] He et al., "Delving Deep into Rectifiers", 2015, arXiv:1502.01852.
    """
    _check_holds_something("activation_rms", activation)
    return norm(activation) / math.sqrt(math.prod(activation.shape))


@probe(
    unit="fraction of units",
    eats="activation",
    cost="cheap",
    source="Lu et al., Dying ReLU and Initialization, 2019, arXiv:1903.06733",
)
def dead_unit_rate(activation: Array) -> Array:
    """Fraction of units that are zero on every example of the batch.

    A ReLU unit that is zero on the whole batch passes no gradient back, so a rate that
    stays high over many batches means lost capacity [1]. One batch is only a sample: the
    rate can fall, never rise, as examples are added; `UnitActivity` pools over batches.

    Args:
        activation: Output of the nonlinearity, shape ``(batch, units)`` or ``(batch, units, *space)``; a
            channel is a unit, which fires where any of its positions does.

    Returns:
        A number in [0, 1], 0-d, float64 in the library of ``activation``; 0.25 reads "one unit in four is
        dead on this batch".

    Raises:
        ValueError: If there is no axis of units, or there are no examples, units or positions.

    Example:
        >>> float(dead_unit_rate(np.array([[0.0, 1.0], [0.0, 0.0]])))
        0.5

    References:
        [1] Lu et al., "Dying ReLU and Initialization", 2019, arXiv:1903.06733.
    """
    return _silent_fraction(_firing("dead_unit_rate", activation))


def firing_units(activation: Array) -> Array:
    """Which units are non-zero on at least one example; NaN is not zero, so it counts as firing.

    Args:
        activation: Shape ``(batch, units)`` or ``(batch, units, *space)``; a channel is a unit.

    Returns:
        Booleans of shape ``(units,)``, in the library of ``activation``.

    Raises:
        ValueError: If there is no axis of units, or there are no examples, units or positions.

    Example:
        >>> firing_units(np.array([[0.0, 1.0], [0.0, -1.0]])).tolist()
        [False, True]
    """
    return _firing("firing_units", activation)


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
    if not -math.inf < low < high < math.inf:
        raise ValueError(
            f"saturation_rate needs finite limits low < high, got low={low} and high={high}; "
            f"use -1 and 1 for tanh, 0 and 1 for the logistic sigmoid"
        )
    _check_holds_something("saturation_rate", activation)
    seen = readable(activation)
    # The slope is a parabola in the output, so that two comparisons tell as much as evaluating it would.
    middle, reach = (low + high) / 2, (high - low) / 2 * math.sqrt(1 - _FLAT_SLOPE)
    flat = (seen < middle - reach) | (seen > middle + reach)
    rate = fraction(namespace_of(flat).count_nonzero(flat), math.prod(seen.shape))
    return returned(rate, activation)


@probe(unit="entries", eats="array", cost="cheap", source="IEEE 754-2019")
def non_finite_count(array: Array) -> Array:
    """How many entries are NaN or infinite.

    One is enough to spoil a step, and the layer where the count first leaves zero is where to look. A
    mixed-precision loss scale that is being tried out produces some in health.

    Args:
        array: Any array; an empty one has none.

    Returns:
        An integer of at least 0, 0-d, in the library of ``array``.

    Example:
        >>> int(non_finite_count(np.array([1.0, np.nan, -np.inf])))
        2
    """
    seen = readable(array)
    # A finite norm proves every entry finite at the speed of memory, without an array of booleans. On an
    # accelerator, looking at it would stall the queue for longer than it saves.
    if is_numpy_array(seen) and math.isfinite(norm(seen)):
        return returned(np.int64(0), array)
    namespace = namespace_of(seen)
    return returned(namespace.count_nonzero(~namespace.isfinite(seen)), array)


class UnitActivity:
    """Which units have fired lately, pooled over batches: one small batch is too little to call a unit dead.

    Of each unit it keeps one integer, in the library and on the device of the activations: how many
    examples had been seen at the end of the last batch in which it fired. A unit is dead when at least
    ``window`` examples have been seen since. Where batches do not divide the window it is thus rounded up
    to whole batches: the window is the shortest run of latest batches that holds ``window`` examples or
    more, so with batches of 300 and a window of 1000 it is the last four batches, 1200 examples. Units
    that fire on rarer inputs than that, or on a class that the window lacks, are called dead wrongly.

    Args:
        window: How many examples a unit must have been silent on, at least.

    Attributes:
        window: As given.
        examples: How many examples have been seen so far.

    Raises:
        ValueError: If ``window`` is less than 1.

    Example:
        >>> activity = UnitActivity(window=3)
        >>> float(activity.add(np.array([[0.0, 1.0], [0.0, 0.0]]))), float(activity.dead_unit_rate())
        (0.5, nan)
        >>> float(activity.add(np.array([[0.0, 0.0]]))), float(activity.dead_unit_rate())
        (1.0, 0.5)
    """

    def __init__(self, window: int = 1000) -> None:
        if window < 1:
            raise ValueError(
                f"UnitActivity needs a window of at least 1 example, got {window}; use 1000 or more"
            )
        self.window = window
        self.examples = 0
        self._last_fired: Array | None = None

    def add(self, activation: Array) -> Array:
        """Take in one batch, of shape ``(batch, units)`` or ``(batch, units, *space)``.

        Returns:
            The batch's own `dead_unit_rate`, so that who wants both looks at the batch once.

        Raises:
            ValueError: If there is no axis of units, the batch is empty, or the number of units changes.
        """
        fired = _firing("UnitActivity.add", activation)
        namespace = namespace_of(fired)
        if self._last_fired is None:
            self._last_fired = namespace.zeros_like(fired, dtype=namespace.int64)
        self._check_units(fired.shape[0])
        self.examples += activation.shape[0]
        self._last_fired[fired] = self.examples
        return _silent_fraction(fired)

    def dead_unit_rate(self) -> Array:
        """Fraction of units that have not fired within the window.

        Returns:
            A number in [0, 1], 0-d, float64 in the library of the activations; NaN until ``window`` examples
            have been seen (NumPy's while there is no activation at all).
        """
        if self._last_fired is None:
            return np.float64(math.nan)
        if self.examples < self.window:
            return namespace_of(self._last_fired).asarray(math.nan, dtype=widest_float(self._last_fired))
        return _silent_fraction(self.examples - self._last_fired < self.window)

    def _check_units(self, units: int) -> None:
        if self._last_fired is not None and self._last_fired.shape[0] != units:
            raise ValueError(
                f"UnitActivity.add needs batches of one layer, got {units} units after "
                f"{self._last_fired.shape[0]}; keep one UnitActivity per layer"
            )


def _firing(caller: str, activation: Array) -> Array:
    if activation.ndim < 2:
        raise ValueError(
            f"{caller} needs an activation of shape (batch, units, ...), got {tuple(activation.shape)}; "
            f"put the examples on the first axis and the units on the second"
        )
    _check_holds_something(caller, activation)
    seen = readable(activation)
    # Comparing first and reducing booleans is the fastest way that is right for both signs: on (128, 512)
    # float32 in NumPy 18 µs, against 25 for or-ing bit patterns, 30 for `any` of the floats themselves, 45
    # for casting them to bool and 50 for the maximum with the minimum.
    fired = namespace_of(seen).any(seen != 0, axis=(0, *range(2, seen.ndim)))
    return returned(fired, activation)


def _silent_fraction(firing: Array) -> Array:
    return fraction(namespace_of(firing).count_nonzero(~firing), firing.shape[0])


def _check_holds_something(caller: str, activation: Array) -> None:
    if 0 in activation.shape:
        raise ValueError(
            f"{caller} needs at least one example and one unit, got shape {tuple(activation.shape)}; "
            f"leave empty batches out"
        )


def _mean_type(activation: Array) -> Any:
    namespace = namespace_of(activation)
    if activation.dtype in (namespace.float32, namespace.float64):
        return activation.dtype
    if namespace.isdtype(activation.dtype, "real floating"):
        return namespace.float32
    return widest_float(activation)
