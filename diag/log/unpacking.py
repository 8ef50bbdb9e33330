"""Rows of a data set, those of a long compacted log unpacked on all cores.

HDF5 unpacks one chunk after another under a lock, and of a log of a gigabyte that is what a reader waits
for. It also hands over a chunk as it lies in the file, which zlib unpacks without a lock.
"""

import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod
from typing import Any, Final

import numpy as np
from h5py import h5z
from numpy.typing import NDArray

# Below that threads save less than they cost.
_LEAST_BYTES: Final = 2**23


def first_rows(dataset: Any, count: int) -> NDArray[Any]:
    """What ``dataset[:count]`` is, sooner.

    Raises:
        OSError: If a chunk is damaged.
    """
    shape = (min(count, len(dataset)), *dataset.shape[1:])
    if dataset.dtype.itemsize * prod(shape) < _LEAST_BYTES or not _is_compacted(dataset):
        return np.asarray(dataset[:count])
    rows = np.empty(shape, dataset.dtype)
    with ThreadPoolExecutor() as threads:
        # What a thread raises comes out where its result is asked for.
        list(threads.map(partial(_unpack, dataset, rows), range(0, len(rows), dataset.chunks[0])))
    return rows


def _is_compacted(dataset: Any) -> bool:
    """Whether it is packed as a log that was closed, in chunks of whole rows."""
    plan = dataset.id.get_create_plist()
    filters = [plan.get_filter(place)[0] for place in range(plan.get_nfilters())]
    return filters == [h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE] and dataset.chunks[1:] == dataset.shape[1:]


def _unpack(dataset: Any, rows: NDArray[Any], start: int) -> None:
    """Unpacks the chunk that begins with a row."""
    into = rows[start : start + dataset.chunks[0]]
    try:
        left_out, packed = dataset.id.read_direct_chunk((start, *[0] * (dataset.ndim - 1)))
    except (MemoryError, RuntimeError):
        # A chunk that was never written has no place in the file.
        left_out, packed = True, b""
    if left_out:
        # HDF5 stores a chunk as it is where a filter fails.
        into[:] = dataset[start : start + len(into)]
        return
    size = dataset.dtype.itemsize
    try:
        shuffled = zlib.decompress(packed, bufsize=size * prod(dataset.chunks))
    except zlib.error as error:
        raise OSError(f"{dataset.name}: the chunk of row {start} is damaged ({error})") from error
    # The first bytes of all numbers stand first, then the second ones, …
    numbers = np.frombuffer(shuffled, np.uint8).reshape(size, -1).T
    target = into.reshape(-1).view(np.uint8).reshape(-1, size)
    target[:] = numbers[: len(target)]
