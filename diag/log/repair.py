"""Mends a log whose writer was killed, so that every HDF5 program can open it."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import h5py

from diag.log.compaction import compact
from diag.log.environment import process_of
from diag.log.live import write_end
from diag.log.opening import LogError, files_at, opened, read_run
from diag.log.reader import Log
from diag.log.schema import LIBVER, log_files
from diag.log.superblock import clear, is_flagged

REPAIRED: Final = "repaired"


def repair(path: str | Path) -> list[str]:
    """Closes what a writer that was killed left open.

    A kill leaves a file that only `Log` opens: a flag says that somebody writes it. The repair works on a
    copy: it clears the flag, keeps the committed rows and drops what was being written when the process
    died, adds an end record, compresses, reads all of it back, and only then puts the copy in the place
    of the original.

    Args:
        path: A run folder, of which the files of every rank are looked at, or one file.

    Returns:
        What was done, a line for each file that needed it; nothing if none did.

    Raises:
        LogError: If there is no log, its process still runs, or the damage is of another kind; the
            original then stays as it was.
    """
    path = Path(path)
    files = (log_files(path) if path.is_dir() else ()) or files_at(path)
    open_files = [file for file in files if _was_left_open(file)]
    run = read_run(path)
    if open_files and process_of(run) == "running":
        raise LogError(
            f"repair needs a log that nobody writes; process {run['pid']} of {path} still runs; "
            f"end it first, or, if another program has that number now, move {open_files[0].name} elsewhere"
        )
    return [_repair_file(file) for file in open_files]


def _was_left_open(path: Path) -> bool:
    if is_flagged(path):
        return True
    with opened(path) as file:
        return not file["end/reason"][()]


def _repair_file(path: Path) -> str:
    copy = path.with_name(f"{path.name}.repair")
    before = path.stat()
    try:
        steps = _mend(path, copy)
        after = path.stat()
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            raise LogError(
                f"repair needs a log that nobody writes; {path} has changed meanwhile; end its writer first"
            )
        copy.replace(path)
    finally:
        copy.unlink(missing_ok=True)
    return f"{path.name}: closed, compressed, {steps} recorded steps kept, uncommitted rows dropped"


def _mend(path: Path, copy: Path) -> int:
    try:
        shutil.copyfile(path, copy)
        if is_flagged(copy):
            clear(copy)
        with h5py.File(copy, "r+", libver=LIBVER) as file:
            if not file["end/reason"][()]:
                write_end(file, REPAIRED, datetime.fromtimestamp(path.stat().st_mtime, UTC))
        compact(copy)
        return _read_all(copy)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise LogError(
            f"repair needs a log that its writer left open and room for a copy of it; {path} gives: {error}; "
            f"the original is as it was, copy it from where it was written if that is another place"
        ) from error


def _read_all(path: Path) -> int:
    log = Log(path)
    for table, names in log.names.items():
        for name in names:
            log.series(name, of=table)
    return len(log.steps)
