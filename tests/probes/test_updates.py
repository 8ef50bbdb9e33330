"""How far weights have moved, from a copy that was kept of them."""

from typing import Any
from weakref import ref

import numpy as np
import pytest
from numpy.typing import NDArray

import probes
from probes.updates import Updates

pytestmark = pytest.mark.usefixtures("compiled_or_not")

RNG = np.random.default_rng(0)
WEIGHTS: list[NDArray[Any]] = [
    RNG.standard_normal((30, 40)).astype(np.float32),
    RNG.standard_normal(7),
    np.zeros(3),
]
MOVES = [
    np.float32(0.01) * RNG.standard_normal((30, 40)).astype(np.float32),
    RNG.standard_normal(7),
    np.zeros(3),
]


@pytest.fixture(params=["where it lies", "off the host"])
def weights(request, in_library, monkeypatch):
    found = [in_library(weight.copy()) for weight in WEIGHTS]
    if request.param == "off the host":
        if isinstance(found[0], np.ndarray):
            pytest.skip("NumPy's are on the host")
        # As an accelerator has them: nothing that NumPy could read.
        monkeypatch.setattr("probes.updates.readable", lambda tensor: tensor)
        monkeypatch.setattr("probes.updates.host_views", lambda _: None)
    return found


def shifted(weights, in_library):
    return [weight + in_library(by) for weight, by in zip(weights, MOVES, strict=True)]


def norms_of(arrays):
    return [float(np.linalg.norm(np.asarray(array, np.float64))) for array in arrays]


def test_norms_are_those_before_and_of_the_true_updates(weights, in_library):
    updates = Updates()
    moved = shifted(weights, in_library)
    assert probes.to_host(updates.keep(weights)) == pytest.approx(norms_of(WEIGHTS), rel=1e-6)
    differences = [np.asarray(m) - np.asarray(w) for m, w in zip(moved, weights, strict=True)]
    assert probes.to_host(updates.norms(moved)) == pytest.approx(norms_of(differences), rel=1e-6)
    for place, difference in enumerate(differences):
        update = updates.update(place, moved)
        assert type(update) is type(weights[place])
        assert np.array_equal(np.asarray(update), difference)


def test_what_moves_in_place_is_told_from_its_copy(weights, in_library):
    updates = Updates()
    for _ in range(3):
        updates.keep(weights)
        for weight, by in zip(weights, MOVES, strict=True):
            weight += in_library(by)
        assert probes.to_host(updates.norms(weights)) == pytest.approx(norms_of(MOVES), rel=1e-4)


def test_an_update_that_is_rounded_away_is_none(in_library):
    weight = in_library(np.ones(4, np.float32))
    updates = Updates()
    updates.keep([weight])
    weight += 1e-9
    assert probes.to_host(updates.norms([weight])).tolist() == [0.0]


@pytest.mark.parametrize(
    "other", [np.ones((2, 2)), np.ones(3, np.float32), np.ones(4)], ids=["shape", "type", "size"]
)
def test_weights_that_have_become_others_are_kept_anew(other, in_library):
    updates = Updates()
    updates.keep([in_library(np.zeros(3))])
    updates.keep([in_library(other), in_library(np.ones(2))])
    moved = [in_library(other + other), in_library(np.ones(2))]
    assert probes.to_host(updates.norms(moved)).tolist() == [np.sqrt(other.size), 0.0]


def test_weights_of_a_type_that_numpy_lacks_are_read_anew_each_time():
    torch = pytest.importorskip("torch")
    updates, weights = Updates(), [torch.ones(4, dtype=torch.bfloat16)]
    for step in range(3):
        assert updates.keep(weights) == [2.0 * (1 + step)]
        weights[0] += 1
        assert updates.norms(weights) == [2.0]
        assert updates.update(0, weights).tolist() == [1.0] * 4


def test_weights_that_are_let_go_of_are_held_by_nobody():
    torch = pytest.importorskip("torch")
    updates, weights = Updates(), [torch.ones(4)]
    updates.keep(weights)
    weight = ref(weights[0])
    updates.release()
    assert updates.norms(weights) == [0.0]
    updates.release()
    weights.clear()
    assert weight() is None


def test_a_torch_weight_may_still_change_its_size():
    torch = pytest.importorskip("torch")
    updates, weight = Updates(), torch.ones(4)
    updates.keep([weight])
    assert updates.norms([weight]) == [0.0]
    weight.resize_(8)


def test_without_weights_from_before_there_is_no_update(weights):
    updates = Updates()
    assert np.isnan(updates.norms(weights)).all()
    assert np.isnan(np.asarray(updates.update(0, weights))).all()
    updates.keep(weights)
    updates.forget()
    assert np.isnan(updates.norms(weights)).all()


def test_weights_that_could_not_be_kept_are_not_those_of_an_earlier_step():
    updates, weights = Updates(), [np.ones(3)]
    updates.keep(weights)
    with pytest.raises(AttributeError):
        updates.keep([object()])
    assert np.isnan(updates.norms(weights)).all()
