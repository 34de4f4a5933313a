"""The last lines of a run tell what was changed, what is to be checked, what did not come out, and what to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_runs import rewrite_ledger

import hilum
from hilum import batch, cli
from hilum.errors import InputError
from hilum.outputs.ledger import Row, encode_row, read_ledger
from hilum.phantom.chest import make_phantom
from hilum.progress import RunCounts, reason_line
from hilum.recipes import RECIPES, parse_recipe, recipe_fingerprint
from hilum.scan import Note
from hilum.viewer.sources import open_source

COARSE = "[resample]\nspacing_mm = 8.0\n"

FINGERPRINTS = {
    "default": "6fcac5ebae1edd4503b6f34b7123f7502a2885bff56aa8f9e600eb03a9d5bc39",
    "tutorial2017": "a914e0453a5938ae6b6e1511ba7b53385b3da7f514f7b03836429b1b6f2ccc13",
    "luna16": "ba0b38cd1af9d067c06e65717482d4e75e88800aa9ee48859d15130f59c93215",
}
"""Of the recipes that ship, before they had a section ``quality``: runs that were finished then stay valid."""


@pytest.fixture(scope="module")
def chest():
    return make_phantom(seed=1, shape=(48, 96, 96), spacing=(6.25, 4.0, 4.0)).scan


def head_of(chest):
    """A scan of a head's kind: a ball of soft tissue in air, with no lung in it."""
    z, y, x = np.ogrid[:48, :96, :96]
    ball = ((z - 24) * 6.25) ** 2 + ((y - 48) * 4) ** 2 + ((x - 48) * 4) ** 2 < 90**2
    noise = np.random.default_rng(0).normal(0, 15, ball.shape)
    hu = np.where(ball, 35, -1000) + noise
    return hilum.Volume(hu.astype(np.int16), chest.ct.geometry)


@pytest.fixture
def inputs(chest, tmp_path):
    """A chest, a head, and a file that is none; a recipe that is quick, one that refuses alarms."""
    root = tmp_path / "in"
    root.mkdir()
    hilum.write(chest.ct, root / "1.2.826.0.1.1.mhd")
    hilum.write(head_of(chest), root / "1.2.826.0.1.2.mhd")
    (root / "1.2.826.0.1.3.mhd").write_text("no header")
    (tmp_path / "keep.toml").write_text(COARSE)
    (tmp_path / "refuse.toml").write_text(COARSE + '[quality]\nalarms = "refuse"\n')
    return root


def run(capsys, *words):
    status = cli.main(["run", *map(str, words)])
    told = capsys.readouterr()
    return status, told.out.splitlines(), told.err


def lone(inputs, name):
    """Leave one scan of the folder."""
    for path in inputs.iterdir():
        if not path.name.startswith(name):
            path.unlink()


# ---- a whole run


def test_a_scan_without_lungs_is_to_check_and_the_next_step_is_named(inputs, tmp_path, capsys):
    lone(inputs, "1.2.826.0.1.2")
    out = tmp_path / "out"
    words = (inputs, "--out", out, "--recipe", tmp_path / "keep.toml", "--workers", 1)
    status, lines, _ = run(capsys, *words)
    assert status == 0
    assert lines[0].startswith(f"{out}: 1 scan: 1 done, in ")
    assert lines[1:] == [f"to check: 1 (lungs-not-found 1): hilum report {out}"]
    (row,) = read_ledger(out).values()
    assert (row.status, row.alarms) == ("done", ["lungs-not-found"])
    status, lines, _ = run(capsys, *words, "--strict")
    assert status == 1
    assert ": 1 scan: 1 done (0 new, 1 unchanged), in " in lines[0]
    assert lines[1].startswith("to check: 1 (lungs-not-found 1)")
    status, lines, _ = run(capsys, *words, "--json")
    told = json.loads(lines[0])
    assert (status, told["to_check"], told["alarms"]) == (0, 1, {"lungs-not-found": 1})
    assert (told["made"], told["kept"], told["done"], told["repaired"]) == (0, 1, 1, 0)


def test_a_run_tells_what_is_new_what_was_kept_and_what_was_refused(inputs, tmp_path, capsys):
    out = tmp_path / "out"
    words = ("--out", out, "--recipe", tmp_path / "keep.toml", "--workers", 1)
    run(capsys, inputs / "1.2.826.0.1.1.mhd", *words)
    status, lines, err = run(capsys, inputs, *words)
    assert status == 1
    assert lines[0].startswith(f"{out}: 3 scans: 2 done, 1 refused (1 new, 1 unchanged), in ")
    assert lines[1].startswith("to check: 1 (lungs-not-found 1): hilum report ")
    assert lines[2].startswith("refused: format 1 (")
    assert f"{inputs / '1.2.826.0.1.3.mhd'}: " in lines[2] or "ct-" in lines[2]
    assert not any("report" in line for line in lines[2:])
    assert "format" not in lines[1]
    assert all(len(line) <= 300 for line in lines)
    assert "lungs-not-found" in err
    (inputs / "1.2.826.0.1.1.mhd").touch()  # another time, the same content: looked at again, and still not made again
    assert "(0 new, 2 unchanged)" in run(capsys, inputs, *words)[1][0]


def test_a_note_that_changes_nothing_leaves_a_scan_done(inputs, tmp_path, capsys):
    lone(inputs, "1.2.826.0.1.1")
    path = inputs / "1.2.826.0.1.1.raw"
    path.write_bytes(path.read_bytes() + bytes(8))
    (tmp_path / "annotations.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.826.0.1.1,,,,\n")
    words = ("--annotations", tmp_path / "annotations.csv", "--recipe", tmp_path / "keep.toml", "--workers", 1)
    status, lines, err = run(capsys, inputs, "--out", tmp_path / "out", *words)
    assert status == 0
    assert "trailing-bytes" in err
    assert "1 scan: 1 done" in lines[-1]


def test_a_program_gets_its_line_where_every_input_is_refused(tmp_path, capsys):
    words = (tmp_path / "gone", "--out", tmp_path / "out")
    status, lines, err = run(capsys, *words)
    assert (status, lines, len(err.splitlines())) == (1, [], 1)
    status, lines, _ = run(capsys, *words, "--json")
    told = json.loads(lines[0])
    assert (status, told["in"], told["refused"], told["codes"]) == (1, 1, 1, {"refused/missing": 1})
    assert not (tmp_path / "out").exists()


def test_a_recipe_can_refuse_what_is_probably_wrong(inputs, tmp_path, capsys):
    out = tmp_path / "out"
    words = (inputs, "--out", out, "--workers", 1, "--recipe")
    status, lines, err = run(capsys, *words, tmp_path / "refuse.toml")
    assert status == 1
    assert ": 3 scans: 1 done, 2 refused, in " in lines[0]
    assert lines[1].startswith("refused: format 1, lungs-not-found 1 (")
    rows = {row.code: row for row in read_ledger(out).values()}
    told = rows["lungs-not-found"]
    assert told.status == "refused"
    assert "no lung was found" in told.reason
    assert "quality.alarms" in told.reason
    assert f"{told.id}: {inputs / '1.2.826.0.1.2.mhd'}: lungs-not-found: no lung was found" in err
    assert [path.name for path in (out / "scans").iterdir()] == [rows[""].id]
    assert "holds results of another recipe" in run(capsys, *words, tmp_path / "keep.toml")[2]


def test_a_run_stored_again_ends_with_the_same_words(inputs, tmp_path, capsys):
    run(capsys, inputs, "--out", tmp_path / "out", "--recipe", tmp_path / "keep.toml", "--workers", 1)
    words = ["store", str(tmp_path / "out"), "--format", "npy", "--workers", "1"]
    for kept in ("", " (0 new, 2 unchanged)"):
        assert cli.main(words) == 1
        lines = capsys.readouterr().out.splitlines()
        target = tmp_path / "out-npy"
        assert lines[0].startswith(f"{target}: 3 scans: 2 done, 1 refused{kept}, in ")
        assert lines[1] == f"to check: 1 (lungs-not-found 1): hilum report {target}"
        assert lines[2].startswith("refused: format 1 (")


def test_rows_of_before_get_the_status_and_alarms_of_now(inputs, tmp_path):
    lone(inputs, "1.2.826.0.1.2")
    recipe = parse_recipe(COARSE)
    refs, _ = batch.index([inputs])
    (new,) = batch.run(refs, recipe, tmp_path / "out")
    rewrite_ledger(tmp_path / "out", [replace_row(new, status="repaired", alarms=[])])
    (row,) = batch.run(refs, recipe, tmp_path / "out")
    assert (row.status, row.alarms, row.kept) == ("done", ["lungs-not-found"], True)
    assert read_ledger(tmp_path / "out") == {new.id: new}


def replace_row(row, **values):
    return Row(**{**{name: getattr(row, name) for name in row.__struct_fields__}, **values})


# ---- what is an alarm, and what a recipe does with it


def test_a_nodule_beside_the_lungs_is_an_alarm(chest):
    recipe = parse_recipe("[resample]\ngrid = 'native'\n")
    z, y, _ = chest.ct.shape
    corner = chest.ct.geometry.index_to_world((z / 2, y / 2, 4.0))  # in the air beside the patient
    stray = hilum.Nodule(tuple(corner.tolist()), 20.0)
    found = hilum.preprocess(replace(chest, nodules=(*chest.nodules[:1], stray), annotated=True), recipe)
    told = [note.text for note in found.notes if note.code == "nodule-beside-lungs"]
    assert told == ["less than half of the nodule lies in the lung mask: 2"]


def test_a_refusal_names_every_alarm_and_takes_the_code_of_the_first(chest):
    notes = (Note("no-nodules", "none"), Note("not-hu", "gray values"))
    odd = replace(chest, ct=head_of(chest), nodules=(), notes=notes)
    with pytest.raises(InputError) as caught:
        hilum.preprocess(odd, parse_recipe(COARSE + '[quality]\nalarms = "refuse"\n'))
    assert caught.value.code == "not-hu"
    assert "gray values; also lungs-not-found" in str(caught.value)
    assert len(str(caught.value)) <= 300
    assert hilum.preprocess(odd, parse_recipe(COARSE)).lungs is not None


def test_recipes_are_the_same_as_before_they_could_refuse():
    assert {name: recipe_fingerprint(one) for name, one in RECIPES.items()} == FINGERPRINTS
    refuse = parse_recipe('[quality]\nalarms = "refuse"\n')
    assert recipe_fingerprint(refuse) != FINGERPRINTS["default"]


def test_the_viewer_calls_a_scan_repaired_only_where_it_was_changed(chest, tmp_path):
    hilum.write(chest.ct, tmp_path / "1.2.826.0.1.1.mhd")
    (tmp_path / "none.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n9.9,0,0,0,5\n")
    source = open_source(tmp_path / "1.2.826.0.1.1.mhd", annotations=tmp_path / "none.csv")
    (item,) = source.items
    assert (item.row["status"], item.row["flags"]) == ("done", ["no-rows"])


# ---- the lines


def row(name, status="done", *, code="", **values):
    return Row(id=name, status=status, code=code, reason=f"because of {code}" if code else "", **values)


def test_the_lines_are_those_of_the_guide():
    tally = RunCounts(12)
    for k in range(9):
        tally.add(row(f"d{k}", alarms=["one-lung"] if k == 8 else [], notes=["no-nodules: none"], kept=k < 3))
    tally.add(row("r", "repaired", notes=["missing-slices: 1 made", "no-nodules: none"], alarms=["lungs-not-found"]))
    tally.add(row("ct-1", "refused", code="gantry-tilt", full_reason="P007/CT: tilted"))
    tally.add(row("ct-2", "failed", code="timeout"))
    first, *rest = tally.summary(Path("OUT"))
    assert first.startswith("OUT: 12 scans: 9 done, 1 repaired, 1 refused, 1 failed (7 new, 3 unchanged), in ")
    assert rest == [
        "repaired: missing-slices 1",
        "to check: 2 (lungs-not-found 1, one-lung 1): hilum report OUT",
        "refused: gantry-tilt 1 (ct-1: P007/CT: tilted)",
        "failed: timeout 1 (ct-2: because of timeout)",
    ]
    assert tally.progress_text() == "9 done, 1 repaired, 1 refused, 1 failed, 2 to check"


def test_lines_are_short_whatever_they_name(tmp_path):
    out = tmp_path / ("o" * 200) / "a b"
    tally = RunCounts(9)
    long = "/".join(["a folder of somebody"] * 12)
    for k in range(9):
        tally.add(row(f"ct-{k}", "refused", code=f"code-{k % 5}", full_reason=f"{long}: {'why ' * 20}"))
    first, told = tally.summary(out)
    assert len(first) <= 300
    assert len(told) <= 300
    assert told.startswith("refused: code-0 2, code-1 2, code-2 2, and 2 more (ct-0: because of code-0)")
    assert told.endswith("hilum report'")


def test_a_folder_with_a_space_is_quoted_for_the_shell():
    tally = RunCounts(1)
    tally.add(row("a", alarms=["leak"]))
    assert tally.summary(Path("my out"))[1].endswith(": hilum report 'my out'")


def test_what_a_screen_needs_is_not_written():
    line = encode_row(row("a", kept=True, full_reason="P007: no"))
    assert b"kept" not in line
    assert b"P007" not in line
    assert reason_line(row("input-1", "refused", code="x", full_reason="gone: nothing")) == "gone: nothing"
