"""The mark that an open file bears, and the checksum over it."""

import struct

import h5py
import pytest

from diag.log.schema import LIBVER
from diag.log.superblock import AsIfClosed, checksum, clear, is_flagged, is_flagged_for_swmr, is_hdf5, trim


@pytest.fixture
def closed_file(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver=LIBVER) as file:
        file["x"] = [1.0, 2.0]
    return path


@pytest.mark.parametrize(
    ("data", "hashed"),
    [
        pytest.param(b"", 0xDEADBEEF, id="empty"),
        pytest.param(b"Four score and seven years ago", 0x17770551, id="the-author's-driver"),
    ],
)
def test_the_checksum_is_lookup3(data, hashed):
    assert checksum(data) == hashed


def test_the_checksum_is_the_one_that_hdf5_wrote(closed_file):
    head = closed_file.read_bytes()[:48]
    assert checksum(head[:44]) == struct.unpack("<I", head[44:])[0]


def test_a_file_is_flagged_while_it_is_open_for_writing(closed_file):
    assert not is_flagged(closed_file)
    with h5py.File(closed_file, "r+", libver=LIBVER) as file:
        file.flush()
        assert is_flagged(closed_file)
    assert not is_flagged(closed_file)


def test_clearing_makes_the_copy_of_an_open_file_readable(closed_file, tmp_path):
    copy = tmp_path / "copy.h5"
    with h5py.File(closed_file, "r+", libver=LIBVER) as file:
        file.flush()
        copy.write_bytes(closed_file.read_bytes())
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(copy)
    clear(copy)
    with h5py.File(copy) as file:
        assert file["x"][()].tolist() == [1.0, 2.0]


def test_text_is_neither_hdf5_nor_flagged(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("a text that is longer than a superblock, by some words")
    assert not is_hdf5(path)
    assert not is_flagged(path)


def test_a_superblock_that_does_not_match_its_checksum_is_left_alone(closed_file):
    content = bytearray(closed_file.read_bytes())
    content[30] ^= 1
    closed_file.write_bytes(content)
    with pytest.raises(OSError, match="does not match its checksum"):
        clear(closed_file)
    assert closed_file.read_bytes() == content


def test_a_superblock_of_another_version_is_left_alone(tmp_path):
    path = tmp_path / "old.h5"
    with h5py.File(path, "w", libver="earliest"):
        pass
    with pytest.raises(OSError, match="never makes"):
        clear(path)


def test_an_open_file_reads_as_if_it_were_closed_and_stays_as_it_is(closed_file, tmp_path):
    copy = tmp_path / "copy.h5"
    with h5py.File(closed_file, "r+", libver=LIBVER) as file:
        file.flush()
        copy.write_bytes(closed_file.read_bytes())
    before = copy.read_bytes()
    with AsIfClosed(copy) as view, h5py.File(view, "r") as file:
        assert file["x"][()].tolist() == [1.0, 2.0]
    assert copy.read_bytes() == before


@pytest.mark.parametrize("swmr", [False, True])
def test_a_writer_under_swmr_bears_a_mark_of_its_own(closed_file, swmr):
    with h5py.File(closed_file, "r+", libver=LIBVER) as file:
        if swmr:
            file.swmr_mode = True
        file.flush()
        assert is_flagged_for_swmr(closed_file) is swmr


def test_what_is_still_open_or_no_hdf5_at_all_is_not_trimmed(closed_file, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("short")
    with h5py.File(closed_file, "r+", libver=LIBVER) as file:
        file.flush()
        size = closed_file.stat().st_size
        for path in (closed_file, notes):
            trim(path)
        assert closed_file.stat().st_size == size
    assert notes.read_text() == "short"
