"""Connectionist temporal classification: against all paths one by one, and at its edges."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchnet as sn
import scratchnet.nn.functional as F
from scratchnet import nn
from scratchnet.tape import Array

BLANK = 0


def log_probabilities(steps: int, batch: int, classes: int, seed: int = 0) -> Array:
    x = np.random.default_rng(seed).standard_normal((steps, batch, classes))
    return np.asarray(x - np.log(np.exp(x).sum(axis=-1, keepdims=True)))


def reading(path: Sequence[int]) -> list[int]:
    """Repetitions merged, then blanks dropped."""
    return [label for label, _ in itertools.groupby(path) if label != BLANK]


def by_enumeration(log_probs: Array, text: Sequence[int]) -> float:
    """−ln of the summed probability of every path that reads as the text, shape (steps, classes)."""
    steps, classes = log_probs.shape
    likelihood = sum(
        np.exp(log_probs[range(steps), path].sum())
        for path in itertools.product(range(classes), repeat=steps)
        if reading(path) == list(text)
    )
    return float(-np.log(likelihood)) if likelihood else np.inf


@settings(max_examples=60, deadline=None)
@given(steps=st.integers(1, 5), text=st.lists(st.integers(1, 2), max_size=4), seed=st.integers(0, 9))
def test_it_is_the_sum_over_all_paths(steps: int, text: list[int], seed: int) -> None:
    x = log_probabilities(steps, 1, 3, seed)
    loss = F.ctc_loss(x, np.array([text], int), [steps], [len(text)], reduction="none")
    np.testing.assert_allclose(loss.numpy(), [by_enumeration(x[:, 0], text)], rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=4))
def test_an_example_in_a_batch_costs_what_it_costs_alone(lengths: list[tuple[int, int]]) -> None:
    x = sn.Tensor(log_probabilities(6, len(lengths), 4), requires_grad=True)
    labels = np.random.default_rng(1).integers(1, 4, (len(lengths), 3))
    steps, sizes = np.array(lengths).T
    each = nn.CTCLoss(reduction="none", zero_infinity=True)(x, labels, steps, sizes)
    each.sum().backward()
    assert x.grad is not None
    for n, (step, size) in enumerate(lengths):
        alone = sn.Tensor(x.numpy()[:, n], requires_grad=True)
        loss = nn.CTCLoss(reduction="none", zero_infinity=True)(alone, labels[n, :size], step, size)
        loss.backward()
        assert each.numpy()[n] == pytest.approx(loss.item(), rel=1e-13)
        np.testing.assert_allclose(x.grad.numpy()[:, n], np.asarray(alone.grad), rtol=1e-12, atol=1e-15)


def test_the_gradient_is_minus_a_probability_of_each_class_at_each_step() -> None:
    x = sn.Tensor(log_probabilities(7, 2, 4), requires_grad=True)
    F.ctc_loss(x, [[1, 1, 3], [2, 0, 0]], [7, 5], [3, 1], reduction="sum").backward()
    assert x.grad is not None
    posterior = -x.grad.numpy()
    assert (posterior >= 0).all()
    np.testing.assert_allclose(posterior[:, 0].sum(axis=-1), 1)
    # No step behind the end, no class that the text lacks.
    np.testing.assert_allclose(posterior[:, 1].sum(axis=-1), [1] * 5 + [0] * 2)
    assert not posterior[:, 1, [1, 3]].any()


def test_both_derivatives_agree_with_differences() -> None:
    x = sn.Tensor(log_probabilities(6, 3, 4), requires_grad=True)
    labels = [[1, 1, 3], [2, 3, 0], [0, 0, 0]]
    sn.check_gradients(lambda: F.ctc_loss(x, labels, [6, 4, 3], [3, 2, 0]), [x], rng=0)


def test_labels_in_a_row_and_labels_with_anything_behind_them_mean_the_same() -> None:
    x = log_probabilities(6, 2, 4)
    losses = {
        F.ctc_loss(x, targets, [6, 6], [1, 3]).item()
        for targets in ([[2, 0, 0], [1, 3, 1]], [[2, -7, 99], [1, 3, 1]], [2, 1, 3, 1])
    }
    assert len(losses) == 1


def test_the_mean_is_over_each_text_s_labels_and_then_over_the_batch() -> None:
    x, targets, lengths = log_probabilities(6, 3, 4), [[1, 2, 3], [1, 0, 0], [0, 0, 0]], [3, 1, 0]
    each = F.ctc_loss(x, targets, [6] * 3, lengths, reduction="none").numpy()
    mean = F.ctc_loss(x, targets, [6] * 3, lengths).item()
    assert mean == pytest.approx(np.mean(each / [3, 1, 1]))
    assert F.ctc_loss(x, targets, [6] * 3, lengths, reduction="sum").item() == pytest.approx(each.sum())


def test_the_blank_may_be_any_class() -> None:
    x = log_probabilities(6, 1, 4)
    moved = F.ctc_loss(np.roll(x, -1, axis=-1), [[0, 2]], [6], [2], blank=3).item()
    assert moved == pytest.approx(F.ctc_loss(x, [[1, 3]], [6], [2]).item(), rel=1e-14)


# A repeated letter needs a blank between: three steps.
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_text_that_no_path_can_read_is_infinitely_improbable(dtype: type) -> None:
    x = sn.Tensor(log_probabilities(2, 2, 3).astype(dtype), requires_grad=True)
    loss = F.ctc_loss(x, [[1, 1], [1, 2]], [2, 2], [2, 2], reduction="none")
    loss.backward(np.ones(2))
    gradient = np.asarray(x.grad)
    assert loss.numpy()[0] == np.inf
    assert np.isfinite(loss.numpy()[1])
    assert np.isnan(gradient[:, 0]).any()
    assert np.isfinite(gradient[:, 1]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_or_counts_for_nothing_if_so_told(dtype: type) -> None:
    x = sn.Tensor(log_probabilities(2, 2, 3).astype(dtype), requires_grad=True)
    criterion = nn.CTCLoss(reduction="sum", zero_infinity=True)

    def compute() -> sn.Tensor:
        return criterion(x, [[1, 1], [1, 2]], [2, 2], [2, 2])

    compute().backward()
    assert compute().item() == pytest.approx(
        F.ctc_loss(x.numpy()[:, 1], [1, 2], 2, 2, reduction="sum").item()
    )
    assert not np.asarray(x.grad)[:, 0].any()
    (product,) = sn.hvp(compute, [x], [np.ones((2, 2, 3), dtype)])
    assert not product[:, 0].any()


def test_no_step_reads_as_no_text() -> None:
    loss = F.ctc_loss(log_probabilities(2, 2, 3), [[1], [1]], [0, 0], [0, 1], reduction="none")
    np.testing.assert_array_equal(loss.numpy(), [0.0, np.inf])


def test_certain_and_impossible_classes_neither_overflow_nor_warn() -> None:
    path = [1, 0, 2]
    certain = np.where(np.eye(3)[path] > 0, 0.0, -np.inf)[:, None]
    x = sn.Tensor(certain, requires_grad=True)
    loss = F.ctc_loss(x, [[1, 2]], [3], [2])
    loss.backward()
    assert loss.item() == 0
    np.testing.assert_allclose(np.asarray(x.grad)[:, 0], -np.eye(3)[path] / 2)
    far = F.ctc_loss(np.maximum(certain, -1e4), [[1, 1]], [3], [2], reduction="sum")
    assert far.item() == pytest.approx(1e4, rel=1e-12)


def test_a_long_recording_keeps_float32_s_digits() -> None:
    x = log_probabilities(1000, 1, 8)
    labels = np.random.default_rng(2).integers(1, 8, (1, 150))
    exact = F.ctc_loss(x, labels, [1000], [150])
    rounded = F.ctc_loss(x.astype(np.float32), labels, [1000], [150])
    assert rounded.dtype == np.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=1e-5)


def test_it_is_pytorch_s_with_integers_of_every_kind() -> None:
    torch = pytest.importorskip("torch")
    x = log_probabilities(9, 4, 5)
    labels = np.random.default_rng(3).integers(1, 5, (4, 4))
    steps, sizes = np.array([9, 7, 8, 9]), np.array([4, 2, 0, 3])
    theirs = torch.nn.functional.ctc_loss(*map(torch.tensor, (x, labels, steps, sizes)), reduction="none")
    for kind in (np.int32, np.int64, np.uint8):
        a, b, c = (value.astype(kind) for value in (labels, steps, sizes))
        mine = F.ctc_loss(x, a, b, c, reduction="none")
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-12)


# ---------------------------------------------------------------------------------------------- errors

X = log_probabilities(5, 2, 4)
ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no example": (
        lambda: F.ctc_loss(X[:, :0], np.zeros((0, 1), int), [], []),
        ValueError,
        r"\(steps, batch, classes\) or \(steps, classes\), at least one of each, got shape \(5, 0, 4\)",
    ),
    "a blank that is no class": (
        lambda: F.ctc_loss(X, [[1], [1]], [5, 5], [1, 1], blank=4),
        ValueError,
        r"a blank in 0\.\.3 for 4 classes, got 4",
    ),
    "more steps than there are": (
        lambda: F.ctc_loss(X, [[1], [1]], [5, 6], [1, 1]),
        ValueError,
        r"input_lengths of at most 5, .* shape \(5, 2, 4\), got 6",
    ),
    "lengths for another batch": (
        lambda: F.ctc_loss(X, [[1], [1]], [5], [1, 1]),
        ValueError,
        r"input_lengths for a batch of 2, shape \(2,\), got \(1,\)",
    ),
    "a negative length": (
        lambda: F.ctc_loss(X, [[1], [1]], [5, 5], [1, -1]),
        ValueError,
        "target_lengths >= 0, got -1",
    ),
    "lengths of floats": (
        lambda: F.ctc_loss(X, [[1], [1]], [5.0, 5.0], [1, 1]),
        TypeError,
        "input_lengths of integers, got float64",
    ),
    "labels of floats": (
        lambda: F.ctc_loss(X, [[1.0], [1.0]], [5, 5], [1, 1]),
        TypeError,
        "targets of integers, got float64",
    ),
    "a label too high": (
        lambda: F.ctc_loss(X, [[1], [4]], [5, 5], [1, 1]),
        ValueError,
        r"labels in 0\.\.3 other than the blank 0, got 4",
    ),
    "a blank in the text": (
        lambda: F.ctc_loss(X, [[1, 0], [2, 1]], [5, 5], [2, 2]),
        ValueError,
        r"other than the blank 0, got 0",
    ),
    "fewer labels than told": (
        lambda: F.ctc_loss(X, [[1], [2]], [5, 5], [1, 2]),
        ValueError,
        r"shape \(2, 2 or more\), or 3 of them in a row, for target_lengths \[1, 2\], got shape \(2, 1\)",
    ),
    "a row of another length": (
        lambda: F.ctc_loss(X, [1, 2], [5, 5], [1, 2]),
        ValueError,
        r"or 3 of them in a row, .* got shape \(2,\)",
    ),
    "an unknown reduction": (
        lambda: nn.CTCLoss(reduction="median")(X, [[1], [1]], [5, 5], [1, 1]),  # type: ignore[arg-type]
        ValueError,
        "ctc_loss needs reduction 'mean', 'sum' or 'none', got 'median'",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
