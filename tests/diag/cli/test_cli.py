"""The command line, as a user runs it: what it prints, what it writes, how it ends."""

import json
import subprocess
import sys

import h5py
import pytest

import diag
import probes


def run(*arguments, folder=None):
    command = [sys.executable, "-W", "error", "-m", "diag", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_report_prints_the_verdict_and_writes_beside_the_log(sick):
    done = run("report", sick)
    assert done.returncode == 0
    assert "fault: dead_units, layer 3, since step 60" in done.stdout
    assert "Dead units" in (sick / "report.html").read_text()


@pytest.mark.parametrize("suffix", [".html", ".md", ".json"])
def test_report_writes_the_form_that_is_asked_for(healthy, tmp_path, suffix):
    assert run("report", healthy, "--out", tmp_path / f"out{suffix}").returncode == 0
    assert (tmp_path / f"out{suffix}").stat().st_size > 500


def test_report_as_json_is_the_diagnosis(sick):
    told = json.loads(run("report", sick, "--json").stdout)
    expected = diag.diagnose(diag.Log(sick)).to_json()
    assert told.pop("report").endswith("report.html")
    assert told == json.loads(json.dumps(expected))


def test_report_takes_the_hdf5_file_too(healthy, tmp_path):
    assert run("report", healthy / "log.h5", "-o", tmp_path / "r.html").returncode == 0


def test_info_says_what_the_log_holds(healthy):
    done = run("info", healthy)
    assert done.returncode == 0
    for word in ("closed", "150", "dead_unit_rate", "update_ratio", "criterion_loss"):
        assert word in done.stdout


def test_info_lists_every_probe():
    told = json.loads(run("info", "--probes", "--json").stdout)
    # The catalogue of this process may hold the probes of other tests beside them.
    assert {entry["name"] for entry in told} >= set(probes.__all__) & {p.name for p in probes.catalogue()}
    assert all(entry["unit"] and entry["eats"] and entry["source"] and entry["summary"] for entry in told)
    assert "dead_unit_rate" in run("info", "--probes").stdout


@pytest.mark.parametrize("arguments", [[], ["--probes", "runs/x"]], ids=["neither", "both"])
def test_info_needs_a_run_or_the_word_probes(arguments):
    done = run("info", *arguments)
    assert done.returncode == 2
    assert "either a run or --probes" in done.stderr


def test_info_as_json(healthy):
    told = json.loads(run("info", healthy, "--json").stdout)
    assert (told["state"], told["recorded_steps"], told["last_step"]) == ("closed", 150, 149)
    assert [layer["kind"] for layer in told["layers"]] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]


@pytest.mark.parametrize(
    "command", ["demo", "report", "check", "compare", "tail", "export", "info", "repair"]
)
def test_every_command_explains_itself(command):
    done = run(command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


KILLED = """
import os, signal, sys, numpy as np, diag
from scratchnet import nn, optim
model = nn.Sequential(nn.Linear(2, 2, rng=0))
optimizer = optim.SGD(model.parameters())
recorder = diag.Recorder(sys.argv[1], every=1)
recorder.watch(model, optimizer)
for _ in range(1100):
    model(np.ones((1, 2))).sum().backward()
    optimizer.step()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_can_be_read_and_repaired(tmp_path):
    folder = tmp_path / "run"
    subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    # Rows reach the file by whole chunks of 1,024.
    assert (diag.Log(folder).state, len(diag.Log(folder).steps)) == ("killed", 1024)
    assert "killed" in run("info", folder).stdout
    assert "log.h5: closed" in run("repair", folder).stdout
    with h5py.File(folder / "log.h5") as file:
        assert file["layers/step"][-1] == 1023
    assert run("repair", folder).stdout == "Nothing to repair.\n"


class TestBadInput:
    """Exit code 2, one sentence on standard error, no traceback, and nothing is lost."""

    @pytest.mark.parametrize("command", ["report", "info", "repair"])
    def test_a_path_that_is_not_there(self, command, tmp_path):
        self.refused(run(command, tmp_path / "nowhere"), "nowhere")

    def test_a_folder_without_a_log(self, tmp_path):
        self.refused(run("info", tmp_path), str(tmp_path))

    def test_a_file_that_is_no_hdf5(self, tmp_path):
        (tmp_path / "log.h5").write_text("not at all")
        self.refused(run("report", tmp_path), "log.h5")

    def test_a_truncated_log(self, healthy, tmp_path):
        whole = (healthy / "log.h5").read_bytes()
        (tmp_path / "log.h5").write_bytes(whole[: len(whole) // 3])
        self.refused(run("report", tmp_path), "log.h5")

    def test_somebody_elses_hdf5(self, tmp_path):
        with h5py.File(tmp_path / "other.h5", "w") as file:
            file["weights"] = [1, 2, 3]
        self.refused(run("info", tmp_path / "other.h5"), "other.h5")

    def test_a_form_that_no_report_has(self, healthy, tmp_path):
        self.refused(run("report", healthy, "--out", tmp_path / "report.docx"), "report.docx")

    def test_an_unknown_command(self):
        assert run("rapport").returncode == 2

    def refused(self, done, named):
        assert done.returncode == 2
        assert named in done.stderr.replace("\n", "")
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
