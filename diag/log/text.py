"""Text as the log keeps it: UTF-8 in cells of fixed width, which SWMR allows and every HDF5 viewer shows."""

from collections.abc import Iterable, Sequence

import h5py
import numpy as np
from numpy.typing import NDArray

ELLIPSIS = "…"


def cells(texts: Sequence[str], width: int | None = None) -> NDArray[np.bytes_]:
    r"""Texts as UTF-8 in cells of ``width`` bytes.

    A text wider than its cell ends in "…"; without a width the widest text decides, so that
    none is cut.

    Args:
        texts: Any number of texts; one that ends in NUL loses it, as fixed cells are padded with NULs.
        width: Bytes of one cell.

    Returns:
        Shape ``(len(texts),)``, dtype ``S{width}``, marked as UTF-8 for HDF5.

    Example:
        >>> cells(["relu", "linear"], width=5).tolist()
        [b'relu', b'li\xe2\x80\xa6']
    """
    encoded = [text.encode(errors="replace") for text in texts]
    if width is None:
        width = max([1, *map(len, encoded)])
    return np.array([_fitted(text, width) for text in encoded], dtype=h5py.string_dtype("utf-8", width))


def texts_of(stored: Iterable[bytes]) -> tuple[str, ...]:
    """The texts of an array of cells: the inverse of `cells`."""
    return tuple(cell.decode() for cell in stored)


def _fitted(encoded: bytes, width: int) -> bytes:
    if len(encoded) <= width:
        return encoded
    ellipsis = ELLIPSIS.encode()
    # A cut may fall inside a character of several bytes: what is left of that one is dropped.
    return encoded[: width - len(ellipsis)].decode(errors="ignore").encode() + ellipsis
