"""The first 48 bytes of an HDF5 file: whether somebody writes it, where it ends, and their checksum."""

import os
import struct
from io import FileIO
from pathlib import Path
from typing import Any, Final

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"

# Byte offsets in a superblock of version 2 or 3 with addresses of eight bytes.
_VERSION, _ADDRESS_SIZE, _FLAGS, _END_OF_FILE, _CHECKSUM, _END = 8, 9, 11, 28, 44, 48
_SWMR: Final = 0x04
_MASK: Final = 0xFFFFFFFF


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as an HDF5 file does."""
    return _head_of(path).startswith(SIGNATURE)


def is_flagged(path: Path) -> bool:
    """Whether an HDF5 file says that it is open for writing: so it is, or its writer was killed."""
    head = _head_of(path)
    return _is_known(head) and head[_FLAGS] != 0


def is_flagged_for_swmr(path: Path) -> bool:
    """Whether whoever writes an HDF5 file, or wrote it when it was killed, lets others read it meanwhile."""
    head = _head_of(path)
    return _is_known(head) and bool(head[_FLAGS] & _SWMR)


def is_truncated(path: Path) -> bool:
    """Whether an HDF5 file is shorter than it says.

    A file that is open for writing may be longer than it says, but never shorter.
    """
    head = _head_of(path)
    if not _is_known(head):
        return head.startswith(SIGNATURE) and len(head) < _END
    return bool(path.stat().st_size < _end_in(head))


def trim(path: Path) -> None:
    """Cuts off what a closed file has beyond its end: room that was reserved and not used."""
    head = _head_of(path)
    if _is_known(head) and not head[_FLAGS]:
        os.truncate(path, _end_in(head))


def clear(path: Path) -> None:
    """Marks a file as closed and its end as where it ends.

    A killed SWMR writer leaves both marks behind: the flag keeps other programs from opening the file, and
    the end that it recorded last can lie before data that it wrote since.

    Args:
        path: A copy; the file is changed in place.

    Raises:
        OSError: If the superblock is of another version, or does not match its checksum.

    References:
        [1] The HDF Group, "HDF5 File Format Specification", version 3.0, section II.A.
    """
    head = _cleared_head_of(path)
    with path.open("r+b") as file:
        file.write(head)


class AsIfClosed(FileIO):
    """A file to read as `clear` would make it, without a change on the disk.

    Args:
        path: A file that nobody writes any more.

    Raises:
        OSError: As for `clear`.
    """

    def __init__(self, path: Path):
        self._head = _cleared_head_of(path)
        super().__init__(path)

    def readinto(self, buffer: Any, /) -> int:
        """Reads as any file does, except that the superblock says that the file is closed."""
        start = self.tell()
        count = super().readinto(buffer)
        head = self._head[start : start + count]
        memoryview(buffer)[: len(head)] = head
        return count


def checksum(data: bytes) -> int:
    """Bob Jenkins' lookup3 hash, which HDF5 uses as the checksum of its metadata.

    Args:
        data: Any bytes.

    Returns:
        32 bits.

    Example:
        >>> hex(checksum(b"Four score and seven years ago"))
        '0x17770551'

    References:
        [1] Jenkins, "lookup3.c, for hash table lookup", 2006, function hashlittle.
    """
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    if not data:
        return c
    # The last block, of 1 to 12 bytes, is mixed in another way.
    blocks = [data[start : start + 12] for start in range(0, len(data), 12)]
    for block in blocks[:-1]:
        x, y, z = struct.unpack("<3I", block)
        a, b, c = _mixed((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
    x, y, z = struct.unpack("<3I", blocks[-1].ljust(12, b"\0"))
    return _finished((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)


def _head_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_END)


def _is_known(head: bytes | bytearray) -> bool:
    # Older superblocks have other things at these places.
    is_whole = head.startswith(SIGNATURE) and len(head) == _END
    return is_whole and head[_VERSION] in (2, 3) and head[_ADDRESS_SIZE] == 8


def _end_in(head: bytes | bytearray) -> int:
    return int.from_bytes(head[_END_OF_FILE : _END_OF_FILE + 8], "little")


def _cleared_head_of(path: Path) -> bytes:
    head = bytearray(_head_of(path))
    if not _is_known(head):
        raise OSError(f"{path} has a superblock that the log writer never makes")
    (stored,) = struct.unpack_from("<I", head, _CHECKSUM)
    if stored != checksum(bytes(head[:_CHECKSUM])):
        raise OSError(f"{path} has a superblock that does not match its checksum")
    head[_FLAGS] = 0
    struct.pack_into("<Q", head, _END_OF_FILE, max(_end_in(head), path.stat().st_size))
    struct.pack_into("<I", head, _CHECKSUM, checksum(bytes(head[:_CHECKSUM])))
    return bytes(head)


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & _MASK


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    # One step of the hash, six times over with the three words taking turns.
    for bits in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _MASK) ^ _rotated(c, bits)
        c = (c + b) & _MASK
        a, b, c = b, c, a
    return a, b, c


def _finished(a: int, b: int, c: int) -> int:
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotated(b, bits)) & _MASK
        a, b, c = b, c, a
    return b
