"""The start and the end of the program: what it loads, and what it leaves out."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

import hilum
from hilum import cli
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series

HEAVY = {"cyclopts", "numba", "pydicom", "nibabel", "multiprocessing", "tarfile", "hilum.io.annotate"}


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    phantom = make_phantom(seed=2, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0))
    return write_dicom_series(phantom, tmp_path_factory.mktemp("start") / "series")


def in_a_process(code, *words):
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", cli._PATHS)
def test_a_command_that_starts_without_the_parser_takes_paths_by_position(name):
    command = cli._function(f"scans:{name}")
    cli.program()  # loads the options that the annotations name
    types = get_type_hints(command)
    given = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    assert [types[p.name] for p in given] == [Path] * cli._PATHS[name]
    others = [p for p in inspect.signature(command).parameters.values() if p not in given]
    assert all(p.default is not p.empty for p in others)


@pytest.mark.parametrize(
    "words",
    [
        ("info", "series"), ("info", "gone"), ("info",), ("info", ""), ("info", "series", "series"),
        ("convert", "series", "a.nii"), ("convert", "series", "a.xyz"), ("convert", "gone", "a.nii"),
        ("convert", "series"), ("convert", "series", "a.nii", "b.nii"), ("convert", "series", "--nii"),
    ],
)  # fmt: skip
def test_with_and_without_the_parser_it_says_the_same(words, series, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "series").symlink_to(series)

    def call():
        status = cli.main(words)
        told = capsys.readouterr()
        files = {path.name: path.read_bytes() for path in tmp_path.glob("*.nii")}
        for name in files:
            (tmp_path / name).unlink()
        return status, told.out, told.err, files

    direct = call()
    monkeypatch.setattr(cli, "_PATHS", {})
    assert call() == direct


@pytest.mark.parametrize("words", [("info", "{series}"), ("convert", "{series}", "{out}")])
def test_paths_alone_load_neither_the_parser_nor_what_is_not_needed(words, series, tmp_path):
    words = [word.format(series=series, out=tmp_path / "a.nii") for word in words]
    code = "import sys; from hilum.cli import main; main(); print(*sys.modules)"
    done = in_a_process(code, *words)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(done.stdout.split())


def test_help_of_one_command_loads_no_other():
    code = "import sys; from hilum.cli import main; main(['recipe', '--help']); print(*sys.modules)"
    loaded = set(in_a_process(code).stdout.split())
    assert "hilum.cli.recipes" in loaded
    assert not {"hilum.cli.exports", "hilum.cli.plots", "numpy"} & loaded


def test_the_parser_of_one_command_is_that_of_all(capsys):
    for name in ("convert", "plot", "run"):
        assert cli.main([name, "--help"]) == 0
        alone = capsys.readouterr().out
        cli.program()([name, "--help"], result_action="return_value")
        assert capsys.readouterr().out == alone


START = "import atexit, sys; atexit.register(lambda: print('at the end')); from hilum.cli import start; start()"


def test_the_program_ends_with_its_status_and_calls_what_was_registered(series, tmp_path):
    done = in_a_process(START, "convert", series, tmp_path / "a.nii")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "at the end")
    assert hilum.read(tmp_path / "a.nii").ct.shape == (24, 48, 48)
    refused = in_a_process(START, "convert", tmp_path / "gone", tmp_path / "b.nii")
    assert refused.returncode == 1
    assert "there is no such file or folder" in refused.stderr
    assert in_a_process(START, "convert").returncode == 2


def test_with_worker_processes_the_program_ends_as_python_ends_it(series, tmp_path):
    done = in_a_process(f"import multiprocessing; {START}", "convert", series, tmp_path / "a.nii")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "at the end")
