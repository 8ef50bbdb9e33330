"""The command line in this process, which is quicker than one of its own, and runs to call it with."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from diag.cli import main


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs ``diag`` with these arguments at a wide terminal."""
    monkeypatch.setenv("COLUMNS", "240")

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["diag", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return Done(int(end.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def healthy(training, record):
    return record(training(depth=2), 150, every=1, config={"seed": 0}).path


@pytest.fixture(scope="module")
def sick(training, record):
    def kill(subject):
        subject.model[2].bias.array[...] = -1e3

    return record(training(depth=2), 150, {60: kill}, every=1, config={"seed": 0, "kill": True}).path
