"""The way that arrays on an accelerator take: on one where there is one, and on the CPU without NumPy's views."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import probes
from probes.arrays import detached, readable

RNG = np.random.default_rng(0)
LAYER = np.tanh(RNG.standard_normal((12, 5)) * 2) * (RNG.uniform(size=5) > 0.2)
MAPS = np.tanh(RNG.standard_normal((6, 4, 3, 3)) * 2)
OTHER = RNG.standard_normal((12, 7))
LABELS = np.arange(12) % 3
WEIGHT, BIAS = RNG.standard_normal((3, 5)), RNG.standard_normal(3)
ATTENTION, COUNTED = RNG.dirichlet(np.ones(4), size=(2, 3, 5)), RNG.uniform(size=(2, 5)) > 0.3

CASES = {
    "activation_kurtosis": (MAPS,),
    "activation_zero_fraction": (MAPS,),
    "dead_unit_rate": (MAPS,),
    "dormant_unit_rate": (MAPS,),
    "flat_slope_rate": (MAPS,),
    "flat_unit_rate": (MAPS,),
    "effective_rank": (LAYER,),
    "stable_rank": (LAYER,),
    "activation_effective_rank": (MAPS,),
    "activation_stable_rank": (MAPS,),
    "linear_cka": (LAYER, OTHER),
    "debiased_linear_cka": (LAYER, OTHER),
    "two_nn_intrinsic_dimension": (LAYER,),
    "within_class_variability": (LAYER, LABELS),
    "class_mean_norm_spread": (LAYER, LABELS),
    "class_mean_cosines": (LAYER, LABELS),
    "class_mean_cosine_spread": (LAYER, LABELS),
    "class_mean_simplex_deviation": (LAYER, LABELS),
    "self_duality_deviation": (LAYER, LABELS, WEIGHT),
    "nearest_centre_agreement": (LAYER, LABELS, WEIGHT, BIAS),
    "binned_mutual_information": (LAYER, LABELS),
    "ksg_mutual_information": (LAYER, OTHER),
    "ross_mutual_information": (LAYER, LABELS),
    "attention_entropy": (ATTENTION, COUNTED),
    "largest_attention_logit": (ATTENTION,),
}


@pytest.fixture(params=["accelerator", "no view"])
def off_host(request, monkeypatch) -> Callable[[Any], Any]:
    """Turns a NumPy array into a tensor that probes cannot read as one."""
    torch = pytest.importorskip("torch")
    if request.param == "accelerator":
        if not torch.cuda.is_available():
            pytest.skip("there is no accelerator")
        return lambda array: torch.asarray(np.array(array), device="cuda")
    for name, module in list(sys.modules.items()):
        if name.startswith("probes.") and getattr(module, "readable", None) is readable:
            monkeypatch.setattr(module, "readable", detached)
    return lambda array: torch.asarray(np.array(array))


@pytest.mark.parametrize("spoilt", [None, np.nan, np.inf], ids=["finite", "NaN", "infinity"])
@pytest.mark.parametrize("name", CASES)
def test_the_way_for_accelerators_measures_the_same(name, spoilt, off_host):
    first, *others = CASES[name]
    if spoilt is not None:
        first = first.copy()
        first[(1,) * first.ndim] = spoilt
    measure = getattr(probes, name)
    measured = measure(off_host(first).requires_grad_(), *map(off_host, others))
    assert not measured.requires_grad
    expected = np.asarray(measure(first, *others))
    np.testing.assert_allclose(measured.cpu().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_pooled_units_are_kept_where_the_activations_are(off_host):
    maps = off_host(MAPS)
    recent = probes.RecentUnits(window=3)
    recent.add(maps)
    assert recent.firing_rates().device == maps.device
    assert float(recent.dormant_unit_rate()) == float(probes.dormant_unit_rate(MAPS))
