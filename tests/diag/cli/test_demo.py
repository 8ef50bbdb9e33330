"""The demonstration: two runs, two verdicts, three reports."""

import subprocess
import sys

import pytest

import diag


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-W", "error", "-m", "diag", "demo", "--folder", "runs/demo", "--no-open"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "demo", done.stdout


def test_the_healthy_run_learns_the_digits_and_has_nothing_above_a_note(demo):
    log = diag.Log(demo[0] / "healthy")
    assert log.series("val_accuracy").values[-1, 0] >= 0.96
    assert diag.diagnose(log).status == "healthy"


def test_the_sick_runs_verdict_names_fault_layer_and_step(demo):
    first = diag.diagnose(diag.Log(demo[0] / "sick")).findings[0]
    assert (first.rule, first.layer, first.onset_step) == ("dead_units", "3", 400)
    assert "fault: dead_units, layer 3, since step 400" in demo[1]


def test_it_records_curvature_of_both(demo):
    for name in ("healthy", "sick"):
        log = diag.Log(demo[0] / name)
        assert log.series("top_eigenvalues").values.shape == (7, 3)
        assert "stability_threshold" in log


def test_reports_of_each_and_of_both_are_written(demo):
    both = (demo[0] / "report.html").read_text()
    assert both.count('href="healthy/report.html"') == both.count('href="sick/report.html"') == 1
    assert (demo[0] / "sick" / "report.html").stat().st_size < 2e6


FROM_THE_LOG_ALONE = """
import sys
from diag.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print([name for name in ("scratchnet", "torch", "sklearn") if name in sys.modules])
"""


def test_diag_report_reproduces_the_report_from_the_log_alone(demo, tmp_path):
    arguments = ["report", "runs/demo/sick", "--out", str(tmp_path / "again.html")]
    command = [sys.executable, "-c", FROM_THE_LOG_ALONE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=demo[0].parents[1])
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "again.html").read_bytes() == (demo[0] / "sick" / "report.html").read_bytes()


def test_a_second_demo_overwrites_nothing(demo, monkeypatch):
    from diag.cli.demo import _unused

    assert _unused(demo[0]).name == "demo-2"
