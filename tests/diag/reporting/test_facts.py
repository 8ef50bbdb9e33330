"""What a report says of a run before any form is chosen."""

import math
from dataclasses import replace

import pytest

from diag.diagnosis.findings import Diagnosis
from diag.events import Layer, Model, Reading
from diag.log import Log, LogWriter
from diag.reporting.facts import gather

HEALTHY = Diagnosis("healthy", (), {})


class TestRun:
    def test_it_says_which_run_and_which_steps(self, log):
        run = gather(log, HEALTHY).run
        assert (run.name, run.state) == ("mlp", "closed")
        assert (run.first_step, run.last_step, run.recorded_steps) == (0, 290, 30)
        assert run.started.endswith("+00:00")
        assert run.seconds == pytest.approx(0.5 + 0.012 * 290)

    def test_a_single_file_has_the_name_of_its_folder(self, log):
        assert gather(Log(log.path / "log.h5"), HEALTHY).run.name == "mlp"

    def test_a_live_run_is_told_as_one(self, unclosed):
        run = gather(unclosed, HEALTHY).run
        assert run.state == "live"
        assert "still being recorded" in run.standing

    def test_a_killed_run_is_told_as_one(self, unclosed):
        (unclosed.path / "run.json").unlink()
        run = gather(Log(unclosed.path), HEALTHY).run
        assert run.state == "killed"
        assert "without closing its log" in run.standing
        assert run.started == ""

    def test_a_run_that_recorded_nothing_has_no_steps(self, tmp_path):
        LogWriter(tmp_path, describe=Model).close()
        run = gather(Log(tmp_path), HEALTHY).run
        assert (run.first_step, run.last_step, run.recorded_steps) == (None, None, 0)
        assert math.isnan(run.seconds)


class TestVerdict:
    def test_it_counts_faults_and_warnings_and_names_the_first_cause(self, log, diagnosis):
        verdict = gather(log, diagnosis).verdict
        assert verdict == (
            "2 faults and 1 warning in 30 recorded steps; the first cause is learning rate too high, from step 150."
        )

    def test_a_note_is_nothing_wrong(self, log, diagnosis):
        notes = tuple(replace(finding, severity="note") for finding in diagnosis.findings)
        facts = gather(log, replace(diagnosis, status="healthy", findings=notes))
        assert facts.verdict == "No rule found anything wrong in 30 recorded steps."

    def test_the_layer_of_the_cause_is_named(self, log, diagnosis):
        facts = gather(log, replace(diagnosis, findings=diagnosis.findings[1:2]))
        assert facts.verdict.endswith(
            "1 fault in 30 recorded steps; the first cause is dead units in layer features.1, from step 160."
        )

    def test_too_little_to_judge_is_no_health(self, log):
        facts = gather(log, Diagnosis("not_assessable", (), {"dead_units": "the log has no dead_unit_rate"}))
        assert facts.verdict.startswith("No rule had what it needs")

    def test_rules_that_found_nothing_are_named_and_those_that_did_not_look_are_not(self, log, diagnosis):
        found = dict(gather(log, diagnosis).not_found)
        assert "non_finite" in found
        assert "dead_units" not in found
        lacking = replace(diagnosis, not_assessed={"non_finite": "a series"})
        assert "non_finite" not in dict(gather(log, lacking).not_found)


class TestTables:
    def test_a_layer_has_its_parameters_counted_and_its_last_numbers(self, log):
        linear, relu = gather(log, HEALTHY).layers[:2]
        assert (linear.name, linear.kind, linear.parameters) == ("features.0", "Linear", 128 * 128 + 128)
        assert math.isnan(linear.last["dead_unit_rate"])
        assert relu.last["dead_unit_rate"] == log.series("dead_unit_rate").column("features.1")[-1]

    def test_coverage_counts_the_readings_that_are_numbers(self, log):
        rows = {(row.axis, row.name): row for row in gather(log, HEALTHY).coverage}
        dead = rows["layers", "dead_unit_rate"]
        assert (dead.steps, dead.columns, dead.numbers, dead.share) == (30, 12, 30 * 6, 0.5)
        assert dead.silent == (
            "features.0",
            "features.2",
            "features.4",
            "features.6",
            "features.8",
            "features.10",
        )
        assert rows["scalars", "val_loss"].numbers == 2
        assert rows["curvature", "top_eigenvalues"].columns == 3

    def test_a_layer_without_any_number_was_never_heard(self, tmp_path):
        model = Model((Layer("heard", "Linear"), Layer("silent", "Linear")))
        writer = LogWriter(tmp_path, describe=lambda: model)
        writer.write(0, [Reading("gradient_norm", "heard", 1.0, "layers")])
        writer.close()
        assert gather(Log(tmp_path), HEALTHY).unheard_layers == ("silent",)

    def test_what_no_figure_can_be_made_of_is_named(self, tmp_path):
        writer = LogWriter(tmp_path, describe=Model)
        writer.write(0, [Reading("generator.criterion_loss", "", 1.0, "network")])
        writer.close()
        absent = gather(Log(tmp_path), HEALTHY).absent_series
        assert "criterion_loss" not in absent
        assert {"gradient_norm", "update_ratio", "top_eigenvalues"} <= set(absent)

    def test_configuration_and_environment_are_flat(self, log):
        facts = gather(log, HEALTHY)
        assert dict(facts.configuration) == {
            "optimizer.name": "SGD",
            "optimizer.lr": "0.1",
            "seed": "0",
            "dropout": "None",
        }
        assert dict(facts.optimizers)["SGD.momentum"] == "0.9"
        assert "versions.numpy" in dict(facts.environment)

    def test_recording_has_a_cost(self, log):
        facts = gather(log, HEALTHY)
        assert facts.recording_seconds == pytest.approx(30 * 0.004)
        assert facts.recording_share == pytest.approx(30 * 0.004 / facts.run.seconds)
