import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes import filter_normalized, loss_along_line, loss_over_plane


def quadratic(weights):
    """Half the sum of squares, the first weight's ten times over."""
    return 5 * (weights[0] ** 2).sum() + 0.5 * (weights[1] ** 2).sum()


@pytest.fixture
def weights(in_library):
    rng = np.random.default_rng(0)
    return [in_library(rng.standard_normal((3, 4))), in_library(rng.standard_normal(3))]


@pytest.fixture
def direction(in_library):
    rng = np.random.default_rng(1)
    return [in_library(rng.standard_normal((3, 4))), in_library(rng.standard_normal(3))]


def host(arrays):
    return [np.asarray(array).copy() for array in arrays]


def test_the_loss_along_a_line_of_a_quadratic_is_a_parabola(weights, direction):
    at = np.linspace(-2.0, 2.0, 9)
    losses = loss_along_line(quadratic, weights, direction, at)
    (w0, w1), (d0, d1) = host(weights), host(direction)
    slope = 10 * (w0 * d0).sum() + (w1 * d1).sum()
    bend = 10 * (d0**2).sum() + (d1**2).sum()
    expected = float(quadratic(host(weights))) + slope * at + bend * at**2 / 2
    np.testing.assert_allclose(np.asarray(losses), expected, rtol=1e-12)
    assert (type(losses), losses.dtype) == (type(weights[0]), weights[0].dtype)


def test_the_loss_over_a_plane_of_a_quadratic_is_a_bowl(weights, direction):
    first, second = direction, list(weights)
    at = [-1.0, 0.0, 0.5], [-1.0, 2.0]
    losses = loss_over_plane(quadratic, weights, (first, second), at)
    assert tuple(losses.shape) == (3, 2)
    ours, one, two = host(weights), host(first), host(second)
    expected = [
        [quadratic([w + s * d + t * e for w, d, e in zip(ours, one, two, strict=True)]) for t in at[1]]
        for s in at[0]
    ]
    np.testing.assert_allclose(np.asarray(losses), expected, rtol=1e-12)


def test_the_axes_of_a_plane_are_lines(weights, direction):
    other = [2.0 * part for part in weights]
    at = [-1.0, 0.0, 1.0]
    plane = np.asarray(loss_over_plane(quadratic, weights, (direction, other), (at, at)))
    np.testing.assert_allclose(plane[:, 1], loss_along_line(quadratic, weights, direction, at), rtol=1e-14)
    np.testing.assert_allclose(plane[1, :], loss_along_line(quadratic, weights, other, at), rtol=1e-14)


def test_the_line_through_two_ends_shows_the_barrier_between_them():
    start, end = [np.array([-1.0])], [np.array([1.0])]
    way = [there - here for here, there in zip(start, end, strict=True)]
    losses = loss_along_line(lambda w: (w[0][0] ** 2 - 1) ** 2, start, way, [0.0, 0.5, 1.0])
    assert losses.tolist() == [0.0, 1.0, 0.0]


def test_the_weights_are_never_changed_even_by_a_loss_that_writes(weights, direction):
    def careless(moved):
        value = float((moved[0] ** 2).sum())
        for array in moved:
            array[...] = math.nan
        return value

    before, way = host(weights), host(direction)
    losses = np.asarray(loss_along_line(careless, weights, direction, [0.0, 0.0, 1.0]))
    assert losses[0] == losses[1] == pytest.approx((before[0] ** 2).sum(), rel=1e-14)
    plane = np.asarray(loss_over_plane(careless, weights, (direction, direction), ([0.0], [0.0, 0.0])))
    np.testing.assert_array_equal(plane, losses[0])
    filter_normalized(direction, weights)
    for array, copy in zip(host(weights) + host(direction), before + way, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_tape_is_left_alone():
    torch = pytest.importorskip("torch")
    weight = torch.ones(2, 3, requires_grad=True)
    direction = filter_normalized([torch.ones(2, 3)], [weight])
    losses = loss_along_line(lambda w: (w[0].requires_grad_() ** 2).sum(), [weight], direction, [0.0, 1.0])
    assert not losses.requires_grad
    assert weight.grad is None
    np.testing.assert_allclose(losses.numpy(), [6.0, 24.0], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_loss_sees_weights_of_their_own_type(dtype, in_library):
    weight, seen = in_library(np.ones((2, 2), dtype=dtype)), []

    def loss(moved):
        seen.append(moved[0].dtype)
        return 0.0

    losses = loss_along_line(loss, [weight], [in_library(np.ones((2, 2)))], np.array([0.5, 1.0]))
    assert seen == [weight.dtype] * 2
    assert losses.dtype == in_library(np.ones(1)).dtype
    assert filter_normalized([in_library(np.ones((2, 2)))], [weight])[0].dtype == weight.dtype


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_told(value, in_library):
    weight = in_library(np.ones(2))
    losses = loss_along_line(lambda w: float(w[0][0]) * value, [weight], [weight], [0.5, 1.0])
    np.testing.assert_array_equal(np.asarray(losses), [value, value])


def test_views_that_are_not_contiguous_are_read_as_they_are(in_library):
    whole = in_library(np.arange(24.0).reshape(4, 6))
    view = whole[::2, ::3]
    losses = loss_along_line(lambda w: (w[0] ** 2).sum(), [view], [view], [0.0, 1.0])
    expected = float((np.arange(24.0).reshape(4, 6)[::2, ::3] ** 2).sum())
    np.testing.assert_allclose(np.asarray(losses), [expected, 4 * expected])


# ------------------------------------------------------------------------------------- filter-normalised


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2, 2), (1, 6)], ids=["linear", "convolution", "one filter"])
def test_each_filter_takes_the_length_of_the_same_filter_of_the_weights(shape, in_library):
    rng = np.random.default_rng(0)
    weight, direction = rng.standard_normal(shape), rng.standard_normal(shape)
    found = np.asarray(filter_normalized([in_library(direction)], [in_library(weight)])[0])
    for ours, theirs, before in zip(found, weight, direction, strict=True):
        assert np.linalg.norm(ours) == pytest.approx(np.linalg.norm(theirs), rel=1e-12)
        cosine = (ours * before).sum() / np.linalg.norm(ours) / np.linalg.norm(before)
        assert cosine == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("shape", [(), (4,)], ids=["number", "bias"])
def test_what_has_no_filters_does_not_move(shape, in_library):
    found = filter_normalized([in_library(np.ones(shape))], [in_library(np.ones(shape))])[0]
    np.testing.assert_array_equal(np.asarray(found), np.zeros(shape))


def test_a_filter_that_is_zero_stays_zero(in_library):
    weight = in_library(np.array([[0.0, 0.0], [3.0, 4.0]]))
    direction = in_library(np.array([[1.0, 1.0], [0.0, 0.0]]))
    np.testing.assert_array_equal(np.asarray(filter_normalized([direction], [weight])[0]), np.zeros((2, 2)))


def test_a_filter_with_a_nan_says_so_and_its_neighbours_do_not(in_library):
    weight = in_library(np.array([[math.nan, 1.0], [3.0, 4.0]]))
    found = np.asarray(filter_normalized([in_library(np.ones((2, 2)))], [weight])[0])
    assert np.isnan(found[0]).all()
    assert np.linalg.norm(found[1]) == pytest.approx(5.0)


def test_filters_at_the_ends_of_their_type_keep_their_length(in_library):
    weight = in_library(np.array([[6e4, 0.0], [0.0, 6e-5]], dtype=np.float16))
    found = np.asarray(filter_normalized([in_library(np.ones((2, 2), dtype=np.float16))], [weight])[0])
    np.testing.assert_allclose(np.linalg.norm(found.astype(float), axis=1), [6e4, 6e-5], rtol=1e-2)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_the_picture_stays_when_one_layer_is_scaled_up_and_the_next_down(scale, length):
    """As a rectified network does, which the plain direction does not see."""
    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal((7, 3)), [rng.standard_normal((5, 3)), rng.standard_normal((2, 5))]
    draws = [length * rng.standard_normal((5, 3)), rng.standard_normal((2, 5))]

    def loss(w):
        return (np.maximum(x @ w[0].T, 0) @ w[1].T).var()

    def picture(at):
        return loss_along_line(loss, at, filter_normalized(draws, at), [-0.5, 0.0, 0.5])

    scaled = [weights[0] * scale, weights[1] / scale]
    np.testing.assert_allclose(picture(scaled), picture(weights), rtol=1e-9)


# ------------------------------------------------------------------------------------------------ errors


def along(weights, direction):
    return loss_along_line(quadratic, weights, direction, [0.0])


def over(weights, direction):
    return loss_over_plane(quadratic, weights, (weights, direction), ([0.0], [0.0]))


NEEDERS = pytest.mark.parametrize(
    ("measure", "name"),
    [(along, "loss_along_line"), (over, "loss_over_plane"), (filter_normalized, "filter_normalized")],
    ids=["line", "plane", "filters"],
)


@NEEDERS
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [([(2, 3)], [(3, 2)]), ([(2,), (3,)], [(2,)]), ([], [])],
    ids=["transposed", "one too few", "none"],
)
def test_a_direction_of_other_shapes_is_refused(measure, name, ours, theirs):
    weights, direction = ([np.ones(shape) for shape in shapes] for shapes in (ours, theirs))
    if measure is filter_normalized:
        weights, direction = direction, weights
    with pytest.raises(ValueError, match=f"{name} needs one array of the direction for each weight, in its"):
        measure(weights, direction)


@NEEDERS
def test_weights_of_integers_are_refused(measure, name, in_library):
    whole = [in_library(np.ones((2, 2), dtype=np.int64))]
    with pytest.raises(ValueError, match=f"{name} needs weights of a floating type, got .*int64; cast them"):
        measure(whole, whole)


@pytest.mark.parametrize(
    "at", [[], [[0.0]], 1.0, [math.nan], [0.0, math.inf]], ids=["none", "matrix", "number", "NaN", "infinity"]
)
def test_distances_that_are_no_row_of_numbers_are_refused(at):
    weights = [np.ones(2), np.ones(2)]
    with pytest.raises(ValueError, match="loss_along_line needs finite distances in one dimension, at least"):
        loss_along_line(quadratic, weights, weights, at)
    with pytest.raises(ValueError, match="loss_over_plane needs finite distances in one dimension, at least"):
        loss_over_plane(quadratic, weights, (weights, weights), ([0.0], at))


def test_a_loss_of_each_example_is_refused(in_library):
    weight = in_library(np.ones(3))
    with pytest.raises(
        ValueError, match=r"needs a loss that is one number, got an array of shape \(3,\); take"
    ):
        loss_along_line(lambda w: w[0], [weight], [weight], [0.0])
