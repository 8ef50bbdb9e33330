"""Thresholds that the user sets: from a file or a mapping, and what is refused."""

import math

import numpy as np
import pytest

import diag
from diag.diagnosis import RULES, rule
from diag.diagnosis.thresholds import THRESHOLDS
from tests.diag.diagnosis.conftest import falling


@pytest.fixture
def saturated(log_of):
    """Four units in ten saturated, and nothing learned."""
    return log_of({"criterion_loss": np.full(60, 2.3), "saturation_rate": {"1": np.full(60, 0.4)}})


def rules_of(diagnosis):
    return {finding.rule for finding in diagnosis.findings}


def test_a_stored_run_is_judged_again_under_the_thresholds_of_a_file(saturated, tmp_path):
    path = tmp_path / "thresholds.toml"
    path.write_text("[saturated_units]\nmost_saturated = 0.3\n")
    assert "saturated_units" not in rules_of(diag.diagnose(saturated))
    stricter = diag.diagnose(saturated, thresholds=path)
    assert "saturated_units" in rules_of(stricter)
    assert rules_of(diag.diagnose(saturated, thresholds=str(path))) == rules_of(stricter)
    band = next(f.evidence.band for f in stricter.findings if f.rule == "saturated_units")
    assert band == "at most 0.3"


def test_a_mapping_serves_as_well_as_a_file_and_infinity_turns_a_threshold_off(saturated):
    assert "saturated_units" in rules_of(
        diag.diagnose(saturated, thresholds={"saturated_units": {"most_saturated": 0.3}})
    )
    off = diag.diagnose(saturated, thresholds={"slow_convergence": {"least_progress": -math.inf}})
    assert "slow_convergence" not in rules_of(off)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[satured_units]\nx = 1", "names 'satured_units'; there is: .*saturated_units"),
        ("[non_finite]\nx = 1", "names 'non_finite'; there is: "),
        ("[dead_units]\nmost_ded = 1", "names 'most_ded'; there is: most_dead, all_dead"),
        ("[dead_units]\nmost_dead = 'half'", "dead_units.most_dead to be a number, .* has 'half'"),
        ("[dead_units]\nmost_dead = true", "dead_units.most_dead to be a number, .* has True"),
        ("[dead_units]\nmost_dead = nan", "dead_units.most_dead to be a number, .* has nan"),
        ("dead_units = 0.5", r"a table \[dead_units\] of thresholds .*, got 0.5"),
        ("[dead_units", "is none: "),
    ],
    ids=["rule", "rule_without", "name", "text", "truth", "nan", "no_table", "no_toml"],
)
def test_what_no_rule_knows_is_refused_with_what_there_is(saturated, tmp_path, text, message):
    path = tmp_path / "thresholds.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        diag.diagnose(saturated, thresholds=path)


def test_a_rule_of_ones_own_has_thresholds_too(log_of):
    @rule("criterion_loss")
    def above(log, *, limit=5.0):
        """A loss above a limit."""
        assert limit == 7.0
        return []

    assert above.thresholds["limit"].value == 5.0
    diag.diagnose(log_of({"criterion_loss": falling()}), [above], thresholds={"above": {"limit": 7}})


def test_every_threshold_belongs_to_a_rule_that_takes_it_and_has_a_source():
    taken = {each.id: set(each.thresholds) for each in RULES if each.thresholds}
    assert {name: set(table) for name, table in THRESHOLDS.items()} == taken
    assert all(threshold.source for table in THRESHOLDS.values() for threshold in table.values())
