"""`run.json`: what was run, with what, where and by which process."""

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from diag.log.plain import as_plain

RUN_FILE: Final = "run.json"
MASK: Final = "***"

_GIT_SECONDS: Final = 2
_SECRET_WORDS: Final = frozenset(
    {"apikey", "auth", "authorization", "bearer", "cookie", "credential", "credentials", "passphrase"}
    | {"passwd", "password", "passwords", "pwd", "secret", "secrets", "token"}
)
_SECRET_ENDINGS: Final = ("apikey", "password", "secret", "token")
_SECRET_PAIRS: Final = frozenset({("api", "key"), ("access", "key"), ("private", "key"), ("ssh", "key")})
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LOGIN_IN_URL: Final = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")


def describe_run(config: object = None) -> dict[str, Any]:
    """Configuration and environment of this process, with what looks like a secret masked.

    A value counts as a secret by its key: ``password``, ``api_key``, ``hf_token``, ``Authorization`` and
    their like, at any depth, and options of that name on the command line. A secret under a harmless name
    is not recognised.

    Args:
        config: Any value that `diag.log.plain.as_plain` takes; usually a mapping.

    Returns:
        ``config``, ``versions``, ``git`` (commit and whether tracked files differ from it; None outside a
        repository), ``argv``, ``host``, ``pid``, ``started`` (ISO 8601, UTC), ``seed`` (None without
        ``config["seed"]``), ``world_size`` and ``rank`` (see `rank_and_world_size`). All of it is plain
        JSON; a number that is not finite stands as text.

    Example:
        >>> run = describe_run({"lr": 0.1, "seed": 7, "wandb": {"api_key": "4a5b"}})
        >>> run["config"], run["seed"]
        ({'lr': 0.1, 'seed': 7, 'wandb': {'api_key': '***'}}, 7)
    """
    plain = _masked(as_plain(config))
    rank, world_size = rank_and_world_size()
    return {
        "config": plain,
        "versions": _versions(),
        "git": _git(),
        "argv": _masked_arguments(sys.argv),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": plain.get("seed") if isinstance(plain, dict) else None,
        "world_size": world_size,
        "rank": rank,
    }


def rank_and_world_size() -> tuple[int, int]:
    """Which process this is of how many that train together.

    Returns:
        As ``torch.distributed`` says where it is initialised, otherwise as the launcher has it in ``RANK``
        and ``WORLD_SIZE``; 0 and 1 where neither says anything.
    """
    # Never imported for this: who has initialised it has imported it.
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    rank, world_size = _integer_from("RANK", 0), _integer_from("WORLD_SIZE", 1)
    # A RANK that some other program left behind makes nobody one of several.
    return (rank, world_size) if rank < world_size else (0, 1)


def write_run(folder: Path, config: object = None) -> dict[str, Any]:
    """Writes run.json: whoever reads it finds a whole one or none.

    Args:
        folder: Of the run; made if it is not there.
        config: As for `describe_run`.

    Returns:
        What was written.

    Raises:
        OSError: If it cannot be written.
    """
    run = describe_run(config)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{RUN_FILE}.partial"
    with partial.open("w", encoding="utf-8") as file:
        json.dump(run, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / RUN_FILE)
    return run


def process_of(run: Mapping[str, Any]) -> Literal["running", "gone", "unknown"]:
    """What has become of the process that run.json names.

    Args:
        run: What `describe_run` returned.

    Returns:
        ``"unknown"`` for a process of another host, or without run.json. Another program that was given
        the same number since counts as ``"running"``.
    """
    pid = run.get("pid")
    if run.get("host") != socket.gethostname() or not isinstance(pid, int) or pid <= 0:
        return "unknown"
    if sys.platform == "win32":
        # There os.kill would end the process; rather take a killed run for a live one.
        return "running"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        return "running"
    return "running"


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: MASK if _is_secret(key) else _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return _LOGIN_IN_URL.sub(rf"\1:{MASK}@", value) if isinstance(value, str) else value


def _masked_arguments(arguments: Sequence[str]) -> list[str]:
    masked: list[str] = []
    is_value_of_secret = False
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        is_option = argument.startswith("-")
        if is_value_of_secret and not is_option:
            masked.append(MASK)
        elif equals and _is_secret(key):
            masked.append(f"{key}={MASK}")
        else:
            masked.append(_masked(argument))
        is_value_of_secret = is_option and not equals and _is_secret(key)
    return masked


def _is_secret(key: str) -> bool:
    words = [word.lower() for word in _WORD.findall(key)]
    # Whole words, so that "author", "tokenizer" and "max_tokens" stay in sight.
    is_word = any(word in _SECRET_WORDS or word.endswith(_SECRET_ENDINGS) for word in words)
    return is_word or not _SECRET_PAIRS.isdisjoint(pairwise(words))


def _versions() -> dict[str, str | None]:
    versions = {"python": platform.python_version(), "numpy": np.__version__, "scratchdiag": _own_version()}
    # Never imported for this: a run that does not use torch should not pay for it.
    torch = sys.modules.get("torch")
    return versions if torch is None else {**versions, "torch": str(torch.__version__)}


def _own_version() -> str | None:
    try:
        return metadata.version("scratchdiag")
    except metadata.PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    commit = _git_says("rev-parse", "HEAD")
    if not commit:
        return None
    changes = _git_says("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _git_says(*arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603  # The arguments are the two constant ones above.
            [program, *arguments], capture_output=True, text=True, timeout=_GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _integer_from(variable: str, default: int) -> int:
    value = os.environ.get(variable, "")
    return int(value) if value.isdecimal() else default
