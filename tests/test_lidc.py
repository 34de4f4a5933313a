from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from lidc_message import SERIES, SQUARE, message, nodule, other, roi, slice_uid, square

import hilum
from hilum import Geometry, Scan, Volume, batch, consensus_mask, mask_nodules, reading_mask
from hilum.cli import main
from hilum.datasets import lidc, recognize
from hilum.errors import AnnotationError, MissingInputError
from hilum.io.annotate import annotate
from hilum.io.annotations.lidc import read_lidc
from hilum.ops.nodules.outlines import reading_diameter_mm, reading_volume_mm3
from hilum.ops.nodules.readings import require_readers
from hilum.outputs.finished import read_record
from hilum.outputs.parts import read_locations
from hilum.outputs.records import is_annotated
from hilum.phantom.files import write_dicom_series
from hilum.train.patch_records import PatchOptions
from hilum.train.patches import write_patches
from hilum.train.runs import list_run

GRID = Geometry((12, 40, 48), (2.5, 0.7, 0.8), (-20.0, 5.0, -100.0))
UIDS = tuple(slice_uid(k) for k in range(12))


def height(k):
    return GRID.origin[2] + 2.5 * k


def scan(grid=GRID, *, uids=UIDS, series=SERIES):
    return Scan(series, Volume(np.zeros(grid.shape, np.int16), grid), slice_uids=uids)


def drawn(k, points=SQUARE, *, off=0.0, uid=True, **options):
    """An outline on a slice, named by its UID, its height or both."""
    return roi(height(k) + off, points, uid=slice_uid(k) if uid else "", **options)


def read(folder, text, of=None):
    found, _, notes = marks(folder, text, of)
    return found, notes


def marks(folder, text, of=None):
    path = folder / "reading.xml"
    path.write_text(text)
    return read_lidc(path, scan=scan() if of is None else of)


def codes(notes):
    return [note.code for note in notes]


FOUR = [nodule(drawn(3), drawn(4), scores={"malignancy": k}) for k in (1, 5, 4, 3)]


def test_outlines_come_to_their_pixels_and_slices(tmp_path):
    (found,), notes = read(tmp_path, message(*FOUR))
    assert notes == ()
    assert found.center == pytest.approx(GRID.index_to_world((3.5, 12, 12)))
    assert [r.reader for r in found.readings] == [1, 2, 3, 4]
    assert [dict(r.scores) for r in found.readings] == [{"malignancy": float(k)} for k in (1, 5, 4, 3)]
    assert found.scores == {"malignancy": 3.25}
    points = [GRID.index_to_world((3, y, x)) for x, y in SQUARE]
    assert np.allclose(found.readings[0].contours[0], points)
    marked = np.argwhere(mask_nodules(GRID, [found]).array)
    assert marked.min(axis=0).tolist() == [3, 11, 11]
    assert marked.max(axis=0).tolist() == [4, 13, 13]
    assert len(marked) == 18
    assert mask_nodules(GRID, [found], contour_pixel="include").array.sum() == 50


def test_x_is_the_column_and_y_the_row(tmp_path):
    points = [(x + 20, y) for x, y in SQUARE]
    (found,), _ = read(tmp_path, message(nodule(drawn(3, points))))
    assert np.argwhere(mask_nodules(GRID, [found]).array).mean(axis=0).tolist() == [3, 12, 32]


def test_holes_are_taken_out(tmp_path):
    text = message(nodule(drawn(3, square(10, 10, 8)), drawn(3, square(13, 13, 1), inclusion="FALSE")))
    (found,), _ = read(tmp_path, text)
    assert len(found.readings[0].holes) == 1
    assert mask_nodules(GRID, [found]).array.sum() == 49 - 4


def test_the_height_decides_where_no_slice_is_named(tmp_path):
    for off in (0.0, 0.04, -0.6):
        (found,), notes = read(tmp_path, message(nodule(drawn(3, uid=False, off=off))))
        assert np.unique(np.argwhere(mask_nodules(GRID, [found]).array)[:, 0]).tolist() == [3]
        assert notes == ()


def test_slices_that_were_exported_again_are_told(tmp_path):
    (found,), notes = read(tmp_path, message(nodule(roi(height(3), uid="1.2.3.4"), drawn(4))))
    assert mask_nodules(GRID, [found]).array.sum() == 18
    text = "1 of 2 outlines do not name a slice of this series: matched by imageZposition"
    assert [str(n) for n in notes] == [f"unknown-slices: {text}"]


def test_the_slice_that_is_named_decides_against_the_height(tmp_path):
    (found,), notes = read(tmp_path, message(nodule(drawn(3, off=2.5), drawn(4, off=0.5))))
    assert np.unique(np.argwhere(mask_nodules(GRID, [found]).array)[:, 0]).tolist() == [3, 4]
    assert codes(notes) == ["slice-position-differs"]
    assert "1 of 2 outlines" in notes[0].text
    named = message(nodule(f"<roi><imageSOP_UID>{slice_uid(3)}</imageSOP_UID>{drawn(3)[5:]}"))
    assert codes(read(tmp_path, named)[1]) == []


def test_outlines_beyond_the_scan_are_counted_and_kept(tmp_path):
    (found,), notes = read(tmp_path, message(nodule(*(drawn(k) for k in range(9, 15)))))
    assert len(found.readings[0].contours) == 6
    assert reading_mask(found.readings[0]).array.sum() == 54
    assert mask_nodules(GRID, [found]).array.sum() == 27
    assert [str(n) for n in notes] == [
        "outlines-beyond: 3 of 6 outlines are on slices beyond the scan: stored, not drawn"
    ]


def test_marks_without_outline_are_points_of_their_readers(tmp_path):
    small = nodule(drawn(6, [(30, 31)]), scores={})
    text = message(FOUR[0] + small, small + other(height(2), 3, 4), "", other(0, 5, 6, uid=slice_uid(11)))
    found, points, notes = marks(tmp_path, text)
    assert len(found) == 1
    assert [str(note) for note in notes] == [
        "marks-not-drawn: 2 marks of nodules under 3 mm and 2 of other findings are points: stored, not drawn"
    ]
    x, y, z = GRID.origin  # x is the column, y the row, each reader has a row of its own
    at = [x + 30 * 0.8, y + 31 * 0.7, z + 6 * 2.5]
    assert np.allclose(points["small"], [[*at, 1], [*at, 2]])
    others = [[x + 3 * 0.8, y + 4 * 0.7, z + 2 * 2.5, 2], [x + 5 * 0.8, y + 6 * 0.7, z + 11 * 2.5, 4]]
    assert np.allclose(points["non_nodules"], others)


def test_points_off_the_slices_are_left_out_and_counted(tmp_path):
    lost = (
        *(other(height(2), *at) for at in ((-1, 4), (3, 40), (48, 3))),
        *(other(height(k), 3, 4) for k in (-1, 12, 4.26)),
        "<nonNodule><imageZposition>-95.0</imageZposition></nonNodule>",
        nodule(drawn(5, [])),
    )
    kept = (other(height(4.24), 3, 4), other(height(11), 47, 39))
    found, points, notes = marks(tmp_path, message("".join((*lost, *kept))))
    assert found == ()
    assert "1 marks of nodules under 3 mm and 9 of other findings" in notes[-1].text
    assert notes[-1].text.endswith("stored, not drawn; 8 are on no slice of the scan: left out")
    assert len(points["small"]) == 0
    assert points["non_nodules"][:, 2].tolist() == [height(4), height(11)]


def test_a_scan_of_another_file_keeps_its_points(tmp_path):
    here = {"candidates": np.ones((2, 4))}
    (tmp_path / "a.xml").write_text(message(other(height(2), 3, 4)))
    ready = annotate(replace(scan(), locations=here), tmp_path / "a.xml")
    assert {kind: len(table) for kind, table in ready.locations.items()} == {
        "candidates": 2, "small": 0, "non_nodules": 1,
    }  # fmt: skip


def test_nodules_of_too_few_readers_are_left_out_and_told(tmp_path):
    far = square(30, 20, 5)
    twice = nodule(drawn(8, square(20, 20, 3))) + nodule(drawn(8, square(20, 20, 5)))  # one reader drew it twice
    text = message(FOUR[0] + nodule(drawn(1, far)), FOUR[1] + nodule(drawn(1, far)), FOUR[2] + twice)
    (tmp_path / "a.xml").write_text(text)
    ready = annotate(scan(), tmp_path / "a.xml")
    assert [len({r.reader for r in n.readings}) for n in ready.nodules] == [2, 3, 1]
    assert require_readers(ready, least=1) is ready
    for least, kept in ((2, [2, 3]), (3, [3]), (4, [])):
        chosen = require_readers(ready, least=least)
        assert [len({r.reader for r in n.readings}) for n in chosen.nodules] == kept
        few = [n for n in ready.nodules if n not in chosen.nodules]
        assert np.allclose(chosen.locations["few_readers"], [(*n.center, n.diameter_mm) for n in few])
        assert chosen.notes[-1].code == "few-readers"
        assert chosen.notes[-1].text.startswith(f"fewer than {least} readers outlined {3 - len(kept)} of 3 nodules")
        assert chosen.annotated
    with pytest.raises(hilum.InputError, match="least number of readers is 0"):
        require_readers(ready, least=0)
    sphere = replace(ready, nodules=(hilum.Nodule((0.0, 0.0, 0.0), 5.0),))  # nobody knows how many readers
    assert require_readers(sphere, least=4) is sphere


def test_consensus_is_taken_among_the_readers_of_the_nodule(tmp_path):
    """Of 3 or 4 readers, 1/4, 1/2 and 3/4 ask for as many readers of the nodule as of the four of the scan."""
    nested = [nodule(drawn(3, square(20 - k, 20 - k, 3 + 2 * k))) for k in range(4)]
    for readers in (1, 2, 3, 4):
        (found,), _ = read(tmp_path, message(*nested[:readers], *[""] * (4 - readers)))
        count = np.sum([_filled(r) for r in found.readings], axis=0)
        for level in (0.25, 0.5, 0.75, 1.0):
            area = consensus_mask(found, level=level).array.sum()
            assert area == (count / readers >= level).sum()  # as pylidc: the mean over the nodule's readings
            of_four = (count / 4 >= level).sum()
            assert (area == of_four) == (readers == 4 or (readers == 3 and level < 1) or level * 4 <= 1)


def _filled(reading):
    mask, whole = reading_mask(reading), np.zeros(GRID.shape, int)
    first = np.rint(GRID.world_to_index(mask.geometry.origin)).astype(int)
    whole[tuple(slice(a, a + n) for a, n in zip(first, mask.shape, strict=True))] = mask.array
    return whole


def test_nobody_found_anything_is_an_answer(tmp_path):
    found, notes = read(tmp_path, message("", "", "", ""))
    assert found == ()
    assert codes(notes) == ["no-nodules"]


def test_what_is_there_twice_counts_once(tmp_path):
    text = message(FOUR[0] + FOUR[0] + nodule(drawn(8), drawn(8), drawn(9, [])))
    found, notes = read(tmp_path, text)
    assert [len(n.readings) for n in found] == [1, 1]
    assert [len(n.readings[0].contours) for n in found] == [2, 1]
    assert codes(notes) == ["duplicate-nodules", "useless-outlines"]
    assert "1 outlines repeat one of the same nodule, 1 are empty" in notes[1].text


def test_ratings_that_are_none_are_told(tmp_path):
    (found,), notes = read(tmp_path, message(nodule(drawn(3), scores={"malignancy": 9, "margin": 2})))
    assert found.scores == {"margin": 2.0}
    assert codes(notes) == ["bad-scores"]


def test_a_nodule_of_more_readings_than_readers_is_told(tmp_path):
    wide = nodule(drawn(3), drawn(4, square(9, 9, 7)))
    (found,), notes = read(tmp_path, message(FOUR[0] + wide))
    assert len(found.readings) == 2
    assert codes(notes) == ["crowded-nodule"]


def test_nodules_are_told_apart_and_go_from_feet_to_head(tmp_path):
    text = message(nodule(drawn(8)) + nodule(drawn(1)), nodule(drawn(2, square(11, 11, 3))))
    found, _ = read(tmp_path, text)
    assert [len(n.readings) for n in found] == [2, 1]
    assert set(np.unique(mask_nodules(GRID, found).array)) == {0, 1, 2}


@pytest.mark.parametrize(
    ("text", "match", "code"),
    [
        (message(*FOUR, series=SERIES + "1"), "another series", "not-this-series"),
        (message(*FOUR, series=SERIES[:-1] + "2"), "another series", "not-this-series"),
        (message(nodule(drawn(3, uid=False)), series=""), "does not state its series", "not-this-series"),
        (message("", series=""), "does not state its series", "not-this-series"),
        (message(nodule(drawn(3, uid=False, off=1.2))), "line 2: .*no slice at imageZposition -91.3", "annotation"),
        (message(nodule(drawn(2000, uid=False))), "the scan has no slice at", "annotation"),
        (message(nodule(drawn(3).replace("imageZ", "z").replace(slice_uid(3), "?"))), "names no slice", "annotation"),
        (message(nodule(drawn(3, square(36, 10, 12)))), "the image of 40 rows and 48 columns", "annotation"),
        (message(nodule(drawn(3, square(10, 30, 10)))), "reaches beyond the image", "annotation"),
        (message(nodule(drawn(3, [(-1, 3), (4, 4)]))), "reaches beyond the image", "annotation"),
        (message(nodule(drawn(3, [(1e4, 3), (4, 4)]))), "reaches beyond the image", "annotation"),
    ],
    ids=range(11),
)  # fmt: skip
def test_what_does_not_fit_the_scan_is_refused(tmp_path, text, match, code):
    with pytest.raises(AnnotationError, match=match) as caught:
        read(tmp_path, text)
    assert caught.value.code == code
    assert len(str(caught.value)) <= 300


def test_slices_tell_the_series_where_the_reading_does_not(tmp_path):
    (found,), notes = read(tmp_path, message(*FOUR, series=""))
    assert len(found.readings) == 4
    assert notes == ()


@pytest.mark.parametrize("up", [1, -1])
def test_a_volume_file_takes_outlines_by_height_and_says_so(tmp_path, up):
    """Slices from head to feet are at home at the same heights."""
    grid = (
        GRID if up > 0 else replace(GRID, origin=(-20.0, 5.0, height(11)), direction=((0, 0, -1), *GRID.direction[1:]))
    )
    (found,), notes = read(tmp_path, message(*FOUR), scan(grid, uids=()))
    assert found.center == pytest.approx(GRID.index_to_world((3.5, 12, 12)))
    assert codes(notes) == ["assumed-pixels"]


@pytest.mark.parametrize("axes", [((0, -1, 0), (-1, 0, 0)), ((0, 1, 0), (-1, 0, 0)), ((1, 0, 0), (0, 1, 0))])
def test_a_volume_file_whose_rows_are_turned_is_refused(tmp_path, axes):
    turned = scan(replace(GRID, direction=((0, 0, 1), *axes)), uids=())
    with pytest.raises(AnnotationError, match="rows and columns of this file are rotated") as caught:
        read(tmp_path, message(*FOUR), turned)
    assert caught.value.code == "turned-pixels"


def test_resampled_slices_are_refused(tmp_path):
    finer = scan(replace(GRID, shape=(30, 40, 48), spacing=(1.0, 0.7, 0.8)), uids=())
    with pytest.raises(AnnotationError, match="no slice at imageZposition"):
        read(tmp_path, message(*FOUR), finer)


@pytest.mark.parametrize("prone", [False, True])
def test_a_dicom_series_and_the_command_line_agree(tmp_path, prone, capsys):
    """In a prone patient rows and columns run the other way; the outlines count pixels all the same."""
    axes = ((0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)) if prone else GRID.direction[1:]
    grid = replace(GRID, direction=((0.0, 0.0, 1.0), *axes))
    voxels = np.full(grid.shape, -900, np.int16)
    voxels[3:5, 11:14, 11:14] = 50
    series = tmp_path / "series"
    write_dicom_series(Volume(voxels, grid), series, series_uid=SERIES)
    (tmp_path / "a.xml").write_text(message(*(n.replace(slice_uid(3), "").replace(slice_uid(4), "") for n in FOUR)))
    ready = hilum.read(series, annotations=tmp_path / "a.xml")
    assert len(set(ready.slice_uids)) == 12
    assert np.array_equal(mask_nodules(ready.ct.geometry, ready.nodules).array > 0, ready.ct.array > 0)
    # The same, each outline named by its slice alone.
    text = message(*FOUR)
    for k, uid in enumerate(ready.slice_uids):
        text = text.replace(slice_uid(k), uid) if k in {3, 4} else text
    (tmp_path / "b.xml").write_text(text.replace("imageZposition", "where"))
    named = hilum.read(series, annotations=tmp_path / "b.xml")
    assert np.array_equal(mask_nodules(named.ct.geometry, named.nodules).array > 0, named.ct.array > 0)
    assert main(["nodules", str(series), str(tmp_path / "b.xml"), str(tmp_path / "mask.nii.gz")]) == 0
    assert (
        main(
            ["nodules", str(series), str(tmp_path / "a.xml"), str(tmp_path / "wide.nii"), "--contour-pixel", "include"]
        )
        == 0
    )
    assert (hilum.read(tmp_path / "mask.nii.gz").ct.array > 0).sum() == 18
    assert (hilum.read(tmp_path / "wide.nii").ct.array > 0).sum() == 50
    assert main(["nodules", str(series), str(tmp_path / "a.xml"), str(tmp_path / "x.nii"), "--consensus", "0"]) == 1
    assert "consensus level" in capsys.readouterr().err


def test_an_outline_on_a_slice_that_is_missing_is_placed_by_height(tmp_path):
    write_dicom_series(Volume(np.full(GRID.shape, -900, np.int16), GRID), tmp_path / "series", series_uid=SERIES)
    whole = hilum.read(tmp_path / "series")
    gone = next(
        path for path in (tmp_path / "series").rglob("*.dcm") if whole.slice_uids[4].encode() in path.read_bytes()
    )
    gone.unlink()
    text = message(nodule(drawn(3, uid=False), roi(height(4), uid=whole.slice_uids[4])))
    (tmp_path / "a.xml").write_text(text)
    mended = hilum.read(tmp_path / "series", annotations=tmp_path / "a.xml")
    assert mended.slice_uids == (*whole.slice_uids[:4], "", *whole.slice_uids[5:])
    assert "unknown-slices" in codes(mended.notes)
    assert mask_nodules(mended.ct.geometry, mended.nodules).array.sum() == 18


def test_an_annotation_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("{}")
    with pytest.raises(hilum.UnsupportedError, match=r"a table \(\.csv\), boxes \(\.json\) or a LIDC-IDRI \.xml"):
        annotate(scan(), tmp_path / "a.txt")
    (tmp_path / "a.xml").write_text(message(*FOUR))
    with pytest.raises(AnnotationError, match="belongs to a series UID"):
        annotate(scan(uids=(), series="scan"), tmp_path / "a.xml")
    assert annotate(scan(series="no-uid-1"), _named(tmp_path)).annotated


def _named(folder):
    (folder / "b.xml").write_text(message(*FOUR, series=""))
    return folder / "b.xml"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Four series: read, read of another folder, with a damaged reading, and not read; and readings of no series."""
    root = tmp_path_factory.mktemp("archive")
    voxels = Volume(np.full(GRID.shape, -900, np.int16), GRID)
    homes = ["LIDC-IDRI-0001/study/series", "LIDC-IDRI-0002/study/series", "plain/series", "LIDC-IDRI-0004/x"]
    for k, home in enumerate(homes, start=1):
        write_dicom_series(voxels, root / home, series_uid=f"{SERIES}.{k}")
    one = [nodule(drawn(3, uid=False), drawn(4, uid=False))]
    (root / homes[0] / "069.xml").write_text(message(*one, series=f"{SERIES}.1"))
    (root / homes[0] / "069.XML").write_text(message(*one, series=f"{SERIES}.1"))
    (root / "xml").mkdir()
    (root / "xml" / "a.xml").write_text(message(*one, series=f"{SERIES}.2"))
    (root / "xml" / "b.xml").write_text(message(*one, *one, series=f"{SERIES}.2"))
    (root / "xml" / "c.xml").write_text(message(*one, series=f"{SERIES}.9"))
    (root / homes[3] / "xray.xml").write_text(message(series=f"{SERIES}.4").replace("LidcRead", "IdriRead"))
    (root / homes[2] / "cut.xml").write_text(message(*one)[:60])
    return root


def test_each_series_gets_the_reading_that_names_it(archive):
    refs = {ref.series_uid.rpartition(".")[2]: ref for ref in lidc.index(archive).refs}
    assert {k: ref.annotations and ref.annotations.name for k, ref in refs.items()} == {
        "1": "069.XML", "2": "a.xml", "3": "cut.xml", "4": None,
    }  # fmt: skip
    assert {k: codes(ref.known.notes) for k, ref in refs.items()} == {
        "1": [], "2": ["several-readings"], "3": [], "4": ["no-reading"],
    }  # fmt: skip
    assert {ref.dataset for ref in refs.values()} == {"lidc"}
    assert [refs[k].scan_id[:15] for k in "124"] == ["LIDC-IDRI-0001-", "LIDC-IDRI-0002-", "LIDC-IDRI-0004-"]
    assert refs["3"].scan_id.startswith("ct-")
    first = lidc.load(refs["1"])
    assert (first.annotated, len(first.nodules)) == (True, 1)
    assert "several-readings" in codes(lidc.load(refs["2"]).notes)
    fourth = lidc.load(refs["4"])
    assert (fourth.annotated, codes(fourth.notes)[-1]) == (False, "no-reading")
    with pytest.raises(AnnotationError, match="not well-formed"):
        lidc.load(refs["3"])


def test_readings_of_no_scan_are_counted_and_named(archive, tmp_path):
    assert [str(note) for note in lidc.index(archive).notes] == [
        "readings-without-scan: 1 XML files read series that are not here: c.xml",
        "xray-readings: 1 readings of X-ray images belong to no CT: ignored",
    ]
    shutil.copy(archive / "plain" / "series" / "cut.xml", tmp_path)
    told = [str(note) for note in lidc.index(archive, tmp_path).notes]
    assert told == ["readings-without-scan: 1 XML files are damaged or name no series"]


def test_a_tree_is_known_by_its_readings(archive, tmp_path):
    assert recognize(archive) == "lidc"
    assert recognize(archive / "plain") == recognize(tmp_path) == recognize(archive / "xml" / "a.xml") == "folder"
    shutil.copy(archive / "LIDC-IDRI-0004" / "x" / "xray.xml", tmp_path)
    assert recognize(tmp_path) == "folder"


def test_readings_may_lie_elsewhere(archive, tmp_path):
    shutil.copy(archive / "xml" / "b.xml", tmp_path)
    refs = {ref.series_uid.rpartition(".")[2]: ref for ref in lidc.index(archive, tmp_path).refs}
    assert [k for k, ref in refs.items() if ref.annotations] == ["2"]
    assert [k for k, ref in {r.series_uid[-1]: r for r in lidc.index(archive, tmp_path / "b.xml").refs}.items()
            if ref.annotations] == ["2"]  # fmt: skip
    with pytest.raises(MissingInputError):
        lidc.index(archive, tmp_path / "gone")
    with pytest.raises(MissingInputError):
        lidc.index(tmp_path / "gone")


def test_a_reading_beside_its_slices_is_no_ignored_file(tmp_path):
    write_dicom_series(Volume(np.full(GRID.shape, -900, np.int16), GRID), tmp_path, series_uid=SERIES)
    (tmp_path / "069.xml").write_text(message(*(n.replace(slice_uid(3), "").replace(slice_uid(4), "") for n in FOUR)))
    (ref,) = lidc.index(tmp_path).refs
    assert "ignored-files" not in codes(lidc.load(ref).notes)
    assert "ignored-files" in codes(hilum.read(tmp_path).notes)
    (tmp_path / "notes.txt").write_text("x" * 300)
    (ref,) = lidc.index(tmp_path).refs
    assert "ignored-files" in codes(lidc.load(ref).notes)


def test_of_a_luna16_table_only_the_scans_that_it_names_are_annotated(archive, tmp_path):
    table = tmp_path / "annotations.csv"
    x, y, z = GRID.center
    table.write_text(f"seriesuid,coordX,coordY,coordZ,diameter_mm\n{SERIES}.4,{x},{y},{z},5\n")
    found = batch.survey([archive], dataset="lidc", annotations=table)
    refs = found.refs
    assert len(refs) == 4
    scans = {ref.series_uid: lidc.load(ref) for ref in refs}
    assert {uid: (s.annotated, len(s.nodules)) for uid, s in scans.items()} == {
        ref.series_uid: (True, 1) if ref.series_uid.endswith(".4") else (False, 0) for ref in refs
    }
    assert any("3 of 4 scans are in no row of annotations.csv" in note for note in found.notes["lidc"])
    assert sum(ref.scan_id.startswith("LIDC-IDRI-000") for ref in refs) == 3


def test_a_volume_file_is_paired_by_its_name(archive, tmp_path):
    hilum.write(Volume(np.full(GRID.shape, -900, np.int16), GRID), tmp_path / f"{SERIES}.2.mhd")
    (ref,) = lidc.index(tmp_path, archive / "xml" / "a.xml").refs
    assert len(lidc.load(ref).nodules) == 1


def test_a_run_carries_readers_scores_and_agreement(archive, tmp_path, capsys):
    recipe = tmp_path / "coarse.toml"
    recipe.write_text(
        'name = "coarse"\n[lungs]\nmethod = "none"\n[nodules]\nconsensus = 1.0\ncontour_pixel = "include"\n'
    )
    out = tmp_path / "out"
    assert main(["run", str(archive), "--dataset", "lidc", "--recipe", str(recipe), "--out", str(out)]) == 1
    assert "not well-formed" in capsys.readouterr().err
    found = [json.loads(path.read_text()) for path in sorted(out.glob("scans/*/scan.json"))]
    assert len(found) == 3
    (record,) = found[0]["nodules"]
    assert (record["readers"], record["agreement"]) == (1, None)
    assert record["scores"] == {"subtlety": 4.0, "malignancy": 3.0}
    made = hilum.read(next(out.glob("scans/LIDC-IDRI-0001*/nodules.nii.gz"))).ct
    (ref,) = [ref for ref in lidc.index(archive).refs if ref.scan_id.startswith("LIDC-IDRI-0001")]
    nodules = lidc.load(ref).nodules
    asked = mask_nodules(made.geometry, nodules, level=1.0, contour_pixel="include").array
    assert np.array_equal(made.array, asked)
    assert not np.array_equal(made.array, mask_nodules(made.geometry, nodules).array)


def test_readings_that_say_the_same_are_one(tmp_path):
    voxels = Volume(np.full(GRID.shape, -900, np.int16), GRID)
    write_dicom_series(voxels, tmp_path / "s", series_uid=SERIES)
    two = nodule(drawn(8, uid=False), drawn(9, uid=False)), nodule(drawn(2, uid=False))
    first = message("".join(two) + other(height(1), 3, 4) + other(height(5), 6, 7), two[0])
    (tmp_path / "a.xml").write_text(first)
    turned = nodule(drawn(9, uid=False), drawn(8, uid=False))
    other_order = message(turned, two[1] + turned + other(height(5), 6, 7) + other(height(1), 3, 4))
    same = (
        first.replace('uid="1.3.6.1.4.1"', 'uid="1.3.6.1.4.2"').replace("2001-02-03", "2002-03-04"),
        first.replace("><", ">\n  <").replace("<Version>1.8.1", "<ServerId>9</ServerId><Version>1.8.1"),
        other_order,
        first.replace("<xCoord>10<", "<xCoord>10.0<"),
    )
    different = (
        first.replace("<xCoord>10<", "<xCoord>9<"),
        first.replace("<malignancy>3<", "<malignancy>4<", 1),
        first.replace("TRUE", "FALSE", 1),
        first.replace("<locus><xCoord>3<", "<locus><xCoord>4<"),
        message("".join(two) + other(height(1), 3, 4) + other(height(5), 6, 7), two[0], ""),  # a reader found nothing
        first[:-40],
    )
    for text in (*same, *different):
        (tmp_path / "b.xml").write_text(text)
        (ref,) = lidc.index(tmp_path).refs
        assert codes(ref.known.notes) == ([] if text in same else ["several-readings"]), text
        assert ref.annotations == tmp_path / "a.xml"
    for k, text in enumerate(same):
        (tmp_path / f"c{k}.xml").write_text(text)
    (note,) = lidc.index(tmp_path).refs[0].known.notes
    assert note.text.startswith("2 different readings")


def test_a_run_leaves_out_few_readers_and_stores_points(archive, tmp_path, capsys):
    root = tmp_path / "in"
    shutil.copytree(archive / "LIDC-IDRI-0001", root / "LIDC-IDRI-0007")
    next(root.rglob("069.xml")).unlink()
    one, two = (nodule(drawn(k, square(5 + 4 * k, 10, 6), uid=False)) for k in (2, 7))
    text = message(one + two, two + nodule(drawn(5, [(9, 9)], uid=False)), other(height(1), 3, 4), series=f"{SERIES}.1")
    next(root.rglob("069.XML")).write_text(text)
    for name, least in (("all", 1), ("two", 2), ("three", 3)):
        (tmp_path / f"{name}.toml").write_text(
            f'name = "r"\n[lungs]\nmethod = "none"\n[nodules]\nmin_readers = {least}\n'
        )
        run = ["run", str(root), "--recipe", str(tmp_path / f"{name}.toml"), "--out", str(tmp_path / name)]
        assert main(run) == 0
        (home,) = (tmp_path / name / "scans").iterdir()
        record = read_record(home)
        stored = read_locations(home, record)
        assert {kind: len(table) for kind, table in stored.items()} == {
            "small": 1, "non_nodules": 1, **({"few_readers": least - 1} if least > 1 else {}),
        }  # fmt: skip
        assert [n.readers for n in record.nodules] == [1, 2][least - 1 :]
        assert [n.label for n in record.nodules] == list(range(1, 4 - least))
        assert np.unique(hilum.read(home / "nodules.nii.gz").ct.array).tolist() == list(range(4 - least))
        assert is_annotated(record)
        assert [note["code"] for note in record.notes].count("few-readers") == (least > 1)
        assert main(["verify", str(tmp_path / name)]) == 0
        assert main(["store", str(tmp_path / name), "--format", "npy", "--out", str(tmp_path / f"{name}-npy")]) == 0
        (copy,) = (tmp_path / f"{name}-npy" / "scans").iterdir()
        again = hilum.RunScan(copy).scan()
        assert again.locations.keys() == stored.keys()
        assert all(np.array_equal(again.locations[kind], table) for kind, table in stored.items())
        masks = ["nodules", str(root / "LIDC-IDRI-0007"), str(next(root.rglob("069.XML"))), str(tmp_path / "m.nii")]
        assert main([*masks, "--min-readers", str(least)]) == 0
        assert f"m.nii: {3 - least} nodules" in capsys.readouterr().out
    assert main([*masks, "--min-readers", "0"]) == 1
    # The points that were left out are no negatives, and no negative is near them.
    made = write_patches(tmp_path / "two", tmp_path / "p", PatchOptions(size=4, jitter_mm=0, distance_mm=0), kept=True)
    assert (made.positives, made.negatives) == (1, 1)
    (scan_,), _ = list_run(tmp_path / "two")
    assert len(scan_.nodule_spheres) == 2
    assert len(list_run(tmp_path / "all")[0][0].nodule_spheres) == 2


@pytest.fixture(scope="session")
def cases(real_data):
    """The real readings, the blocks of slices there are, and what pylidc computed from the readings."""
    known = json.loads((real_data / "lidc-reference.json").read_text())["scans"]
    root = real_data / "lidc-idri-partial"
    refs = lidc.index(real_data / "lidc-idri-0314").refs
    for case in ("LIDC-IDRI-0001", "LIDC-IDRI-0002", "LIDC-IDRI-0003"):
        refs += lidc.index(root / "small" / case, root / "full" / case).refs
    return {ref.series_uid: lidc.load(ref) for ref in refs}, known


@pytest.mark.real
@pytest.mark.parametrize("case", ["LIDC-IDRI-0314", "LIDC-IDRI-0001", "LIDC-IDRI-0002", "LIDC-IDRI-0003"])
def test_the_real_readings_are_those_of_pylidc(cases, case):
    scans, known = cases
    theirs = known[case]["nodules"]
    ours = scans[known[case]["series_uid"]].nodules
    assert [len(n.readings) for n in ours] == [n["readers"] for n in theirs]
    for found, want in zip(ours, theirs, strict=True):
        for reading, numbers in zip(found.readings, want["readings"], strict=True):
            assert len(reading.contours) + len(reading.holes) == numbers["contours"]
            assert reading.scores["malignancy"] == numbers["malignancy"]
            assert reading.scores["subtlety"] == numbers["subtlety"]
            assert reading_volume_mm3(reading) == pytest.approx(numbers["volume_mm3"], abs=0.01)
            assert reading_diameter_mm(reading) == pytest.approx(numbers["diameter_mm"], abs=0.001)
            assert reading_mask(reading).array.sum() == numbers["mask_voxels"]
            middle = np.concatenate([reading.grid.world_to_index(c) for c in (*reading.contours, *reading.holes)])
            assert middle.mean(axis=0)[[1, 2]] == pytest.approx(numbers["centroid_ijk"][:2], abs=0.01)
            heights = [c[0, 2] for c in reading.contours]
            assert [min(heights), max(heights)] == pytest.approx(numbers["z_mm"], abs=0.01)
            assert reading_mask(reading, contour_pixel="include").array.sum() > 1.1 * numbers["mask_voxels"]
        assert consensus_mask(found).array.sum() == want["consensus50_voxels"]


@pytest.mark.real
def test_the_real_blocks_tell_what_lies_beyond_them(cases):
    scans, known = cases
    beyond = {case: [n.text[:18] for n in scans[one["series_uid"]].notes if n.code == "outlines-beyond"]
              for case, one in known.items()}  # fmt: skip
    assert beyond == {
        "LIDC-IDRI-0314": [], "LIDC-IDRI-0001": [], "LIDC-IDRI-0002": ["39 of 53 outlines "],
        "LIDC-IDRI-0003": ["45 of 76 outlines "],
    }  # fmt: skip


@pytest.mark.real
def test_the_real_consensus_lies_where_luna16_puts_its_sphere(cases, real_data):
    scans, known = cases
    one = scans[known["LIDC-IDRI-0314"]["series_uid"]]
    sphere = annotate(one, real_data / "luna16" / "annotations.csv").nodules[0]
    (ours,) = one.nodules
    assert np.linalg.norm(np.subtract(sphere.center, ours.center)) < 0.3
    assert ours.diameter_mm == pytest.approx(sphere.diameter_mm, rel=0.01)
    grid = one.ct.geometry
    drawn, ball = (mask_nodules(grid, [n]).array > 0 for n in (ours, sphere))
    assert 2 * (drawn & ball).sum() / (drawn.sum() + ball.sum()) > 0.75
    # The tissue is inside, the lung around it is not.
    assert one.ct.array[drawn].mean() > -200
    ring = (mask_nodules(grid, [ours], contour_pixel="include").array > 0) & ~drawn
    assert one.ct.array[ring].mean() < -400
