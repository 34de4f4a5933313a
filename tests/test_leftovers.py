"""What a killed command leaves beside its output is gone after the next one of the same output; live work is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hilum
from hilum.cli import main
from hilum.io.atomic import atomic_folder, atomic_path
from hilum.io.unfinished import PARTIAL
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_luna16
from hilum.recipes import recipe, recipe_toml

pytestmark = [
    pytest.mark.usefixtures("no_workers"),
    pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there"),
]

HALF_WAY = """
import os, sys

def stop(*_):  # as `kill -9` does it, while the file or folder has its unfinished name
    os.kill(os.getpid(), {signal})

os.fsync = os.replace = stop  # a volume alone is not synced
from hilum.cli import main

main(sys.argv[1:])
"""
"""A command that is killed when its output is written, and has not yet its name."""


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def kill_half_way(*words):
    command = [sys.executable, "-c", HALF_WAY.format(signal=int(signal.SIGKILL)), *map(str, words)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def run_well(capsys, *words):
    assert main([str(word) for word in words]) in (0, 1)  # 1: scans were left out, which is said
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "unexpected" not in told


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One coarse phantom, preprocessed: exports want a run that is whole."""
    folder = tmp_path_factory.mktemp("leftovers")
    write_luna16([make_phantom(seed=1, shape=(48, 64, 64), spacing=(6.25, 6.0, 6.0))], folder / "LUNA")
    coarse = recipe_toml(recipe("luna16")).replace("spacing_mm = 1.0", "spacing_mm = 3.5")
    (folder / "coarse.toml").write_text(coarse)
    words = ["run", folder / "LUNA", "--recipe", folder / "coarse.toml", "--format", "npy", "--out", folder / "RUN"]
    assert main([str(word) for word in words]) == 0
    return folder / "RUN"


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "a.mha"
    hu = np.random.default_rng(0).integers(-1000, 400, (6, 16, 16)).astype(np.int16)
    hilum.write(hilum.Volume(hu, hilum.Geometry(hu.shape, (2.0, 2.0, 2.0))), path)
    return path


COMMANDS = {
    "patches": "patches {run} --out {out}/P --size 8",
    "slices": "slices {run} --out {out}/S",
    "csv": "export csv {run} --out {out}/boxes.csv",
    "report": "report {run} --out {out}/report.html",
    "plot": "plot histogram {scan} --out {out}/a.png",
    "convert": "convert {scan} {out}/a.nii.gz",
    "convert to zarr": "convert {scan} {out}/a.zarr",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_next_command_sweeps_what_a_killed_one_left(run, scan, tmp_path, name, capsys):
    words = [word.format(run=run, scan=scan, out=tmp_path) for word in COMMANDS[name].split()]
    kill_half_way(*words)
    assert hidden(tmp_path), "the command was killed too early or too late"
    run_well(capsys, *words)
    assert hidden(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 1


DEAD = """
import os, signal, sys
from pathlib import Path
from hilum.io.atomic import atomic_path, atomic_folder

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "file":
    with atomic_path(Path(sys.argv[2])):
        kill()
with atomic_folder(Path(sys.argv[2])) as partial:
    (partial / "part").write_text("half")
    kill()
"""


def die(kind, path):
    done = subprocess.run([sys.executable, "-c", DEAD, kind, str(path)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def test_a_file_sweeps_what_dead_writers_of_its_name_left(tmp_path):
    for _ in range(2):
        die("file", tmp_path / "a.csv")
    assert len(hidden(tmp_path)) == 1  # the second swept what the first had left
    with atomic_path(tmp_path / "a.csv") as path:
        path.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_a_folder_sweeps_what_dead_writers_of_its_name_left(tmp_path):
    die("folder", tmp_path / "P")
    assert any(name.startswith(PARTIAL) for name in hidden(tmp_path))
    with atomic_folder(tmp_path / "P") as partial:
        (partial / "all").write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == ["P"]


def test_what_a_living_writer_has_begun_is_left_to_it(tmp_path):
    with atomic_path(tmp_path / "a.csv") as first:
        first.write_text("first")
        with atomic_path(tmp_path / "a.csv") as second:
            second.write_text("second")
        assert first.exists()
    assert (tmp_path / "a.csv").read_text() == "first"


WAITING = """
import sys
from pathlib import Path
from hilum.io.atomic import atomic_folder

with atomic_folder(Path(sys.argv[1])) as partial:
    (partial / "part").write_text("half")
    print(partial, flush=True)
    sys.stdin.read()
"""


def test_another_process_that_lives_keeps_its_folder_also_while_it_is_stopped(tmp_path):
    command = [sys.executable, "-c", WAITING, str(tmp_path / "P")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            theirs = Path(other.stdout.readline().strip())
            os.kill(other.pid, signal.SIGSTOP)
            with atomic_folder(tmp_path / "P") as partial:
                (partial / "all").write_text("whole")
            assert (theirs / "part").read_text() == "half"
        finally:
            other.kill()


def test_files_of_the_user_are_never_swept(tmp_path):
    for name in (".hidden", ".partial-notes.txt", ".part", "a.part", ".0123456789abcdef.part.csv"):
        (tmp_path / name).write_text("mine")
    before = sorted(p.name for p in tmp_path.iterdir())
    with atomic_path(tmp_path / "a.csv") as path:
        path.write_text("whole")
    with atomic_folder(tmp_path / "P"):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, "a.csv", "P"])
