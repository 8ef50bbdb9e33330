"""Connectionist temporal classification: the likelihood of labels whose places in time are not known."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from scratchnet.fused import fused
from scratchnet.ops.elementwise import exp, log
from scratchnet.ops.loss import clip, pick
from scratchnet.ops.shape import put, take
from scratchnet.tape import Array

# Stands for ln 0: a difference of two such is zero, where that of two infinities is no number. No path
# is as improbable as this, and a thousand of them still fit into float32.
FLOOR = -1e30
IMPOSSIBLE = 1e29


def _states(labels: Array, blank: int) -> Array:
    """What a path stands on, one after the other: blank, label, blank, …, label, blank."""
    states = np.full((len(labels), 2 * labels.shape[1] + 1), blank)
    states[:, 1::2] = labels
    return states


def _skips(states: Array, blank: int, dtype: Any) -> Array:
    """0 where a path may come from two states before, which is into a label unlike the last; else `FLOOR`."""
    skips = np.full(states.shape, FLOOR, dtype)
    skips[:, 2:][(states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2])] = 0.0
    return skips


def _columns(states: Array, classes: int) -> Array:
    """Where each state's class lies where the classes of all examples stand in one row."""
    return states + classes * np.arange(len(states))[:, None]


def _advance(paths: Array, gate: Array, room: Array) -> Array:
    """ln Σ eˣ of three arrays of paths, each through its gate; ``room`` is written over."""
    np.add(paths, gate, out=room)
    highest = np.maximum.reduce(room, axis=0)
    room -= highest
    np.exp(room, out=room)
    total = np.add.reduce(room, axis=0)
    np.log(total, out=total)
    total += highest
    return total


def _forward_paths(emitted: Array, skips: Array) -> Array:
    """αₜ(s), the log-probability of all paths that stand on s after t steps, with two states of padding before."""
    steps, batch, states = emitted.shape
    alpha = np.full((steps + 1, batch, states + 2), FLOOR, emitted.dtype)
    # Every path starts before the first step on the first blank, and may go on to the first label.
    alpha[0, :, 2] = 0.0
    from_before = sliding_window_view(alpha, states, axis=2).transpose(0, 2, 1, 3)
    gate = np.zeros((3, batch, states), emitted.dtype)
    gate[0] = skips
    room = np.empty_like(gate)
    for step in range(steps):
        total = _advance(from_before[step], gate, room)
        np.add(total, emitted[step], out=alpha[step + 1, :, 2:])
    return alpha


def _backward_paths(emitted: Array, skips: Array, input_lengths: Array, ends: Array) -> Array:
    """βₜ(s), the log-probability of all ways to the end for who stands on s after t + 1 steps."""
    steps, batch, states = emitted.shape
    beta = np.empty_like(emitted)
    ahead = np.full((batch, states + 2), FLOOR, emitted.dtype)
    onward = sliding_window_view(ahead, states, axis=1).transpose(1, 0, 2)
    gate = np.zeros((3, batch, states), emitted.dtype)
    gate[2, :, :-2] = skips[:, 2:]
    room = np.empty_like(gate)
    for step in range(steps - 1, -1, -1):
        if step + 1 < steps:
            np.add(beta[step + 1], emitted[step + 1], out=ahead[:, :states])
            beta[step] = _advance(onward, gate, room)
        else:
            beta[step] = FLOOR
        np.copyto(beta[step], ends, where=(input_lengths == step + 1)[:, None])
    return beta


def _ends(label_lengths: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """0 on the last blank and on the last label of each example, where a path may end; else `FLOOR`."""
    last, places = 2 * label_lengths[:, None], np.arange(shape[1])
    return np.where((places == last) | (places == last - 1), 0.0, FLOOR).astype(dtype)


def _ctc_backward(
    g: Array, saved: Any, _wanted: Sequence[bool], log_probs: Array, **constants: Any
) -> list[Array]:
    alpha, emitted, skips, columns, likelihood = saved
    steps = len(emitted)
    is_possible = likelihood > -IMPOSSIBLE
    ends = _ends(constants["label_lengths"], skips.shape, g.dtype)
    posterior = _backward_paths(emitted, skips, constants["input_lengths"], ends)
    posterior += alpha[1:, :, 2:]
    posterior -= np.where(is_possible, likelihood, 0.0)[:, None]
    np.exp(posterior, out=posterior)
    without_path = 0.0 if constants["zero_infinity"] else np.nan
    posterior *= -np.where(is_possible, g, g.dtype.type(without_path))[:, None]
    gradient = np.zeros((len(log_probs), log_probs[0].size), g.dtype)
    order, starts, found = _grouped(columns)
    rows = posterior.reshape(steps, columns.size).take(order, axis=1)
    gradient[:steps, found] = np.add.reduceat(rows, starts, axis=1)
    return [gradient.reshape(log_probs.shape)]


def _grouped(columns: Array) -> tuple[Array, Array, Array]:
    """An order that brings equal numbers together, where each group then starts, and its number."""
    order = np.argsort(columns, axis=None, kind="stable")
    found, starts = np.unique(columns.reshape(-1)[order], return_index=True)
    return order, starts, found


def _log_of_sum(*terms: Any) -> Any:
    """ln Σ eˣ of tensors; the highest is taken off as a constant, for it cancels."""
    highest = np.maximum.reduce([np.asarray(term) for term in terms])
    total = exp(terms[0] - highest)
    for term in terms[1:]:
        total = total + exp(term - highest)
    return log(total) + highest


def _moved(x: Any, by: int) -> Any:
    """The states by some places further on, `FLOOR` where none comes from."""
    kept = (slice(None), slice(0, max(x.shape[1] - by, 0)))
    moved = put(take(x, index=kept, shape=x.shape), index=(slice(None), slice(by, None)), shape=x.shape)
    return moved + np.where(np.arange(x.shape[1]) < by, FLOOR, 0.0).astype(x.dtype)


def _formula(
    log_probs: Any,
    labels: Array,
    input_lengths: Array,
    label_lengths: Array,
    blank: int,
    zero_infinity: bool,
) -> Any:
    states = _states(labels, blank)
    skips = _skips(states, blank, log_probs.dtype)
    index = (slice(None), np.arange(len(labels))[:, None], states)
    emitted = clip(take(log_probs, index=index, shape=log_probs.shape), low=FLOOR, high=np.inf)
    alpha: Any = np.full(states.shape, FLOOR, log_probs.dtype)
    alpha[:, 0] = 0.0
    for step in range(input_lengths.max()):
        onward = _log_of_sum(alpha, _moved(alpha, 1), _moved(alpha, 2) + skips)
        onward = onward + take(emitted, index=step, shape=emitted.shape)
        is_running = (step < input_lengths)[:, None].astype(log_probs.dtype)
        alpha = onward * is_running + alpha * (1 - is_running)
    last = 2 * label_lengths
    on_label = pick(alpha, labels=np.maximum(last - 1, 0), shares=1.0)
    no_label = np.where(last == 0, FLOOR, 0.0).astype(log_probs.dtype)
    likelihood = _log_of_sum(pick(alpha, labels=last, shares=1.0), on_label + no_label)
    is_possible = np.asarray(likelihood) > -IMPOSSIBLE
    without_path = 0.0 if zero_infinity else np.inf
    return likelihood * -is_possible.astype(log_probs.dtype) + np.where(is_possible, 0.0, without_path)


@fused(backward=_ctc_backward, formula=_formula)
def ctc(
    log_probs: Any,
    *,
    labels: Array,
    input_lengths: Array,
    label_lengths: Array,
    blank: int,
    zero_infinity: bool,
) -> tuple[Array, Any]:
    """ℓₙ = −ln Σ over all paths that read as the labels of Πₜ p(t, n, path), by the forward recursion α.

    x̄[t, n, c] = −ℓ̄ₙ Σ over the states s of class c of the posterior e^(αₜ(s) + βₜ(s) + ℓₙ), where β is the
    same recursion backward. ``log_probs`` has the shape (steps, batch, classes), ``labels`` (batch, longest),
    with anything that is a class behind a shorter one.
    """
    states = _states(labels, blank)
    skips = _skips(states, blank, log_probs.dtype)
    columns = _columns(states, log_probs.shape[2])
    steps = int(input_lengths.max())
    rows = log_probs.reshape(len(log_probs), -1)[:steps]
    emitted = rows.take(columns.reshape(-1), axis=1).reshape(steps, *states.shape)
    np.maximum(emitted, FLOOR, out=emitted)
    alpha = _forward_paths(emitted, skips)
    examples, last = np.arange(len(labels)), 2 * label_lengths + 2
    # An empty text ends on its only blank, before which there is padding.
    likelihood = np.logaddexp(alpha[input_lengths, examples, last], alpha[input_lengths, examples, last - 1])
    losses = np.where(likelihood > -IMPOSSIBLE, -likelihood, 0.0 if zero_infinity else np.inf)
    return losses.astype(log_probs.dtype, copy=False), (alpha, emitted, skips, columns, likelihood)
