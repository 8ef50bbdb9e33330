"""A log rewritten whole: committed rows only, compressed."""

import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, Final

import h5py

from diag.log.room import image_of, reserve
from diag.log.schema import CHUNK_BYTES, COUNTERS, LENGTH, LIBVER, add, add_group, partial_of
from diag.log.superblock import trim

# More makes logs smaller by a hundredth or two, and slower to read by a third.
_LEVEL: Final = 2


def compact(path: Path) -> None:
    """Replaces a closed log by its compressed self; at any moment one of the two is there, whole.

    Args:
        path: A log that no process has open for writing.

    Raises:
        OSError: If there is no room for the second copy; the log then stays as it was.
        RuntimeError: Likewise.
    """
    partial = partial_of(path)
    try:
        write_compacted(path, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_compacted(source: Path, target: Path) -> None:
    """Writes the committed rows of a log into another file, with gzip and shuffle."""
    target.write_bytes(image_of(lambda empty: None))
    with h5py.File(source, "r") as old, h5py.File(target, "r+", libver=LIBVER) as new:
        # What gzip cannot make smaller it makes a thousandth larger at most.
        size = source.stat().st_size
        reserve(new, size + size // 1000 + CHUNK_BYTES)
        new.attrs.update(old.attrs)
        for name, group in old.items():
            _copy_group(group, add_group(new, name))
    trim(target)
    with target.open("r+b") as written:
        os.fsync(written.fileno())


def _copy_group(old: Any, new: Any) -> None:
    growing = {dimension: int(old[counter][()]) for dimension, counter in COUNTERS.items() if counter in old}
    # Scales first: the others are attached to them.
    for name in sorted(old, key=lambda name: (not old[name].is_scale, name)):
        _copy(old[name], new, name, growing)


def _copy(old: Any, new: Any, name: str, growing: Mapping[str, int]) -> None:
    dims = _dimensions(old, name)
    shape = tuple(growing.get(dim, size) for dim, size in zip(dims, old.shape, strict=True))
    if not dims or dims[0] not in growing or 0 in shape:
        add(new, name, old[tuple(map(slice, shape))], dims, dtype=old.dtype)
    else:
        _copy_rows(old, add(new, name, None, dims, **_compressed(old, shape)))
    if LENGTH in old.attrs:
        new[name].attrs[LENGTH] = old.attrs[LENGTH]


def _copy_rows(old: Any, new: Any) -> None:
    rows = new.chunks[0]
    for start in range(0, len(new), rows):
        new[start : start + rows] = old[start : min(start + rows, len(new))]


def _compressed(old: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    row_bytes = old.dtype.itemsize * prod(shape[1:])
    chunks = (min(shape[0], max(1, CHUNK_BYTES // row_bytes)), *shape[1:])
    packing = {"compression": "gzip", "compression_opts": _LEVEL, "shuffle": True}
    return {"shape": shape, "dtype": old.dtype, "chunks": chunks, **packing}


def _dimensions(dataset: Any, name: str) -> tuple[str, ...]:
    if dataset.is_scale:
        return (name,)
    return tuple(dimension[0].name.rpartition("/")[2] for dimension in dataset.dims)
