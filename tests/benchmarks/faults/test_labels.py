"""Which mutants count as faults, on samples whose answer is known."""

import math

import numpy as np
import pytest

from benchmarks.faults.labels import effect, really_hurts

WHOLE = np.random.default_rng(0).normal(0.9, 0.02, 20).tolist()


def test_the_effect_is_the_gap_of_the_means_in_pooled_deviations():
    # Variances 1 and 4 of three each: pooled 2.5.
    assert effect([1.0, 2.0, 3.0], [-4.0, -2.0, 0.0]) == pytest.approx(4 / math.sqrt(2.5))


def test_the_effect_weighs_variances_by_their_degrees_of_freedom():
    assert effect([0.0, 2.0], [-1.0, -1.0, -1.0, -1.0]) == pytest.approx(2 / math.sqrt(2 / 4))


@pytest.mark.parametrize(
    ("whole", "mutant", "expected"), [(1.0, 0.0, math.inf), (0.0, 1.0, -math.inf), (1.0, 1.0, 0.0)]
)
def test_samples_without_any_spread_differ_infinitely_or_not_at_all(whole, mutant, expected):
    assert effect([whole] * 5, [mutant] * 5) == expected


@pytest.mark.parametrize(
    ("mutant", "is_fault"),
    [
        ([score - 0.1 for score in WHOLE], True),
        ([-1.0] * 20, True),
        (WHOLE, False),
        ([score + 0.1 for score in WHOLE], False),
        ([score - 0.004 for score in WHOLE], False),
        # Half of the seeds are lost: worse without doubt, though the spread is wide.
        ([*WHOLE[:10], *[-1.0] * 10], True),
        # One of twenty is an accident.
        ([*WHOLE[:19], -1.0], False),
    ],
    ids=["worse", "lost", "same", "better", "hardly", "every_other_seed", "one_seed"],
)
def test_a_mutant_is_a_fault_if_it_is_worse_beyond_doubt_and_by_far(mutant, is_fault):
    assert really_hurts(WHOLE, mutant) == is_fault


def test_what_never_varies_does_not_hurt():
    assert not really_hurts([1.0] * 20, [1.0] * 20)
