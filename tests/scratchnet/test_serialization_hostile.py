"""Files that are damaged or made to do harm: they are refused with a ValueError, and at little cost."""

import json
import struct
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scratchnet as sn

SUFFIXES = [".safetensors", ".npz"]
both_formats = pytest.mark.parametrize("suffix", SUFFIXES)


def with_header(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: Any, offsets: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HOSTILE = {
    "no length": (b"\1\2\3", "needs 8 bytes and a header of the length"),
    "length beyond the file": (
        with_header({}, length=1 << 62),
        "got 10 bytes with a header of 4611686018427387904",
    ),
    "no JSON": (with_header(b"{]"), "a header of JSON with each name once: Expecting"),
    "no text": (with_header(b'{"\xff":1}'), "a header of JSON"),
    "no object": (with_header([]), "a header that is an object, got list"),
    "too deep": (with_header(b"[" * 200_000), "a header of JSON with each name once: maximum recursion"),
    "endless number": (with_header(b'{"w":' + b"9" * 5000 + b"}"), "a header of JSON"),
    "one name twice": (with_header(b'{"w":1,"w":2}'), "a name stands twice"),
    "metadata that is no text": (with_header({"__metadata__": {"a": 1}}), "__metadata__ with texts alone"),
    "metadata that is no object": (with_header({"__metadata__": []}), "__metadata__ with texts alone"),
    "entry without a shape": (with_header({"w": {"dtype": "F32"}}), "dtype, shape and data_offsets for 'w'"),
    "unknown dtype": (
        with_header({"w": entry([1], [0, 1], "F8_E4M3")}, b"1"),
        "no dtype for 'F8_E4M3' of 'w'",
    ),
    "dtype that is no text": (
        with_header({"w": entry([1], [0, 4], [])}, b"1234"),
        r"no dtype for \[\] of 'w'",
    ),
    "negative size": (with_header({"w": entry([-1], [0, 4])}, b"1234"), "a shape of at most 64 sizes"),
    "size that is a fraction": (with_header({"w": entry([1.0], [0, 4])}, b"1234"), "a shape of at most 64"),
    "size that is a boolean": (with_header({"w": entry([True], [0, 4])}, b"1234"), "a shape of at most 64"),
    "too many axes": (with_header({"w": entry([1] * 65, [0, 4])}, b"1234"), "a shape of at most 64 sizes"),
    "offsets that run backwards": (with_header({"w": entry([1], [4, 0])}, b"1234"), "a begin and an end"),
    "three offsets": (with_header({"w": entry([1], [0, 2, 4])}, b"1234"), "a begin and an end for 'w'"),
    "shape that does not fit": (with_header({"w": entry([2], [0, 4])}, b"1234"), "8 bytes for 'w' of shape"),
    "shape whose product overflows": (
        with_header({"w": entry([2**62, 4], [0, 0])}),
        "needs .* bytes for 'w'",
    ),
    "huge but empty": (with_header({"w": entry([2**62, 0, 9], [0, 0])}), "a shape that a machine can hold"),
    "overlap": (with_header({"v": entry([1], [0, 4]), "w": entry([1], [0, 4])}, b"1234"), "'w' from 0 where"),
    "hole": (
        with_header({"w": entry([1], [4, 8])}, b"12345678"),
        "'w' from 4 where the one before ends at 0",
    ),
    "bytes left over": (with_header({"w": entry([1], [0, 4])}, b"12345"), "4 bytes of arrays .*, got 5"),
    "bytes missing": (with_header({"w": entry([1], [0, 4])}, b"123"), "4 bytes of arrays .*, got 3"),
    "boolean that is neither": (with_header({"w": entry([1], [0, 1], "BOOL")}, b"\2"), "booleans of 0 and 1"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_safetensors_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\.safetensors: .*{message}"):
        sn.load(tmp_path / "x.safetensors")


def archive(content: bytes, name: str = "w.npy", times: int = 1, kind: int = zipfile.ZIP_STORED) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as file:
        for _ in range(times):
            file.writestr(name, content)
    return stream.getvalue()


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header.encode() + data


def described(descr: str, shape: str) -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


HOSTILE_NPZ = {
    "no zip": (b"PK", "npz needs a whole zip archive"),
    "no npy": (archive(b"hello world"), "npz needs npy files of version 1 to 3, 'w.npy' begins with"),
    "another name": (archive(b"", "w.pkl"), r"npz needs members that end in \.npy"),
    "another compression": (archive(b"x" * 99, kind=zipfile.ZIP_BZIP2), "npz needs stored or deflated"),
    "no dictionary": (archive(npy("[1]")), "npz needs descr, fortran_order and shape"),
    "code": (archive(npy("__import__('os').abort()")), "npz needs a header that is a dictionary"),
    "too deep": (archive(npy("(" * 9000)), "npz needs a header that is a dictionary"),
    "header too long": (archive(npy(" " * 10_001)), "npz needs a header of at most 10000 bytes"),
    "header beyond the end": (archive(npy("{}")[:-1]), "npz needs a header of at most 10000 bytes"),
    "object": (archive(npy(described("'|O'", "()"), b"x")), r"npz needs numbers or booleans .* \|O"),
    "structure by comma": (archive(npy(described("'<f4,<f4'", "()"), b"12345678")), "npz needs numbers"),
    "unknown dtype": (archive(npy(described("'<f3'", "()"), b"123")), "npz needs a dtype that NumPy knows"),
    "negative size": (archive(npy(described("'<f4'", "(-1,)"))), "npz needs a shape of at most 64 sizes"),
    "too large a shape": (archive(npy(described("'<f4'", "(2**62,)"))), "npz needs a header"),
    "shape beyond the file": (
        archive(npy(described("'<f4'", f"({2**40},)"))),
        "npz needs 4398046511104 bytes",
    ),
    "huge but empty": (archive(npy(described("'<f4'", f"({2**62}, 0, 9)"))), "npz needs 0 bytes"),
    "bytes left over": (archive(npy(described("'<f4'", "(1,)"), b"12345")), "npz needs 4 bytes .*, got 5"),
    "boolean that is neither": (
        archive(npy(described("'|b1'", "(1,)"), b"\2")),
        "npz needs booleans of 0 and 1",
    ),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE_NPZ.values(), ids=HOSTILE_NPZ.keys())
def test_a_hostile_npz_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\.npz: {message}"):
        sn.load(tmp_path / "x.npz")


def test_an_npz_that_repeats_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = archive(npy(described("'<f4'", "()"), b"1234"), times=2)
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match="npz needs each name once"):
        sn.load(tmp_path / "x.npz")


def test_metadata_of_other_json_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.comment = b'{"a": 1}'
    with pytest.raises(ValueError, match="npz needs a comment with texts by name"):
        sn.load_metadata(tmp_path / "x.npz")


def survives(path: Path, content: bytes) -> None:
    """Loading gives arrays or a ValueError, and asks for little memory."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        loaded = sn.load(path)
        assert sum(array.nbytes for array in loaded.values()) <= 2 * len(content)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 - both outcomes are right
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # Half a megabyte is what parsing takes; an absurd size that was believed would take far more.
    assert peak < 500_000 + 20 * len(content)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    state = {
        "layer.weight": np.arange(6.0).reshape(2, 3),
        "flag": np.array([True]),
        "n": np.zeros((0, 2), "i4"),
    }
    for suffix in SUFFIXES:
        sn.save(state, folder / f"x{suffix}", metadata={"step": "3"})
    return {suffix: (folder / f"x{suffix}").read_bytes() for suffix in SUFFIXES}


@both_formats
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_truncation_and_no_changed_byte_does_harm(suffix, whole, tmp_path_factory, data) -> None:
    content = whole[suffix]
    path = tmp_path_factory.getbasetemp() / f"fuzzed{suffix}"
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        survives(path, content[:position])
    else:
        survives(path, content[:position] + bytes([data.draw(st.integers(0, 255))]) + content[position + 1 :])


@both_formats
@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=60))
def test_no_random_bytes_do_harm(suffix, tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / f"random{suffix}"
    survives(path, content)
    survives(path, len(content).to_bytes(8, "little") + content)


@both_formats
def test_every_truncation_is_noticed(suffix, whole, tmp_path) -> None:
    for length in range(len(whole[suffix])):
        (tmp_path / f"x{suffix}").write_bytes(whole[suffix][:length])
        with pytest.raises(ValueError, match=f"x{suffix}: "):
            sn.load(tmp_path / f"x{suffix}")
