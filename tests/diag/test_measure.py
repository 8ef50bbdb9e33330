"""From events to readings: every number equals the one that plain NumPy gives."""

import numpy as np
import pytest

import probes
from diag.events import Event, Layer, Readings
from diag.guard import DiagWarning, Guard
from diag.measure import Measure

LAYERS = (
    Layer("fc1", "Linear", (4,), ("fc1.weight", "fc1.bias")),
    Layer("act", "ReLU", (4,)),
    Layer("squash", "Tanh", (4,)),
    Layer("fc2", "Linear", (2,), ("fc2.weight",)),
)


def unguarded(_work, _subject, function, argument):
    return function(argument)


def make(own=(), omit=(), attempt=unguarded, prefix=""):
    measure = Measure([probes.probe_of(f) for f in own], omit, attempt, prefix)
    measure.learn(LAYERS)
    return measure


def taken(measure):
    plan, numbers = measure.take()
    readings = Readings(plan.columns, plan.block(numbers[None])[0])
    return {(r.axis, r.name, r.subject): r.value for r in readings}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_an_activation_gives_mean_size_and_what_is_not_finite(rng):
    array = rng.standard_normal((8, 4)).astype(np.float32)
    measure = make()
    measure.hear(Event("activation", "fc1", array))
    found = taken(measure)
    assert found["layers", "activation_mean", "fc1"] == pytest.approx(array.mean(), rel=1e-6)
    assert found["layers", "activation_rms", "fc1"] == pytest.approx(
        np.sqrt((array.astype(float) ** 2).mean()), rel=1e-6
    )
    assert found["layers", "activation_non_finite_count", "fc1"] == 0


def test_only_a_rectifying_layer_has_dead_units_and_only_a_squashing_one_saturates(rng):
    array = np.maximum(rng.standard_normal((8, 4)), 0)
    measure = make()
    for layer in ("fc1", "act", "squash"):
        measure.hear(Event("activation", layer, array))
    names = {(name, subject) for _, name, subject in taken(measure)}
    assert {s for n, s in names if n.startswith("dead_unit_rate")} == {"act"}
    assert {s for n, s in names if n == "saturation_rate"} == {"squash"}


def test_a_unit_that_fires_in_any_batch_of_the_window_is_not_dead():
    measure = make()
    measure.hear(Event("activation", "act", np.eye(4)[np.zeros(600, int)]))
    first = taken(measure)
    measure.hear(Event("activation", "act", np.eye(4)[np.ones(600, int)]))
    second = taken(measure)
    assert first["layers", "dead_unit_rate", "act"] == 0.75
    assert np.isnan(first["layers", "dead_unit_rate_pooled", "act"])
    assert second["layers", "dead_unit_rate_pooled", "act"] == 0.5


def test_a_step_of_the_optimiser_gives_norms_ratios_and_depth(rng):
    names = ("fc1.weight", "fc1.bias", "fc2.weight")
    weights = [rng.standard_normal(shape) for shape in ((4, 3), (4,), (2, 4))]
    gradients = [rng.standard_normal(w.shape) for w in weights]
    updates = [-0.1 * g for g in gradients]
    measure = make()
    measure.hear(Event("gradient", names, gradients))
    measure.hear(Event("weight", names, weights))
    measure.hear(Event("moved_weight", names, [w + u for w, u in zip(weights, updates, strict=True)]))
    found = taken(measure)
    norm = np.linalg.norm
    for name, w, g in zip(names, weights, gradients, strict=True):
        assert found["parameters", "weight_norm", name] == pytest.approx(norm(w), rel=1e-12)
        assert found["parameters", "gradient_norm", name] == pytest.approx(norm(g), rel=1e-12)
        assert found["parameters", "update_norm", name] == pytest.approx(0.1 * norm(g), rel=1e-12)
        assert found["parameters", "update_ratio", name] == pytest.approx(0.1 * norm(g) / norm(w), rel=1e-12)
    first = np.hypot(norm(gradients[0]), norm(gradients[1]))
    assert found["layers", "gradient_norm", "fc1"] == pytest.approx(first, rel=1e-12)
    assert found["network", "gradient_norm", ""] == pytest.approx(
        np.hypot(first, norm(gradients[2])), rel=1e-12
    )
    assert found["network", "gradient_norm_ratio", ""] == pytest.approx(first / norm(gradients[2]), rel=1e-12)


def test_depth_is_the_order_of_execution_not_of_declaration():
    measure = make()
    for layer in ("fc2", "fc1"):
        measure.hear(Event("activation", layer, np.ones((2, 2))))
    measure.hear(Event("gradient", ("fc1.weight", "fc2.weight"), [np.array([1.0]), np.array([4.0])]))
    assert taken(measure)["network", "gradient_norm_ratio", ""] == 4.0


def test_a_weight_of_zero_has_no_update_ratio_rather_than_an_infinite_one():
    measure = make()
    measure.hear(Event("weight", ("fc1.bias",), [np.zeros(4)]))
    measure.hear(Event("moved_weight", ("fc1.bias",), [np.ones(4)]))
    found = taken(measure)
    assert found["parameters", "update_norm", "fc1.bias"] == 2.0
    assert np.isnan(found["parameters", "update_ratio", "fc1.bias"])


def test_weights_that_were_not_heard_before_a_step_have_no_update():
    measure = make()
    measure.hear(Event("weight", ("fc1.bias",), [np.zeros(4)]))
    measure.take()
    measure.hear(Event("moved_weight", ("fc1.bias",), [np.ones(4)]))
    assert np.isnan(taken(measure)["parameters", "update_norm", "fc1.bias"])


def test_gradients_that_are_not_finite_are_counted_where_they_are():
    measure = make()
    measure.hear(
        Event("gradient", ("fc1.weight", "fc2.weight"), [np.array([1.0, np.nan, np.inf]), np.ones(2)])
    )
    found = taken(measure)
    assert found["parameters", "gradient_non_finite_count", "fc1.weight"] == 2
    assert found["parameters", "gradient_non_finite_count", "fc2.weight"] == 0


def test_inputs_predictions_targets_and_the_loss_are_summarised():
    measure = make()
    measure.hear(Event("input", "", np.array([[1.0, 3.0]])))
    measure.hear(Event("target", "", np.array([0, 9])))
    measure.hear(Event("loss", "", np.float32(0.5)))
    found = taken(measure)
    assert [found["network", f"input_{n}", ""] for n in ("mean", "std", "min", "max")] == [2, 1, 1, 3]
    assert found["network", "target_max", ""] == 9
    assert found["network", "criterion_loss", ""] == 0.5


def test_nothing_is_left_of_a_step_once_it_is_taken():
    measure = make()
    measure.hear(Event("activation", "fc1", np.ones((2, 4))))
    measure.take()
    assert not taken(measure)


def test_what_is_omitted_is_neither_measured_nor_read(monkeypatch):
    monkeypatch.setattr(probes, "activation_mean", lambda _: pytest.fail("measured"))
    measure = make(omit=("activation_mean", "update_ratio"))
    measure.hear(Event("activation", "fc1", np.ones((2, 4))))
    measure.hear(Event("weight", ("fc1.bias",), [np.ones(4)]))
    measure.hear(Event("moved_weight", ("fc1.bias",), [np.ones(4)]))
    assert {name for _, name, _ in taken(measure)}.isdisjoint({"activation_mean", "update_ratio"})


def test_names_of_the_network_carry_the_prefix_and_those_of_layers_do_not():
    measure = make(prefix="generator.")
    measure.hear(Event("activation", "fc1", np.ones((2, 4))))
    measure.hear(Event("loss", "", np.float64(1)))
    names = {name for _, name, _ in taken(measure)}
    assert "generator.criterion_loss" in names
    assert "activation_mean" in names


@probes.probe(unit="1", eats="activation", cost="cheap", source="this test")
def largest_entry(activation):
    """The largest entry."""
    return activation.max()


@probes.probe(unit="1", eats="gradient", cost="cheap", source="this test")
def largest_slope(gradient):
    """The largest entry in magnitude."""
    return np.abs(gradient).max()


@probes.probe(unit="1", eats="activation", cost="cheap", source="this test")
def broken(activation):
    """A probe that fails."""
    raise RuntimeError("I am broken")


@probes.probe(unit="1", eats="activation", cost="cheap", source="this test")
def talkative(activation):
    """A probe that returns more than a number."""
    return activation


@probes.probe(unit="1", eats="activation", cost="cheap", source="this test")
def silent(activation):
    """A probe that forgets to return its number."""


def test_numbers_that_cannot_be_brought_over_are_not_taken_for_those_of_the_next_step(monkeypatch):
    measure = make()
    measure.hear(Event("loss", "", np.float64(1.0)))
    with monkeypatch.context() as patch:
        patch.setattr(probes, "to_host", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            measure.take()
    measure.hear(Event("loss", "", np.float64(2.0)))
    assert taken(measure)["network", "criterion_loss", ""] == 2.0


def test_a_probe_of_the_users_own_is_read_for_every_layer_or_parameter():
    measure = make(own=(largest_entry, largest_slope))
    measure.hear(Event("activation", "fc1", np.array([[1.0, 7.0]])))
    measure.hear(Event("gradient", ("fc1.bias",), [np.array([-3.0, 2.0])]))
    found = taken(measure)
    assert found["layers", "largest_entry", "fc1"] == 7
    assert found["parameters", "largest_slope", "fc1.bias"] == 3


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (broken, "I am broken"),
        (talkative, "needs to return one number"),
        (silent, "needs to return one number, got None"),
    ],
)
def test_a_failing_probe_leaves_no_number_and_spares_the_others(probe, message):
    measure = make(own=(probe, largest_entry), attempt=Guard(lambda *_: None).attempt)
    with pytest.warns(DiagWarning, match=f"{probe.__name__} failed at 'fc1'.*{message}"):
        measure.hear(Event("activation", "fc1", np.ones((2, 4))))
    found = taken(measure)
    assert np.isnan(found["layers", probe.__name__, "fc1"])
    assert found["layers", "largest_entry", "fc1"] == 1
