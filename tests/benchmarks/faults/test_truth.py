"""The table of right answers fits the operators and the rules."""

from benchmarks.faults.operators import OPERATORS
from benchmarks.faults.truth import TRUTH
from diag.diagnosis import RULES

# Rules that are on their way: their telemetry came after the table.
AWAITED = {
    "noisy_gradients",
    "wasteful_batch",
    "redundant_depth",
    "dormant_units",
    "rank_collapse",
    "attention_collapse",
    "train_eval_mode",
}


def test_every_operator_has_a_row_and_every_row_an_operator():
    assert {operator.name for operator in OPERATORS} == set(TRUTH)


def test_rows_name_only_rules_that_there_are():
    named = {rule for truth in TRUTH.values() for rule in truth.row}
    assert named <= {rule.id for rule in RULES} | AWAITED


def test_every_row_names_a_cause_and_no_rule_is_both():
    for truth in TRUTH.values():
        assert truth.causes
        assert not truth.causes & truth.symptoms


def test_states_are_no_answers():
    assert not {"converged", "edge_of_stability"} & {rule for truth in TRUTH.values() for rule in truth.row}
