"""The command line: what it prints, its exit status, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everybody uses

import hilum
from hilum import cli
from hilum.cli import main, program
from hilum.cli.tasks import TASKS, join_lines
from hilum.io.volumes.formats import FORMATS
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(seed=4, shape=(40, 80, 80), spacing=(7.5, 4.5, 4.5))


@pytest.fixture(scope="module")
def series(phantom, tmp_path_factory):
    return write_dicom_series(phantom, tmp_path_factory.mktemp("cli") / "series")


@pytest.fixture(scope="module")
def annotations(phantom, series, tmp_path_factory):
    path = tmp_path_factory.mktemp("ann") / "annotations.csv"
    uid = hilum.read(series).series_uid
    rows = [f"{uid},{','.join(map(str, n.center))},{n.diameter_mm}" for n in phantom.scan.nodules]
    path.write_text("\n".join(["seriesuid,coordX,coordY,coordZ,diameter_mm", *rows, ""]))
    return path


def call(capsys, *words):
    status = cli.main([str(word) for word in words])
    told = capsys.readouterr()
    return status, told.out, told.err


def refused(capsys, folder, *words):
    """A refusal: one line, status 1, nothing left."""
    before = sorted(os.listdir(folder))
    status, out, err = call(capsys, *words)
    assert status == 1
    assert out == ""
    assert err.count("\n") == 1
    assert 20 < len(err) <= 301
    assert "Traceback" not in err
    assert sorted(os.listdir(folder)) == before
    return err


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha", "a.mhd"])
def test_convert_keeps_hu_and_geometry(capsys, series, tmp_path, name):
    status, out, _ = call(capsys, "convert", series, tmp_path / name)
    assert status == 0
    assert "40 x 80 x 80 voxels of 7.5 x 4.5 x 4.5 mm" in out
    source, made = hilum.read(series).ct, hilum.read(tmp_path / name).ct
    assert np.array_equal(source.array, made.array)
    assert made.geometry.isclose(source.geometry)


def test_lungs_and_nodules_lie_on_the_scans_own_grid(capsys, series, annotations, phantom, tmp_path):
    assert call(capsys, "lungs", series, tmp_path / "lungs.nii.gz")[0] == 0
    assert call(capsys, "nodules", series, annotations, tmp_path / "nodules.nii.gz")[0] == 0
    lungs, nodules = (hilum.read(tmp_path / f"{name}.nii.gz").ct for name in ("lungs", "nodules"))
    for made in (lungs, nodules):
        assert made.geometry.isclose(phantom.scan.ct.geometry)
    assert set(np.unique(lungs.array)) == {0, 1, 2}
    assert set(np.unique(nodules.array)) == set(range(len(phantom.scan.nodules) + 1))
    for number, nodule in enumerate(phantom.scan.nodules, start=1):
        voxel = tuple(np.rint(nodules.geometry.world_to_index(nodule.center)).astype(int))
        assert nodules.array[voxel] == number


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha", "a.mhd"])
def test_a_converted_scan_still_finds_its_annotations(capsys, series, annotations, phantom, tmp_path, name):
    call(capsys, "convert", series, tmp_path / name)
    assert hilum.read(tmp_path / name).series_uid == hilum.read(series).series_uid
    image = sitk.ReadImage(tmp_path / name)  # the extra key disturbs nobody else
    assert image.GetSize() == phantom.scan.ct.shape[::-1]
    assert call(capsys, "nodules", tmp_path / name, annotations, tmp_path / "mask.nrrd")[0] == 0
    assert set(np.unique(hilum.read(tmp_path / "mask.nrrd").ct.array)) == set(range(len(phantom.scan.nodules) + 1))


def test_a_scan_of_unknown_series_gets_no_annotations_by_chance(capsys, series, annotations, phantom, tmp_path):
    hilum.write(phantom.scan.ct, tmp_path / "mine.nii", series_uid="../../not a uid")
    assert hilum.read(tmp_path / "mine.nii").series_uid.startswith("no-uid-")
    err = refused(capsys, tmp_path, "nodules", tmp_path / "mine.nii", annotations, tmp_path / "mask.nii")
    assert "--series-uid" in err
    uid = hilum.read(series).series_uid
    words = ("nodules", tmp_path / "mine.nii", annotations, tmp_path / "mask.nii", "--series-uid", uid)
    assert call(capsys, *words)[0] == 0


def test_run_info_stats_and_recipe_answer(capsys, series, annotations, tmp_path):
    (tmp_path / "mine.toml").write_text('name = "mine"\n[resample]\nspacing_mm = 5.0\n')
    words = ("--recipe", tmp_path / "mine.toml", "--format", "npy", "--annotations", annotations)
    status, out, _ = call(capsys, "run", series, "--out", tmp_path / "out", *words)
    assert status == 0
    assert "1 scan: 1 " in out
    (done,) = (tmp_path / "out" / "scans").iterdir()
    assert sorted(os.listdir(done)) == sorted(
        [f"{name}.{kind}" for name in ("ct", "lungs", "nodules") for kind in ("json", "npy")]
        + ["preview.json", "preview.png", "scan.json"]
    )
    assert np.load(done / "ct.npy").dtype == np.int16
    status, out, _ = call(capsys, "stats", tmp_path / "out", "--json")
    assert (status, json.loads(out)["scans"]) == (0, 1)
    assert "mean" in call(capsys, "stats", tmp_path / "out")[1]
    status, out, _ = call(capsys, "info", series, "--json")
    assert (status, json.loads(out)[0]["slices"]) == (0, 40)
    assert "can be read" in call(capsys, "info", series)[1]
    assert call(capsys, "recipe", "list")[1].split() == ["default", "tutorial2017", "luna16"]
    assert "[resample]" in call(capsys, "recipe", "show", "luna16")[1]
    assert "valid" in call(capsys, "recipe", "check", tmp_path / "mine.toml")[1]


def test_bad_input_is_one_line_and_nothing_is_left(capsys, series, annotations, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "readme.txt").write_text("no scan here")
    (tmp_path / "wrong.nii.gz").write_bytes(b"this is no gzip")
    (tmp_path / "wrong.mhd").write_bytes(b"\x00\x01\x02")
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.4 nothing")
    call(capsys, "convert", series, tmp_path / "whole.nii")
    whole = (tmp_path / "whole.nii").read_bytes()
    (tmp_path / "cut.nii").write_bytes(whole[: len(whole) // 2])
    for name in ("gone", "empty", "junk", "wrong.nii.gz", "wrong.mhd", "report.pdf", "cut.nii"):
        for command in ("convert", "lungs"):
            refused(capsys, work, command, tmp_path / name, work / "out.nii.gz")
        refused(capsys, work, "nodules", tmp_path / name, annotations, work / "out.nii.gz")
    for name in ("gone", "empty", "junk"):
        refused(capsys, work, "run", tmp_path / name, "--out", work / "out")
        refused(capsys, work, "info", tmp_path / name)
    refused(capsys, work, "convert", series, work / "out.jpg")
    refused(capsys, work, "convert", series, work / "no" / "such" / "folder.nii")
    refused(capsys, work, "convert", series, work / "out.nii", "--series", "1.2.3")
    refused(capsys, work, "nodules", series, tmp_path / "gone.csv", work / "out.nii")
    refused(capsys, work, "run", series, "--out", work / "out", "--recipe", "nosuch")
    refused(capsys, work, "recipe", "check", tmp_path / "gone.toml")
    refused(capsys, work, "stats", tmp_path / "empty")


def test_a_refused_scan_of_a_run_leaves_a_ledger_and_no_scan(capsys, series, tmp_path):
    call(capsys, "convert", series, tmp_path / "whole.nii")
    (tmp_path / "cut.nii").write_bytes((tmp_path / "whole.nii").read_bytes()[:5000])
    status, _, err = call(capsys, "run", tmp_path / "cut.nii", "--out", tmp_path / "out")
    assert status == 1
    assert err.count("\n") == 1
    assert os.listdir(tmp_path / "out" / "scans") == []
    row = json.loads((tmp_path / "out" / "ledger.jsonl").read_text())
    assert row["status"] == "refused"
    assert row["reason"]


@pytest.mark.parametrize(
    "words",
    [
        ["bogus"],
        ["run"],
        ["convert", "a"],
        ["run", "a", "--out", "b", "--format", "x"],
        ["lungs", "a", "b.nii", "--method", "x"],
    ],
)
def test_usage_is_status_two_and_one_line(capsys, words):
    status, out, err = call(capsys, *words)
    assert (status, out, err.count("\n")) == (2, "", 1)


def examples():
    """Each command with the words of its example, those of groups too."""
    for command in (one for commands in TASKS.values() for one in commands):
        yield from ((member, f"{command.name} {member.name}") for member in command.members)
        yield command, command.name


@pytest.mark.parametrize(("command", "name"), [pytest.param(*one, id=one[1]) for one in examples()])
def test_the_example_of_each_help_is_one_that_is_understood(capsys, command, name):
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    example = f"hilum {name} {command.example}".strip()
    assert " ".join(shown.splitlines()[-2:]).strip().endswith(f"Example: {example}")
    called, bound, _ = program(name.split()[0]).parse_args(example.split()[1:], exit_on_error=False, print_error=False)
    assert callable(called)
    assert bound.arguments or not command.example


def test_commands_stand_in_the_help_by_task_and_run_first(capsys):
    assert main(["--help"]) == 0
    words = re.findall(r"^│ (\w+) |^╭─ ([^─]+) ─", capsys.readouterr().out, re.MULTILINE)
    order = ["".join(word) for word in words]
    assert order[:2] == ["Prepare scans", "run"]
    assert order[-1] == "Options"
    assert [title for title in order if title in TASKS] == [*TASKS]


def test_short_options(capsys, series, tmp_path):
    assert main(["-V"]) == 0
    assert capsys.readouterr().out.strip() == hilum.__version__
    assert main(["convert", str(series), "-o", str(tmp_path / "a.npy")]) == 0
    assert main(["convert", str(series), str(tmp_path / "b.npy")]) == 0
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_an_error_of_usage_names_the_help_of_its_command(capsys):
    assert main(["plot", "montage"]) == 2
    assert capsys.readouterr().err.strip().endswith("; see 'hilum plot montage --help'")
    assert main(["nosuch"]) == 2
    assert capsys.readouterr().err.strip().endswith("; see 'hilum --help'")


def test_lines_of_a_paragraph_are_joined_and_nothing_else():
    text = "First\n    line.\n"
    assert join_lines("A sum\nof two.\n\nParameters\n----------\nout\n    Where\n    to.\nin\n    What.\n") == (
        "A sum of two.\n\nParameters\n----------\nout\n    Where to.\nin\n    What."
    )
    assert join_lines(join_lines(text)) == join_lines(text)
    assert join_lines("") == ""


def test_quiet_verbose_and_a_log(capsys, series, tmp_path):
    log, words = tmp_path / "log.txt", ["run", str(series), "--out", str(tmp_path / "out")]
    assert main([*words, "--verbose", "--log", str(log)]) == 0
    told = capsys.readouterr()
    (verbose,) = [line for line in told.err.splitlines() if re.fullmatch(r"ct-\w+: (done|repaired), \d+\.\d s", line)]
    lines = log.read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines] == [*told.err.splitlines(), *told.out.splitlines()]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d ", line) for line in lines)
    assert main(["--quiet", *words, f"--log={log}"]) == 0
    quiet = capsys.readouterr()
    assert (quiet.err, "1 unchanged" in quiet.out) == ("", True)
    assert len(log.read_text().splitlines()) > len(lines)
    assert main(["--quiet", "convert", str(tmp_path / "none"), str(tmp_path / "a.npy")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert verbose


def test_a_log_that_cannot_be_written_is_refused_in_one_line(capsys, series, tmp_path):
    assert main(["info", str(series), "--log", str(tmp_path / "none" / "log.txt")]) == 1
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert "the log cannot be written" in told.err


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(hilum.MissingInputError):
        cli.main(["convert", str(tmp_path / "gone"), str(tmp_path / "a.nii"), "--debug"])


def test_what_nobody_foresaw_is_one_line_too(capsys, series, tmp_path, monkeypatch):
    def broken(*_args, **_options):
        raise ZeroDivisionError("a\nbug")

    monkeypatch.setitem(FORMATS, ".nii", replace(FORMATS[".nii"], write=broken))
    err = refused(capsys, tmp_path, "convert", series, tmp_path / "a.nii")
    assert "ZeroDivisionError: a bug" in err
    with pytest.raises(ZeroDivisionError):
        cli.main(["convert", str(series), str(tmp_path / "a.nii"), "--debug"])


def test_the_installed_command_answers(tmp_path):
    done = subprocess.run([sys.executable, "-m", "hilum.cli", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for name in ("run", "convert", "lungs", "nodules", "info", "stats", "demo", "recipe"):
        assert name in done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "hilum.cli", "convert", tmp_path / "gone", "a.nii"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no such file or folder" in done.stderr
    assert os.listdir(tmp_path) == []
