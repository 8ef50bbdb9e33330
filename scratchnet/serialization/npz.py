"""NumPy's npz format: a zip archive with one npy file for each array; pickled objects are refused.

An npy file is a magic, a version, the length of a header, the header (a Python dictionary with ``descr``,
``fortran_order`` and ``shape``), and the raw array. Texts lie in the archive's comment, where `numpy.load`
does not stumble over them.
"""

import ast
import json
import math
import os
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader, BufferedWriter
from typing import Any, cast

import numpy as np

from scratchnet.tape import Array

SUFFIX = ".npy"
MAGIC = b"\x93NUMPY"
# NumPy's own limit: parsing a longer literal could exhaust the interpreter.
MAX_HEADER = 10_000
MAX_AXES = 64
# Deflate's best case: two bits stand for a repeated run of 258 bytes.
DEFLATE_RATIO = 1032
# What zipfile says to an archive that is cut short, garbled or encrypted.
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, OSError)
# Keeps out objects ("|O"), which are pickled, texts, dates, and lists, which are structured dtypes.
PLAIN_DTYPE = re.compile(r"[<>|=][biufc]\d{1,2}")
END_MAGIC = b"PK\x05\x06"
END_SIZE = 22
# Unpacking a whole array at once would hold it twice.
CHUNK = 1 << 20


def write(stream: BufferedWriter, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Writes arrays and texts, uncompressed as `numpy.savez` does."""
    comment = json.dumps(dict(metadata), ensure_ascii=False).encode() if metadata else b""
    if len(comment) > zipfile.ZIP_MAX_COMMENT:
        raise ValueError(
            f"npz needs metadata of at most {zipfile.ZIP_MAX_COMMENT} bytes, got {len(comment)}; "
            f"save it as .safetensors"
        )
    with zipfile.ZipFile(stream, "w") as archive:
        archive.comment = comment
        for name, array in arrays.items():
            # Its default date, 1980, keeps the bytes the same from one day to the next.
            member = zipfile.ZipInfo(name + SUFFIX)
            if member.filename != name + SUFFIX:
                raise ValueError(f"npz needs a name without NUL or backslash, got {name!r}")
            with archive.open(member, "w", force_zip64=True) as content:
                np.lib.format.write_array(content, array, allow_pickle=False)


def read(stream: BufferedReader) -> dict[str, Array]:
    """Reads every array, in the order of the archive."""
    with _opened(stream) as archive:
        members = archive.infolist()
        _check_members(members, os.fstat(stream.fileno()).st_size)
        return {member.filename.removesuffix(SUFFIX): _array(archive, member) for member in members}


def read_metadata(stream: BufferedReader) -> dict[str, str]:
    """Reads the texts, and no array."""
    with _opened(stream) as archive:
        try:
            texts = json.loads(archive.comment.decode() or "{}")
        except (ValueError, RecursionError) as error:
            raise ValueError(f"npz needs a comment of JSON: {error}") from error
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("npz needs a comment with texts by name, got other JSON")
    return texts


@contextmanager
def _opened(stream: BufferedReader) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(stream) as archive:
            _check_end(stream, archive.comment)
            yield archive
    except DAMAGED as error:
        raise ValueError(f"npz needs a whole zip archive: {error}") from error


def _check_end(stream: BufferedReader, comment: bytes) -> None:
    """The last record says how long the comment is; zipfile does not mind if it is cut off."""
    stream.seek(-END_SIZE - len(comment), os.SEEK_END)
    end = stream.read(END_SIZE)
    if end[:4] != END_MAGIC or int.from_bytes(end[-2:], "little") != len(comment):
        raise ValueError("npz needs a whole zip archive: its end is cut off, or something follows it")


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Nothing may say that it holds more than its share of the file could be unpacked to."""
    names = {member.filename for member in members}
    if len(names) != len(members):
        raise ValueError("npz needs each name once, got an archive that repeats one")
    if sum(member.compress_size for member in members) > size:
        raise ValueError(f"npz needs members that fit into the file's {size} bytes, got overlapping ones")
    for member in members:
        ratio = DEFLATE_RATIO if member.compress_type == zipfile.ZIP_DEFLATED else 1
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"npz needs stored or deflated members, {member.filename!r} is neither")
        if not member.filename.endswith(SUFFIX) or member.file_size > ratio * member.compress_size:
            raise ValueError(
                f"npz needs members that end in {SUFFIX} and fit into the file, got {member.filename!r} "
                f"of {member.file_size} bytes from {member.compress_size}"
            )


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with cast(zipfile.ZipExtFile, archive.open(member)) as content:
        dtype, shape, is_fortran = _header(content, member.filename)
        needed = math.prod(shape) * dtype.itemsize
        behind = member.file_size - content.tell()
        if needed != behind or math.prod(size for size in shape if size) * dtype.itemsize > sys.maxsize:
            raise ValueError(
                f"npz needs {needed} bytes for {member.filename!r} of shape {shape} and dtype {dtype}, "
                f"got {behind}"
            )
        stored = np.empty(shape, dtype, order="F" if is_fortran else "C")
        raw = stored.reshape(-1, order="A").view(np.uint8)
        _fill(raw, content, member.filename)
    if dtype.kind == "b" and raw.size and raw.max() > 1:
        raise ValueError(f"npz needs booleans of 0 and 1 for {member.filename!r}, got {raw.max()}")
    return stored.astype(dtype.newbyteorder("="), copy=False)


def _fill(raw: Array, content: zipfile.ZipExtFile, name: str) -> None:
    for begin in range(0, raw.size, CHUNK):
        part = raw[begin : begin + CHUNK]
        if content.readinto(part.data) != part.size:
            raise ValueError(f"npz needs {raw.size} bytes for {name!r}, got fewer")


def _header(content: zipfile.ZipExtFile, name: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    start = content.read(8)
    if start[:6] != MAGIC or start[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise ValueError(f"npz needs npy files of version 1 to 3, {name!r} begins with {start!r}")
    length = int.from_bytes(content.read(2 if start[6] == 1 else 4), "little")
    text = content.read(min(length, MAX_HEADER + 1))
    if not len(text) == length <= MAX_HEADER:
        raise ValueError(f"npz needs a header of at most {MAX_HEADER} bytes in {name!r}, got {length}")
    header = _literal(text.decode("latin1" if start[6] < 3 else "utf-8"), name)
    shape = header["shape"]
    if (
        not isinstance(shape, tuple)
        or len(shape) > MAX_AXES
        or not all(type(size) is int and 0 <= size <= sys.maxsize for size in shape)
    ):
        raise ValueError(f"npz needs a shape of at most {MAX_AXES} sizes for {name!r}, got {str(shape)[:80]}")
    return _dtype(header["descr"], name), shape, bool(header["fortran_order"])


def _literal(text: str, name: str) -> dict[str, Any]:
    try:
        header = ast.literal_eval(text.strip())
    # Python's parser says in all these ways that it has had enough.
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"npz needs a header that is a dictionary in {name!r}: {error}") from error
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ValueError(f"npz needs descr, fortran_order and shape in {name!r}, got {text[:80]}")
    return header


def _dtype(descr: Any, name: str) -> np.dtype[Any]:
    if not isinstance(descr, str) or not PLAIN_DTYPE.fullmatch(descr):
        raise ValueError(f"npz needs numbers or booleans in {name!r}, got dtype {str(descr)[:80]}")
    try:
        return np.dtype(descr)
    except TypeError as error:
        raise ValueError(f"npz needs a dtype that NumPy knows in {name!r}, got {descr!r}") from error
