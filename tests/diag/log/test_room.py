"""Room on the disk, asked for before it is needed."""

import errno
import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from diag.log.room import growth, image_of, reserve
from diag.log.schema import LIBVER
from diag.log.superblock import trim

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="room is reserved on Linux only")


@pytest.fixture
def growing_file(tmp_path):
    layout = {"shape": (0, 3), "dtype": "f8", "maxshape": (None, 3), "chunks": (4, 2)}
    path = tmp_path / "x.h5"
    path.write_bytes(image_of(lambda file: file.create_dataset("x", **layout)))
    with h5py.File(path, "r+", libver=LIBVER) as file:
        yield file


def test_an_image_is_a_closed_file(tmp_path):
    (tmp_path / "x.h5").write_bytes(image_of(lambda file: file.create_dataset("x", data=[1.0, 2.0])))
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["x"][()].tolist() == [1.0, 2.0]


@on_linux
def test_reserved_room_is_on_the_disk_until_it_is_trimmed(growing_file):
    path = Path(growing_file.filename)
    before = path.stat().st_size
    reserve(growing_file, 50_000)
    assert path.stat().st_size == before + 50_000
    growing_file.close()
    trim(path)
    assert path.stat().st_size == before


@pytest.mark.parametrize("rows", [1, 4, 5, 4000])
def test_a_data_set_grows_by_no_more_than_was_reckoned(growing_file, rows):
    dataset = growing_file["x"]
    before = growing_file.id.get_filesize()
    expected = growth(dataset, 0, rows)
    dataset.resize(rows, axis=0)
    dataset[:] = np.ones((rows, 3))
    growing_file.flush()
    assert growing_file.id.get_filesize() - before <= expected


@on_linux
def test_without_room_the_file_is_as_it_was(growing_file, monkeypatch):
    def no_room(descriptor: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    path = Path(growing_file.filename)
    before = path.stat().st_size
    with pytest.raises(OSError, match="No space left"):
        reserve(growing_file, 50_000)
    assert path.stat().st_size == before


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (2**62, False)], ids=["little", "too-much"])
def test_a_file_system_that_reserves_nothing_is_asked_how_much_is_free(growing_file, monkeypatch, size, fits):
    def unsupported(descriptor: int, start: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported, raising=False)
    if fits:
        reserve(growing_file, size)
    else:
        with pytest.raises(OSError, match="No space left on device"):
            reserve(growing_file, size)
