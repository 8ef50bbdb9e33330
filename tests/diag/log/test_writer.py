"""When rows reach the file, how the file changes with the model, and how it is closed."""

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import pytest

from diag.events import Axis, Happening, Model, Reading
from diag.log import Log, LogWriteError, LogWriter
from diag.log.schema import AXES


def committed(folder: Path, group: str = "layers") -> int:
    with h5py.File(folder / "log.h5", "r", swmr=True) as file:
        return int(file[group]["committed"][()])


def layer_reading(value: Any, name: str = "dead_unit_rate", layer: str = "features.1") -> Reading:
    return Reading(name, layer, value, "layers")


# ------------------------------------------------------------------------------------ warm-up


def test_the_file_appears_when_a_step_beyond_the_warm_up_arrives(open_writer, folder, readings_at):
    writer = open_writer(warm_up=2)
    for step in (0, 1):
        writer.write(step, readings_at(step))
        writer.write(step, [layer_reading(0.5, "activation_rms")])
        assert not list(folder.iterdir())
    writer.write(2, readings_at(2))
    assert [path.name for path in folder.iterdir()] == ["log.h5"]


READER = """
import sys, h5py
with h5py.File(sys.argv[1], "r", swmr=True) as file:
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_reader_who_comes_as_soon_as_the_file_is_there_stops_no_writer(
    open_writer, folder, readings_at, monkeypatch
):
    readers: list[Any] = []
    replace = Path.replace

    def named(partial: Path, path: Path) -> None:
        replace(partial, path)
        if not readers:
            command = [sys.executable, "-c", READER, str(path)]
            readers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            assert readers[0].stdout.readline() == b"open\n"

    monkeypatch.setattr(Path, "replace", named)
    writer = open_writer(warm_up=0)
    for step in range(3):
        writer.write(step, readings_at(step))
        writer.flush()
    assert committed(folder) == 3
    readers[0].communicate()
    writer.close()
    assert Log(folder).steps.tolist() == [0, 1, 2]


def test_the_model_is_described_when_the_file_is_created_and_not_before(open_writer, model, readings_at):
    calls: list[int] = []

    def describe():
        calls.append(len(calls))
        return model

    writer = open_writer(describe=describe, warm_up=1)
    writer.write(0, readings_at(0))
    assert not calls
    for step in (1, 2, 3):
        writer.write(step, readings_at(step))
    writer.close()
    assert calls == [0]


def test_the_schema_holds_what_any_step_of_the_warm_up_read(open_writer, folder):
    writer = open_writer(warm_up=2)
    writer.write(0, [layer_reading(0.5, "a")])
    writer.write(0, [Reading("sharpness", "", 3.0, "curvature")])
    writer.write(1, [layer_reading(0.5, "b")])
    writer.write(2, [layer_reading(0.5, "c")])
    writer.close()
    assert [path.name for path in folder.iterdir()] == ["log.h5"]
    assert Log(folder).names["layers"] == ("a", "b", "c")


def test_an_array_that_waits_is_copied(open_writer, folder):
    values = np.array([2.0, 1.0])
    writer = open_writer()
    writer.write(0, [Reading("top_eigenvalues", "", values, "curvature")])
    values[:] = -1.0
    writer.close()
    assert Log(folder).series("top_eigenvalues").values.tolist() == [[2.0, 1.0]]


@pytest.mark.parametrize("at_start", [True, False], ids=["nothing-written", "one-step-written"])
def test_closing_within_the_warm_up_writes_a_whole_log(open_writer, folder, model, readings_at, at_start):
    writer = open_writer(warm_up=2)
    if not at_start:
        writer.write(0, readings_at(0))
    writer.close()
    log = Log(folder)
    assert log.steps.tolist() == ([] if at_start else [0])
    assert log.model == model


def test_flushing_within_the_warm_up_brings_its_rows_to_the_file(open_writer, folder, readings_at):
    writer = open_writer(warm_up=2)
    writer.flush()
    assert not list(folder.iterdir())
    writer.write(0, readings_at(0))
    writer.flush()
    assert Log(folder).steps.tolist() == [0]


# ------------------------------------------------------------------------------------ flushes


def test_rows_wait_for_a_whole_chunk_while_the_clock_stands_still(open_writer, folder):
    writer = open_writer(warm_up=0, chunk_rows=4)
    seen = []
    for step in range(9):
        writer.write(step, [layer_reading(step)])
        seen.append(committed(folder))
    assert seen == [0, 0, 0, 4, 4, 4, 4, 8, 8]


def test_rows_wait_no_longer_than_the_flush_seconds(open_writer, folder, clock):
    writer = open_writer(warm_up=0, flush_seconds=5.0)
    for step, now in enumerate([0.0, 4.9, 5.0, 9.9, 10.0]):
        clock.now = now
        writer.write(step, [layer_reading(step)])
        assert committed(folder) == {0.0: 0, 4.9: 0, 5.0: 3, 9.9: 3, 10.0: 5}[now]


def test_between_flushes_nothing_touches_the_disk(open_writer, folder, readings_at):
    writer = open_writer(warm_up=0)
    writer.write(0, readings_at(0))
    writer.flush()
    os.utime(folder / "log.h5", (0, 0))
    for step in range(1, 60):
        writer.write(step, readings_at(step))
        writer.write_scalars(step, {"val_loss": 1.0})
    writer.write_happening(Happening(3, "non_finite", "features.1", ""))
    assert (folder / "log.h5").stat().st_mtime == 0
    assert [path.name for path in folder.iterdir()] == ["log.h5"]


@pytest.mark.parametrize("group", ["scalars", "happenings"])
def test_scalars_and_happenings_reach_the_file_without_any_reading(open_writer, folder, group):
    writer = open_writer()
    for step in range(1024 if group == "scalars" else 16):
        if group == "scalars":
            writer.write_scalars(step, {"loss": 1.0})
        else:
            writer.write_happening(Happening(step, "skipped_step", "", ""))
    assert committed(folder, group) == (1024 if group == "scalars" else 16)


def test_one_step_stays_one_row_even_if_a_flush_falls_between_its_readings(open_writer, folder):
    writer = open_writer(warm_up=0)
    writer.write(7, [layer_reading(0.25, "a"), layer_reading(0.5, "b")])
    writer.flush()
    writer.write(7, [layer_reading(0.75, "b")])
    writer.close()
    log = Log(folder)
    assert log.series("a").column("features.1").tolist() == [0.25]
    assert log.series("b").column("features.1").tolist() == [0.75]


# ------------------------------------------------------------------------------------ segments


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(Reading("activation_rms", "features.1", 9.0, "layers"), id="name"),
        pytest.param(Reading("dead_unit_rate", "features.9", 9.0, "layers"), id="column"),
        pytest.param(Reading("trace", "", 9.0, "curvature"), id="axis"),
    ],
)
def test_a_reading_without_a_place_opens_a_segment_and_nothing_is_lost(open_writer, folder, stranger):
    writer = open_writer(warm_up=0)
    writer.write(0, [layer_reading(0.0)])
    writer.write(1, [layer_reading(1.0)])
    writer.write(1, [stranger])
    writer.write(2, [layer_reading(2.0), stranger])
    writer.close()
    assert sorted(path.name for path in folder.iterdir()) == ["log.h5", "log.segment2.h5"]
    log = Log(folder)
    assert log.series("dead_unit_rate").column("features.1").tolist() == [0.0, 1.0, 2.0]
    series = log.series(stranger.name, of=stranger.axis)
    assert series.column(stranger.subject or stranger.name)[-2:].tolist() == [9.0, 9.0]
    assert Log(folder / "log.h5").end_reason == "continued"


def test_a_longer_vector_opens_a_segment_and_a_shorter_one_does_not(open_writer, folder):
    writer = open_writer(warm_up=0)
    for step, length in enumerate([2, 1, 3, 0]):
        writer.write(step, [Reading("top_eigenvalues", "", np.arange(length) + 1.0, "curvature")])
    writer.close()
    assert sorted(path.name for path in folder.iterdir()) == ["log.h5", "log.segment2.h5"]
    series = Log(folder).series("top_eigenvalues")
    assert series.columns == ("0", "1", "2")
    nan = np.nan
    np.testing.assert_array_equal(series.values, [[1, 2, nan], [1, nan, nan], [1, 2, 3], [nan, nan, nan]])


def test_series_of_several_lengths_share_the_index_and_keep_their_own_length(open_writer, folder):
    writer = open_writer()
    writer.write(0, [Reading("a", "", [1.0], "curvature"), Reading("b", "", [1.0, 2.0], "curvature")])
    writer.write(1, [Reading("b", "", 3.0, "curvature")])
    writer.close()
    log = Log(folder)
    assert log.series("a").columns == ("0",)
    np.testing.assert_array_equal(log.series("b").values, [[1.0, 2.0], [3.0, np.nan]])


def test_scalars_never_open_a_segment_and_go_on_in_the_next_one(open_writer, folder):
    writer = open_writer(warm_up=0)
    writer.write(0, [layer_reading(0.0)])
    writer.write_scalars(0, {"loss": 1.0})
    writer.flush()
    writer.write_scalars(1, {"accuracy": 0.5, "loss": 0.9})
    writer.write(1, [layer_reading(1.0, layer="new")])
    writer.write_scalars(2, {"accuracy": 0.6})
    writer.close()
    assert sorted(path.name for path in folder.iterdir()) == ["log.h5", "log.segment2.h5"]
    log = Log(folder)
    assert log.names["scalars"] == ("loss", "accuracy")
    assert log.series("loss").values.ravel().tolist() == [1.0, 0.9]
    assert log.series("accuracy").steps.tolist() == [1, 2]


def test_ranks_write_files_of_their_own(open_writer, folder, readings_at):
    for rank in (1, 0):
        writer = open_writer(rank=rank)
        writer.write(rank, readings_at(rank))
        writer.close()
    assert Log(folder).steps.tolist() == [0]
    assert Log(folder / "log.rank1.h5").steps.tolist() == [1]


# ------------------------------------------------------------------------------------ the end


def test_a_closed_log_is_smaller_with_gzip_and_shuffle_and_says_why_it_ended(
    open_writer, folder, readings_at
):
    writer = open_writer(warm_up=0, chunk_rows=16)
    for step in range(400):
        writer.write(step, readings_at(step))
    writer.flush()
    live_size = (folder / "log.h5").stat().st_size
    writer.close("KeyboardInterrupt")
    writer.close("again")
    assert (folder / "log.h5").stat().st_size < live_size / 2
    with h5py.File(folder / "log.h5") as file:
        for axis in AXES:
            for name, dataset in file[axis].items():
                if name not in ("committed", "layer", "parameter", "index"):
                    assert (dataset.compression, dataset.shuffle, len(dataset)) == ("gzip", True, 400)
        assert file["end/reason"][()] == b"KeyboardInterrupt"
        assert datetime.fromisoformat(file["end/time"][()].decode()).tzinfo is not None
        assert (file.attrs["format"], file.attrs["version"]) == (b"scratchdiag", 1)
    assert [path.name for path in folder.iterdir()] == ["log.h5"]


def test_a_live_log_is_not_compressed(open_writer, folder, readings_at):
    writer = open_writer(warm_up=0)
    writer.write(0, readings_at(0))
    with h5py.File(folder / "log.h5", "r", swmr=True) as file:
        assert file["layers/dead_unit_rate"].compression is None


def test_without_room_to_compress_the_log_is_complete_and_the_writer_says_so(
    open_writer, folder, readings_at, monkeypatch
):
    def no_room(path):
        raise OSError("No space left on device")

    monkeypatch.setattr("diag.log.writer.compact", no_room)
    writer = open_writer()
    writer.write(0, readings_at(0))
    with pytest.raises(LogWriteError, match="the log is complete, only larger than it need be"):
        writer.close()
    writer.close()
    assert (Log(folder).state, Log(folder).steps.tolist()) == ("closed", [0])


def test_a_compaction_that_fails_leaves_the_log_and_nothing_else(
    open_writer, folder, readings_at, monkeypatch
):
    def no_room(descriptor):
        raise OSError("No space left on device")

    writer = open_writer()
    writer.write(0, readings_at(0))
    monkeypatch.setattr("diag.log.compaction.os.fsync", no_room)
    with pytest.raises(LogWriteError, match="No space left"):
        writer.close()
    assert [path.name for path in folder.iterdir()] == ["log.h5"]


def test_a_failure_of_hdf5_itself_stops_the_log_once(open_writer, folder, readings_at, monkeypatch):
    def fail(file, tables):
        raise RuntimeError("Unable to flush file")

    writer = open_writer(warm_up=0)
    writer.write(0, readings_at(0))
    writer.flush()
    monkeypatch.setattr("diag.log.live.LiveFile.append", fail)
    writer.write(1, readings_at(1))
    with pytest.raises(
        LogWriteError, match=r"room and permission to write the log in .*run; it got Unable to flush file"
    ):
        writer.flush()
    writer.write(2, readings_at(2))
    writer.write_scalars(2, {"loss": 1.0})
    writer.write_happening(Happening(2, "skipped_step", "", ""))
    writer.flush()
    writer.close()
    assert (Log(folder).steps.tolist(), Log(folder).end_reason) == (
        [0],
        "could not write the log: Unable to flush file",
    )


def test_a_segment_that_cannot_be_created_stops_the_log_once(open_writer, folder, readings_at):
    writer = open_writer(warm_up=0)
    writer.write(0, readings_at(0))
    (folder / "log.segment2.h5").mkdir()
    with pytest.raises(LogWriteError, match="create the log"):
        writer.write(1, [layer_reading(0.5, layer="new")])
    writer.write(2, readings_at(2))
    writer.close()
    assert Log(folder / "log.h5").steps.tolist() == [0]


# ------------------------------------------------------------------------------------ refusals


def test_a_folder_with_a_log_is_refused_and_left_as_it_is(open_writer, folder):
    folder.mkdir()
    (folder / "log.segment2.h5").write_bytes(b"somebody's work")
    with pytest.raises(
        FileExistsError, match=r"run holds log\.segment2\.h5; choose another name.*move the old one away"
    ):
        open_writer()
    assert [path.name for path in folder.iterdir()] == ["log.segment2.h5"]
    assert (folder / "log.segment2.h5").read_bytes() == b"somebody's work"


def test_a_log_that_appears_during_the_warm_up_is_not_overwritten(open_writer, folder, readings_at):
    first, second = open_writer(), open_writer()
    first.write(0, readings_at(0))
    second.write(1, readings_at(1))
    first.close()
    with pytest.raises(LogWriteError, match="another process has written"):
        second.close()
    assert Log(folder).steps.tolist() == [0]


@pytest.mark.parametrize(
    "settings",
    [{"rank": -1}, {"warm_up": -1}, {"chunk_rows": 0}, {"flush_seconds": -1.0}, {"flush_seconds": np.nan}],
)
def test_settings_that_make_no_sense_are_refused(open_writer, settings):
    with pytest.raises(ValueError, match=r"needs rank >= 0, .*got"):
        open_writer(**settings)


@pytest.mark.parametrize("warm_up", [0, 9], ids=["live", "warming-up"])
@pytest.mark.parametrize(
    ("reading", "message"),
    [
        pytest.param(
            layer_reading("many"),
            'needs a number for "dead_unit_rate" of "features.1"; got \'many\'',
            id="text",
        ),
        pytest.param(layer_reading(np.ones(2)), r"one number a reading.*shape \(2,\)", id="vector"),
        pytest.param(Reading("x", "", 1.0, cast("Axis", "units")), "axis out of layers", id="axis"),
        pytest.param(Reading("a/b", "", 1.0, "network"), 'without "/"', id="name"),
    ],
)
def test_a_reading_that_no_log_can_hold_is_refused_and_the_log_goes_on(
    open_writer, folder, warm_up, reading, message
):
    writer = open_writer(warm_up=warm_up)
    writer.write(0, [layer_reading(0.5)])
    with pytest.raises(ValueError, match=message):
        writer.write(1, [layer_reading(0.75), reading])
    writer.write(2, [layer_reading(1.0)])
    writer.close()
    assert Log(folder).series("dead_unit_rate").column("features.1").tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("scalars", "message"),
    [
        pytest.param({"loss": 1.0, "x" * 257: 1.0}, "scalar names of 1 to 256 bytes", id="name"),
        pytest.param({"loss": 1.0, "note": "good"}, "number for the scalar \"note\"; got 'good'", id="value"),
    ],
)
def test_of_scalars_of_which_one_has_no_place_none_is_kept(open_writer, folder, scalars, message):
    writer = open_writer()
    with pytest.raises(ValueError, match=message):
        writer.write_scalars(0, scalars)
    writer.close()
    assert Log(folder).names["scalars"] == ()


def test_a_closed_writer_says_that_it_is_closed(open_writer):
    writer = open_writer()
    writer.close()
    for call in (writer.flush, lambda: writer.write(0, []), lambda: writer.write_scalars(0, {})):
        with pytest.raises(LogWriteError, match="is closed"):
            call()


def test_what_the_model_cannot_tell_is_not_taken_for_a_full_disk(tmp_path):
    def describe():
        raise RuntimeError("no layers yet")

    writer = LogWriter(tmp_path, describe=describe)
    writer.write(0, [layer_reading(0.5)])
    with pytest.raises(RuntimeError, match="no layers yet"):
        writer.flush()
    writer._describe = Model
    writer.close()
    assert Log(tmp_path).steps.tolist() == [0]
