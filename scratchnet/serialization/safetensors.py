"""The safetensors format: a length, a JSON header that says where each array lies, and the raw arrays.

The length is 8 bytes, little-endian. The header has for each name its dtype, shape and ``data_offsets``
(begin and end within the part behind the header), and texts under ``__metadata__``. The arrays are in C order,
little-endian, and fill their part without holes or overlaps.
"""

import json
import math
import os
import sys
from collections.abc import Mapping
from io import BufferedReader, BufferedWriter
from typing import Any

import numpy as np

from scratchnet.tape import Array

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
    "C64": "<c8",
}
CODES = {np.dtype(dtype): code for code, dtype in DTYPES.items()}
METADATA = "__metadata__"
# The format's own limits, which other readers keep to as well.
MAX_HEADER = 100_000_000
ALIGNMENT = 8
MAX_AXES = 64

Header = dict[str, Any]


def write(stream: BufferedWriter, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Writes C-ordered, little-endian arrays and texts."""
    header: Header = {METADATA: dict(metadata)} if metadata else {}
    header |= {name: _described(name, array) for name, array in arrays.items()}
    # Wide elements first, so that each array begins at a multiple of its element's size.
    order = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    begin = 0
    for name in order:
        end = begin + arrays[name].nbytes
        header[name]["data_offsets"] = [begin, end]
        begin = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise ValueError(f"safetensors needs a header of at most {MAX_HEADER} bytes, got {len(text)}")
    stream.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        stream.write(arrays[name].reshape(-1).view(np.uint8).data)


def _described(name: str, array: Array) -> Header:
    if name == METADATA:
        raise ValueError(f"safetensors keeps the name {METADATA} for metadata, got an array of that name")
    if array.dtype not in CODES:
        raise ValueError(f"safetensors has no dtype for {array.dtype} of {name!r}; save it as .npz")
    return {"dtype": CODES[array.dtype], "shape": list(array.shape), "data_offsets": []}


def read(stream: BufferedReader) -> dict[str, Array]:
    """Reads every array, in the order of the header."""
    header, room = _header(stream)
    header.pop(METADATA, None)
    for name, entry in header.items():
        _check_entry(name, entry)
    order = sorted(header, key=lambda name: header[name]["data_offsets"])
    _check_cover(header, order, room)
    found = {name: _array(stream, name, header[name]) for name in order}
    return {name: found[name] for name in header}


def read_metadata(stream: BufferedReader) -> dict[str, str]:
    """Reads the texts, and no array."""
    header, _ = _header(stream)
    return header.get(METADATA, {})


def _header(stream: BufferedReader) -> tuple[Header, int]:
    """The header, and how many bytes lie behind it."""
    size = os.fstat(stream.fileno()).st_size
    length = int.from_bytes(stream.read(8), "little")
    if size < 8 or length > min(size - 8, MAX_HEADER):
        raise ValueError(
            f"safetensors needs 8 bytes and a header of the length that they say, at most {MAX_HEADER} bytes; "
            f"got {size} bytes with a header of {length}"
        )
    try:
        header = json.loads(stream.read(length).decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"safetensors needs a header of JSON with each name once: {error}") from error
    if not isinstance(header, dict):
        raise ValueError(f"safetensors needs a header that is an object, got {type(header).__name__}")
    texts = header.get(METADATA, {})
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError(f"safetensors needs {METADATA} with texts alone, got {_shortened(texts)}")
    return header, size - 8 - length


def _unique(pairs: list[tuple[str, Any]]) -> Header:
    header = dict(pairs)
    if len(header) != len(pairs):
        raise ValueError(f"a name stands twice among {_shortened([name for name, _ in pairs])}")
    return header


def _check_entry(name: str, entry: Any) -> None:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(
            f"safetensors needs dtype, shape and data_offsets for {name!r}, got {_shortened(entry)}"
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in {*DTYPES, "BF16"}:
        raise ValueError(f"NumPy has no dtype for {_shortened(dtype)} of {name!r}")
    if not _are_sizes(shape) or len(shape) > MAX_AXES:
        raise ValueError(
            f"safetensors needs a shape of at most {MAX_AXES} sizes for {name!r}, got {_shortened(shape)}"
        )
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"safetensors needs a begin and an end for {name!r}, got {_shortened(offsets)}")
    itemsize = 2 if dtype == "BF16" else np.dtype(DTYPES[dtype]).itemsize
    if math.prod(shape) * itemsize != offsets[1] - offsets[0]:
        raise ValueError(
            f"safetensors needs {math.prod(shape) * itemsize} bytes for {name!r} of shape {shape} and dtype "
            f"{dtype}, got offsets {offsets}"
        )
    # NumPy refuses a shape whose other sizes are beyond the machine, even where one of them is zero.
    if math.prod(size for size in shape if size) * 8 > sys.maxsize:
        raise ValueError(f"safetensors needs a shape that a machine can hold for {name!r}, got {shape}")


def _are_sizes(value: Any) -> bool:
    # `type`, because True is an int too. An unbounded number would take for ever to multiply.
    return isinstance(value, list) and all(type(size) is int and 0 <= size <= sys.maxsize for size in value)


def _check_cover(header: Header, order: list[str], room: int) -> None:
    reached = 0
    for name in order:
        begin, end = header[name]["data_offsets"]
        if begin != reached:
            raise ValueError(
                f"safetensors needs arrays without holes or overlaps, got {name!r} from {begin} "
                f"where the one before ends at {reached}"
            )
        reached = end
    if reached != room:
        raise ValueError(f"safetensors needs {reached} bytes of arrays behind the header, got {room}")


def _array(stream: BufferedReader, name: str, entry: Header) -> Array:
    """The next array of the stream."""
    is_bfloat16 = entry["dtype"] == "BF16"
    stored = np.empty(entry["shape"], "<u2" if is_bfloat16 else DTYPES[entry["dtype"]])
    raw = stored.reshape(-1).view(np.uint8)
    if stream.readinto(raw.data) != raw.size:
        raise ValueError(f"safetensors needs {raw.size} bytes for {name!r}, the file has become shorter")
    if stored.dtype == bool and raw.size and raw.max() > 1:
        raise ValueError(f"safetensors needs booleans of 0 and 1 for {name!r}, got {raw.max()}")
    if is_bfloat16:
        return _widened(stored)
    return stored.astype(stored.dtype.newbyteorder("="), copy=False)


def _widened(halves: Array) -> Array:
    """bfloat16 is the upper half of float32."""
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"
