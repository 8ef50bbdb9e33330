"""A run in the terminal while another process writes it."""

import io
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from diag.cli.tail import Snapshot, screen, show, snapshots, sparkline
from diag.log import Log, LogError, write_run

WRITER = """
import os, signal, sys, time
from pathlib import Path
from diag.events import Model, Reading
from diag.log import LogWriter, write_run
folder, ending = Path(sys.argv[1]), sys.argv[2]
write_run(folder)
writer = LogWriter(folder, describe=Model)
for step in range(10):
    loss = Reading("criterion_loss", "", 1 / (1 + step), "network")
    writer.write(step, [loss, Reading("wall_time", "", step / 4, "network")])
writer.flush()
while not (folder / "seen").exists():
    time.sleep(0.02)
if ending == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
writer.write(10, [loss])
writer.close(ending)
"""


@pytest.mark.parametrize(("ending", "state"), [("finished", "closed"), ("kill", "killed")])
def test_it_waits_for_a_run_follows_it_and_ends_with_it(tmp_path, ending, state):
    folder = tmp_path / "run"
    seen = snapshots(folder, 0.02)
    assert [next(seen), next(seen)] == [None, None]
    with subprocess.Popen([sys.executable, "-c", WRITER, str(folder), ending]) as writer:
        # Between the making of the file and the flush there may be a look at fewer steps.
        first = next(snapshot for snapshot in seen if snapshot is not None and snapshot.last_step == 9)
        (folder / "seen").touch()
        assert (first.state, first.steps_per_second) == ("live", 4.0)
        # Until somebody has asked how it ended, a killed process is still there.
        writer.wait()
        last = [snapshot for snapshot in seen if snapshot is not None][-1]
    assert (last.state, last.last_step) == (state, 10 if state == "closed" else 9)


def test_a_run_whose_process_died_before_its_log_is_not_waited_for(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write_run(tmp_path)
    run = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(run | {"pid": gone.pid}))
    with pytest.raises(LogError, match="holds no log.h5; a run killed in its warm-up leaves none"):
        next(snapshots(tmp_path, 0.01))


def test_a_run_in_its_warm_up_is_waited_for(tmp_path):
    write_run(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["pid"] == os.getpid()
    assert next(snapshots(tmp_path, 0.01)) is None


@pytest.mark.parametrize(("failures", "is_survived"), [(3, True), (4, False)])
def test_a_look_may_fail_once_but_not_for_long(healthy, monkeypatch, failures, is_survived):
    look, left = Log.refresh, [0] + failures * [1]

    def refresh(log):
        if left and left.pop(0):
            raise LogError("the file is being replaced")
        look(log)

    monkeypatch.setattr(Log, "refresh", refresh)
    seen = snapshots(healthy, 0.01)
    if is_survived:
        assert [snapshot.state for snapshot in seen if snapshot] == ["closed"]
    else:
        with pytest.raises(LogError, match="is being replaced"):
            next(seen)


class TestScreen:
    def shown(self, snapshot):
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(screen(snapshot))
        return console.export_text()

    def test_it_shows_where_the_run_stands_and_what_is_wrong(self, sick):
        text = self.shown(Snapshot.of(Log(sick)))
        for words in (
            "closed (finished)",
            "step 149",
            "150 recorded",
            "steps a second",
            "gradient_norm_ratio",
            "dead_unit_rate_pooled",
            "1. fault: dead_units, layer 3, since step 60",
        ):
            assert words in text

    def test_it_fits_a_screen(self, sick):
        assert len(self.shown(Snapshot.of(Log(sick))).splitlines()) <= 24

    @pytest.mark.parametrize(("state", "is_so_far"), [("live", True), ("closed", False), ("killed", False)])
    def test_while_a_run_lives_its_verdict_is_one_so_far(self, healthy, state, is_so_far):
        text = self.shown(replace(Snapshot.of(Log(healthy)), state=state))
        assert ("so far: healthy" in text) == is_so_far


class TestCommand:
    def test_once_prints_a_screen_and_ends(self, command, healthy):
        done = command("tail", healthy, "--once")
        assert done.returncode == 0
        assert "150 recorded" in done.stdout

    def test_a_run_that_has_ended_is_shown_once(self, command, healthy):
        done = command("tail", healthy)
        assert (done.returncode, done.stdout.count("150 recorded")) == (0, 1)

    def test_as_json_it_is_a_line_a_look(self, command, healthy):
        (line,) = command("tail", healthy, "--json").stdout.splitlines()
        told = json.loads(line, parse_constant=pytest.fail)
        assert (told["state"], told["last_step"], told["diagnosis"]["status"]) == ("closed", 149, "healthy")
        assert told["measures"]["loss"] < 1
        assert json.loads(command("tail", healthy, "--once", "--json").stdout) == told

    def test_who_stops_looking_does_not_stop_the_run(self, tmp_path):
        def interrupted():
            yield None
            raise KeyboardInterrupt

        console = Console(width=120, record=True, file=io.StringIO())
        show(console, tmp_path, interrupted(), as_json=False)
        text = console.export_text()
        assert "Waiting for a log" in text
        assert "The run goes on" in text


class TestSparkline:
    @pytest.mark.parametrize(
        ("values", "bars"),
        [
            pytest.param([], "", id="nothing"),
            pytest.param([3, 3], "▁▁", id="level"),
            pytest.param([0, 1, 2], "▁▅█", id="rising"),
            pytest.param([1, 10, 100], "▁▅█", id="by powers of ten"),
            pytest.param([np.nan, np.inf, -np.inf, 1], " ××▁", id="no numbers"),
            pytest.param([np.nan], " ", id="no number"),
        ],
    )
    def test_a_known_answer(self, values, bars):
        assert sparkline(np.array(values, float)) == bars

    def test_it_is_no_wider_than_asked(self):
        assert sparkline(np.arange(1000.0), 8) == "▁▂▃▄▅▆▇█"
