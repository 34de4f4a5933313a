"""A run folder that a stranger made: no command writes outside of it, hangs, or ends in a traceback."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import hostile_runs
import msgspec
import numpy as np
import pytest

from hilum.batch import convert
from hilum.cli import main
from hilum.outputs.finished import read_record
from hilum.outputs.ledger import Row, decode_row, encode_row
from hilum.outputs.records import is_plain_name

TRIES = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return hostile_runs.prepare(tmp_path_factory.mktemp("hostile") / "h")


@pytest.fixture
def run(made, tmp_path):
    import shutil

    (tmp_path / "victim").write_bytes(b"precious")
    return Path(shutil.copytree(made / "run", tmp_path / "case" / "run"))


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr("hilum.batch.convert.make_rows", convert.make_rows)
    hostile_runs.stay_in_this_process()


def test_spoiled_runs_do_no_harm(made):
    words = [sys.executable, hostile_runs.__file__, str(made), "1", "0", str(TRIES), "1"]
    environment = {name: value for name, value in os.environ.items() if name != "HILUM_KERNEL_SIGNATURES"}  # a file
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, (done.stdout[-500:], done.stderr[-2000:])
    verdicts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(verdicts) == TRIES
    assert [verdict for verdict in verdicts if verdict[2]] == []


def test_the_judge_sees_what_it_looks_for(made, tmp_path, monkeypatch):
    """Were a command to write outside, or to break, the verdict says so."""
    watch = hostile_runs.Watch()
    watch.allowed = (str(tmp_path.resolve()),)
    watch.saw("open", (str(tmp_path / "in"), "w", 0))
    watch.saw("open", (str(tmp_path / ".." / "out"), "w", 0))
    watch.saw("os.rename", (str(tmp_path / "a"), str(tmp_path.parent / "b")))
    (tmp_path / "link").symlink_to(tmp_path.parent / "victim")
    watch.saw("open", (str(tmp_path / "link"), None, os.O_WRONLY))
    watch.saw("open", (str(tmp_path.parent / "read"), "r", os.O_RDONLY))
    outside = tmp_path.parent.resolve()
    assert watch.outside == [f"open {outside / 'out'}", f"os.rename {outside}", f"open {outside / 'victim'}"]
    assert hostile_runs.unfit("a\x1b[2Jb")
    assert hostile_runs.unfit("x" * 302)
    assert not hostile_runs.unfit("x" * 300)
    monkeypatch.setattr("hilum.verify.verify", lambda _: 1 / 0)
    assert "ZeroDivisionError" in hostile_runs.call(["verify", str(made / "run")])[1]
    fits = made / "run" / "scans" / hostile_runs.SCAN
    assert read_record(fits) is not None
    assert hostile_runs.change({"a": [1]}, random.Random(1))  # noqa: S311 - no secret


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", ["../../../victim", "/etc/passwd", "a/../../b", "", "a//b", "./a", "..", "a\n", ".x"])
def test_a_name_that_leads_out_is_no_record(run, name):
    folder = run / "scans" / hostile_runs.SCAN
    told = json.loads((folder / "scan.json").read_text())
    told["files"][name] = {"bytes": 8, "sha256": "0" * 64}
    (folder / "scan.json").write_text(json.dumps(told))
    assert read_record(folder) is None
    hostile_runs.make_fit(run)
    assert main(["store", str(run), "--format", "nifti", "--out", str(run.parent / "made")]) == 1
    assert (run.parent.parent / "victim").read_bytes() == b"precious"
    assert not is_plain_name(name, max_parts=12)


def test_an_id_that_leads_out_is_no_row():
    row = Row(id="../../x", status="done")
    assert decode_row(encode_row(row)) is None
    assert decode_row(encode_row(msgspec.structs.replace(row, id="ct-x"))) is not None


@pytest.mark.parametrize("name", ["ledger.jsonl", ".lock", "scans"])
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_nothing_is_written_through_a_link(made, run, name, kind, capsys):
    victim = run.parent.parent / "victim"
    path = run / name
    if name == "scans":
        if kind == "hard":
            pytest.skip("a folder has one name")
        path.rename(run.parent / "elsewhere")
        path.symlink_to(run.parent / "elsewhere")
    else:
        path.unlink(missing_ok=True)
        path.symlink_to(victim) if kind == "symbolic" else os.link(victim, path)
    inputs, recipe = str(made / "in"), str(made / "recipe.toml")
    status = main(["run", inputs, "--out", str(run), "--recipe", recipe, "--workers", "1"])
    told = capsys.readouterr().err.splitlines()[-1]
    assert (status, victim.read_bytes()) == (1, b"precious")
    assert "link" in told or "second name" in told
    assert path.is_symlink() or kind == "hard"


@pytest.mark.parametrize("name", ["../secret.npy", "/etc/hostname"])
@pytest.mark.parametrize("place", ["index.csv", "summary.json"])
def test_patches_read_no_file_outside_their_folder(tmp_path, name, place):
    from training_inputs import make_run

    from hilum.errors import FormatError
    from hilum.train.folder import PatchFolder
    from hilum.train.patches import PatchOptions, write_patches

    made = tmp_path / "patches"
    write_patches(make_run(tmp_path / "run"), made, PatchOptions(size=16, negatives=1))
    held = PatchFolder(made).rows[0]["images"]
    np.save(tmp_path / "secret.npy", np.load(made / held))
    path = made / place
    before = hashlib.sha256((made / "index.csv").read_bytes()).hexdigest()
    size = (made / "index.csv").stat().st_size
    path.write_text(path.read_text().replace(held, name))
    told = json.loads((made / "summary.json").read_text())
    fitting = (made / "index.csv").read_bytes()
    text = json.dumps(told).replace(before, hashlib.sha256(fitting).hexdigest())
    (made / "summary.json").write_text(text.replace(f'"bytes": {size},', f'"bytes": {len(fitting)},'))
    with pytest.raises(FormatError, match="names a file that"):
        PatchFolder(made)


def test_a_recipe_that_is_a_pipe_is_waited_for_by_nobody(tmp_path, capsys):
    os.mkfifo(tmp_path / "recipe.toml")
    assert main(["recipe", "check", str(tmp_path / "recipe.toml")]) == 1
    assert "is not a regular file; give a .toml file" in capsys.readouterr().err


def test_a_recipe_that_is_no_text_is_refused(run, capsys):
    path = run / "recipe.toml"
    path.write_bytes(path.read_bytes() + b"# \x91\n")
    hostile_runs.make_fit(run)
    assert main(["store", str(run), "--format", "nifti", "--out", str(run.parent / "made")]) == 1
    assert "recipe.toml: is not UTF-8 text" in capsys.readouterr().err
