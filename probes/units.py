"""Which units of a layer do nothing: dead ones never fire, dormant ones hardly, on a batch or lately."""

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from array_api_compat import device

from probes.arrays import Array, fraction, namespace_of, readable, returned, widest_float
from probes.catalogue import probe
from probes.rows import check_has_units, only_if_finite
from probes.sums import mark_firing


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


@probe(
    unit="fraction of units",
    eats="activation",
    cost="cheap",
    source="Sokar et al., The Dormant Neuron Phenomenon in Deep Reinforcement Learning, 2023, arXiv:2302.12902",
)
def dormant_unit_rate(activation: Array, tau: float = 0.025) -> Array:
    """Fraction of units whose mean magnitude is at most ``tau`` of the mean over the units of the layer.

    Such a unit adds next to nothing to what the layer says, though it may fire [1]. The share rises over
    time where a network loses the ability to learn, as in reinforcement learning; the trend says more than
    the level, since a sparse code has weak units in health. It is made for rectifiers: a tanh unit that is
    stuck at -1 is strong, and `saturated_unit_rate` finds it. `RecentUnits` pools over batches.

    Args:
        activation: Output of the nonlinearity, shape ``(batch, units)`` or ``(batch, units, *space)``; a
            channel is a unit, and its magnitude the mean over its positions.
        tau: Share of the layer's mean magnitude, in [0, 1); with 0 only units that never fire are dormant.

    Returns:
        A number in [0, 1], 0-d, float64 in the library of ``activation``; 1 for a layer that is zero
        everywhere. NaN where there is NaN or infinity.

    Raises:
        ValueError: If there is no axis of units, there are no examples, units or positions, or ``tau`` is
            not in [0, 1).

    Example:
        >>> float(dormant_unit_rate(np.array([[0.01, 1.0, 0.0], [0.0, 3.0, 1.0]])))
        0.333...

    References:
        [1] Sokar et al., "The Dormant Neuron Phenomenon in Deep Reinforcement Learning", ICML 2023,
            arXiv:2302.12902.
    """
    _check_tau("dormant_unit_rate", tau)
    check_has_units("dormant_unit_rate", activation)
    return returned(_weak_fraction(_summed_magnitudes(readable(activation)), tau), activation)


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
        # Kept in the library of the activations, and written as `readable` has it.
        self._last_fired: Array | None = None
        self._marks: Array = None
        # How many units have fired within the window, as of the last batch.
        self._lively: Array | int = 0

    def add(self, activation: Array) -> Array:
        """Take in one batch, of shape ``(batch, units)`` or ``(batch, units, *space)``.

        Returns:
            The batch's own `dead_unit_rate`, so that who wants both looks at the batch once.

        Raises:
            ValueError: If there is no axis of units, the batch is empty, or the number of units changes.
        """
        check_has_units("UnitActivity.add", activation)
        units = activation.shape[1]
        seen = readable(activation)
        if self._last_fired is None:
            namespace = namespace_of(activation)
            self._last_fired = namespace.zeros(units, dtype=namespace.int64, device=device(activation))
            self._marks = readable(self._last_fired)
        self._check_units(units)
        self.examples += activation.shape[0]
        since = self.examples - self.window
        if isinstance(seen, np.ndarray):
            firing, self._lively = mark_firing(seen, self._marks, self.examples, since)
            return returned(np.float64((units - firing) / units), activation)
        fired = _firing_off_host(seen)
        self._marks[fired] = self.examples
        self._lively = namespace_of(fired).count_nonzero(self._marks > since)
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
        units = self._last_fired.shape[0]
        if isinstance(self._lively, int):
            return returned(np.float64((units - self._lively) / units), self._last_fired)
        return fraction(units - self._lively, units)

    def _check_units(self, units: int) -> None:
        if self._last_fired is not None and self._last_fired.shape[0] != units:
            raise ValueError(
                f"UnitActivity.add needs batches of one layer, got {units} units after "
                f"{self._last_fired.shape[0]}; keep one UnitActivity per layer"
            )


class RecentUnits:
    """How often each unit fired lately, and how strongly: counts and magnitudes pooled over the latest batches.

    The window is that of `UnitActivity`: the shortest run of latest batches that holds ``window`` examples
    or more. That class keeps one integer a unit, and tells dead units alone; this one keeps two numbers a
    unit for each batch in the window, in the library and on the device of the activations, and tells
    besides which units fire rarely and which are dormant.

    Args:
        window: How many examples to pool over, at least.

    Attributes:
        window: As given.
        examples: How many examples are in the window now.

    Raises:
        ValueError: If ``window`` is less than 1.

    Example:
        >>> recent = RecentUnits(window=4)
        >>> recent.add(np.array([[0.0, 1.0], [0.0, 0.0]]))
        >>> recent.add(np.array([[0.0, 3.0], [0.1, 0.0]]))
        >>> recent.firing_rates().tolist(), float(recent.dormant_unit_rate(tau=0.1))
        ([0.25, 0.5], 0.5)
    """

    def __init__(self, window: int = 1000) -> None:
        if window < 1:
            raise ValueError(
                f"RecentUnits needs a window of at least 1 example, got {window}; use 1000 or more"
            )
        self.window = window
        self.examples = 0
        self._batches: deque[_Batch] = deque()

    def add(self, activation: Array) -> None:
        """Take in one batch, of shape ``(batch, units)`` or ``(batch, units, *space)``.

        Raises:
            ValueError: If there is no axis of units, the batch is empty, or the number of units changes.
        """
        check_has_units("RecentUnits.add", activation)
        if self._batches and self._batches[-1].counts.shape[0] != activation.shape[1]:
            raise ValueError(
                f"RecentUnits.add needs batches of one layer, got {activation.shape[1]} units after "
                f"{self._batches[-1].counts.shape[0]}; keep one RecentUnits per layer"
            )
        seen = readable(activation)
        counts, magnitudes = _firing_counts(seen), _summed_magnitudes(seen) / math.prod(seen.shape[2:])
        pooled = _Batch(seen.shape[0], returned(counts, activation), returned(magnitudes, activation))
        self._batches.append(pooled)
        self.examples += pooled.examples
        while self.examples - self._batches[0].examples >= self.window:
            self.examples -= self._batches.popleft().examples

    def firing_rates(self) -> Array:
        """Fraction of the examples in the window on which each unit fired.

        A unit below 0.01 or so learns from one example in a hundred; one at 0 is dead, and one at 1 is a
        linear unit if its nonlinearity is a rectifier.

        Returns:
            Numbers in [0, 1], shape ``(units,)``, float64 in the library of the activations; NaN until
            ``window`` examples have been seen.

        Raises:
            ValueError: If there is no batch yet.
        """
        counts = self._summed("firing_rates", [batch.counts for batch in self._batches])
        return counts / self.examples

    def dormant_unit_rate(self, tau: float = 0.025) -> Array:
        """The `dormant_unit_rate` of the window's batches joined.

        Returns:
            A number in [0, 1], 0-d, float64 in the library of the activations; NaN until ``window``
            examples have been seen.

        Raises:
            ValueError: If there is no batch yet, or ``tau`` is not in [0, 1).
        """
        _check_tau("RecentUnits.dormant_unit_rate", tau)
        sums = self._summed("dormant_unit_rate", [batch.magnitudes for batch in self._batches])
        return _weak_fraction(sums, tau)

    def _summed(self, caller: str, rows: list[Array]) -> Array:
        if not rows:
            raise ValueError(
                f"RecentUnits.{caller} needs at least one batch, got none; add the layer's activations first"
            )
        namespace = namespace_of(*rows)
        summed = namespace.sum(namespace.stack(rows), axis=0)
        return summed if self.examples >= self.window else namespace.full_like(summed, math.nan)


class _Batch(NamedTuple):
    """Of one batch: its examples, on how many of them each unit fired, and each one's summed magnitude."""

    examples: int
    counts: Array
    magnitudes: Array


def _firing(caller: str, activation: Array) -> Array:
    check_has_units(caller, activation)
    seen = readable(activation)
    if not isinstance(seen, np.ndarray):
        return _firing_off_host(seen)
    marks = np.zeros(seen.shape[1], np.int64)
    mark_firing(seen, marks, 1)
    return returned(marks > 0, activation)


def _firing_off_host(activation: Array) -> Array:
    return namespace_of(activation).any(activation != 0, axis=(0, *range(2, activation.ndim)))


def _silent_fraction(firing: Array) -> Array:
    units = firing.shape[0]
    return fraction(units - namespace_of(firing).count_nonzero(firing), units)


def _firing_counts(activation: Array) -> Array:
    """On how many examples each unit fires, in the widest float."""
    namespace = namespace_of(activation)
    fired = activation != 0
    if activation.ndim > 2:
        fired = namespace.any(fired, axis=tuple(range(2, activation.ndim)))
    return namespace.sum(namespace.astype(fired, widest_float(activation)), axis=0)


def _summed_magnitudes(activation: Array) -> Array:
    namespace = namespace_of(activation)
    with np.errstate(all="ignore"):
        return namespace.sum(
            abs(activation), axis=(0, *range(2, activation.ndim)), dtype=widest_float(activation)
        )


def _weak_fraction(magnitudes: Array, tau: float) -> Array:
    """Fraction of units of at most ``tau`` of the mean magnitude; NaN where that is no number."""
    namespace = namespace_of(magnitudes)
    with np.errstate(all="ignore"):
        mean = namespace.mean(magnitudes)
        # As a product and not a quotient: a layer of zeros is dormant, and not 0/0.
        weak = magnitudes <= tau * mean
    return only_if_finite(fraction(namespace.count_nonzero(weak), weak.shape[0]), magnitudes)


def _check_tau(caller: str, tau: float) -> None:
    if not 0 <= tau < 1:
        raise ValueError(
            f"{caller} needs 0 <= tau < 1, got {tau}; use 0.025, or 0 for units that never fire alone"
        )
