"""What lies in a folder is taken, refused by name or counted: nothing is passed over in silence."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import hilum
from hilum import Geometry, Volume, batch, cli
from hilum.datasets import DATASETS, folder, recognize
from hilum.errors import AnnotationError, HilumError, InputError, MissingInputError
from hilum.io.folders import list_folder, output_kind
from hilum.io.read_options import ReadOptions
from hilum.outputs.folder import check_output_folder
from hilum.outputs.ledger import read_ledger
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series, write_luna16
from hilum.recipes import parse_recipe

GRID = Geometry((30, 48, 48), (10.0, 8.0, 8.0))
HEAD = "seriesuid,coordX,coordY,coordZ,diameter_mm"
COARSE = 'name = "coarse"\n[resample]\nspacing_mm = 8.0\n'


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(seed=2, shape=GRID.shape, spacing=GRID.spacing)


@pytest.fixture(scope="module")
def series(phantom, tmp_path_factory):
    root = tmp_path_factory.mktemp("series") / "one"
    write_dicom_series(phantom, root)
    return root


@pytest.fixture
def patients(series, tmp_path):
    """A folder of one patient who can be read."""
    shutil.copytree(series, tmp_path / "DATA" / "P1")
    return tmp_path / "DATA"


def call(capsys, *words):
    status = cli.main([str(word) for word in words])
    told = capsys.readouterr()
    return status, told.out, told.err


def refusals(found):
    return {row.code: row.full_reason for row in found.refused}


def notes(found):
    return [note for several in found.screen_notes.values() for note in several]


def link_slices(series, target, broken=lambda _: True):
    """Slices as git-annex leaves them: links, whose content may not be there."""
    target.mkdir(parents=True)
    for number, path in enumerate(sorted(series.iterdir())):
        (target / path.name).symlink_to("../.git/annex/objects/x" if broken(number) else path)


# Links.


def test_linked_patients_are_taken_once_and_loops_end(patients, series, tmp_path):
    shutil.copytree(series, tmp_path / "elsewhere" / "P2")
    for path in (tmp_path / "elsewhere" / "P2").iterdir():
        path.write_bytes(path.read_bytes().replace(hilum.read(series).series_uid.encode(), b"2.25.1".ljust(44, b"1")))
    (patients / "P2").symlink_to(tmp_path / "elsewhere" / "P2", target_is_directory=True)
    (patients / "P1-again").symlink_to(patients / "P1", target_is_directory=True)
    (patients / "P1" / "up").symlink_to("../..", target_is_directory=True)
    found = batch.survey([patients])
    assert sorted(ref.path.name for ref in found.refs) == ["P1", "P2"]
    assert [note for note in notes(found) if "ignored-links: 2 linked folders" in note]
    strict = ReadOptions(max_gap_mm=0)
    assert {DATASETS["folder"].load(ref, options=strict).ct.shape for ref in found.refs} == {GRID.shape}


def test_the_parent_of_the_root_is_never_searched(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.dcm").touch()
    (tmp_path / "in" / "up").symlink_to("..")
    assert list_folder(tmp_path / "in") == ([], ["up"], [], [], [])


def test_a_folder_of_dangling_links_has_a_line_of_its_own(capsys, patients, series, tmp_path):
    link_slices(series, patients / "P2")
    (patients / "P3.nii.gz").symlink_to("nowhere")
    (tmp_path / "c.toml").write_text(COARSE)
    status, out, err = call(capsys, "run", patients, "--out", tmp_path / "out", "--recipe", tmp_path / "c.toml")
    assert (status, "3 scans: 1 " in out, "2 refused" in out) == (1, True, True)
    assert f"{patients}/P2: all {GRID.shape[0]} files are links to content that is not here" in err
    assert "git annex get" in err
    rows = [row for row in read_ledger(tmp_path / "out").values() if row.status == "refused"]
    assert [row.code for row in rows] == ["not-downloaded"] * 2
    for path in (patients / "P2", patients / "P3.nii.gz"):
        with pytest.raises(MissingInputError, match="content that is not here"):
            hilum.read(path)


def test_a_few_dangling_links_are_counted_in_what_is_said_of_the_series(series, tmp_path):
    link_slices(series, tmp_path / "end", broken=lambda k: k < 2)
    scan = hilum.read(tmp_path / "end")
    assert scan.ct.shape[0] == GRID.shape[0] - 2
    (note,) = [note for note in scan.notes if note.code == "dangling-links"]
    assert "2 files could not be read" in note.text
    link_slices(series, tmp_path / "gap", broken=lambda k: k in {9, 10})
    with pytest.raises(hilum.SeriesError, match=r"missing slices: .*2 files could not be read"):
        hilum.read(tmp_path / "gap")


def test_a_link_to_a_listed_volume_is_no_second_scan(phantom, tmp_path):
    hilum.write(phantom.scan.ct, tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.gz").symlink_to("a.nii.gz")
    found = batch.survey([tmp_path])
    assert len(found.refs) == 1
    assert any("same-file: 1 links" in note for note in notes(found))


# Files that should be a scan.


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("{}.dcm", b"", "3 empty"),
        ("IM{:06}", b"", "3 empty"),
        ("{:06}", bytes(400), "3 filled with zeros"),
        ("{}.ima", b"<html>log in</html>", "3 web pages"),
        ("{}.dcm", b"version https://git-lfs.github.com/spec/v1\n", "3 pointers of Git LFS"),
        ("{}.dcm", bytes(128) + b"DICM" + b"\xff" * 90, "3 damaged or cut off"),
        ("1.2.840.{}", b"garbage" * 50, "3 not DICOM"),
    ],
)
def test_a_failed_download_is_refused_by_name(patients, name, content, says):
    (patients / "P2").mkdir()
    for number in range(3):
        (patients / "P2" / name.format(number)).write_bytes(content)
    found = batch.survey([patients])
    assert len(found.refs) == 1
    (row,) = found.refused
    assert row.full_reason.startswith(f"{patients}/P2: none of 3 files is a readable slice: {says}")


def test_what_is_not_called_like_a_slice_is_no_scan(patients):
    (patients / "README").write_text("x")
    (patients / "docs").mkdir()
    (patients / "docs" / "notes.txt").write_text("x")
    (patients / "docs" / "LICENSE").write_text("x")
    found = batch.survey([patients])
    assert (len(found.refs), found.refused) == (1, [])


def test_a_folder_that_may_not_be_opened_has_a_line(patients, monkeypatch):
    (patients / "locked").mkdir()
    plain = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = batch.survey([patients])
    assert len(found.refs) == 1
    assert "locked: the folder cannot be opened" in refusals(found)["unreadable"]


def test_archives_and_other_images_are_counted(patients):
    (patients / "P2.7z").write_bytes(b"7z")
    found = batch.survey([patients])
    assert any("ignored-archives: 1 packed files" in note for note in notes(found))


def test_series_without_a_uid_in_two_folders_are_two_scans(series, tmp_path):
    uid = hilum.read(series).series_uid.encode()
    for name in ("a", "b"):
        shutil.copytree(series, tmp_path / "in" / name)
    for path in (tmp_path / "in").rglob("*.dcm"):
        path.write_bytes(path.read_bytes().replace(uid, b"\0" * len(uid)))
    refs = folder.index(tmp_path / "in").refs
    assert [(ref.path.name, ref.series_uid) for ref in refs] == [("a", ""), ("b", "")]


# What hilum wrote.


def test_a_second_run_does_not_take_the_first_ones_output(capsys, patients, tmp_path):
    (tmp_path / "c.toml").write_text(COARSE)
    words = ("run", patients, "--out", patients / "OUT", "--recipe", tmp_path / "c.toml")
    assert "1 scan: 1 " in call(capsys, *words)[1]
    status, out, err = call(capsys, *words)
    assert (status, "1 scan: 1 " in out) == (0, True)
    assert "DATA/OUT is an output of hilum: left out" in err
    assert output_kind(patients / "OUT") == "run"
    assert output_kind(patients) != "run"
    (made,) = (patients / "OUT" / "scans").iterdir()
    assert (output_kind(patients / "OUT"), output_kind(made), output_kind(tmp_path)) == ("run", "scan", "")
    for path in (patients / "OUT", made):
        with pytest.raises(InputError, match="is an output of hilum") as caught:
            folder.index(path)
        assert caught.value.code == "own-output"
    shutil.copytree(made, tmp_path / "moved" / "mine")  # a scan's folder by itself, beside nothing else
    with pytest.raises(HilumError):
        folder.index(tmp_path / "moved")
    assert len(folder.index(made / "ct.nii.gz").refs) == 1
    assert not folder.index(patients / "P1").notes


def test_a_folder_with_a_recipe_or_scans_of_its_own_is_not_ours(tmp_path):
    (tmp_path / "scans").mkdir()
    for name, text in (("recipe.toml", ""), ("scan.json", '{"a": 1}'), ("dataset.json", "[]"), ("summary.json", "{}")):
        (tmp_path / name).write_text(text)
    assert output_kind(tmp_path) == ""


def test_an_output_is_put_over_nothing_else(capsys, patients, tmp_path):
    before = sorted(path for path in patients.rglob("*"))
    for out in (patients, patients / "P1", tmp_path / "DATA" / ".." / "DATA"):
        status, _, err = call(capsys, "run", patients, "--out", out)
        assert (status, err.count("\n")) == (1, 1)
        assert "choose" in err
    assert sorted(path for path in patients.rglob("*")) == before
    for name in ("new", "empty", "begun"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "begun" / "scans" / ".part-of-one").mkdir(parents=True)
    (tmp_path / "begun" / "recipe.toml").touch()
    for name in ("absent", "empty", "begun"):
        check_output_folder(tmp_path / name, [patients])
    (tmp_path / "begun" / "scans" / "mine").mkdir()
    with pytest.raises(hilum.OutputError, match="no run wrote"):
        check_output_folder(tmp_path / "begun", [patients])
    with pytest.raises(hilum.OutputError, match="no run wrote"):
        batch.run(batch.survey([patients]).refs, hilum.recipe("default"), patients)
    assert sorted(path for path in patients.rglob("*")) == before


# Volumes that are no CT.


def test_a_label_map_and_gray_values_are_refused_with_their_cause(phantom, tmp_path, capsys):
    ct = phantom.scan.ct
    made = {
        "mask": ct.array > -400,
        "labels": np.digitize(ct.array, [-900, -400, 0, 200]),
        "screen": np.clip((ct.array + 1350) / 1500, 0, 1) * 255,
        "empty": ct.array * 0,
        "scaled": (np.clip(ct.array, -1000, 400) + 1000) / 1400 * 2 - 1,
    }
    says = {"labels": "as in a label map", "screen": "8-bit display values", "scaled": "normalized scan"}
    (tmp_path / "in").mkdir()
    for name, array in {**made, "true": ct.array}.items():
        hilum.write(Volume(np.rint(array).astype(np.int16), ct.geometry), tmp_path / "in" / f"{name}.nrrd")
    rows = batch.run(batch.survey([tmp_path / "in"]).refs, hilum.recipe("default"), tmp_path / "out")
    assert [row.status for row in rows].count("refused") == len(made)
    assert {row.code for row in rows if row.status == "refused"} == {"not-hu"}
    for name, text in says.items():
        assert call(capsys, "convert", tmp_path / "in" / f"{name}.nrrd", tmp_path / "x.nii")[0] == 1
        assert any(f"{name}.nrrd" in row.full_reason and text in row.reason for row in rows)
    with pytest.raises(hilum.UnsupportedError, match="not Hounsfield units"):
        hilum.preprocess(hilum.read(tmp_path / "in" / "mask.nrrd"), hilum.recipe("default"))


# Annotations.


def write_table(path, names, phantom):
    rows = [f"{name},{','.join(map(str, n.center))},{n.diameter_mm}" for name in names for n in phantom.scan.nodules]
    path.write_text("\n".join([HEAD, *rows, ""]))
    return path


@pytest.fixture
def volumes(phantom, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("case001", "case002", "case003"):
        hilum.write(phantom.scan.ct, tmp_path / "in" / f"{name}.nii.gz")
    return tmp_path / "in"


def test_only_scans_that_a_table_names_are_annotated(volumes, phantom, tmp_path):
    table = write_table(tmp_path / "t.csv", ["case001", "1.2.3"], phantom)
    found = batch.survey([volumes], annotations=table)
    scans = [DATASETS["folder"].load(ref, options=ReadOptions(max_gap_mm=0)) for ref in found.refs]
    assert [scan.annotated for scan in scans] == [True, False, False]
    assert len(scans[0].nodules) == len(phantom.scan.nodules)
    told = "\n".join(notes(found))
    assert "2 of 3 scans are in no row of t.csv: they stay without annotations" in told
    assert "matched-by-name: 1 of 3 scans" in told
    assert "rows-without-scan: t.csv" in told
    (record,) = found.tables["folder"]
    assert record.rows_without_scan == len(phantom.scan.nodules)


def test_a_uid_in_the_header_a_stem_and_a_folder_find_their_rows(phantom, tmp_path):
    root = tmp_path / "in"
    for name, uid in (("a/ct.nrrd", ""), ("b/ct.mhd", ""), ("c/x.nii.gz", "1.2.3.4"), ("d/9.8.7.mha", "")):
        (root / name).parent.mkdir(parents=True)
        hilum.write(phantom.scan.ct, root / name, series_uid=uid)
    table = write_table(tmp_path / "t.csv", ["a", "ct", "1.2.3.4", "9.8.7"], phantom)
    found = batch.survey([root], dataset="folder", annotations=table)
    annotated = {ref.path.name: ref.known.annotated for ref in found.refs if ref.path.parent.name != "b"}
    assert annotated == {"ct.nrrd": True, "x.nii.gz": True, "9.8.7.mha": True}
    assert [ref.known.annotated for ref in found.refs if ref.path.parent.name == "b"] == [False]  # two are called ct


def test_a_table_of_other_scans_and_a_wrong_path_are_refused_before_any_work(capsys, volumes, phantom, tmp_path):
    table = write_table(tmp_path / "t.csv", ["1.2.3"], phantom)
    with pytest.raises(AnnotationError, match=r"no row belongs to any of the 3 scans; the first row names '1\.2\.3'"):
        batch.survey([volumes], annotations=table)
    for wrong in (table, tmp_path / "nope.csv", volumes / "case001.nii.gz"):
        status, out, err = call(capsys, "run", volumes, "--out", tmp_path / "out", "--annotations", wrong)
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert not (tmp_path / "out").exists()


def test_a_wrong_path_is_refused_though_all_is_done(capsys, volumes, tmp_path):
    (tmp_path / "c.toml").write_text(COARSE)
    words = ("run", volumes / "case001.nii.gz", "--out", tmp_path / "out", "--recipe", tmp_path / "c.toml")
    assert call(capsys, *words)[0] == 0
    status, out, err = call(capsys, *words, "--annotations", tmp_path / "nope.csv")
    assert (status, out) == (1, "")
    assert "nope.csv: there is no such annotation file" in err


def test_a_scan_is_named_as_its_table_names_it(capsys, volumes, phantom, tmp_path):
    table = write_table(tmp_path / "t.csv", ["case001", "patient 7"], phantom)
    words = ("nodules", volumes / "case001.nii.gz", table, tmp_path / "m.nii")
    status, out, err = call(capsys, *words)
    assert (status, "matched-by-name" in err) == (0, False)  # the scan has no UID: its name is its file's
    assert f"{len(phantom.scan.nodules)} nodules" in out
    assert call(capsys, *words, "--series-uid", "case001")[0] == 0
    assert call(capsys, *words, "--series-uid", "patient 7")[0] == 0
    status, _, err = call(capsys, *words, "--series-uid", "case009")
    assert (status, "no row for the series case009" in err) == (1, True)


def test_a_scan_without_a_row_is_not_called_annotated(series, phantom, tmp_path):
    table = write_table(tmp_path / "t.csv", ["1.2.3"], phantom)
    scan = hilum.read(series, annotations=table)
    assert (scan.annotated, scan.notes[-1].code) == (False, "no-rows")


# LUNA16 as people have it.


@pytest.fixture
def luna(phantom, tmp_path):
    others = [make_phantom(seed=s, shape=GRID.shape, spacing=GRID.spacing) for s in (7, 8)]
    return write_luna16([phantom, *others], tmp_path / "LUNA16", subsets=2, flipped=(), candidates=2, masks=True)


def nested(root):
    for name in ("subset0", "subset1"):
        (root / name).rename(root / "x")
        (root / name).mkdir()
        (root / "x").rename(root / name / name)
    return root


def flat(root):
    for path in sorted(root.glob("subset*/*")):
        path.rename(root / path.name)
    for name in ("subset0", "subset1"):
        (root / name).rmdir()
    return root


def apart(root):
    (root / "CT").mkdir()
    for path in sorted(root.glob("subset*/*")):
        path.rename(root / "CT" / path.name)
    return root / "CT"


def inner(root):
    return nested(root) / "subset0" / "subset0"


def above(root):
    outer = root.with_name("data")
    outer.mkdir()
    root.rename(outer / root.name)
    return outer


def subsets_beside(root):
    (root / "scans").mkdir()
    for name in ("subset0", "subset1"):
        (root / name).rename(root / "scans" / name)
    return root / "scans"


@pytest.mark.parametrize("shape", [nested, flat, apart, inner, above, subsets_beside])
def test_luna16_is_known_as_people_have_it(luna, shape):
    masks = len(list(luna.glob("seg-lungs*/*.mhd")))
    root = shape(luna)
    assert recognize(root) == "luna16"
    listing = DATASETS["luna16"].index(root, None)
    assert len(listing.refs) == (2 if shape is inner else masks)
    assert not [ref for ref in listing.refs if ref.known.refusal]
    assert all(ref.known.nodules and ref.known.lungs is not None for ref in listing.refs)
    if shape in {nested, inner, above, subsets_beside}:
        assert {ref.known.labels["fold"] for ref in listing.refs} <= {0, 1}


def test_what_only_resembles_luna16_is_not_taken_for_it(luna, phantom):
    root = flat(luna)
    shutil.rmtree(root / "seg-lungs-LUNA16")
    hilum.write(phantom.scan.ct, root / "mine.nii.gz")  # it would be left out
    assert recognize(root) == "folder"
    found = batch.survey([root])
    assert any("unused-table: no scan gets the rows of LUNA16/annotations.csv" in note for note in notes(found))
    (root / "mine.nii.gz").unlink()
    for path in root.glob("*.csv"):
        path.unlink()
    assert recognize(root) == "folder"


def test_short_numbers_with_points_are_no_luna16(phantom, tmp_path):
    (tmp_path / "in").mkdir()
    hilum.write(phantom.scan.ct, tmp_path / "in" / "1.2.0.mhd")
    table = write_table(tmp_path / "in" / "annotations.csv", ["1.2.0"], phantom)
    assert recognize(tmp_path / "in") == "folder"
    found = batch.survey([tmp_path / "in"], annotations=table)
    (row,) = batch.run(found.refs, parse_recipe(COARSE), tmp_path / "out", found=found)
    assert row.status in {"done", "repaired"}


def test_luna16_tells_what_it_leaves_out_and_refuses_a_table_of_others(luna, series, phantom, tmp_path):
    shutil.copytree(series, luna / "mine")
    (luna / "subset0" / "1.2.3.mhd").symlink_to("gone")
    listing = DATASETS["luna16"].index(luna, None)
    assert any(note.code == "not-luna16" and "30 files" in note.text for note in listing.notes)
    (lost,) = [ref for ref in listing.refs if ref.known.refusal]
    assert lost.known.refusal.code == "not-downloaded"
    shutil.rmtree(luna / "mine")
    for path in luna.glob("candidates*.csv"):
        path.unlink()
    (luna / "annotations_excluded.csv").unlink()
    table = write_table(tmp_path / "t.csv", ["1.2.3.4"], phantom)
    with pytest.raises(AnnotationError, match="no row belongs to any"):
        DATASETS["luna16"].index(luna, table)


# hilum info.


def test_info_is_one_table_with_each_finding_once(capsys, patients, phantom):
    hilum.write(phantom.scan.ct, patients / "other.nrrd")
    hilum.write(Volume((phantom.scan.ct.array > -400).astype(np.int16), phantom.scan.ct.geometry), patients / "m.nrrd")
    (patients / "notes.txt").write_text("x")
    (patients / "P2").mkdir()
    (patients / "P2" / "1.dcm").touch()
    status, out, _ = call(capsys, "info", patients)
    assert status == 0
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["folder", "series", "kernel"]
    assert [line.split()[1] for line in lines[1:5]] == ["P1", "m.nrrd", "other.nrrd", "P2"]
    assert "can be read (the default)" in lines[1]
    assert ["refused" in line for line in lines[1:5]] == [False, True, False, True]
    assert out.count("ignored-files") == 1
    told = json.loads(call(capsys, "info", patients, "--json")[1])
    assert [(row["usable"], row["folder"]) for row in told] == [
        (True, "P1"),
        (False, "m.nrrd"),
        (True, "other.nrrd"),
        (False, "P2"),
    ]


def test_info_reads_pixels_or_says_that_it_did_not(capsys, series, tmp_path):
    """Two slices at one place whose pixels differ: the headers cannot tell."""
    shutil.copytree(series, tmp_path / "in")
    copy = bytearray(sorted((tmp_path / "in").iterdir())[9].read_bytes())
    copy[-40:] = bytes(40) if any(copy[-40:]) else b"\1" * 40
    (tmp_path / "in" / "twin.dcm").write_bytes(bytes(copy))
    status, out, _ = call(capsys, "info", tmp_path / "in")
    assert (status, "conflicting-duplicates" in out) == (1, True)
    assert call(capsys, "convert", tmp_path / "in", tmp_path / "x.nii")[0] == 1
    status, out, _ = call(capsys, "info", tmp_path / "in", "--headers")
    assert (status, "pixels not checked" in out) == (0, True)
    (told,) = json.loads(call(capsys, "info", tmp_path / "in", "--headers", "--json")[1])
    assert (told["usable"], told["pixels_read"]) == (True, False)


@pytest.mark.real
def test_no_real_scan_is_refused_and_every_real_label_map_is(real_data):
    from hilum.ops.quality.plausibility import why_not_hu

    for path in sorted((real_data / "lungs").glob("*.nii.gz")):
        is_label = any(word in path.name for word in (".lungs.", ".tumor."))
        assert bool(why_not_hu(hilum.read(path).ct)) == is_label, path.name
    for name in ("lm-64.nrrd", "wholeLung-64.nrrd"):
        assert why_not_hu(hilum.read(real_data / "cip-ct64" / name).ct)
    for name in (
        "cip-ct64/ct-64.nrrd",
        "cip-ct64/ct-64Dicom",
        "tilt-ge-head",
        "lidc-idri-partial/small/LIDC-IDRI-0001",
    ):
        path = Path(real_data, name)
        try:
            scan = hilum.read(path)
        except hilum.InputError as refusal:
            assert refusal.code != "not-hu", name  # noqa: PT017 - a tilted gantry is refused for that
            continue
        assert not why_not_hu(scan.ct)
