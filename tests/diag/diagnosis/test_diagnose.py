"""Diagnosis: order, status, what could not be assessed, and rules of the user's own."""

import json
from pathlib import Path

import numpy as np
import pytest

import diag
from diag.diagnosis import RULES, Evidence, Finding, rule
from diag.diagnosis.causes import in_causal_order
from diag.diagnosis.outcome import Outcome
from diag.diagnosis.persistence import begins_to_last, smoothed
from diag.events import Layer, Model, Parameter, Reading
from diag.log import LogWriter


def finding(name, step=None, layer=None, severity="fault"):
    evidence = Evidence("series", 1.0, "at most 0", 1, None, "text")
    return Finding(name, severity, layer, step, evidence, "why", "fix", 0.5)


@pytest.fixture
def write(tmp_path):
    """Writes a log with the given series of the network, one row a step."""

    def written(steps=60, layers=(), **series):
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        writer = LogWriter(folder, describe=lambda: Model(layers=tuple(Layer(n, "ReLU") for n in layers)))
        for step in range(steps):
            readings = [Reading(name, "", float(values[step]), "network") for name, values in series.items()]
            writer.write(step, [*readings, Reading("wall_time", "", step, "network")])
        writer.close()
        return diag.Log(folder)

    return written


def test_a_log_with_nothing_to_judge_is_not_assessable(write):
    diagnosis = diag.diagnose(write())
    assert diagnosis.status == "not_assessable"
    assert set(diagnosis.not_assessed) == {rule.id for rule in RULES}
    assert "no dead_unit_rate_pooled" in diagnosis.not_assessed["dead_units"]


def test_a_run_of_three_steps_is_too_short_to_judge(write):
    diagnosis = diag.diagnose(write(3, criterion_loss=[1, 1, 1]))
    assert diagnosis.not_assessed["slow_convergence"] == "the log has 3 recorded steps, fewer than 5"


def test_a_rule_that_fails_is_told_and_costs_nothing_that_others_find(write):
    @rule("criterion_loss")
    def mistaken(_log):
        raise ZeroDivisionError("float division by zero")

    log = write(criterion_loss=np.full(60, 2.3))
    with pytest.warns(UserWarning, match="the rule mistaken failed: ZeroDivisionError: float division"):
        diagnosis = diag.diagnose(log, [mistaken])
    assert diagnosis.not_assessed["mistaken"].startswith("the rule itself failed: ZeroDivisionError")
    assert {finding.rule for finding in diagnosis.findings} == {"slow_convergence"}


def test_causes_come_first_then_outcomes_then_notes(write):
    given = [
        finding("remark", 0, severity="note"),
        finding("slow_convergence", 0),
        finding("vanishing_gradients", 7, "a"),
        finding("dead_units", 7, "b"),
        finding("dead_units", 7, "a"),
        finding("exploding_gradients", 3),
    ]
    ordered = in_causal_order(given, write(layers=("a", "b")))
    assert [(f.rule, f.layer) for f in ordered] == [
        ("exploding_gradients", None),
        ("dead_units", "a"),
        ("dead_units", "b"),
        ("vanishing_gradients", "a"),
        ("slow_convergence", None),
        ("remark", None),
    ]


def test_what_has_converged_is_not_blamed_for_small_gradients(write):
    given = [finding("converged", severity="note"), finding("vanishing_gradients", 3)]
    assert [f.rule for f in in_causal_order(given, write())] == ["converged"]


def test_a_loss_that_never_falls_is_told_and_one_that_falls_is_not(write):
    noise = np.random.default_rng(0).normal(0, 0.05, 60)
    assert [f.rule for f in diag.diagnose(write(criterion_loss=2.3 + noise)).findings] == ["slow_convergence"]
    falling = 2.3 * np.exp(-np.arange(60) / 10)
    assert [f.rule for f in diag.diagnose(write(criterion_loss=falling)).findings] == ["converged"]


def test_a_loss_that_rises_again_is_told_from_where_it_rose(write):
    loss = np.r_[np.linspace(2.3, 0.1, 40), np.full(20, 2.4)]
    (found,) = diag.diagnose(write(criterion_loss=loss)).findings
    assert (found.severity, found.onset_step, found.evidence.last_healthy_step) == ("fault", 41, 40)


def test_the_users_own_loss_serves_where_no_criterion_is_watched(write):
    assert "slow_convergence" not in diag.diagnose(write(loss=np.full(60, 2.3))).not_assessed


def test_a_rule_of_ones_own_is_one_function(write):
    @rule("wall_time")
    def too_slow(log):
        """A run that takes its time."""
        yield finding("too_slow", 0, severity="warning")

    diagnosis = diag.diagnose(write(), rules=[too_slow])
    assert diagnosis.status == "warning"
    assert [f.rule for f in diagnosis.findings] == ["too_slow"]


def test_every_rule_has_a_stable_id_and_says_what_it_looks_for():
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(rule.summary.endswith(".") for rule in RULES)


@pytest.mark.parametrize(
    ("value", "plain_value"), [(float("nan"), None), (float("-inf"), "-Infinity")], ids=str
)
def test_a_diagnosis_is_plain_data_even_where_a_value_is_no_number(value, plain_value):
    evidence = Evidence("series", value, "band", 1, None, "text")
    diagnosis = diag.Diagnosis("fault", (Finding("r", "fault", None, 0, evidence, "w", "f", 1.0),), {})
    plain = json.loads(json.dumps(diagnosis.to_json(), allow_nan=False))
    assert plain["findings"][0]["evidence"]["value"] == plain_value
    assert set(plain) == {"status", "findings", "not_assessed"}


def test_series_that_were_not_recorded_at_the_same_steps_are_still_put_side_by_side(tmp_path):
    writer = LogWriter(tmp_path, describe=lambda: Model(parameters=(Parameter("fc.weight", "fc", (2, 2)),)))
    for step in range(40):
        if step % 2 == 0:
            writer.write(
                step, [Reading("update_ratio", "fc.weight", 1e-3 if step < 20 else 0.5, "parameters")]
            )
        loss = 2.0 * 0.9**step if step <= 20 else 9.0
        rate = 0.1 if step < 20 else 1.0
        writer.write(
            step,
            [Reading("criterion_loss", "", loss, "network"), Reading("learning_rate", "", rate, "network")],
        )
    writer.close()
    first = diag.diagnose(diag.Log(tmp_path)).findings[0]
    assert (first.rule, first.onset_step) == ("learning_rate_too_high", 20)
    assert first.evidence.value == pytest.approx(10)


class TestOutcome:
    def outcome(self, write, loss):
        found = Outcome.of(write(len(loss), criterion_loss=loss))
        assert found is not None
        return found

    def test_progress_is_the_share_of_the_loss_that_is_gone(self, write):
        assert self.outcome(write, np.r_[np.full(5, 2.0), np.full(55, 0.5)]).progress == 0.75

    def test_a_loss_that_ends_as_nan_has_made_no_progress(self, write):
        assert self.outcome(write, np.r_[np.full(30, 0.1), np.full(30, np.nan)]).has_learned_little()

    def test_a_single_nan_on_the_way_changes_no_judgement(self, write):
        loss = np.linspace(2, 0.5, 60)
        loss[10] = np.nan
        outcome = self.outcome(write, loss)
        assert outcome.best_progress > 0.7
        assert not outcome.is_hurt_after(10)

    def test_it_is_hurt_where_the_loss_rises_for_good_and_not_where_it_spikes(self, write):
        steady = np.linspace(2, 0.5, 60)
        assert self.outcome(write, np.r_[steady[:30], steady[:30] + 3]).is_hurt_after(29)
        spiked = steady.copy()
        spiked[30] = 50
        assert not self.outcome(write, spiked).is_hurt_after(29)

    def test_a_loss_near_zero_that_flickers_is_not_hurt(self, write):
        loss = np.r_[np.full(5, 2.0), np.full(25, 1e-4), np.full(30, 3e-4)]
        assert not self.outcome(write, loss).is_hurt_after(29)


def test_persistence_needs_several_readings_up_to_the_end():
    assert begins_to_last(np.array([True] * 5 + [False] + [True] * 3)) == 6
    assert begins_to_last(np.array([True] * 5 + [False] + [True] * 2)) is None
    assert begins_to_last(np.zeros(0, bool)) is None


def test_a_running_median_ignores_an_outlier():
    assert smoothed(np.array([1.0, 1, 9, 1, 1]), 3).tolist() == [1, 1, 1, 1, 1]


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md"])
def test_every_rule_stands_in_the_tables(page):
    text = (Path(__file__).parents[3] / page).read_text(encoding="utf-8")
    assert [each.id for each in RULES if f"`{each.id}`" not in text] == []
