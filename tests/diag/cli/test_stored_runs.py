"""The commands that judge, compare and export stored runs."""

import io
import json
import sys
from dataclasses import replace

import pytest
from rich.console import Console

import diag
from diag.cli.terminal import verdict
from diag.diagnosis import Diagnosis
from diag.events import Model
from diag.log import LogWriter


@pytest.fixture
def unheard(tmp_path):
    """A run that nothing can be said of."""
    LogWriter(tmp_path / "unheard", describe=Model).close()
    return tmp_path / "unheard"


class TestCheck:
    @pytest.mark.parametrize(
        ("fail_on", "of_healthy", "of_sick"), [("note", 1, 1), ("warning", 0, 1), ("fault", 0, 1)]
    )
    def test_it_fails_where_a_finding_is_that_severe(
        self, command, healthy, sick, fail_on, of_healthy, of_sick
    ):
        assert command("check", healthy, "--fail-on", fail_on).returncode == of_healthy
        assert command("check", sick, "--fail-on", fail_on).returncode == of_sick

    def test_a_note_is_no_reason_unless_it_is_asked_for(self, command, healthy):
        assert command("check", healthy).returncode == 0

    def test_it_says_what_failed_and_since_when(self, command, sick):
        lines = command("check", sick).stdout.splitlines()
        assert lines[0] == f"{sick}: failed"
        assert "1. fault: dead_units, layer 3, since step 60" in lines

    def test_what_cannot_be_assessed_passes_and_says_so(self, command, unheard):
        done = command("check", unheard, "--fail-on", "note")
        assert done.returncode == 0
        assert "passed, but no rule had what it needs" in done.stdout

    def test_as_json_it_is_the_diagnosis_and_the_outcome(self, command, sick):
        done = command("check", sick, "--json")
        told = json.loads(done.stdout)
        assert (done.returncode, told.pop("passed"), told.pop("fail_on")) == (1, False, "warning")
        assert told == json.loads(json.dumps(diag.diagnose(diag.Log(sick)).to_json()))

    def test_a_run_can_be_judged_by_other_thresholds(self, command, sick, tmp_path):
        file = tmp_path / "thresholds.toml"
        file.write_text("[dead_units]\nmost_dead = 1.5\n")
        assert "dead_units" not in command("check", sick, "--thresholds", file).stdout


class TestCompare:
    def test_it_puts_runs_side_by_side(self, command, healthy, sick):
        done = command("compare", healthy, sick)
        assert done.returncode == 0
        for words in (
            "2 runs: 1 healthy and 1 fault",
            "dead_units (fault)",
            "kill",
            "criterion" * 0 + "loss",
        ):
            assert words in done.stdout

    def test_it_finds_the_step_at_which_they_part(self, command, healthy, sick):
        told = json.loads(command("compare", healthy, sick, "--json").stdout)
        loss = next(parting for parting in told["partings"] if parting["measure"] == "loss")
        # Until then the two are the same training; before step 60 the biases fall.
        assert (loss["first_difference"], loss["apart_from"]) == (60, 60)

    def test_it_writes_the_page_that_is_asked_for(self, command, healthy, sick, tmp_path):
        done = command("compare", healthy, sick, "-o", tmp_path / "c.html")
        assert f"Comparison: {tmp_path / 'c.html'}" in done.stdout
        assert "</html>" in (tmp_path / "c.html").read_text()


class TestExport:
    def test_it_writes_beside_the_log_and_says_where(self, command, healthy):
        done = command("export", healthy, "--to", "csv")
        assert done.stdout == f"Export: {healthy / 'export.csv'}\n"
        assert (healthy / "export.csv").read_text().startswith("axis,name,subject,step,value\n")

    def test_as_json_it_names_the_file(self, command, healthy, tmp_path):
        told = json.loads(command("export", healthy, "--to", "csv", "-o", tmp_path / "x", "--json").stdout)
        assert told == {"export": str(tmp_path / "x")}


class TestBadInput:
    """Exit code 2, a sentence on standard error, and nothing on standard output."""

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["check", "nowhere"], "nowhere does not exist"),
            (["check", "nowhere", "--fail-on", "doom"], "'doom' is not one of 'note', 'warning', 'fault'"),
            (["check", "HEALTHY", "--thresholds", "none.toml"], "none.toml"),
            (["compare", "HEALTHY"], "at least two runs, got 1"),
            (["compare", "HEALTHY", "HEALTHY"], "came more than once"),
            (["compare", "HEALTHY", "nowhere"], "nowhere does not exist"),
            (["compare", "HEALTHY", "SICK", "-o", "c.pdf"], "it got 'c.pdf'"),
            (["export", "HEALTHY"], "Missing option '--to'"),
            (["export", "HEALTHY", "--to", "xlsx"], "'xlsx' is not one of 'csv', 'parquet', 'netcdf'"),
            (["export", "HEALTHY", "--to", "csv", "-o", "/"], "is a folder"),
            (["tail", "nowhere", "--once"], "nowhere does not exist"),
            (["tail", "HEALTHY", "--every", "0"], "0"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_it_is_refused_with_the_way_out(self, command, healthy, sick, arguments, said):
        places = {"HEALTHY": healthy, "SICK": sick}
        done = command(*(places.get(argument, argument) for argument in arguments))
        assert (done.returncode, done.stdout) == (2, "")
        assert said in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr

    def test_a_path_that_looks_like_markup_is_told_as_it_is(self, command, tmp_path):
        assert "[/red]" in command("check", tmp_path / "[" / "red]").stderr

    def test_what_is_not_installed_is_bad_usage_too(self, command, healthy, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        done = command("export", healthy, "--to", "parquet")
        assert (done.returncode, done.stdout) == (2, "")
        assert 'pip install "scratchdiag[export]"' in done.stderr


class TestSummary:
    def shown(self, diagnosis):
        console = Console(width=100, record=True, file=io.StringIO())
        console.print(verdict(diagnosis, "runs/[x]"))
        return console.export_text()

    def test_however_many_findings_it_fits_a_screen(self, sick):
        one = diag.diagnose(diag.Log(sick)).findings[0]
        findings = tuple(replace(one, onset_step=step) for step in range(40))
        text = self.shown(Diagnosis("fault", findings, {f"rule_{n}": "a series" for n in range(40)}))
        assert len(text.splitlines()) < 50
        assert text.count("What to do") == 3
        assert "11. fault: dead_units, layer 3, since step 10" in text
        assert "and 29 more" in text

    def test_what_lacked_is_told_where_there_is_room(self):
        assert "Not assessed: sharpness: no closure" in self.shown(
            Diagnosis("not_assessable", (), {"sharpness": "no closure"})
        )


@pytest.mark.parametrize("arguments", [["report"], ["tail", "--once"], ["tail"]], ids=" ".join)
def test_tensorboard_is_shown_the_verdicts_where_it_is_asked_for(command, sick, arguments):
    for file in (sick / "diagnosis").glob("*"):
        file.unlink()
    assert command(*arguments, sick, "--tensorboard").returncode == 0
    (events,) = (sick / "diagnosis").iterdir()
    assert b"dead_units" in events.read_bytes()
    assert b"gradient_norm_by_depth" in events.read_bytes()
