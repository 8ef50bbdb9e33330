"""What a repair does, what it leaves alone, and what it refuses."""

import json
import os
import shutil
import socket
import sys
from pathlib import Path

import h5py
import pytest

from diag.events import Reading
from diag.log import Log, LogError, repair
from diag.log.schema import LIBVER


@pytest.fixture
def left_open(open_writer, folder, tmp_path, readings_at):
    """A run folder as a kill leaves it, copied from under its writer."""
    writer = open_writer(warm_up=0)
    for step in range(3):
        writer.write(step, readings_at(step))
    writer.write_scalars(2, {"val_loss": 0.5})
    writer.flush()
    killed = tmp_path / "killed"
    shutil.copytree(folder, killed)
    return killed


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_repaired_log_opens_plainly_and_says_so(left_open):
    before = Log(left_open)
    assert repair(left_open) == [
        "log.h5: closed, compressed, 3 recorded steps kept, uncommitted rows dropped"
    ]
    after = Log(left_open)
    assert (after.state, after.end_reason, after.names, after.model) == (
        "closed",
        "repaired",
        before.names,
        before.model,
    )
    with h5py.File(left_open / "log.h5") as file:
        assert file["layers/dead_unit_rate"].compression == "gzip"
    assert [path.name for path in left_open.iterdir()] == ["log.h5"]


def test_the_time_of_the_end_is_that_of_the_last_write(left_open):
    os.utime(left_open / "log.h5", (86400, 86400))
    repair(left_open)
    with h5py.File(left_open / "log.h5") as file:
        assert file["end/time"][()] == b"1970-01-02T00:00:00+00:00"


def test_one_file_can_be_repaired_by_itself(left_open):
    assert len(repair(str(left_open / "log.h5"))) == 1
    assert Log(left_open).state == "closed"


def test_every_rank_and_segment_is_repaired(left_open):
    for name in ("log.segment2.h5", "log.rank1.h5"):
        shutil.copy(left_open / "log.h5", left_open / name)
    assert [line.partition(":")[0] for line in repair(left_open)] == [
        "log.h5",
        "log.segment2.h5",
        "log.rank1.h5",
    ]


def test_a_closed_log_is_left_alone(open_writer, folder):
    writer = open_writer()
    writer.write(0, [Reading("loss", "", 1.0, "network")])
    writer.close()
    before = contents(folder)
    assert repair(folder) == []
    assert contents(folder) == before


def test_a_file_that_python_closed_without_an_end_gets_one(open_writer, folder, readings_at):
    writer = open_writer(warm_up=0)
    writer.write(0, readings_at(0))
    writer.flush()
    # As at the exit of an interpreter whose writer was never closed.
    writer._file._file.close()
    assert Log(folder).state == "killed"
    assert len(repair(folder)) == 1
    assert Log(folder).end_reason == "repaired"


def test_an_end_that_was_written_before_the_kill_is_kept(left_open):
    repair(left_open)
    with h5py.File(left_open / "log.h5", "r+", libver=LIBVER) as file:
        file["end/reason"][()] = b"KeyboardInterrupt"
        file.flush()
        shutil.copy(left_open / "log.h5", left_open / "log.segment2.h5")
    assert len(repair(left_open)) == 1
    assert Log(left_open).end_reason == "KeyboardInterrupt"


def test_a_log_whose_process_runs_is_refused(left_open):
    run = {"pid": os.getpid(), "host": socket.gethostname()}
    (left_open / "run.json").write_text(json.dumps(run))
    before = contents(left_open)
    with pytest.raises(
        LogError, match=rf"nobody writes; process {os.getpid()} of .* still runs; end it first"
    ):
        repair(left_open)
    assert contents(left_open) == before


def test_a_log_that_changes_during_the_repair_is_refused(left_open, monkeypatch):
    def compact_while_somebody_writes(copy):
        os.utime(left_open / "log.h5", (0, 0))

    monkeypatch.setattr(sys.modules["diag.log.repair"], "compact", compact_while_somebody_writes)
    before = contents(left_open)
    with pytest.raises(LogError, match="has changed meanwhile; end its writer first"):
        repair(left_open)
    assert contents(left_open) == before


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:48] + bytes(len(content) - 48), id="hole"),
        pytest.param(lambda content: content[:10_000], id="truncated"),
        pytest.param(lambda content: content[:30] + b"\xff" + content[31:], id="superblock"),
    ],
)
def test_damage_of_another_kind_is_told_and_the_original_stays(left_open, damage):
    path = left_open / "log.h5"
    path.write_bytes(damage(path.read_bytes()))
    before = contents(left_open)
    with pytest.raises(
        LogError, match=r"left open and room for a copy of it; .*log.h5 gives: .*the original is as it was"
    ):
        repair(left_open)
    assert contents(left_open) == before


def test_without_a_log_there_is_nothing_to_repair(tmp_path):
    with pytest.raises(LogError, match="holds no log"):
        repair(tmp_path)
