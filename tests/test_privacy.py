"""What leaves: names of files by an allow-list, the series UID by choice, and no cell that a spreadsheet computes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import uuid
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from small_runs import everything, finished_scans

import hilum
from hilum import batch, cli
from hilum.datasets import DATASETS
from hilum.errors import FormatError, InputError
from hilum.export.boxes import write_boxes_csv, write_coco3d
from hilum.export.seg import write_segmentations
from hilum.io.annotations.csv_tables import plain_cell, safe_cells
from hilum.io.names import hashed_uid, hide_uids, is_uid, safe_name, scrub
from hilum.outputs.dataset_summary import read_summary
from hilum.outputs.ledger import encode_row, read_ledger
from hilum.outputs.reasons import crash_reason, reason_without_names
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series, write_luna16
from hilum.recipe_sections import Output
from hilum.recipes import Recipe, parse_recipe, recipe, recipe_fingerprint
from hilum.train.patch_records import PatchOptions
from hilum.train.patches import write_patches
from hilum.train.slices import write_slices

NAMES = re.compile(rb"qzxsmith|qzxjohn", re.IGNORECASE)
HIDE = '[output]\nformat = "{}"\nseries_uid = "hash"\n[resample]\nspacing_mm = 4.0\n'


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(seed=3, shape=(40, 80, 80), spacing=(7.5, 4.5, 4.5))


def smiths(folder):
    return {found for data in everything(folder) for found in NAMES.findall(data)}


@pytest.mark.parametrize(
    "name",
    [
        *("000123.dcm", "1-001.dcm", "IM000123", "IM-0001-0012.dcm", "slice_007.dcm", "a.mha", "ct.nii.gz", "068.xml"),
        *("1.3.6.1.4.1.14519.5.2.dcm", "CT.1.2.840.113619.2.dcm", "LIDC-IDRI-0001", "annotations.csv", "DICOMDIR"),
        *("0a3e5f00112233445566778899aabbcc", "export.log", "subset3", "Thumbs.db", "LNDb-0001.mhd"),
    ],
)
def test_a_name_that_a_program_made_is_shown(name):
    assert safe_name(f"some/folder/{name}") == name


@pytest.mark.parametrize(
    "name",
    [
        *("SMITH_JOHN_001.dcm", "SMITH_JOHN.nii.gz", "Smith", "adele.dcm", "mri_smith.nii", "doe.raw", "a.SMITH", ""),
        *("19330517.dcm", "330517.dcm", "17.05.1933.dcm", "17-05-1933.dcm", "12345678901234567.dcm", "ct_smith_1.dcm"),
        *("IM1\n", "IM1 Smith.dcm", "1.2.840.113619.2.Smith.dcm", "LIDC-IDRI-0001-Smith.xml", "\x1b[2J.dcm"),
    ],
)
def test_any_other_name_is_not(name):
    assert safe_name(f"IM0001/{name}") == ""


@pytest.fixture
def smith(phantom, tmp_path):
    """A series whose files are called after the patient, in a folder that is too, beside files that are no slices."""
    made = write_dicom_series(phantom, tmp_path / "made", series_uid="1.2.826.0.1.77")
    place = tmp_path / "QZXSMITH_QZXJOHN" / "QZXSMITH study"
    place.mkdir(parents=True)
    for k, path in enumerate(sorted(made.iterdir())):
        shutil.copy(path, place / f"QZXSMITH_QZXJOHN_{k:03d}.dcm")
    (place / "QzxSmith QzxJohn letter.txt").write_text("dear colleague")
    scout = pydicom.dcmread(place / "QZXSMITH_QZXJOHN_003.dcm")
    scout.ImageType, scout.SOPInstanceUID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], "1.2.826.0.1.78"
    scout.save_as(place / "QZXSMITH_QZXJOHN_scout.dcm")
    shutil.copy(place / "QZXSMITH_QZXJOHN_005.dcm", place / "QZXSMITH_QZXJOHN_005 copy.dcm")
    return place


def cut(path):
    path.write_bytes(path.read_bytes()[:-500])


def test_no_name_of_a_dicom_file_is_in_an_output(smith, tmp_path, capsys):
    out, coarse = tmp_path / "out", tmp_path / "coarse.toml"
    coarse.write_text("[resample]\nspacing_mm = 4.0\n")
    words = ["run", str(smith.parent), "--out", str(out), "--workers", "1", "--hide-paths", "--recipe", str(coarse)]
    assert cli.main(words) == 0
    assert cli.main(["report", str(out)]) == 0
    (row,) = read_ledger(out).values()
    files = sorted(path.name for path in smith.iterdir())
    letter, scout = (1 + files.index(name) for name in ("QzxSmith QzxJohn letter.txt", "QZXSMITH_QZXJOHN_scout.dcm"))
    assert f"ignored-files: 1 files that are not DICOM ignored: file {letter} of {len(files)}" in row.notes
    assert any(note.endswith(f"(localizer): file {scout} of {len(files)}") for note in row.notes)
    assert any(note.startswith("duplicate-slices: 1") for note in row.notes)
    assert smiths(out) == set()
    assert "QZXSMITH_QZXJOHN_003" not in capsys.readouterr().err


def missing(place):
    for k in range(5, 12):
        (place / f"QZXSMITH_QZXJOHN_{k:03d}.dcm").unlink()


def truncated(place):
    cut(place / "QZXSMITH_QZXJOHN_000.dcm")


def without_position(place):
    one = pydicom.dcmread(place / "QZXSMITH_QZXJOHN_002.dcm")
    del one.ImagePositionPatient
    one.save_as(place / "QZXSMITH_QZXJOHN_002.dcm")


def conflicting(place):
    one = pydicom.dcmread(place / "QZXSMITH_QZXJOHN_005 copy.dcm")
    one.PixelData = bytes(len(one.PixelData))
    one.save_as(place / "QZXSMITH_QZXJOHN_005 copy.dcm")


@pytest.mark.parametrize("spoil", [missing, truncated, without_position, conflicting])
def test_a_refusal_tells_the_person_the_path_and_the_ledger_no_name(smith, tmp_path, capsys, spoil):
    spoil(smith)
    out = tmp_path / "out"
    assert cli.main(["run", str(smith), "--out", str(out), "--workers", "1", "--hide-paths"]) == 1
    (row,) = read_ledger(out).values()
    assert row.status == "refused"
    assert len(row.reason) > 20
    assert re.search(r"file \d+ of \d+", row.reason)
    assert smiths(out) == set()
    assert str(smith.parent)[-30:] in capsys.readouterr().err


def test_info_names_the_files_to_the_person_who_holds_them(smith, capsys):
    assert cli.main(["info", str(smith)]) == 0
    assert "            QzxSmith QzxJohn letter.txt" in capsys.readouterr().out.splitlines()


def test_a_volume_file_gives_its_name_to_no_output(phantom, tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    for name in ("QZXSMITH_QZXJOHN.nii.gz", "QzxSmith QzxJohn.nrrd", "QZXSMITH.mha", "17.5.1933.mhd"):
        hilum.write(phantom.scan.ct, root / name)
    assert hilum.read(root / "QZXSMITH_QZXJOHN.nii.gz").series_uid.startswith("no-uid-")
    plain = (root / "17.5.1933.mhd").read_text()
    (root / "QZXSMITH_short.mhd").write_text(plain.replace("17.5.1933.raw", "QZXSMITH gone.raw"))
    (root / "QzxJohn.nii").write_bytes(b"nothing like it" * 50)
    (root / "QzxSmith odd.mhd").write_text(plain.replace("MET_SHORT", "QZXSMITH^QZXSMITH"))
    found = batch.survey([root, tmp_path / "QZXSMITH gone"])
    recipe = parse_recipe("[resample]\nspacing_mm = 4.0\n")
    rows = list(batch.process(found.refs, recipe, tmp_path / "out", refused=found.refused, full_paths=False))
    assert sorted(row.status.replace("repaired", "done") for row in rows) == ["done"] * 4 + ["refused"] * 4
    assert smiths(tmp_path / "out") == set()
    assert b"17.5.1933" not in b"".join(everything(tmp_path / "out"))
    shown = [row.full_reason for row in rows if row.status == "refused"]
    assert all("in/" in text or "QZXSMITH gone" in text for text in shown)
    assert all("shown" not in json.loads(encode_row(row)) for row in rows)


def test_a_refused_input_is_no_news_twice(tmp_path):
    found = batch.survey([tmp_path / "QZXSMITH"])
    batch.run([], Recipe(), tmp_path / "out", refused=found.refused)
    before = (tmp_path / "out" / "ledger.jsonl").stat().st_mtime_ns
    batch.run([], Recipe(), tmp_path / "out", refused=found.refused)
    assert (tmp_path / "out" / "ledger.jsonl").stat().st_mtime_ns == before


def test_readings_and_tables_are_named_by_the_same_rule(phantom, tmp_path):
    root = tmp_path / "in"
    write_luna16([phantom], root)
    (root / "QZXSMITH_tables").mkdir()
    table = root / "annotations.csv"
    (root / "QZXSMITH_tables" / "annotations.csv").write_text(table.read_text() + "1.2.3,0,0,0,9\n")
    shutil.copy(table, tmp_path / "QZXSMITH_QZXJOHN.csv")
    for given in (None, tmp_path / "QZXSMITH_QZXJOHN.csv"):
        found = batch.survey([root], annotations=given)
        told = repr((found.notes, found.tables)).encode()
        assert not NAMES.search(told)
    assert b"annotations" in told


def test_no_name_that_a_search_meets_is_in_an_output_and_the_screen_has_them(phantom, tmp_path, capsys):
    root = tmp_path / "QZXSMITH data"
    write_dicom_series(phantom, root / "QZXJOHN 1")
    (root / "QZXJOHN 1" / "QZXSMITH slice.dcm").symlink_to("gone")
    for name in ("QZXJOHN lost", "QZXJOHN zeros"):
        (root / name).mkdir()
    (root / "QZXJOHN lost" / "QZXSMITH 1.dcm").symlink_to("gone")
    (root / "QZXJOHN zeros" / "QZXSMITH 1.dcm").write_bytes(bytes(400))
    (root / "QZXSMITH QZXJOHN.nii.gz").symlink_to("gone")
    (root / "QZXJOHN letters.zip").write_bytes(b"PK")
    (root / "QZXJOHN letters.7z").write_bytes(b"7z")
    (root / "QZXJOHN tables").mkdir()
    (root / "QZXJOHN tables" / "annotations.csv").write_text("seriesuid\n")
    (tmp_path / "c.toml").write_text("[resample]\nspacing_mm = 8.0\n")
    words = ["run", str(root), "--hide-paths", "--recipe", str(tmp_path / "c.toml"), "--out"]
    for out in (root / "QZXSMITH out", tmp_path / "out"):
        assert cli.main([*words, str(out)]) == 1
    err = capsys.readouterr().err
    assert "QZXSMITH data/QZXSMITH out is an output of hilum: left out" in err
    assert "no scan gets the rows of QZXSMITH data/QZXJOHN tables/annotations.csv" in err
    assert all(f"{root}/QZXJOHN {name}: " in err for name in ("lost", "zeros"))
    assert f"{root}/QZXSMITH QZXJOHN.nii.gz: " in err
    assert smiths(tmp_path / "out") == set()
    rows = list(read_ledger(tmp_path / "out").values())
    assert sorted(row.code for row in rows if row.status == "refused") == [
        "damaged",
        "no-dicom",
        *["not-downloaded"] * 2,
    ]
    assert sum(row.reason.startswith("a folder in it: ") for row in rows) == 2
    (note,) = [note for row in rows for note in row.notes if note.startswith("dangling-links")]
    assert re.search(r": file \d+ of \d+$", note)
    told = "\n".join(read_summary(tmp_path / "out")[0].notes)
    assert {line.split(":")[0] for line in told.splitlines()} == {"ignored-archives", "own-output", "unused-table"}
    assert "a folder is an output of hilum: left out" in told


def test_what_lies_in_place_of_slices_is_told_by_its_place(tmp_path):
    for name in ("QZXSMITH a.nii", "QZXJOHN b.nrrd"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="it contains 2 volume files: file 1 of 2, file 2 of 2"):
        hilum.read(tmp_path)


def test_what_breaks_unforeseen_is_told_by_its_line_of_code():
    with pytest.raises(ValueError, match="QZXSMITH") as caught:
        raise ValueError("QZXSMITH_QZXJOHN")
    assert re.fullmatch(r"ValueError, in test_privacy.py line \d+", crash_reason(caught.value))
    with pytest.raises(OSError, match="QZXSMITH") as caught:
        os.stat("/nowhere/QZXSMITH")  # noqa: PTH116 - pathlib's own line would be named
    told = crash_reason(caught.value)
    assert told.startswith("FileNotFoundError: No such file or directory, in test_privacy.py line ")


def test_a_reason_says_in_which_part_of_the_input(tmp_path):
    here, table = tmp_path / "QZXSMITH", tmp_path / "QZXJOHN.csv"

    def told(where, what="line 7: a diameter of 0"):
        return reason_without_names(FormatError(what, where=where, do="correct it"), path=here, annotations=table)

    assert told(here) == "line 7: a diameter of 0; correct it"
    assert told(table) == "annotations: line 7: a diameter of 0; correct it"
    assert told(here / "IM0003") == "IM0003: line 7: a diameter of 0; correct it"
    assert told(here / "QZXJOHN.dcm") == "a file in it: line 7: a diameter of 0; correct it"
    assert told(here, "the header's file 'QZXJOHN QZXSMITH' lies in /data/QZXSMITH/x: no QZXJOHN.raw") == (
        "the header's file (a text) lies in (a path): no (a file); correct it"
    )
    assert scrub("column 'ct' in ct.mhd, 1.5 mm") == "column 'ct' in ct.mhd, 1.5 mm"


def test_a_hashed_uid_is_one_and_always_the_same():
    uid = "1.3.6.1.4.1.14519.5.2.1.6279.6001.159996104466052855396410079250"
    made = hashed_uid(uid)
    assert is_uid(made)
    assert made == hashed_uid(uid) != hashed_uid(uid[:-1])
    number = uuid.UUID(int=int(made.removeprefix("2.25.")))
    assert (number.version, number.variant) == (8, uuid.RFC_4122)
    assert pydicom.uid.UID(made).is_valid
    assert hide_uids(f"{uid}.dcm at 1.25 mm of {uid}") == f"{made}.dcm at 1.25 mm of {made}"


@pytest.fixture(scope="module")
def luna(phantom, tmp_path_factory):
    root = tmp_path_factory.mktemp("luna")
    write_luna16([phantom], root)
    table = root / "annotations.csv"
    table.write_text(table.read_text() + "1.2.826.0.1.4242,0,0,0,9\n")
    return root


@pytest.mark.parametrize("store", ["nifti", "npy", "zarr", "b2nd"])
def test_where_the_recipe_hides_it_no_output_holds_the_series_uid(luna, tmp_path, store):
    for needed in {"zarr": ["zarr"], "b2nd": ["blosc2"]}.get(store, []):
        pytest.importorskip(needed)
    out, found = tmp_path / "out", batch.survey([luna])
    (ref,) = found.refs
    (row,) = batch.run([ref], parse_recipe(HIDE.format(store)), out, found=found)
    assert row.status in {"done", "repaired"}, row
    write_patches(out, tmp_path / "patches", options=PatchOptions(size=8, negatives=1))
    write_slices(out, tmp_path / "slices")
    write_boxes_csv(out, tmp_path / "boxes.csv")
    write_coco3d(out, tmp_path / "boxes.json")
    assert cli.main(["report", str(out)]) == 0
    data = list(everything(tmp_path))
    for uid in (ref.series_uid, "1.2.826.0.1.4242"):
        assert not [part for part in data if uid.encode() in part]
    hidden = hashed_uid(ref.series_uid).encode()
    assert sum(hidden in part for part in data) >= 7  # scan.json, ct, lungs, nodules, tables of patches, slices, boxes
    ((_, record),) = finished_scans(out)
    assert record.series_uid == hidden.decode()
    assert read_summary(out)[0].tables[0].series_without_scan == {hashed_uid("1.2.826.0.1.4242"): 1}
    before = (out / "ledger.jsonl").read_bytes()
    batch.run([ref], parse_recipe(HIDE.format(store)), out, found=found)
    assert (out / "ledger.jsonl").read_bytes() == before


def test_a_name_that_is_a_uid_is_hidden_too(phantom, tmp_path):
    place = write_dicom_series(phantom, tmp_path / "in")
    (place / "1.2.840.113619.2.55.txt").write_text("x")
    cut(min(place.glob("*.dcm")))
    spare = tmp_path / "1.2.840.113619.2.77.mhd"
    hilum.write(phantom.scan.ct, spare)
    cut(spare.with_suffix(".raw"))
    refs, _ = batch.index([place, spare])
    batch.run(refs, parse_recipe(HIDE.format("nifti")), tmp_path / "out")
    assert not [part for part in everything(tmp_path / "out") if b"1.2.840.113619.2.55" in part]
    assert not [part for part in everything(tmp_path / "out") if b"1.2.840.113619.2.77" in part]


def test_no_segmentation_names_a_hidden_series(luna, tmp_path):
    pytest.importorskip("highdicom")
    out, found = tmp_path / "out", batch.survey([luna])
    batch.run(found.refs, parse_recipe(HIDE.format("nifti")), out, found=found)
    with pytest.raises(InputError, match="hides the series UID") as refusal:
        write_segmentations(out, tmp_path / "seg", sources=[luna])
    assert refusal.value.code == "hidden-series"


def test_the_choice_that_changes_nothing_does_not_make_finished_runs_old():
    # What hilum wrote into finished runs before there was the choice.
    assert recipe_fingerprint(recipe("default")) == FINGERPRINT
    assert recipe_fingerprint(Recipe(output=Output(series_uid="hash"))) != FINGERPRINT


FINGERPRINT = "6fcac5ebae1edd4503b6f34b7123f7502a2885bff56aa8f9e600eb03a9d5bc39"


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1", "\uff1d1"])
def test_text_that_a_spreadsheet_would_compute_is_text(cell):
    assert safe_cells([cell]) == [f"'{cell}"]
    assert plain_cell(f"'{cell}") == cell


@pytest.mark.parametrize("cell", ["-12.500000", "+3", "-1e-05", "fold", "1.2.3", "", -3, -3.5, None])
def test_numbers_and_other_text_stay(cell):
    assert safe_cells([cell]) == [cell]


def test_no_table_of_an_export_holds_a_formula(luna, tmp_path, monkeypatch):
    out, found = tmp_path / "out", batch.survey([luna])
    kind = DATASETS["luna16"]
    evil = {"fold": '=HYPERLINK("http://x")', "patient_fold": "@SUM(A1)"}

    def load(ref, /, **options):
        return replace(kind.load(ref, **options), labels=evil)

    monkeypatch.setitem(DATASETS, "luna16", replace(kind, load=load))
    batch.run(found.refs, parse_recipe("[resample]\nspacing_mm = 4.0\n"), out)
    write_patches(out, tmp_path / "patches", options=PatchOptions(size=8, negatives=1))
    write_slices(out, tmp_path / "slices")
    write_boxes_csv(out, tmp_path / "boxes.csv")
    negatives = 0
    for path in (tmp_path / "patches/index.csv", tmp_path / "slices/index.csv", tmp_path / "boxes.csv"):
        rows = list(csv.reader(io.StringIO(path.read_text())))
        assert any(cell.startswith(("'=", "'@")) for row in rows for cell in row), path
        for cell in (cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))):
            negatives += np.isfinite(float(cell))
    assert negatives
