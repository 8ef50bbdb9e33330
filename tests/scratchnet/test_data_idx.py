"""IDX files: every type and shape is read exactly, and whatever does not hold together is refused."""

import gzip
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scratchnet.data import load_mnist, read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array: np.ndarray[Any, Any]) -> bytes:
    code = CODES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


arrays = st.sampled_from(list(CODES)).flatmap(
    lambda dtype: hnp.arrays(
        np.dtype(dtype), hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
    )
)


@settings(max_examples=150, deadline=None)
@given(array=arrays, is_compressed=st.booleans())
def test_every_type_and_shape_is_read_exactly(tmp_path_factory, array, is_compressed) -> None:
    path = tmp_path_factory.getbasetemp() / "any-idx"
    path.write_bytes(gzip.compress(idx(array)) if is_compressed else idx(array))
    loaded = read_idx(path)
    assert (loaded.dtype, loaded.shape) == (array.dtype, array.shape)
    assert loaded.tobytes() == array.tobytes()
    assert loaded.flags.writeable


def test_a_file_written_out_by_hand_is_read(tmp_path: Path) -> None:
    content = bytes.fromhex("00000B02 00000002 00000003 0001 0002 0003 FFFF FFFE 0100")
    (tmp_path / "x").write_bytes(content)
    assert read_idx(tmp_path / "x").tolist() == [[1, 2, 3], [-1, -2, 256]]


GOOD = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))
WRONG = {
    "empty": (b"", "begins with nothing"),
    "cut off magic": (GOOD[:3], "begins with 00 00 08"),
    "another magic": (b"\1" + GOOD[1:], "begins with 01 00 08 02"),
    "unknown type": (b"\0\0\x0a\1\0\0\0\0", "begins with 00 00 0a 01"),
    "too many axes": (b"\0\0\x08\x41" + bytes(4 * 65), "at most 64 axes, .* has 65"),
    "cut off sizes": (GOOD[:9], "2 sizes of 4 bytes, .* ends after 5 bytes of them"),
    "cut off elements": (GOOD[:-1], r"6 bytes of elements for shape \(2, 3\), .* holds only 5"),
    "trailing bytes": (GOOD + b"x", r"6 bytes of elements for shape \(2, 3\), .* holds more"),
    "absurd sizes": (
        b"\0\0\x0e\x03" + b"\xff" * 12,
        "63382529967.* bytes of elements for shape .* is too short",
    ),
    "absurd but empty": (
        b"\0\0\x08\x04" + b"\xff" * 12 + bytes(4),
        "a shape that a machine can hold",
    ),
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_file_that_does_not_hold_together_is_refused(tmp_path: Path, content, message, pack) -> None:
    (tmp_path / "x-idx").write_bytes(pack(content))
    with pytest.raises(ValueError, match=f"read_idx needs .*{message}"):
        read_idx(tmp_path / "x-idx")


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(GOOD)
    for content in (whole[:-4], whole[:12], whole[:-8] + b"\0" * 8, whole[:10] + b"\xff" + whole[11:]):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(ValueError, match="read_idx needs a whole gzip file, got a damaged"):
            read_idx(tmp_path / "x")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    # Fifty megabytes of zeros behind a header that promises six bytes.
    (tmp_path / "x.gz").write_bytes(gzip.compress(GOOD + bytes(50_000_000)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="holds more"):
        read_idx(tmp_path / "x.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_changed_byte_raises_anything_else(tmp_path_factory, data) -> None:
    content = data.draw(st.sampled_from([GOOD, gzip.compress(GOOD)]))
    position = data.draw(st.integers(0, len(content) - 1))
    changed = content[:position] + bytes([data.draw(st.integers(0, 255))]) + content[position + 1 :]
    path = tmp_path_factory.getbasetemp() / "changed-idx"
    path.write_bytes(changed if data.draw(st.booleans()) else content[:position])
    try:
        read_idx(path)
    except ValueError as error:
        assert "read_idx needs" in str(error)  # noqa: PT017 - both outcomes are right


# ---------------------------------------------------------------------------------------------- MNIST

IMAGES = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4) * 3
LABELS = np.array([3, 1, 4, 1, 5], np.uint8)
FILES = {
    "train-images-idx3-ubyte": IMAGES,
    "train-labels-idx1-ubyte": LABELS,
    "t10k-images-idx3-ubyte": IMAGES[::-1],
    "t10k-labels-idx1-ubyte": LABELS[::-1],
}


def write_mnist(folder: Path, dot: bool = False, is_compressed: bool = False) -> None:
    for name, array in FILES.items():
        written = (name.replace("-idx", ".idx") if dot else name) + (".gz" if is_compressed else "")
        (folder / written).write_bytes(gzip.compress(idx(array)) if is_compressed else idx(array))


@pytest.mark.parametrize("dot", [False, True], ids=["-idx", ".idx"])
@pytest.mark.parametrize("is_compressed", [False, True], ids=["plain", "gz"])
def test_mnist_is_read_from_a_folder(tmp_path: Path, dot: bool, is_compressed: bool) -> None:
    write_mnist(tmp_path, dot, is_compressed)
    split = load_mnist(tmp_path)
    assert [part.dtype for part in split] == [np.float32, np.int64, np.float32, np.int64]
    np.testing.assert_array_equal(split.x_train, IMAGES.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(split.x_test, split.x_train[::-1])
    np.testing.assert_array_equal(split.y_train, LABELS)
    np.testing.assert_array_equal(split.y_test, LABELS[::-1])


def test_missing_files_are_named(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(
        FileNotFoundError,
        match="load_mnist needs .* Fashion-MNIST .*; missing: t10k-images-idx3-ubyte; get .* from its authors",
    ):
        load_mnist(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing: " + ", ".join(FILES)):
        load_mnist(tmp_path / "nowhere")


def test_images_and_labels_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:4]))
    with pytest.raises(
        ValueError, match=r"one label of a byte for each of 5 images, got uint8 of shape \(4,\)"
    ):
        load_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(LABELS))
    with pytest.raises(ValueError, match=r"load_mnist needs images of bytes, .* got uint8 of shape \(5,\)"):
        load_mnist(tmp_path)
