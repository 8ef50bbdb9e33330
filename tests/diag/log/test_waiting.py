"""Vectors of readings wait, as the recorder writes them, and are dealt out by whole chunks."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from diag.events import Column, Columns, Layer, Model, Readings
from diag.log import Log
from diag.log.live import LiveFile


def committed(folder: Path, group: str = "layers") -> int:
    with h5py.File(folder / "log.h5", "r", swmr=True) as file:
        return int(file[group]["committed"][()])


def vector(name: str, value: float) -> Readings:
    return Readings(Columns([Column(name, "", "network")]), np.array([value]))


def test_readings_that_no_log_can_hold_are_refused_and_those_that_wait_are_kept(open_writer, folder):
    writer = open_writer(warm_up=0)
    good = vector("criterion_loss", 0.0)
    for step in range(5):
        writer.write(step, Readings(good.columns, np.array([float(step)])))
    with pytest.raises(ValueError, match='needs series names without "/"'):
        writer.write(5, vector("gan/loss", 1.0))
    writer.write(6, Readings(good.columns, np.array([6.0])))
    writer.close()
    assert Log(folder).series("criterion_loss").values.ravel().tolist() == [0, 1, 2, 3, 4, 6]
    assert Log(folder).state == "closed"


def test_vectors_that_wait_fill_whole_chunks_and_a_flush_brings_the_rest(open_writer, folder):
    writer = open_writer(warm_up=0, chunk_rows=4)
    columns = vector("criterion_loss", 0.0).columns
    for step in range(11):
        writer.write(step, Readings(columns, np.array([float(step)])))
    assert committed(folder, "network") == 8
    writer.flush()
    assert committed(folder, "network") == 11
    writer.close()
    assert Log(folder).series("criterion_loss").values.ravel().tolist() == list(range(11))


def test_a_chunk_of_a_wide_model_has_fewer_rows(open_writer, folder):
    columns = Columns(Column("activation_rms", f"layer{index}", "layers") for index in range(9000))
    layers = tuple(Layer(f"layer{index}", "Linear") for index in range(9000))
    writer = open_writer(warm_up=0, describe=lambda: Model(layers))
    for step in range(60):
        writer.write(step, Readings(columns, np.full(9000, float(step))))
    assert committed(folder) == 58  # 58 rows of 9,000 numbers are 4 MiB
    writer.close()


def test_vectors_that_open_a_segment_of_shorter_chunks_are_all_kept(open_writer, folder):
    narrow = vector("criterion_loss", 0.0).columns
    wide = Columns(Column("activation_rms", f"layer{index}", "layers") for index in range(9000))
    layers = tuple(Layer(f"layer{index}", "Linear") for index in range(9000))
    writer = open_writer(warm_up=0, describe=lambda: Model(layers))
    writer.write(0, Readings(narrow, np.array([0.0])))
    for step in range(1, 80):
        writer.write(step, Readings(wide, np.full(9000, float(step))))
    writer.close()
    assert Log(folder).series("activation_rms").column("layer7")[-79:].tolist() == list(range(1, 80))


def test_an_interrupt_while_a_chunk_is_written_leaves_the_log_whole(open_writer, folder, monkeypatch):
    writer = open_writer(warm_up=0, chunk_rows=4)
    columns = vector("criterion_loss", 0.0).columns
    for step in range(2):
        writer.write(step, Readings(columns, np.array([float(step)])))
    append, left = LiveFile.append, [KeyboardInterrupt]

    def interrupted(file, tables):
        if left:
            raise left.pop()
        append(file, tables)

    monkeypatch.setattr(LiveFile, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        for step in range(2, 9):
            writer.write(step, Readings(columns, np.array([float(step)])))
    for step in range(9, 12):
        writer.write(step, Readings(columns, np.array([float(step)])))
    writer.close()
    found = Log(folder).series("criterion_loss").values.ravel().tolist()
    assert found == sorted(set(found))
    assert {0, 1, 2, 3, 9, 10, 11} <= set(found)
    assert Log(folder).state == "closed"
