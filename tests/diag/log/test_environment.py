"""run.json: what it says, and what it keeps to itself."""

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from diag.log import describe_run, write_run
from diag.log.environment import process_of


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    """A working directory outside any repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def test_a_run_is_described_by_what_it_ran_on(at_home, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr", "0.1"])
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    run = describe_run({"lr": 0.1, "seed": 7})
    started = datetime.fromisoformat(run.pop("started"))
    versions = run.pop("versions")
    assert run == {
        "config": {"lr": 0.1, "seed": 7},
        "git": None,
        "argv": ["train.py", "--lr", "0.1"],
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "seed": 7,
        "world_size": 1,
        "rank": 0,
    }
    assert started.utcoffset() is not None
    assert (versions["python"], versions["numpy"]) == (platform.python_version(), np.__version__)
    assert "scratchdiag" in versions


@pytest.mark.parametrize(
    ("loaded", "expected"),
    [
        pytest.param(None, None, id="not-imported"),
        pytest.param(argparse.Namespace(__version__="2.7"), "2.7", id="imported"),
    ],
)
def test_the_version_of_torch_is_told_only_where_torch_is_in_use(at_home, monkeypatch, loaded, expected):
    monkeypatch.setitem(sys.modules, "torch", loaded)
    assert describe_run()["versions"].get("torch") == expected


def test_the_launcher_says_rank_and_world_size(at_home, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert (describe_run()["rank"], describe_run()["world_size"]) == (3, 8)
    monkeypatch.setenv("RANK", "three")
    assert describe_run()["rank"] == 0


@pytest.mark.parametrize("dirty", [False, True], ids=["clean", "changed"])
def test_the_commit_is_told_and_whether_files_differ_from_it(at_home, dirty):
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)

    Path("train.py").write_text("pass\n")
    git("init")
    git("add", "train.py")
    git("commit", "-m", "first")
    Path("notes.txt").write_text("not tracked\n")
    if dirty:
        Path("train.py").write_text("import this\n")
    told = describe_run()["git"]
    assert len(told["commit"]) == 40
    assert told["dirty"] is dirty


def test_a_machine_without_git_is_no_obstacle(at_home, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert describe_run()["git"] is None


# ------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "api_key",
        "apiKey",
        "APIKEY",
        "HF_TOKEN",
        "authToken",
        "githubtoken",
        "client-secret",
        "Authorization",
        "AWS_SECRET_ACCESS_KEY",
        "credentials",
        "auth",
        "private_key",
        "wandb.api_key",
        "db passwd",
    ],
)
def test_what_looks_like_a_secret_is_masked_at_any_depth(at_home, key):
    run = describe_run(
        {key: "hunter2", "inner": [{key: {"user": "hunter2"}}], "also": argparse.Namespace(**{key: 1})}
    )
    assert run["config"] == {key: "***", "inner": [{key: "***"}], "also": {key: "***"}}


@pytest.mark.parametrize(
    "key", ["author", "tokenizer", "max_tokens", "monkey", "key", "authentic", "num_keys"]
)
def test_what_only_sounds_like_a_secret_stays_in_sight(at_home, key):
    assert describe_run({key: "x"})["config"] == {key: "x"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param(["--token", "abc"], ["--token", "***"], id="two-words"),
        pytest.param(["--token=abc"], ["--token=***"], id="one-word"),
        pytest.param(["wandb.api_key=abc"], ["wandb.api_key=***"], id="no-dashes"),
        pytest.param(["--use-auth", "--lr", "0.1"], ["--use-auth", "--lr", "0.1"], id="switch"),
        pytest.param(["--tokenizer", "bpe"], ["--tokenizer", "bpe"], id="harmless"),
        pytest.param(["s3://me:abc@host/data"], ["s3://me:***@host/data"], id="login-in-a-URL"),
    ],
)
def test_secrets_on_the_command_line_are_masked(at_home, monkeypatch, given, kept):
    monkeypatch.setattr(sys, "argv", ["train.py", *given])
    assert describe_run()["argv"] == ["train.py", *kept]


# ---------------------------------------------------------------------------------------- JSON


@dataclass
class Settings:
    width: int
    path: Path


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        pytest.param(np.float32(0.5), 0.5, id="NumPy-scalar"),
        pytest.param(np.array(3), 3, id="0-d-array"),
        pytest.param(np.array([1, 2]), "[1 2]", id="array"),
        pytest.param(Path("a/b"), str(Path("a/b")), id="path"),
        pytest.param((1, {2.5}), [1, [2.5]], id="tuple-and-set"),
        pytest.param({1: None}, {"1": None}, id="keys"),
        pytest.param(float("inf"), "inf", id="infinity"),
        pytest.param(np.bool_(True), True, id="bool"),
        pytest.param(b"raw", "b'raw'", id="bytes"),
        pytest.param(Settings(3, Path("x")), {"width": 3, "path": "x"}, id="dataclass"),
        pytest.param(Settings, str(Settings), id="class"),
    ],
)
def test_any_configuration_becomes_json(at_home, value, plain):
    run = write_run(at_home / "run", {"value": value})
    assert run["config"] == {"value": plain}
    assert json.loads((at_home / "run" / "run.json").read_text(encoding="utf-8")) == run


def test_run_json_is_replaced_whole_and_nothing_stays_beside_it(at_home):
    write_run(at_home / "run", {"lr": 0.1})
    write_run(at_home / "run", {"lr": 0.2})
    assert [path.name for path in (at_home / "run").iterdir()] == ["run.json"]
    assert json.loads((at_home / "run" / "run.json").read_text(encoding="utf-8"))["config"] == {"lr": 0.2}


# ------------------------------------------------------------------------------------- process


def test_a_process_runs_until_it_has_ended():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = {"pid": child.pid, "host": socket.gethostname()}
    assert process_of(run) == "running"
    child.communicate(b"\n")
    assert process_of(run) == "gone"


@pytest.mark.parametrize("pid", [0, -1, "12", None])
def test_of_what_is_no_process_number_nothing_is_known(pid):
    assert process_of({"pid": pid, "host": socket.gethostname()}) == "unknown"


def test_of_a_process_on_another_host_nothing_is_known():
    assert process_of({"pid": os.getpid(), "host": "elsewhere.invalid"}) == "unknown"
