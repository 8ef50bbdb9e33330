"""Losses with a margin, and the distances that they are made of: known answers, errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnet as sn
import scratchnet.nn.functional as F


def test_margins_count_what_is_missing_to_them() -> None:
    x = np.array([0.3, 2.0, 0.3, 2.0])
    hinge = F.hinge_embedding_loss(x, [1, 1, -1, -1], margin=1.0, reduction="none")
    np.testing.assert_allclose(hinge.numpy(), [0.3, 2.0, 0.7, 0.0])
    ranking = F.margin_ranking_loss(x, np.ones(4), [1, 1, -1, -1], margin=0.5, reduction="none")
    np.testing.assert_allclose(ranking.numpy(), [1.2, 0.0, 0.0, 1.5])
    assert F.multi_margin_loss([[0.1, 0.2, 0.4, 0.8]], [3]).item() == pytest.approx(0.325)
    assert F.multi_margin_loss([[0.1, 0.2, 0.4, 0.8]], [3], p=2).item() == pytest.approx(0.1525)
    assert F.soft_margin_loss([0.0, 1e4], [1.0, 1.0]).item() == pytest.approx(np.log(2) / 2)


def test_a_tie_still_pulls_the_scores_apart() -> None:
    first, second = (sn.Tensor(np.zeros(1), requires_grad=True) for _ in range(2))
    F.margin_ranking_loss(first, second, [1]).backward()
    assert [np.asarray(score.grad).item() for score in (first, second)] == [-1, 1]


def test_triplets_are_of_distances_and_a_swap_takes_the_nearer_negative() -> None:
    anchor, positive, negative = np.zeros((1, 2)), np.array([[3.0, 0.0]]), np.array([[3.0, 4.0]])
    plain = F.triplet_margin_loss(anchor, positive, negative, margin=2.5).item()
    swapped = F.triplet_margin_loss(anchor, positive, negative, margin=2.5, swap=True).item()
    assert [plain, swapped] == [pytest.approx(3 - 5 + 2.5, abs=1e-5), pytest.approx(3 - 4 + 2.5, abs=1e-5)]


def test_the_cosine_counts_not_the_length(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 4))
    assert F.cosine_embedding_loss(x, 7 * x, [1, 1, 1]).item() == pytest.approx(0, abs=1e-12)
    assert F.cosine_embedding_loss(x, -7 * x, [1, 1, 1]).item() == pytest.approx(2)
    assert F.cosine_embedding_loss(x, 7 * x, [-1, -1, -1], margin=0.25).item() == pytest.approx(0.75)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5, np.inf])
@pytest.mark.parametrize("keepdim", [False, True])
def test_a_distance_is_numpy_s_norm_and_has_both_derivatives(
    rng: np.random.Generator, p: float, keepdim: bool
) -> None:
    x, y = (sn.Tensor(rng.standard_normal((3, 4)), requires_grad=True) for _ in range(2))
    distance = F.pairwise_distance(x, y, p, keepdim=keepdim)
    expected = np.linalg.norm(x.numpy() - y.numpy() + 1e-6, p, axis=-1, keepdims=keepdim)
    np.testing.assert_allclose(distance.numpy(), expected, rtol=1e-14)
    sn.check_gradients(lambda: (F.pairwise_distance(x, y, p) ** 2).sum(), [x, y], rng=0)


def test_a_cosine_is_one_of_a_vector_with_itself_and_zero_of_nothing(rng: np.random.Generator) -> None:
    x, y = (sn.Tensor(rng.standard_normal((3, 4)), requires_grad=True) for _ in range(2))
    cosine = F.cosine_similarity(x, y)
    expected = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(x.numpy(), y.numpy(), strict=True)
    ]
    np.testing.assert_allclose(cosine.numpy(), expected, rtol=1e-13)
    np.testing.assert_allclose(F.cosine_similarity(x, x * 3, dim=0).numpy(), np.ones(4))
    np.testing.assert_array_equal(F.cosine_similarity(np.zeros((1, 2)), np.ones((1, 2))).numpy(), [0.0])
    sn.check_gradients(lambda: (F.cosine_similarity(x, y) ** 2).sum(), [x, y], rng=1)


# ---------------------------------------------------------------------------------------------- errors

LOGITS, LABELS = np.zeros((5, 3)), np.array([2, 0, 1, 1, 2])
ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "labels 0 and 1 for a hinge": (
        lambda: F.hinge_embedding_loss([1.0, 2.0], [0, 1]),
        ValueError,
        r"labels 1 and -1, got 0; 2 \* y - 1 makes them of 0 and 1",
    ),
    "a cosine of pixels": (
        lambda: F.cosine_embedding_loss(np.zeros((2, 3, 4)), np.zeros((2, 3, 4)), [1, 1]),
        ValueError,
        r"got \(2, 3, 4\) and \(2,\)",
    ),
    "a multi-margin of pixels": (
        lambda: F.multi_margin_loss(np.zeros((2, 3, 4)), [1, 1]),
        ValueError,
        r"input of shape \(batch, classes\), got \(2, 3, 4\)",
    ),
    "a multi-margin with a label too high": (
        lambda: F.multi_margin_loss(LOGITS, [0, 1, 2, 3, 0]),
        ValueError,
        r"labels in 0\.\.2 for 3 classes, got 3",
    ),
    "a multi-margin of the third power": (
        lambda: F.multi_margin_loss(LOGITS, LABELS, p=3),
        ValueError,
        "p = 1 or p = 2, got 3",
    ),
    "a triplet without a margin": (
        lambda: F.triplet_margin_loss(LOGITS, LOGITS, LOGITS, margin=0.0),
        ValueError,
        r"margin > 0, got 0",
    ),
    "a triplet of unequal shapes": (
        lambda: F.triplet_margin_loss(LOGITS, LOGITS, LOGITS[:2]),
        ValueError,
        r"a negative of the input's shape \(5, 3\), got \(2, 3\)",
    ),
    "a norm of no power": (
        lambda: F.pairwise_distance(LOGITS, LOGITS, p=0.0),
        ValueError,
        r"p > 0, got 0",
    ),
    "a distance of numbers": (
        lambda: F.pairwise_distance(1.0, 2.0),
        ValueError,
        r"vectors along the last axis, got a number",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
