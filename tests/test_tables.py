"""Nodule tables of any kind: every axes convention lands where SimpleITK says, and wrong tables are refused."""

from __future__ import annotations

import contextlib
import json
import math
import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK
from dsb2017_files import write_dsb2017
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from itk_oracle import itk_image
from small_runs import finished_scans

import hilum
from hilum import AnnotationError, Geometry, InputError, RunScan, TableColumns, Volume, batch, cli
from hilum.batch.identity import input_fingerprint
from hilum.datasets import DATASETS
from hilum.errors import HilumError
from hilum.export import boxes
from hilum.io.annotations.known_tables import KNOWN, recognize_table
from hilum.io.annotations.table_rows import names_of_id, parse_columns, read_id_map
from hilum.io.annotations.tables import read_table
from hilum.ops.nodules.axes import AXES, from_world, inside_body, note_axes, to_world
from hilum.ops.reorient import permute
from hilum.outputs.dataset_summary import _axes_notes
from hilum.outputs.parts import read_locations
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series, write_luna16
from hilum.recipes import parse_recipe
from hilum.scan_ref import DatasetEntry
from hilum.viewer.sources import open_source

UID = "1.2.826.0.1.3680043.8.498.1"
COARSE = 'name = "coarse"\n[resample]\nspacing_mm = 4.0\n[nodules]\nmask = true\n'


def turned(degrees):
    """Axes of a grid turned about z, then a little about x: oblique in every plane."""
    a, b = math.radians(degrees), math.radians(degrees / 3)
    about_z = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    return (about_x @ about_z).T[::-1]


GRIDS = {
    "plain": Geometry((12, 20, 30), (4.0, 1.5, 1.2), (-18.0, -15.0, -120.0)),
    "flipped": Geometry((12, 20, 30), (4.0, 1.5, 1.2), (18.0, 15.0, -120.0), ((0, 0, 1), (0, -1, 0), (-1, 0, 0))),
    "down": Geometry((12, 20, 30), (4.0, 1.5, 1.2), (-18.0, -15.0, -80.0), ((0, 0, -1), (0, 1, 0), (1, 0, 0))),
    "sagittal": Geometry((12, 20, 30), (4.0, 1.5, 1.2), (-18.0, -15.0, -80.0), ((1, 0, 0), (0, 0, -1), (0, 1, 0))),
    "oblique": Geometry((12, 20, 30), (4.0, 1.5, 1.2), (-11.0, 7.0, 300.0), turned(20.0)),
}


def by_itk(geometry, index, image=None):
    """The world position of an index (i, j, k), as SimpleITK has it: of a grid, or of the image that it read."""
    image = itk_image(Volume(np.zeros(geometry.shape, np.int16), geometry)) if image is None else image
    return np.array(image.TransformContinuousIndexToPhysicalPoint([float(v) for v in index]))


def in_axes(axes, geometry, index, image=None):
    """The three numbers by which a table in these axes names the voxel (i, j, k)."""
    world = by_itk(geometry, index, image)
    return {
        "lps": world,
        "ras": world * (-1, -1, 1),
        "voxel-xyz": np.array(index, float),
        "voxel-zyx": np.array(index[::-1], float),
    }[axes]


def write_scan(folder, geometry, *, name="case1.nii.gz"):
    """A scan of noise that passes as HU, without a series UID."""
    rng = np.random.default_rng(1)
    array = rng.integers(-1000, 300, geometry.shape).astype(np.int16)
    folder.mkdir(exist_ok=True, parents=True)
    hilum.write(Volume(array, geometry), folder / name)
    return folder / name


def table(folder, text, name="table.csv"):
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text(text)
    return folder / name


COLUMNS = "id=patient,x=a,y=b,z=c,diameter=d"


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
def test_the_mask_lies_where_simpleitk_puts_the_mark(grid, axes, suffix, tmp_path):
    geometry, index = GRIDS[grid], (21, 6, 8)
    path = write_scan(tmp_path, geometry, name="case1" + suffix)
    image = SimpleITK.ReadImage(str(path))
    numbers = ",".join(f"{v:.9f}" for v in in_axes(axes, geometry, index, image))
    csv = table(tmp_path, f"patient,a,b,c,d\ncase1,{numbers},5\n")
    scan = hilum.read(path, annotations=csv, columns=replace(parse_columns(COLUMNS), axes=axes))
    assert np.allclose(scan.nodules[0].center, by_itk(geometry, index, image), atol=1e-3)
    assert scan.ct.array[index[::-1]] == image[index]  # the same voxel
    mask = hilum.mask_nodules(scan.ct.geometry, scan.nodules).array
    assert mask[index[::-1]] == 1
    middle = np.argwhere(mask).mean(axis=0)
    assert np.abs((middle - index[::-1]) * scan.ct.geometry.spacing).max() < 0.1
    assert "read-table" in {note.code for note in scan.notes}


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("grid", GRIDS)
def test_axes_convert_both_ways(grid, axes):
    points = np.array([[3.5, -2.0, 7.25], [0, 0, 0]])
    assert np.allclose(from_world(to_world(points, axes, GRIDS[grid]), axes, GRIDS[grid]), points)


def test_the_first_voxel_is_zero_at_its_center():
    assert np.allclose(to_world([(0, 0, 0)], "voxel-xyz", GRIDS["oblique"])[0], GRIDS["oblique"].origin)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("grid", GRIDS)
def test_a_dicom_series_counts_slices_along_their_normal(grid, axes, tmp_path):
    rng = np.random.default_rng(1)
    write_dicom_series(Volume(rng.integers(-1000, 300, (12, 20, 30)).astype(np.int16), GRIDS[grid]), tmp_path / "case1")
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "case1"))
    image, index = SimpleITK.ReadImage(names), (21, 6, 8)
    numbers = ",".join(f"{v:.9f}" for v in in_axes(axes, GRIDS[grid], index, image))
    csv = table(tmp_path, f"patient,a,b,c,d\ncase1,{numbers},5\n")
    scan = hilum.read(tmp_path / "case1", annotations=csv, columns=replace(parse_columns(COLUMNS), axes=axes))
    assert np.allclose(scan.nodules[0].center, by_itk(GRIDS[grid], index, image), atol=1e-2)
    near = np.rint(scan.ct.geometry.world_to_index(scan.nodules[0].center)).astype(int)
    assert scan.ct.array[tuple(near)] == image[index]


def test_marks_in_voxels_of_interpolated_slices_are_refused(tmp_path):
    phantom = make_phantom(seed=2, shape=(30, 48, 48), spacing=(10.0, 8.0, 8.0))
    write_dicom_series(phantom, tmp_path / "case1")
    sorted((tmp_path / "case1").iterdir())[10].unlink()
    csv = table(tmp_path, "patient,a,b,c,d\ncase1,3,4,5,9\n")
    columns = parse_columns(COLUMNS)
    with pytest.raises(AnnotationError, match="shifted or interpolated"):
        hilum.read(tmp_path / "case1", annotations=csv, columns=replace(columns, axes="voxel-xyz"), max_gap_mm=30)
    assert hilum.read(tmp_path / "case1", annotations=csv, columns=columns, max_gap_mm=30).annotated  # mm are right


# Sizes.


@pytest.mark.parametrize(
    ("head", "row", "columns", "diameter"),
    [
        ("d", "6", "diameter=d", 6.0),
        ("d", "3", "radius=d", 6.0),
        ("d", f"{math.pi / 6 * 216}", "volume=d", 6.0),
        ("e,f,g", "6,6,6", "w=e,h=f,d=g", 6.0),
        ("e,f,g", "3,6,12", "w=e,h=f,d=g", 6.0),
        ("e,f,g", "6,6,9", "w=e,h=f,d=g", 6 * 1.5 ** (1 / 3)),
        ("e,f,g", "6,6,9.1", "w=e,h=f,d=g", (36 * 9.1) ** (1 / 3)),
    ],
)
def test_sizes_become_diameters(head, row, columns, diameter, tmp_path):
    path = write_scan(tmp_path, GRIDS["plain"])
    csv = table(tmp_path, f"patient,a,b,c,{head}\ncase1,0,0,-100,{row}\n")
    scan = hilum.read(path, annotations=csv, columns=parse_columns(f"id=patient,x=a,y=b,z=c,{columns}"))
    assert scan.nodules[0].diameter_mm == pytest.approx(diameter)
    assert ("long-boxes" in {note.code for note in scan.notes}) == (row in {"3,6,12", "6,6,9.1"})


@pytest.mark.parametrize("axes", AXES)
def test_corners_are_a_box_in_the_unit_of_the_axes(axes, tmp_path):
    geometry = GRIDS["flipped"]
    path, middle = write_scan(tmp_path, geometry), in_axes(axes, geometry, (15, 9, 5))
    mm = {"voxel-xyz": geometry.spacing[::-1], "voxel-zyx": geometry.spacing}.get(axes, (1, 1, 1))
    low, high = middle - 3 / np.array(mm), middle + 3 / np.array(mm)
    numbers = ",".join(f"{v:.9f}" for v in (*low, *high))
    csv = table(tmp_path, f"patient,a,b,c,e,f,g\ncase1,{numbers}\n")
    columns = replace(parse_columns("id=patient,x0=a,y0=b,z0=c,x1=e,y1=f,z1=g"), axes=axes)
    nodule = hilum.read(path, annotations=csv, columns=columns).nodules[0]
    assert nodule.diameter_mm == pytest.approx(6.0)
    assert np.allclose(nodule.center, by_itk(geometry, (15, 9, 5)), atol=1e-3)


def test_a_table_without_sizes_gives_points_or_a_stated_diameter(tmp_path):
    path = write_scan(tmp_path, GRIDS["plain"])
    csv = table(tmp_path, "patient,a,b,c,m\ncase1,0,0,-100,1\n")
    columns = parse_columns("id=patient,x=a,y=b,z=c,label=m")
    scan = hilum.read(path, annotations=csv, columns=columns)
    assert (scan.annotated, scan.nodules) == (False, ())  # nothing is drawn, and nothing says that there is no nodule
    assert scan.locations["marks"].tolist() == [[0, 0, -100, 1]]
    assert "no-sizes" in {note.code for note in scan.notes}
    stated = hilum.read(path, annotations=csv, columns=replace(columns, diameter_mm=8.0))
    assert (stated.annotated, stated.nodules[0].diameter_mm, dict(stated.nodules[0].scores)) == (
        True,
        8.0,
        {"label": 1},
    )


# Known tables.

LUNA25 = (
    "PatientID,SeriesInstanceUID,StudyDate,CoordX,CoordY,CoordZ,LesionID,AnnotationID,NoduleID,label,"
    "Age_at_StudyDate,Gender"
)
LNDB = "LNDbID,RadID,RadFindingID,FindingID,x,y,z,AgrLevel,Nodule,Volume,Text"


def test_luna25_gives_points_with_their_malignancy_and_nothing_of_the_patient(tmp_path):
    path = write_scan(tmp_path, GRIDS["plain"], name=f"{UID}.nii.gz")
    csv = table(tmp_path, f"{LUNA25}\n100471,{UID},20000102,1.5,-2,-100,3,100471_3_20000102,100471_3,1,75,Female\n")
    assert recognize_table(csv) == "LUNA25"
    scan = hilum.read(path, annotations=csv)
    assert scan.locations["marks"].tolist() == [[1.5, -2, -100, 1]]
    assert not scan.nodules
    assert "100471" not in repr(scan.notes)
    (recipe := tmp_path / "r.toml").write_text(COARSE)
    assert (
        cli.main(["run", str(path), "--out", str(tmp_path / "O"), "--annotations", str(csv), "--recipe", str(recipe)])
        == 0
    )
    text = "".join(p.read_text(errors="replace") for p in (tmp_path / "O").rglob("*") if p.is_file())
    assert not any(word in text for word in ("100471", "20000102", "Female"))
    folder, record = finished_scans(tmp_path / "O")[0]
    assert read_locations(folder, record)["marks"].tolist() == [[1.5, -2, -100, 1]]
    assert not record.nodules
    assert "nodules" not in record.parts


def test_lndb_takes_the_diameter_of_the_volume_and_keeps_other_findings_apart(tmp_path):
    path = write_scan(tmp_path, GRIDS["plain"], name="LNDb-0007.mha")
    rows = ['7,"1,2","1,1",1,0,0,-100,2,1,113.097,4.5', "7,3,1,2,5,5,-100,0,0,14.137,0", "8,1,1,1,0,0,0,1,1,100,5"]
    csv = table(tmp_path, "\n".join([LNDB, *rows]) + "\n")
    assert recognize_table(csv) == "LNDb"
    scan = hilum.read(path, annotations=csv)
    assert [n.center for n in scan.nodules] == [(0, 0, -100)]
    assert scan.nodules[0].diameter_mm == pytest.approx(6.0, abs=1e-4)
    assert dict(scan.nodules[0].scores) == {"agreeing_readers": 2, "texture": 4.5}
    assert scan.locations["excluded"].tolist() == [[5, 5, -100, -1]]
    readers = table(tmp_path, "LNDbID,RadID,FindingID,x,y,z,Nodule,Volume,Text\n7,1,1,0,0,-100,1,50,5\n", "readers.csv")
    with pytest.raises(AnnotationError, match="a line for each reader of LNDb"):
        hilum.read(path, annotations=readers)


def test_luna16_stays_what_it_was(tmp_path):
    path = write_scan(tmp_path, GRIDS["plain"], name=f"{UID}.nii.gz")
    csv = table(tmp_path, f"seriesuid,coordX,coordY,coordZ,diameter_mm\n{UID},0,0,-100,6\n")
    assert recognize_table(csv) == "LUNA16"
    plain, ras = hilum.read(path, annotations=csv), hilum.read(path, annotations=csv, columns=TableColumns(axes="ras"))
    assert [n.code for n in plain.notes] == [n.code for n in hilum.read(path).notes]
    assert plain.nodules[0].center == ras.nodules[0].center == (0, 0, -100)
    assert plain.nodules[0].diameter_mm == ras.nodules[0].diameter_mm == 6


def test_no_header_fits_two_known_tables(tmp_path):
    for name, known in KNOWN.items():
        assert recognize_table(table(tmp_path, ",".join(known.header) + "\n")) == name


def test_lists_of_boxes_are_read(tmp_path):
    path = write_scan(tmp_path, GRIDS["oblique"], name=f"{UID}.nii.gz")
    center = by_itk(GRIDS["oblique"], (15, 9, 5)).tolist()
    monai = {"training": [{"image": f"{UID}/{UID}.nii.gz", "box": [[*center, 6, 6, 6]], "label": [0]}]}
    scan = hilum.read(path, annotations=table(tmp_path, json.dumps(monai), "m.json"))
    assert np.allclose(scan.nodules[0].center, center)
    assert scan.nodules[0].diameter_mm == 6
    spacing = np.array(GRIDS["oblique"].spacing[::-1])
    low, size = (np.array([15, 9, 5]) + 0.5 - 3 / spacing).tolist(), (6 / spacing).tolist()
    coco = {
        "images": [{"id": 4, "file_name": f"images/{UID}.nii.gz"}],
        "annotations": [{"id": 1, "image_id": 4, "category_id": 1, "bbox": [*low, *size]}],
        "categories": [{"id": 1, "name": "nodule"}],
    }
    scan = hilum.read(path, annotations=table(tmp_path, json.dumps(coco), "c.json"))
    assert np.allclose(scan.nodules[0].center, center, atol=1e-3)
    assert scan.nodules[0].diameter_mm == pytest.approx(6)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"instances": {"1": 0}}, "names the classes of a mask"),
        ({"training": []}, "is not a list of boxes"),
        ([1, 2], "is not a list of boxes"),
        ({"training": [{"image": "a", "box": [[0, 0, 0, 1, 1]]}]}, "expected a position and three positive edges"),
        ({"training": [{"image": "a", "box": [[5, 5, 5, 1, 1, -1]]}]}, "expected a position and three positive edges"),
        ({"training": [{"image": "a", "box": [[5, 5, 5, 1, 1, 1e5]]}]}, "expected a position and three positive edges"),
        ({"training": [{"image": "a", "box": [[5, 5, 10**400, 1, 1, 1]]}]}, "lacks what it needs"),
        ({"training": [{"image": "a", "box": [["x", 5, 5, 1, 1, 1]]}]}, "lacks what it needs"),
        ({"training": [{"image": "a", "box": [[5, 5, 5, 1, 1, 1]], "label": []}]}, None),
        ({"training": [{"image": "a", "box": [[5, 5, 5, 1, 1, 1]], "label": [0, 1]}]}, "lacks what it needs"),
        (
            {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4]}]},
            "single",
        ),
        ({"images": [], "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4, 5, 6]}]}, "lacks what it needs"),
    ],
)
def test_wrong_lists_of_boxes_are_refused(data, text, tmp_path):
    path = table(tmp_path, json.dumps(data), "m.json")
    if text is None:
        assert len(read_table(path).cases["a"].entry("lps").nodules) == 1
        return
    with pytest.raises(AnnotationError, match=text):
        read_table(path)


def test_what_hilum_exports_reads_back_to_the_same_nodules(tmp_path):
    phantom = make_phantom(seed=3, shape=(30, 48, 48), spacing=(10.0, 8.0, 8.0))
    series = tmp_path / "scans" / "one"
    write_dicom_series(phantom, series)
    rows = [
        f"{phantom.scan.series_uid},{','.join(map(repr, n.center))},{n.diameter_mm!r}" for n in phantom.scan.nodules
    ]
    csv = table(tmp_path, "\n".join(["seriesuid,coordX,coordY,coordZ,diameter_mm", *rows]) + "\n")
    refs = batch.survey([tmp_path / "scans"], annotations=csv).refs
    batch.run(refs, parse_recipe(COARSE), tmp_path / "OUT")
    boxes.write_boxes_csv(tmp_path / "OUT", tmp_path / "b.csv")
    boxes.write_coco3d(tmp_path / "OUT", tmp_path / "c.json")
    boxes.write_monai(tmp_path / "OUT", tmp_path / "m.json")
    stored = finished_scans(tmp_path / "OUT")[0][0] / "ct.nii.gz"
    wanted = [(n.center, n.diameter_mm) for n in hilum.read(series, annotations=csv).nodules]
    for name in ("b.csv", "c.json", "m.json"):
        for source in (series, stored):
            found = batch.survey([source], annotations=tmp_path / name)
            nodules = found.refs[0].known.nodules
            assert len(nodules) == len(wanted)
            for nodule, (center, diameter) in zip(nodules, wanted, strict=True):
                assert np.allclose(nodule.center, center, atol=1e-5)
                assert nodule.diameter_mm == pytest.approx(diameter, abs=1e-4)
    voxels = hilum.read(stored, annotations=tmp_path / "c.json", columns=TableColumns(axes="voxel-xyz"))
    assert np.allclose([n.center for n in voxels.nodules], [center for center, _ in wanted], atol=1e-4)


# Ids.


def two_scans(tmp_path, *names):
    for name in names:
        write_scan((tmp_path / "S" / name).parent, GRIDS["plain"], name=(tmp_path / "S" / name).name)
    return tmp_path / "S"


def centers(found):
    return {ref.place: [n.center for n in ref.known.nodules] for ref in found.refs}


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (("P1/ct.nii.gz", "P2/ct.nii.gz"), ("P1", "P2")),  # the folder of a patient
        (("P1/x/ct.nii.gz", "P2/x/ct.nii.gz"), ("P1", "P2")),
        (("one.nii.gz", "two.nii.gz"), ("one", "two")),  # the stem of a file
        (("one.nii.gz", "two.nii.gz"), ("one.nii.gz", "data/two.nii.gz")),  # a file, or a path
        (("P1/ct.nii.gz", "P2/ct.nii.gz"), ("other/P1/ct.nii.gz", "other/P2/ct.nii.gz")),
        (
            ("x/LIDC-IDRI-0001/a/b/c/ct.nii.gz", "x/LIDC-IDRI-0002/a/b/c/ct.nii.gz"),
            ("LIDC-IDRI-0001", "LIDC-IDRI-0002"),
        ),
    ],
)
def test_ids_find_their_scans(names, ids, tmp_path):
    root = two_scans(tmp_path, *names)
    csv = table(tmp_path, f"patient,a,b,c,d\n{ids[0]},1,0,-100,6\n{ids[1]},2,0,-100,6\n")
    found = batch.survey([root], annotations=csv, columns=parse_columns(COLUMNS))
    assert centers(found) == {names[0]: [(1, 0, -100)], names[1]: [(2, 0, -100)]}


def test_a_mapping_pairs_ids_and_scans(tmp_path):
    root = two_scans(tmp_path, "one.nii.gz", "two.nii.gz")
    csv = table(tmp_path, "patient,a,b,c,d\n17,1,0,-100,6\n18,2,0,-100,6\n")
    with pytest.raises(
        AnnotationError, match=r"names '17', the first scan is 'no-uid|names '17', the first scan is 'one'"
    ) as refused:
        batch.survey([root], annotations=csv, columns=parse_columns(COLUMNS))
    assert "--id-map" in str(refused.value)
    id_map = table(tmp_path, "id,scan\n17,two\n18,one\n", "map.csv")
    found = batch.survey([root], annotations=csv, columns=replace(parse_columns(COLUMNS), id_map=id_map))
    assert centers(found) == {"one.nii.gz": [(2, 0, -100)], "two.nii.gz": [(1, 0, -100)]}
    other = table(tmp_path, "id,scan\n170,two\n", "map2.csv")
    with pytest.raises(AnnotationError, match="pairs none of the ids of the table, such as '17'"):
        batch.survey([root], annotations=csv, columns=replace(parse_columns(COLUMNS), id_map=other))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("id,scan\n1,a\n1,b\n", "line 3: this id has another scan above"),
        ("id,scan\n1,a\n2,a\n", "pairs two ids with the scan 'a'"),
        ("id,scan\n1,\n", "line 2: has no scan"),
        ("1,a\n2,b\n", "column id is missing; its columns are 1, a"),
    ],
)
def test_a_wrong_mapping_is_refused(text, what, tmp_path):
    with pytest.raises(AnnotationError, match=what):
        read_id_map(table(tmp_path, text))


def test_an_id_of_several_scans_gives_none_of_them_rows(tmp_path):
    root = two_scans(tmp_path, "P1/a.nii.gz", "P1/b.nii.gz", "P2/c.nii.gz")
    csv = table(tmp_path, "patient,a,b,c,d\nP1,1,0,-100,6\nP2,2,0,-100,6\n")
    found = batch.survey([root], annotations=csv, columns=parse_columns(COLUMNS))
    assert centers(found) == {"P1/a.nii.gz": [], "P1/b.nii.gz": [], "P2/c.nii.gz": [(2, 0, -100)]}
    assert [ref.known.annotated for ref in found.refs] == [False, False, True]
    assert any("ambiguous-ids: 1 ids" in note for note in found.notes["folder"])


def test_an_id_without_name_and_a_common_name_belong_to_no_scan(tmp_path):
    assert names_of_id("a/ct.nii.gz") == ("a/ct.nii.gz", "a")
    assert names_of_id("C:\\x\\P1\\scan1.mhd") == ("C:\\x\\P1\\scan1.mhd", "scan1", "P1")
    path = write_scan(tmp_path / "b", GRIDS["plain"], name="ct.nii.gz")
    csv = table(tmp_path, "patient,a,b,c,d\n,1,0,-100,6\na/ct.nii.gz,1,0,-100,6\n")
    assert not hilum.read(path, annotations=csv, columns=parse_columns(COLUMNS)).annotated


# Wrong tables.


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("id=p,x=a,y=b", "need an id, and a center"),
        ("x=a,y=b,z=c", "need an id"),
        ("id=p,x=a,y=b,z=c,w=e,h=f", "need an id, and a center"),
        ("id=p,x=a,y=b,z=c,diameter=d,radius=r", "state a size twice"),
        ("id=p,x0=a,y0=b,z0=c,x1=d,y1=e,z1=f,diameter=g", "state a size twice"),
        ("id=p,x=a,y=a,z=c", "the same column"),
        ("id=p,x=a,x=b,z=c", "is not NAME=COLUMN, each name once"),
        ("id=p,size=d", "'size=d'|'size' is not NAME=COLUMN|size"),
        ("patient", "is not NAME=COLUMN"),
    ],
)
def test_wrong_columns_are_refused(text, what):
    with pytest.raises(InputError, match=what):
        parse_columns(text)


@pytest.mark.parametrize(("options", "what"), [({"axes": "xyz"}, "axes is 'xyz'"), ({"diameter_mm": 0}, "more than 0")])
def test_wrong_options_are_refused(options, what):
    with pytest.raises(InputError, match=what):
        TableColumns(**options)


@pytest.mark.parametrize(
    ("csv", "what"),
    [
        ("patient,a,b,c,e\ncase1,0,0,0,1\n", "column d is missing; its columns are patient, a, b, c, e"),
        ("patient;a;b;c;d\ncase1;0;0;0;1\n", "does not separate its columns by commas"),
        ("", "is empty"),
        ("patient,a,b,c,d\ncase1,0,0,x,1\n", "line 2: c is 'x', expected a number"),
        ("patient,a,b,c,d\ncase1,0,0,nan,1\n", "line 2: c is 'nan', expected a number"),
        ('patient,a,b,c,d\ncase1,0,0,"1,5",1\n', "line 2: c is '1,5', expected a number"),
        ("patient,a,b,c,d\ncase1,0,0,1e12,1\n", "outside any patient"),
        ("patient,a,b,c,d\ncase1,0,0,1,0\n", "line 2: the size is 0, expected more than 0"),
        ("patient,a,b,c,d\ncase1,0,0,1,-4\n", "line 2: the size is -4"),
        ("patient,a,b,c,d\ncase1,0,0,1,500.1\n", "at most 500"),
        ("patient,a,b,c,d\ncase1,0,0,1\n", "line 2: 4 fields, expected 5"),
    ],
)
def test_wrong_tables_are_refused(csv, what, tmp_path):
    path = write_scan(tmp_path, GRIDS["plain"])
    with pytest.raises(AnnotationError, match=what):
        hilum.read(path, annotations=table(tmp_path, csv), columns=parse_columns(COLUMNS))


def test_a_wrong_row_refuses_its_case_and_a_repeated_one_is_counted(tmp_path):
    root = two_scans(tmp_path, "one.nii.gz", "two.nii.gz")
    csv = table(tmp_path, "patient,a,b,c,d\none,1,0,-100,6\none,1,0,-100,6.0\none,1,0,-100,500\ntwo,1,0,x,6\n")
    first, second = batch.survey([root], annotations=csv, columns=parse_columns(COLUMNS)).refs
    assert len(first.known.nodules) == 2
    assert "1 rows repeat a nodule" in " ".join(map(str, first.known.notes))
    assert "expected a number" in str(second.known.refusal)


def test_a_table_of_unknown_header_is_refused_with_its_columns(tmp_path, capsys):
    path = write_scan(tmp_path, GRIDS["plain"])
    csv = table(tmp_path, "patient,a,b,c,d\ncase1,0,0,-100,6\n")
    for words in (["run", str(path), "--out", str(tmp_path / "O")], ["run", str(path), "--out", "O", "--axes", "ras"]):
        assert cli.main([*words, "--annotations", str(csv)]) == 1
        err = capsys.readouterr().err
        assert "column seriesuid is missing; its columns are patient, a, b, c, d" in err
        assert "--columns id=" in err
    assert cli.main(["run", str(path), "--out", str(tmp_path / "O"), "--columns", COLUMNS]) == 1
    assert "give --annotations" in capsys.readouterr().err


def test_columns_of_an_xml_or_a_run_are_refused(tmp_path, capsys):
    path = write_scan(tmp_path, GRIDS["plain"])
    with pytest.raises(InputError, match="has no columns"):
        hilum.read(path, annotations=table(tmp_path, "<x/>", "a.xml"), columns=parse_columns(COLUMNS))
    assert cli.main(["run", str(path), "--out", "O", "--annotations", str(tmp_path / "a.xml"), "--axes", "ras"]) == 1
    assert "has no columns" in capsys.readouterr().err


# The whole way.


@pytest.mark.parametrize(("axes", "file_format"), [*zip(AXES, ("nifti", "npy", "zarr", "b2nd"), strict=True)])
def test_a_run_puts_marks_of_any_axes_where_they_are(axes, file_format, tmp_path):
    """A flipped and an oblique thick scan, at 1 mm, in each store: the mask of each nodule is the ball of its row."""
    phantom = make_phantom(seed=3, shape=(60, 96, 96), spacing=(5.0, 4.0, 4.0))
    grid = phantom.scan.ct.geometry
    scans = {
        "one": permute(phantom.scan.ct, (0, 1, 2), (False, True, True)),  # as some scans of LUNA16 are stored
        "two": Volume(phantom.scan.ct.array, replace(grid, direction=turned(12.0))),
    }
    (tmp_path / "S").mkdir()
    rows, true = [], {}
    for name, volume in scans.items():
        hilum.write(volume, tmp_path / "S" / f"{name}.mha")
        image = SimpleITK.ReadImage(str(tmp_path / "S" / f"{name}.mha"))
        index = [grid.world_to_index(n.center)[::-1] for n in phantom.scan.nodules]
        if name == "one":
            index = [(95 - i, 95 - j, k) for i, j, k in index]
        true[name] = [by_itk(volume.geometry, i, image) for i in index]
        for i, nodule in zip(index, phantom.scan.nodules, strict=True):
            numbers = [f"{v:.6f}" for v in in_axes(axes, volume.geometry, i, image)]
            rows.append(",".join([name, *numbers, f"{nodule.diameter_mm:.6f}"]))
    csv = table(tmp_path, "\n".join(["patient,a,b,c,d", *rows]) + "\n")
    (recipe := tmp_path / "r.toml").write_text(
        'name = "fine"\n[resample]\nspacing_mm = 1.0\n[lungs]\nmethod = "none"\n'
    )
    words = ["run", str(tmp_path / "S"), "--out", str(tmp_path / "O"), "--annotations", str(csv), "--axes", axes]
    words += ["--columns", COLUMNS, "--recipe", str(recipe), "--format", file_format, "--name-by", "folder"]
    assert cli.main(words) == 0
    for folder, record in finished_scans(tmp_path / "O"):
        assert not {"wrong-axes", "mixed-axes", "nodule-outside"} & {note["code"] for note in record.notes}
        mask = RunScan(folder).scan().nodule_mask
        for nodule, center, known in zip(record.nodules, true[folder.name], phantom.scan.nodules, strict=True):
            voxels = np.argwhere(mask.array == nodule.label)
            assert np.linalg.norm(mask.geometry.index_to_world(voxels.mean(axis=0)) - center) < 0.1
            assert len(voxels) == pytest.approx(math.pi / 6 * known.diameter_mm**3, rel=0.03)


def test_marks_in_voxels_belong_to_the_identity_of_a_result(tmp_path):
    root = two_scans(tmp_path, "one.nii.gz")
    prints = set()
    for text, axes in (
        ("3,4,5,6", "voxel-xyz"),
        ("3,4,5,6", "voxel-zyx"),
        ("3,4,5,7", "voxel-xyz"),
        ("3,4,5,6", "lps"),
    ):
        csv = table(tmp_path, f"patient,a,b,c,d\none,{text}\n")
        found = batch.survey([root], annotations=csv, columns=replace(parse_columns(COLUMNS), axes=axes))
        prints.add(input_fingerprint(pickle.loads(pickle.dumps(found.refs[0])), parse_recipe(COARSE)))  # noqa: S301
    assert len(prints) == 4


def test_the_commands_of_one_scan_take_a_table(tmp_path, capsys):
    path = write_scan(tmp_path, GRIDS["plain"])
    csv = table(tmp_path, "patient,a,b,c,d\ncase1,15,9,5,6\nother,1,1,1,6\n")
    words = ["nodules", str(path), str(csv), str(tmp_path / "m.nii.gz"), "--columns", COLUMNS, "--axes", "voxel-xyz"]
    assert cli.main(words) == 0
    assert "1 nodules" in capsys.readouterr().out
    mask = hilum.read(tmp_path / "m.nii.gz").ct.array
    assert mask[5, 9, 15] == 1
    points = table(tmp_path, "patient,a,b,c\ncase1,15,9,5\n", "p.csv")
    words = ["nodules", str(path), str(points), str(tmp_path / "n.nii.gz"), "--columns", "id=patient,x=a,y=b,z=c"]
    assert cli.main(words) == 1
    assert "--diameter-mm" in capsys.readouterr().err
    assert cli.main([*words, "--diameter-mm", "6", "--axes", "voxel-xyz"]) == 0
    others = table(tmp_path, "patient,a,b,c,d\nsomebody,15,9,5,6\n", "o.csv")
    capsys.readouterr()
    assert cli.main(["nodules", str(path), str(others), str(tmp_path / "o.nii.gz"), "--columns", COLUMNS]) == 1
    assert "its first row names 'somebody'" in capsys.readouterr().err


# Wrong axes.


@pytest.fixture(scope="module")
def chest():
    """A chest that is not centered in the world, with its nodules."""
    phantom = make_phantom(seed=3, shape=(60, 96, 96), spacing=(5.0, 4.0, 4.0))
    moved = replace(phantom.scan.ct.geometry, origin=(-150.0, -320.0, -1200.0))
    shift = np.subtract(moved.origin, phantom.scan.ct.geometry.origin)
    nodules = tuple(replace(n, center=tuple(np.add(n.center, shift).tolist())) for n in phantom.scan.nodules)
    scan = replace(phantom.scan, ct=Volume(phantom.scan.ct.array, moved), lungs=None, nodules=nodules)
    return scan, phantom.lungs


def said_as(scan, said, true):
    """The scan, if its nodules were given in the axes `true` and read as `said`."""
    points = [from_world([n.center], true, scan.ct.geometry) for n in scan.nodules]
    centers = [tuple(to_world(p, said, scan.ct.geometry)[0].tolist()) for p in points]
    nodules = tuple(replace(n, center=c) for n, c in zip(scan.nodules, centers, strict=True))
    return replace(scan, nodules=nodules, mark_axes=said)


@pytest.mark.parametrize("said", AXES)
@pytest.mark.parametrize("true", AXES)
def test_wrong_axes_are_told_with_those_that_fit(said, true, chest):
    scan = said_as(chest[0], said, true)
    lungs = hilum.Mask(chest[1].array, scan.ct.geometry)
    for notes in (note_axes(scan, scan.ct), note_axes(scan, scan.ct, lungs)):
        if said == true or {said, true} == {"voxel-xyz", "voxel-zyx"}:  # here most voxels fit in both orders
            assert notes == ()
            continue
        assert [note.code for note in notes] == ["wrong-axes"]
        assert f"all {len(scan.nodules)} fit as {true}:" in notes[0].text
        assert f"fit{'s' if notes[0].text.startswith('no ') else ''} as {said}," in notes[0].text


def test_voxels_in_the_other_order_are_told_where_most_lie_outside(chest):
    scan = replace(chest[0], nodules=tuple(n for n in chest[0].nodules if n.center[0] > 40))
    swapped = said_as(scan, "voxel-zyx", "voxel-xyz")
    assert [note.code for note in note_axes(swapped, scan.ct)] == ["wrong-axes"]
    assert "fit as voxel-xyz:" in note_axes(swapped, scan.ct)[0].text


def test_swapped_axes_and_centimeters_are_told(chest):
    for factor, order, name in ((1, (2, 1, 0), "lps with x and z swapped"), (0.1, (0, 1, 2), "lps in cm")):
        nodules = [replace(n, center=tuple(factor * n.center[k] for k in order)) for n in chest[0].nodules]
        notes = note_axes(replace(chest[0], nodules=tuple(nodules)), chest[0].ct)
        assert f"fit as {name}: the table's axes are probably {name}" in notes[0].text


@pytest.mark.parametrize("wrong", [1, 2, 3, 4])
def test_a_table_that_mixes_axes_is_told(wrong, chest):
    scan, other = chest[0], said_as(chest[0], "lps", "ras")
    mixed = replace(scan, nodules=(*other.nodules[:wrong], *scan.nodules[wrong:]))
    (note,) = note_axes(mixed, scan.ct)
    assert note.code == "mixed-axes"
    assert note.text.startswith(f"{wrong} of {len(scan.nodules)} nodules do not fit as lps, but as ras:")


def test_marks_that_fit_nowhere_or_in_two_ways_are_not_explained(chest):
    scan = chest[0]
    lost = replace(scan, nodules=tuple(replace(n, center=(5000.0, 0.0, 0.0)) for n in scan.nodules))
    assert note_axes(lost, scan.ct) == ()
    geometry = Geometry((40, 40, 40), (5.0, 5.0, 5.0), (-1000.0, -900.0, 0.0))
    body = np.full((40, 40, 40), 40, np.int16)
    twice = replace(scan, ct=Volume(body, geometry), nodules=(replace(scan.nodules[0], center=(20.0, 20.0, 20.0)),))
    assert note_axes(twice, twice.ct) == ()  # voxels in both orders fit
    assert note_axes(replace(scan, nodules=()), scan.ct) == ()


def slab(*, side):
    """A body of tissue, centered in the world, with lungs on one side of the middle only."""
    geometry = Geometry((20, 60, 60), (5.0, 5.0, 5.0), (-147.5, -147.5, -47.5))
    lungs = np.zeros(geometry.shape, np.uint8)
    lungs[4:16, 35:50, 35:55] = side
    array = np.where(lungs > 0, -850, 40).astype(np.int16)
    return Volume(array, geometry), hilum.Mask(lungs, geometry)


@pytest.mark.parametrize(("count", "told"), [(1, False), (2, True)])
def test_a_trusted_lung_mask_tells_more_than_the_body(count, told):
    ct, lungs = slab(side=1)
    places = [(-75.0, -60.0, 0.0), (-85.0, -50.0, 10.0)][:count]  # mirrored: in the body, not in the lungs
    scan = hilum.Scan("s", ct, tuple(hilum.Nodule(place, 6.0) for place in places), annotated=True)
    assert note_axes(scan, ct) == ()
    assert [note.code for note in note_axes(scan, ct, lungs)] == ["wrong-axes"] * told
    right = replace(scan, nodules=tuple(hilum.Nodule((-x, -y, z), 6.0) for x, y, z in places))
    assert note_axes(right, ct, lungs) == ()


def of_one_side(*points):
    """A scan with nodules of 1 mm, a lung at x = 5 to 60, y = -40 to 30, and tissue around; the mask of that lung."""
    geometry = Geometry((10, 120, 240), (5.0, 1.0, 1.0), (-119.5, -59.5, -22.5))
    lungs = np.zeros(geometry.shape, np.uint8)
    lungs[:, 20:90, 125:180] = 1
    ct = Volume(np.where(lungs > 0, -850, 40).astype(np.int16), geometry)
    nodules = tuple(hilum.Nodule(point, 1.0) for point in points)
    return hilum.Scan("s", ct, nodules, annotated=True), hilum.Mask(lungs, geometry)


@pytest.mark.parametrize(
    ("across", "far", "told"),
    [
        (7.5, 1, True),  # 12.5 mm from the lung: neither of the lung as said; all fit as RAS
        (4.0, 1, False),  # 9 mm: two of three fit as said
        (4.0, 2, True),  # two of four fit as said
    ],
)
def test_half_of_the_nodules_have_to_be_far_from_the_lungs(across, far, told):
    scan, lungs = of_one_side((-across, 0, 0), (-across, 9, 0), *[(-40.0, 0.0, float(z)) for z in range(far)])
    assert [note.code for note in note_axes(scan, scan.ct, lungs)] == ["wrong-axes"] * told


@pytest.mark.parametrize(("beyond", "told"), [(2.0, True), (6.0, False)])
def test_in_the_other_axes_they_have_to_be_near_the_lungs(beyond, told):
    scan, lungs = of_one_side((-40.0, -30 - beyond, 0.0), (-40.0, 0.0, 0.0))
    assert [note.code for note in note_axes(scan, scan.ct, lungs)] == ["wrong-axes"] * told


def test_a_nodule_at_the_lungs_fits_where_the_field_of_view_cuts_the_body():
    scan, lungs = of_one_side((30.0, 0.0, 0.0), (50.0, 9.0, 0.0))
    array = scan.ct.array.copy()
    array[:, :, 125:] = -1000  # no wall is left on this side
    cut = replace(scan, ct=Volume(array, scan.ct.geometry))
    assert not inside_body(cut.ct, [n.center for n in cut.nodules]).any()
    assert note_axes(cut, cut.ct, lungs) == ()
    assert note_axes(replace(cut, nodules=cut.nodules[:1]), cut.ct, lungs) == ()


def test_outlines_are_not_checked(chest):
    scan = said_as(chest[0], "lps", "ras")
    outline = np.array([(0, 0, 0), (5, 0, 0), (0, 5, 0)], float)
    reading = hilum.Reading(1, scan.ct.geometry, (outline,))
    assert note_axes(scan, scan.ct)
    assert note_axes(replace(scan, nodules=tuple(replace(n, readings=(reading,)) for n in scan.nodules)), scan.ct) == ()


def test_the_body_has_tissue_on_every_side():
    array = np.full((5, 40, 40), -1000, np.int16)
    array[:, 10:30, 10:30] = 40
    array[:, 15:25, 15:25] = -850
    ct = Volume(array, Geometry((5, 40, 40), (3.0, 1.0, 1.0)))
    inside = ct.geometry.index_to_world([(2, 20, 20), (2, 14, 14), (2, 5, 20), (2, 20, 35), (2, 2, 2), (9, 20, 20)])
    assert inside_body(ct, inside).tolist() == [True, True, False, False, False, False]
    assert inside_body(ct, ct.geometry.index_to_world([(2, 13, 20), (2, 20, 13)])).tolist() == [False, False]  # 4 mm
    for value, tissue in ((-299, True), (-301, False)):
        soft = Volume(np.where(array == 40, value, array).astype(np.int16), ct.geometry)
        assert inside_body(soft, inside[:1]).tolist() == [tissue]
    for value, open_to_air in (
        (-949, False),
        (-951, True),
    ):  # a lung that the field of view cuts, or air beside the body
        cut = array.copy()
        cut[:, 15:25, 15:] = value
        assert inside_body(Volume(cut, ct.geometry), inside[:1]).tolist() == [not open_to_air]
    sagittal = permute(ct, (2, 0, 1), (True, False, True))
    assert inside_body(sagittal, inside).tolist() == inside_body(ct, inside).tolist()
    thin = array.copy()
    thin[:, :, 26:30] = -1000  # a wall of less than 5 mm on one side counts as none
    assert inside_body(Volume(thin, ct.geometry), inside[:1]).tolist() == [False]


def test_the_end_of_a_run_names_the_axes_that_fit_in_all_scans(chest, tmp_path, capsys):
    geometry = chest[0].ct.geometry
    rows = []
    for name in ("one", "two"):
        (tmp_path / "S").mkdir(exist_ok=True)
        hilum.write(chest[0].ct, tmp_path / "S" / f"{name}.mha")
        rows += [f"{name},{','.join(map(repr, n.center))},{n.diameter_mm}" for n in chest[0].nodules]
    csv = table(tmp_path, "\n".join(["patient,a,b,c,d", *rows]) + "\n")
    (recipe := tmp_path / "r.toml").write_text(COARSE)
    words = ["run", str(tmp_path / "S"), "--annotations", str(csv), "--columns", COLUMNS, "--recipe", str(recipe)]
    assert cli.main([*words, "--out", str(tmp_path / "W"), "--axes", "ras"]) == 0
    line = "folder: wrong-axes: in all 2 scans with nodules the marks only fit as lps: run again with --axes lps"
    assert line in capsys.readouterr().out
    assert any("wrong-axes" in note for note in json.loads((tmp_path / "W" / "dataset.json").read_text())[0]["notes"])
    assert cli.main([*words, "--out", str(tmp_path / "R")]) == 0
    assert "wrong-axes" not in capsys.readouterr().out
    assert geometry.contains(chest[0].nodules[0].center)


@pytest.mark.parametrize(("wrong", "scans", "said"), [(1, 2, True), (1, 3, False), (2, 3, True), (0, 3, False)])
def test_half_of_the_scans_make_a_table_doubtful(wrong, scans, said):
    notes = _axes_notes(Counter({"lps in cm": wrong} if wrong else {}), scans)
    assert [f"in {wrong} of {scans} scans" in note and "correct the table" in note for note in notes] == [True] * said


def test_points_without_sizes_are_checked_too(chest):
    points = np.array([(*n.center, 1.0) for n in said_as(chest[0], "lps", "ras").nodules])
    scan = replace(chest[0], nodules=(), locations={"marks": points})
    assert "fit as ras:" in note_axes(scan, scan.ct)[0].text
    assert note_axes(replace(scan, locations={"candidates": points}), scan.ct) == ()


# Data sets with tables of their own, and a second run.


def test_a_table_for_luna16_replaces_its_nodules_and_nothing_else(tmp_path):
    phantoms = [make_phantom(seed=seed, shape=(30, 48, 48), spacing=(10.0, 8.0, 8.0)) for seed in (1, 2)]
    root = write_luna16(phantoms, tmp_path / "LUNA16", candidates=3)
    uid = phantoms[1].scan.series_uid
    csv = table(tmp_path, f"{LUNA25}\n1,{uid},2,1.5,-2,-100,3,4,5,1,75,Female\n")
    found = batch.survey([root], annotations=csv, columns=TableColumns(diameter_mm=7.0))
    one, two = sorted(found.refs, key=lambda ref: ref.series_uid == uid)
    assert (one.dataset, one.known.annotated, one.known.nodules) == ("luna16", False, ())
    assert [(n.center, n.diameter_mm) for n in two.known.nodules] == [((1.5, -2, -100), 7.0)]
    assert two.known.labels["fold"] == 1
    scan = DATASETS["luna16"].load(two)
    assert len(scan.locations["candidates"]) == 3 + len(phantoms[1].scan.nodules)
    assert (scan.annotated, len(scan.nodules)) == (True, 1)
    own = batch.survey([root]).refs
    assert all(ref.known.annotated for ref in own)


def test_a_table_gives_dsb2017_nodules_beside_its_labels(tmp_path):
    phantom = make_phantom(seed=1, shape=(30, 48, 48), spacing=(10.0, 8.0, 8.0))
    root = write_dsb2017([phantom], tmp_path / "DSB2017", labels={0: 1})
    case = next(path.name for path in (root / "stage1").iterdir())
    index = phantom.scan.ct.geometry.world_to_index(phantom.scan.nodules[0].center)[::-1]
    csv = table(tmp_path, f"patient,a,b,c,d\n{case},{','.join(map(str, index.tolist()))},9\n")
    columns = replace(parse_columns(COLUMNS), axes="voxel-xyz")
    (ref,) = batch.survey([root], annotations=csv, columns=columns).refs
    scan = DATASETS["dsb2017"].load(ref)
    assert scan.labels == {"cancer": 1}
    assert np.allclose(scan.nodules[0].center, phantom.scan.nodules[0].center, atol=1e-2)


def test_points_for_lidc_are_noted_once(tmp_path):
    phantom = make_phantom(seed=1, shape=(30, 48, 48), spacing=(10.0, 8.0, 8.0))
    write_dicom_series(phantom, tmp_path / "L" / "LIDC-IDRI-0007" / "series")
    csv = table(tmp_path, "patient,a,b,c\nLIDC-IDRI-0007,1,2,-100\n")
    columns = parse_columns("id=patient,x=a,y=b,z=c")
    (ref,) = batch.survey([tmp_path / "L"], dataset="lidc", annotations=csv, columns=columns).refs
    scan = DATASETS["lidc"].load(ref)
    codes = [note.code for note in scan.notes]
    assert (codes.count("no-sizes"), codes.count("no-reading"), scan.annotated) == (1, 0, False)
    assert scan.locations["marks"].tolist() == [[1, 2, -100, -1]]


def test_a_second_run_keeps_what_is_the_same_and_removes_nothing_unasked(tmp_path, capsys):
    root = two_scans(tmp_path, "one.nii.gz")
    csv = table(tmp_path, "patient,a,b,c,d\none,15,9,5,6\n")
    points = table(tmp_path, "patient,a,b,c\none,15,9,5\n", "p.csv")
    (recipe := tmp_path / "r.toml").write_text(COARSE)
    words = ["run", str(root), "--recipe", str(recipe), "--axes", "voxel-xyz"]
    for name, path, columns in (("A", csv, COLUMNS), ("B", points, "id=patient,x=a,y=b,z=c")):
        given = [*words, "--out", str(tmp_path / name), "--annotations", str(path), "--columns", columns]
        made = []
        for _ in range(2):
            assert cli.main(given) == 0
            made.append(next((tmp_path / name / "scans").rglob("scan.json")).stat().st_mtime_ns)
        assert made[0] == made[1]
        capsys.readouterr()
        assert cli.main([*words[:4], "--out", str(tmp_path / name)]) == 1
        assert "this run would remove the " in capsys.readouterr().err


def test_the_viewer_takes_a_table(tmp_path):
    path = write_scan(tmp_path, GRIDS["plain"])
    csv = table(tmp_path, "patient,a,b,c,d\ncase1,15,9,5,6\n")
    columns = replace(parse_columns(COLUMNS), axes="voxel-xyz")
    source = open_source(path, annotations=csv, columns=columns)
    assert np.allclose(source.scan.nodules[0].center, by_itk(GRIDS["plain"], (15, 9, 5)), atol=1e-3)
    assert "wrong-axes" not in source.items[0].row["flags"]
    with pytest.raises(InputError, match="no table to which the columns belong"):
        open_source(path, columns=columns)
    (tmp_path / "ledger.jsonl").write_text("")
    with pytest.raises(InputError, match="a run has its own nodules"):
        open_source(tmp_path, columns=columns)


CELLS = ["P1", "P2", "", "1", "-2.5", "nan", "1e999", "0", '"', "a,b", "\ufeff", "Nodule", "\n", "\x00", "é"]
HEADS = [",".join(known.header) for known in KNOWN.values()] + ["patient,a,b,c,d", "patient;a;b", ""]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mangled_table_is_read_or_refused_and_nothing_else(data, tmp_path):
    rows = data.draw(st.lists(st.lists(st.sampled_from(CELLS), max_size=7).map(",".join), max_size=5))
    path = table(tmp_path, "\n".join([data.draw(st.sampled_from(HEADS)), *rows]))
    columns = data.draw(st.sampled_from([None, parse_columns(COLUMNS), TableColumns(axes="voxel-zyx", diameter_mm=5)]))
    with contextlib.suppress(HilumError):
        found = read_table(path, columns)
        found.keys_by_name()
        entries = [case.entry(found.axes) for case in found.cases.values()]
        assert all(isinstance(entry, DatasetEntry) for entry in entries)


JSON = st.recursive(
    st.sampled_from([None, 0, 1, -2.5, 1e308, "a", "P1/ct.nii.gz", True]),
    lambda inner: (
        st.lists(inner, max_size=7)
        | st.dictionaries(st.sampled_from(["image", "box", "label", "id", "image_id", "bbox", "category_id"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.sampled_from(["training", "images"]), values=st.lists(JSON), more=st.lists(JSON))
def test_a_mangled_list_of_boxes_is_read_or_refused_and_nothing_else(first, values, more, tmp_path):
    path = table(tmp_path, json.dumps({first: values, "annotations": more}), "m.json")
    with contextlib.suppress(HilumError):
        found = read_table(path)
        assert all(isinstance(case.entry(found.axes), DatasetEntry) for case in found.cases.values())


def test_json_without_end_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="is not JSON"):
        read_table(table(tmp_path, "[" * 100_000, "m.json"))


def test_the_viewer_tells_wrong_axes(chest, tmp_path):
    hilum.write(chest[0].ct, tmp_path / "case1.mha")
    rows = [f"case1,{','.join(map(repr, n.center))},{n.diameter_mm}" for n in chest[0].nodules]
    csv = table(tmp_path, "\n".join(["patient,a,b,c,d", *rows]) + "\n")
    for axes, told in (("ras", True), ("lps", False)):
        columns = replace(parse_columns(COLUMNS), axes=axes)
        source = open_source(tmp_path / "case1.mha", annotations=csv, columns=columns)
        assert ("wrong-axes" in source.items[0].row["flags"]) == told
