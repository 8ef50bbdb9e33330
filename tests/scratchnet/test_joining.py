import numpy as np
import pytest

import scratchnet as sn


def tensors(*shapes):
    rng = np.random.default_rng(0)
    return [sn.Tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]


@pytest.mark.parametrize(
    ("join", "shapes", "dim"),
    [
        ("cat", [(2, 3), (2, 1), (2, 2)], 1),
        ("cat", [(2, 3), (1, 3)], -2),
        ("cat", [(0, 3), (2, 3)], 0),
        ("cat", [(4,)], 0),
        ("stack", [(2, 3), (2, 3), (2, 3)], 0),
        ("stack", [(2, 3), (2, 3)], -1),
        ("stack", [(), ()], 0),
    ],
)
def test_joined_tensors_and_their_gradients_are_those_of_pytorch(join, shapes, dim):
    torch = pytest.importorskip("torch")
    ours = tensors(*shapes)
    theirs = [torch.tensor(part.numpy(), requires_grad=True) for part in ours]
    output, expected = getattr(sn, join)(ours, dim), getattr(torch, join)(theirs, dim)
    np.testing.assert_array_equal(output.numpy(), expected.detach().numpy())
    (output**3).sum().backward()
    (expected**3).sum().backward()
    for mine, twin in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.grad.numpy(), twin.grad.numpy(), rtol=1e-12)


def test_a_join_is_differentiable_twice():
    left, right = tensors((2, 2), (2, 1))
    sn.check_gradients(lambda: (sn.cat([left, right, left], 1) ** 3).sum(), [left, right], order=2)


@pytest.mark.parametrize(
    ("join", "shapes", "dim", "message"),
    [
        ("cat", [], 0, "cat needs a list of at least one tensor, got none"),
        ("stack", [], 0, "stack needs a list of at least one tensor, got none"),
        ("cat", [(2, 3), (3, 3)], 1, r"one shape but for axis 1, got \[\(2, 3\), \(3, 3\)\]"),
        ("cat", [(2, 3), (2,)], 0, "one shape but for axis 0"),
        ("cat", [(2, 3)], 2, r"cat needs dim in -2\.\.1, an axis of its input of shape \(2, 3\), got 2"),
        ("cat", [()], 0, "cat needs tensors with an axis, got a number; use stack"),
        ("stack", [(2,), (3,)], 0, r"one shape, got .*; use cat"),
        ("stack", [(2,)], 2, r"stack needs a place for its new axis in -2\.\.1, got 2"),
    ],
)
def test_what_does_not_fit_is_refused(join, shapes, dim, message):
    with pytest.raises(ValueError, match=message):
        getattr(sn, join)(tensors(*shapes), dim)


def test_one_tensor_is_no_list_of_tensors():
    with pytest.raises(ValueError, match="cat needs a list of at least one tensor, got one tensor"):
        sn.cat(tensors((2, 2))[0])
