"""From findings to shares, on mutants made up by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.faults.scoring import Mutant, mutants_of, operator_rows, rate, rows, wilson
from benchmarks.faults.suite import Piece


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    # Newcombe 1998, table I: the score method without continuity correction.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_the_published_one(hits, of, low, high):
    assert wilson(hits, of) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 300).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_interval_holds_the_share_and_stays_within_zero_and_one(counts):
    hits, of = counts
    low, high = wilson(hits, of)
    assert 0 <= low <= hits / of + 1e-12
    assert hits / of - 1e-12 <= high <= 1


def test_of_nothing_nothing_is_known():
    assert wilson(0, 0) == (0, 1)


def test_a_share_is_a_row_that_says_of_how_many():
    row = rate("detected", [True, True, False], 0.95)
    assert row.to_json() == {
        "case": "detected",
        "figure": pytest.approx(2 / 3),
        "unit": "2 of 3, 95 % interval 0.208 to 0.939",
        "limit": 0.95,
        "at_least": True,
        "holds": False,
        "minimum": pytest.approx(0.2077, abs=1e-4),
        "hits": 2,
        "of": 3,
        "low": pytest.approx(0.2077, abs=1e-4),
        "high": pytest.approx(0.9385, abs=1e-4),
    }


def test_a_share_of_nothing_is_no_number_and_keeps_no_limit():
    told = rate("detected", [], 0.95).to_json()
    assert (told["figure"], told["holds"], told["of"]) == (None, None, 0)


def alarm(rule, layer=None, severity="fault"):
    return {"rule": rule, "severity": severity, "layer": layer}


def mutant(operator, *alarms, dose="severe"):
    return Mutant(Piece("run", "tuning", 0, operator, dose), True, 0.5, alarms, {})


def test_a_symptom_is_a_detection_and_no_name():
    found = mutant("learning rate too high", alarm("non_finite"), alarm("dead_units"))
    assert found.is_detected
    assert not found.is_named(3)


def test_the_cause_counts_where_it_stands():
    found = mutant("learning rate too high", alarm("non_finite"), alarm("learning_rate_too_high"))
    assert (found.is_named(1), found.is_named(3)) == (False, True)


def test_an_alarm_from_another_row_is_no_detection():
    assert not mutant("clipped too short", alarm("dead_units")).is_detected


@pytest.mark.parametrize(
    ("layer", "is_right"),
    [("hidden1", True), ("act1", True), ("hidden2", False), (None, False), ("hidden1.part", True)],
)
def test_the_layer_is_that_of_the_alarm_that_names_the_cause(layer, is_right):
    found = mutant("biases start below zero", alarm("constant_output", "hidden1"), alarm("dead_units", layer))
    assert found.is_located == is_right


def piece(kind, operator="", dose="", index=0):
    return Piece(kind, "scored", index, operator, dose)


def suite():
    """One fault that is found, one mutant that does not hurt and alarms all the same, and two healthy runs."""
    fault, harmless = ("layers frozen", "severe"), ("layers frozen", "mild")
    frozen = {"findings": [alarm("frozen_parameters", "hidden1")], "rivals": {"another": []}}
    quiet = {
        "findings": [alarm("converged", severity="note")],
        "rivals": {"another": ["always"]},
        "rejected": 1,
    }
    good, bad = [0.9, 0.91, 0.92, 0.93] * 5, [0.1, 0.11, 0.12, 0.13] * 5
    results = {
        piece("label"): {"skills": good},
        piece("label", *fault): {"skills": bad},
        piece("label", *harmless): {"skills": good},
        piece("run", *fault): frozen,
        piece("run", *harmless): frozen,
        piece("healthy"): quiet,
        piece("healthy", index=1): quiet,
    }
    return list(results), {each.key: told for each, told in results.items()}


def test_labels_come_from_the_seeds():
    assert [(each.is_fault, round(each.cost, 2)) for each in mutants_of(*suite())] == [
        (True, 0.8),
        (False, 0.0),
    ]


@pytest.mark.parametrize(
    ("case", "hits", "of", "limit"),
    [
        ("detected", 1, 1, 0.95),
        ("detected where it costs 0.1 or more", 1, 1, None),
        ("detected where it costs less", 0, 0, None),
        ("first-named cause right", 1, 1, 0.70),
        ("layer right", 1, 1, 0.70),
        ("false alarms on healthy runs", 0, 2, 0.03),
        ("false alarms on mutants that do not hurt", 1, 1, None),
        ("draws of healthy runs rejected", 2, 4, None),
        ("another: any alarm on a fault", 0, 1, None),
        ("false alarms of another on healthy runs", 2, 2, None),
    ],
)
def test_the_table_has_ours_and_the_rivals(case, hits, of, limit):
    (row,) = (row for row in rows("scored", *suite(), is_limited=True) if row.case == f"scored: {case}")
    assert (row.hits, row.of, row.limit) == (hits, of, limit)


def test_operators_have_rows_of_their_own():
    told = [(row.case, row.hits, row.of) for row in operator_rows("scored", *suite())]
    assert told == [
        ("scored: layers frozen: detected", 1, 1),
        ("scored: layers frozen: first-named cause right", 1, 1),
    ]


def test_the_tuning_half_has_no_limits():
    assert not any(row.limit for row in rows("scored", *suite(), is_limited=False))
