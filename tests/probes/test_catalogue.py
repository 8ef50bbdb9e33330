import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

import probes
from probes import Probe, catalogue, probe, probe_of

Measure: TypeAlias = Callable[..., Any]

STANDARD = {
    "activation_mean",
    "activation_rms",
    "dead_unit_rate",
    "gradient_norm",
    "gradient_norm_ratio",
    "non_finite_count",
    "saturation_rate",
    "top_eigenvalues",
    "trace",
    "update_norm",
    "update_ratio",
    "weight_norm",
}


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    """What a test registers is forgotten after it."""
    module = sys.modules[Probe.__module__]
    monkeypatch.setattr(module, "_REGISTRY", dict(module._REGISTRY))


def peak(activation):
    """Largest entry."""
    return activation.max()


def registered(function: Measure, **changes: Any) -> Measure:
    told: dict[str, Any] = {"unit": "activation", "eats": "activation", "cost": "cheap", "source": "a test"}
    return probe(**{**told, **changes})(function)


def test_the_standard_probes_are_in_the_catalogue():
    assert {entry.name for entry in catalogue()} >= STANDARD


# Without those that other tests register.
OURS = [entry for entry in catalogue() if entry.function.__module__.startswith("probes.")]


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry.name)
def test_every_probe_tells_what_it_measures_in_which_unit_and_after_whom(entry):
    assert entry.function.__doc__
    assert entry.unit
    assert entry.source
    assert getattr(probes, entry.name) is entry.function


def test_the_catalogue_is_sorted_by_name():
    names = [entry.name for entry in catalogue()]
    assert names == sorted(names)


def test_registering_leaves_the_function_as_it_is():
    attributes = dict(vars(peak))
    assert registered(peak) is peak
    assert vars(peak) == attributes


def test_a_probe_of_ones_own_is_found():
    registered(peak)
    assert probe_of(peak) == Probe("peak", peak, "activation", "activation", "cheap", "a test")
    assert probe_of(peak) in catalogue()


def test_a_function_that_is_not_registered_is_not_found():
    with pytest.raises(ValueError, match="probe_of needs a registered function, got peak; decorate it"):
        probe_of(peak)


def test_another_function_of_the_same_name_is_refused():
    def dead_unit_rate(activation):
        """Some other rate."""

    with pytest.raises(ValueError, match=r"names must differ, got 'dead_unit_rate' from .* rename"):
        registered(dead_unit_rate)


def test_running_a_definition_again_replaces_it():
    def define() -> Measure:
        def width(activation: Any) -> Any:
            """Number of units."""
            return activation.shape[1]

        return registered(width)

    old, new = define(), define()
    assert probe_of(new).function is new
    with pytest.raises(ValueError, match="needs a registered function"):
        probe_of(old)


def test_several_arguments_are_named_in_their_order():
    assert probe_of(probes.update_ratio).eats == ("weight", "update")


@pytest.mark.parametrize("eats", ["activations", (), ("weight", "updates"), ""], ids=repr)
def test_unknown_food_is_refused(eats):
    with pytest.raises(ValueError, match=r"probe 'peak' has an unknown eats: .* use one of activation, "):
        registered(peak, eats=eats)


def test_an_unknown_cost_is_refused():
    with pytest.raises(ValueError, match="unknown cost: got 'high'; use one of free, cheap, dear"):
        registered(peak, cost="high")


@pytest.mark.parametrize("field", ["unit", "source"])
def test_a_probe_without_unit_or_source_is_refused(field):
    with pytest.raises(ValueError, match="probe 'peak' needs a unit and a source"):
        registered(peak, **{field: ""})


def test_a_function_without_a_name_is_refused():
    with pytest.raises(ValueError, match="needs a function with a name, got '<lambda>'; define it with def"):
        registered(lambda activation: activation.max())


def test_everything_that_the_package_offers_is_there():
    assert sorted(probes.__all__) == probes.__all__
    assert all(hasattr(probes, name) for name in probes.__all__)
