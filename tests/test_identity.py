"""What a finished scan came from: the files that were read, no others, and as they were while they were read."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

import hilum
from hilum import batch
from hilum.batch import task
from hilum.batch.identity import input_stamp, snapshot
from hilum.datasets import DATASETS, folder
from hilum.outputs.ledger import read_ledger
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.recipes import parse_recipe
from hilum.scan_ref import DatasetEntry, ScanRef

RECIPE = parse_recipe('[resample]\nspacing_mm = 8.0\n[lungs]\nmethod = "none"\n')
UIDS = [f"1.2.826.0.1.{k}" for k in (1, 2, 3)]


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(seed=3, shape=(16, 32, 32), spacing=(18.0, 11.0, 11.0))


@pytest.fixture(scope="module")
def series(phantom, tmp_path_factory):
    root = tmp_path_factory.mktemp("series")
    for uid in UIDS:
        write_dicom_series(phantom, root / uid, series_uid=uid)
    return root


@pytest.fixture
def flat(series, tmp_path):
    """Three series in one folder, files named after their series, beside files that are none."""
    place = tmp_path / "in"
    place.mkdir()
    for k, uid in enumerate(UIDS):
        for path in sorted((series / uid).iterdir()):
            shutil.copy(path, place / f"{k}-{path.name}")
    (place / "export.log").write_bytes(b"no image\n")
    return place


@pytest.fixture
def hashed(monkeypatch):
    """The files whose content is hashed from here on."""
    opened = []
    from hilum.batch import identity

    real = identity.file_sha256

    def note(path):
        opened.append(path.name)
        return real(path)

    monkeypatch.setattr(identity, "file_sha256", note)
    return opened


def listed(place, annotations=None):
    return [replace(ref, annotations=annotations) for ref in folder.index(place).refs]


def marks(place, annotations=None):
    return {ref.series_uid: batch.input_fingerprint(ref, RECIPE) for ref in listed(place, annotations)}


def add_rubbish(place):
    (place / "Thumbs.db").write_bytes(b"\0" * 5000)
    (place / ".DS_Store").write_bytes(b"Bud1")
    (place / "movie.mp4").write_bytes(b"\1" * 5000)


def test_every_file_of_a_flat_folder_is_hashed_once(flat, hashed):
    marks(flat)
    assert sorted(hashed) == sorted(path.name for path in flat.iterdir() if path.name != "export.log")


def test_a_file_that_is_no_slice_changes_no_fingerprint(flat):
    before = marks(flat)
    add_rubbish(flat)
    (flat / "export.log").unlink()
    assert marks(flat) == before


def test_a_slice_that_joins_changes_the_fingerprint_of_its_series_alone(flat):
    late = min(flat.glob("1-*"))
    content = late.read_bytes()
    late.unlink()
    before, refs = marks(flat), listed(flat)
    late.write_bytes(content)
    after = marks(flat)
    assert [uid for uid in UIDS if after[uid] != before[uid]] == [UIDS[1]]
    # One that joins after the listing was made counts too: it would be read.
    assert {ref.series_uid: batch.input_fingerprint(ref, RECIPE) for ref in refs} == after


def test_rubbish_does_not_make_a_finished_scan_again(flat, tmp_path):
    out = tmp_path / "out"
    batch.run(listed(flat), RECIPE, out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("scans/*/scan.json")}
    add_rubbish(flat)
    rows = batch.run(listed(flat), RECIPE, out)
    assert {row.status for row in rows} <= {"done", "repaired"}
    assert {path: path.stat().st_mtime_ns for path in out.glob("scans/*/scan.json")} == before


def test_rubbish_beside_the_slices_is_not_even_looked_at_again(flat, tmp_path, hashed):
    batch.run(listed(flat), RECIPE, tmp_path / "out")
    hashed.clear()
    add_rubbish(flat)
    batch.run(listed(flat), RECIPE, tmp_path / "out")
    assert hashed == []


def test_a_folder_whose_series_nobody_named_is_hashed_by_its_slices(series, tmp_path, hashed):
    case = tmp_path / ("0" * 32)
    shutil.copytree(series / UIDS[0], case)
    (ref,) = DATASETS["dsb2017"].index(tmp_path, None).refs
    before = batch.input_fingerprint(ref, RECIPE)
    add_rubbish(case)
    assert batch.input_fingerprint(ref, RECIPE) == before
    assert set(hashed) == {path.name for path in (series / UIDS[0]).iterdir()}
    shutil.copy(next((series / UIDS[1]).iterdir()), case / "joined.dcm")
    assert batch.input_fingerprint(ref, RECIPE) != before


def test_a_series_in_several_folders_names_its_files_from_the_one_above(series, tmp_path):
    paths = sorted((series / UIDS[0]).iterdir())
    for k, path in enumerate(paths):
        place = tmp_path / "patient" / f"part{k % 2}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    (ref,) = listed(tmp_path)
    assert len(ref.files) == len(paths)
    assert all((ref.path / name).is_file() for name in ref.files)


def test_rows_of_another_series_do_not_count(flat, tmp_path):
    table = tmp_path / "nodules.csv"
    head = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
    table.write_text(f"{head}{UIDS[0]},1,2,3,9\n")
    before = marks(flat, annotations=table)
    table.write_text(f"{head}{UIDS[0]},1,2,3,9\n{UIDS[1]},1,2,3,9\n")
    after = marks(flat, annotations=table)
    assert [uid for uid in UIDS if after[uid] != before[uid]] == [UIDS[1]]


def test_what_a_survey_finds_in_a_table_counts_for_the_scans_it_names(flat, tmp_path):
    table = tmp_path / "nodules.csv"
    head = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
    marked = []
    for rows in ("1,2,3,9", "1,2,3,10"):
        table.write_text(f"{head}{UIDS[0]},{rows}\n{UIDS[1]},1,2,3,9\n")
        refs = batch.survey([flat], annotations=table).refs
        marked.append({ref.series_uid: batch.input_fingerprint(ref, RECIPE) for ref in refs})
    assert [uid for uid in UIDS if marked[0][uid] != marked[1][uid]] == [UIDS[0]]


def test_slices_behind_links_count(series, tmp_path):
    shutil.copytree(series / UIDS[0], tmp_path / "elsewhere")
    (tmp_path / "in" / "own").mkdir(parents=True)
    for k, path in enumerate(sorted((tmp_path / "elsewhere").iterdir())):
        if k % 2:
            path.rename(tmp_path / "in" / "own" / path.name)
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (ref,) = listed(tmp_path / "in")
    assert {name.split("/")[0] for name in ref.files} == {"own", "linked"}
    before = batch.input_fingerprint(ref, RECIPE), input_stamp(ref, RECIPE)
    changed = next((tmp_path / "elsewhere").iterdir())
    changed.write_bytes(changed.read_bytes() + b"\0\0")
    assert (batch.input_fingerprint(ref, RECIPE) != before[0], input_stamp(ref, RECIPE) != before[1]) == (True, True)


def test_an_output_beside_the_slices_changes_no_fingerprint(series, tmp_path):
    shutil.copytree(series / UIDS[0], tmp_path / "in")
    refs = listed(tmp_path / "in")
    before = batch.input_fingerprint(refs[0], RECIPE)
    batch.run(refs, RECIPE, tmp_path / "in" / "out")
    (ref,) = listed(tmp_path / "in")
    assert batch.input_fingerprint(ref, RECIPE) == before
    case = replace(ref, series_uid="", files=())
    assert not any("out/" in name for name, _ in snapshot(case).files)


def test_rows_count_of_a_volume_file_whose_header_names_its_series(phantom, tmp_path):
    hilum.write(phantom.scan.ct, tmp_path / "a.mha", series_uid=UIDS[0])
    table = tmp_path / "nodules.csv"
    marked = []
    for row in (f"{UIDS[2]},1,2,3,9\n", f"{UIDS[1]},1,2,3,9\n", f"{UIDS[0]},1,2,3,9\n"):
        table.write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n" + row)
        marked += marks(tmp_path, annotations=table).values()
    assert (marked[0] == marked[1], marked[1] == marked[2]) == (True, False)


def test_the_place_of_an_npy_counts(phantom, tmp_path):
    hilum.write(phantom.scan.ct, tmp_path / "ct.npy")
    ref = ScanRef("folder", "ct-1", tmp_path / "ct.npy")
    before = batch.input_fingerprint(ref, RECIPE)
    place = tmp_path / "ct.json"
    place.write_text(place.read_text().replace("18.0", "19.0"))
    assert batch.input_fingerprint(ref, RECIPE) != before


def test_that_somebody_looked_for_nodules_counts(flat):
    ref = listed(flat)[0]
    looked, not_looked = (replace(ref, known=DatasetEntry(annotated=told)) for told in (True, False))
    assert batch.input_fingerprint(looked, RECIPE) != batch.input_fingerprint(not_looked, RECIPE)


def disturbed(monkeypatch, disturb, ref, out):
    """A run in which something happens right after the voxels were read; its one row."""
    kind = DATASETS[ref.dataset]

    def load(ref, /, **options):
        scan = kind.load(ref, **options)
        disturb()
        return scan

    monkeypatch.setitem(DATASETS, ref.dataset, replace(kind, load=load))
    (row,) = batch.run([ref], RECIPE, out)
    monkeypatch.undo()
    return row


def touch(path):
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1_000_000))


@pytest.mark.parametrize("what", ["written", "swapped", "gone", "joined", "table"])
def test_an_input_that_changes_while_it_is_read_is_not_stored(flat, tmp_path, monkeypatch, what):
    table = tmp_path / "nodules.csv"
    table.write_text(f"seriesuid,coordX,coordY,coordZ,diameter_mm\n{UIDS[0]},1,2,3,9\n")
    one = min(flat.glob("0-*"))
    spare = tmp_path / "spare.dcm"
    shutil.copy(one, spare)
    if what == "joined":
        one.unlink()
    ref = listed(flat, table)[0]

    def swap():  # the same size and time, another file
        shutil.copystat(one, spare)
        spare.replace(one)

    acts = {
        "written": lambda: touch(one),
        "swapped": swap,
        "gone": one.unlink,
        "joined": lambda: spare.replace(one),
        "table": lambda: table.write_text(table.read_text() + "1.2.3,0,0,0,9\n"),
    }
    row = disturbed(monkeypatch, acts[what], ref, tmp_path / "out")
    assert (row.status, row.code) == ("failed", "changed")
    assert "changed while it was read; run it again" in row.reason
    assert list((tmp_path / "out" / "scans").iterdir()) == []
    (again,) = batch.run(listed(flat, table)[:1], RECIPE, tmp_path / "out")
    assert again.status in {"done", "repaired"}
    assert read_ledger(tmp_path / "out")[again.id].fingerprint == batch.input_fingerprint(ref, RECIPE)


@pytest.mark.parametrize("when", ["before it is read", "after it is read"])
def test_a_label_file_that_changes_while_the_lungs_are_sought_is_not_stored(flat, tmp_path, monkeypatch, when):
    (ref,) = [one for one in listed(flat) if one.series_uid == UIDS[0]]
    file = tmp_path / "tumor.nii.gz"
    grid = hilum.read(flat, series=UIDS[0]).ct.geometry
    hilum.write(hilum.Mask(np.ones(grid.shape, np.uint8), grid), file)
    ref = replace(ref, label_files=(hilum.LabelFile(str(file), "map", name="tumor", values=(("tumor", 1),)),))
    attach = task.attach_labels

    def attach_and_touch(scan, files):
        if when == "after it is read":
            scan = attach(scan, files)
            touch(file)
            return scan
        touch(file)
        return attach(scan, files)

    monkeypatch.setattr(task, "attach_labels", attach_and_touch)
    (row,) = batch.run([ref], RECIPE, tmp_path / "out")
    assert (row.status, row.code) == ("failed", "changed")
    assert list((tmp_path / "out" / "scans").iterdir()) == []
    monkeypatch.undo()
    (again,) = batch.run([ref], RECIPE, tmp_path / "out")
    assert again.status in {"done", "repaired"}, again.reason


def test_what_happens_to_another_series_disturbs_no_reading(flat, tmp_path, monkeypatch):
    def happen():
        touch(next(flat.glob("1-*")))
        shutil.copy(next(flat.glob("2-*")), flat / "2-copy.dcm")
        add_rubbish(flat)

    row = disturbed(monkeypatch, happen, listed(flat)[0], tmp_path / "out")
    assert row.status in {"done", "repaired"}
