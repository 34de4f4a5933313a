"""Standard streams that are closed, full or of another encoding: work goes on, and what can be printed is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hilum
from hilum.outputs.ledger import read_ledger

FULL = Path("/dev/full")
UNREAD = 141

needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full on this system")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Three tiny scans; the name of one is not ASCII."""
    folder = tmp_path_factory.mktemp("streams")
    noise = np.random.default_rng(0)
    for name in ("a.mha", "b.mha", "séance.mha"):
        hu = noise.integers(-1000, 400, (4, 8, 8)).astype(np.int16)
        hilum.write(hilum.Volume(hu, hilum.Geometry(hu.shape, (2.0, 2.0, 2.0))), folder / name)
    return folder


def call(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, closed=False, **more):
    command = [sys.executable, "-m", "hilum.cli", *map(str, words)]
    if closed:  # as a shell's >&- 2>&- does it
        closing = f"import os; os.close(1); os.close(2); os.execv({sys.executable!r}, {command!r})"
        command = [sys.executable, "-c", closing]
    environment = {**os.environ, **more}
    done = subprocess.run(command, stdout=stdout, stderr=stderr, env=environment, check=False)
    return done.returncode, *((part or b"").decode() for part in (done.stdout, done.stderr))


@pytest.fixture
def unread():
    """The end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def test_characters_that_stdout_cannot_show_are_escaped(scans, tmp_path):
    status, out, err = call("convert", scans / "a.mha", tmp_path / "séance.nrrd", PYTHONIOENCODING="ascii:strict")
    assert status == 0, err
    assert "s\\xe9ance.nrrd: 4 x 8 x 8 voxels" in out
    assert hilum.read(tmp_path / "séance.nrrd").ct.shape == (4, 8, 8)


@pytest.mark.parametrize("words", [["recipe", "show", "default"], ["--help"], ["info", "a.mha"]])
def test_printing_to_a_pipe_that_nobody_reads_ends_in_silence(scans, unread, words):
    words = [scans / word if word.endswith(".mha") else word for word in words]
    assert call(*words, stdout=unread) == (UNREAD, "", "")


@needs_full
@pytest.mark.parametrize("words", [["recipe", "show", "default"], ["--help"]])
def test_printing_to_a_full_disk_is_refused_in_one_line(words, full):
    status, _, err = call(*words, stdout=full)
    assert status == 1
    assert (
        err
        == "cannot write to stdout: No space left on device; free some space, or write the output to another place\n"
    )


@pytest.fixture
def full():
    with FULL.open("wb") as file:
        yield file


@pytest.mark.parametrize("how", ["closed", "unread", pytest.param("full", marks=needs_full)])
def test_a_run_goes_on_without_stdout_and_stderr(scans, tmp_path, request, how):
    stream = None if how == "closed" else request.getfixturevalue(how)
    words = ("run", scans, "--out", tmp_path / "OUT", "--workers", "1")
    assert call(*words, stdout=stream, stderr=stream, closed=how == "closed") == (0, "", "")
    assert {row.status for row in read_ledger(tmp_path / "OUT").values()} <= {"done", "repaired"}
    assert len(read_ledger(tmp_path / "OUT")) == 3


def test_a_command_that_leaves_a_file_leaves_it_without_stdout(scans, tmp_path, unread):
    assert call("convert", scans / "a.mha", tmp_path / "a.nrrd", stdout=unread)[0] == 0
    assert hilum.read(tmp_path / "a.nrrd").ct.shape == (4, 8, 8)
