"""Public functions take what people hold: a scan where a volume is meant; anything else names the right call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

import hilum
from hilum import Geometry, LabelMap, Mask, Nodule, Scan, Volume
from hilum.errors import AnnotationError, InputError, InputTypeError
from hilum.ops import arguments
from hilum.phantom import make_phantom
from hilum.runs.run_scan import RunScan

GRID = Geometry((3, 3, 3), (1.0, 1.0, 1.0))
EMPTY = Mask(np.zeros((3, 3, 3), np.uint8), GRID)
FLIPPED = ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
TURNED = ((0.0, 0.0, 1.0), (-0.6, 0.8, 0.0), (0.8, 0.6, 0.0))
LUNG = {"table": [0, 100, 255], "first": -1000}


@pytest.fixture(scope="module")
def scan():
    made = make_phantom(seed=1, shape=(48, 96, 96), spacing=(6.25, 4.0, 4.0)).scan
    lungs = hilum.segment_lungs(made)
    side = LabelMap(Mask((lungs.array == 1).view(np.uint8), made.ct.geometry), {"right": 1})
    uids = tuple(f"1.2.{k}" for k in range(48))
    figures = ({"voxels": 1.0},) * len(made.nodules)
    return replace(
        made, lungs=lungs, nodule_mask=hilum.mask_nodules(made), label_maps={"side": side}, slice_uids=uids,
        nodule_figures=figures, figures={"lung_right_ml": 1.0}, labels={"fold": 3},
    )  # fmt: skip


def same(one, other):
    return one.geometry == other.geometry and np.array_equal(one.array, other.array) and type(one) is type(other)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: hilum.resample(x, 5.0),
        lambda x: hilum.resample(x, (5.0, 3.0, 3.0), order="linear", grid="corner"),
        lambda x: hilum.resample(x, like=Geometry((30, 40, 50), (5.0, 5.0, 5.0), (-120.0, -90.0, -100.0))),
    ],
)
def test_a_resampled_scan_has_its_volumes_on_the_new_grid_and_keeps_what_lies_in_the_world(scan, change):
    got = change(scan)
    assert isinstance(got, Scan)
    for part in ("ct", "lungs", "nodule_mask"):
        assert same(getattr(got, part), change(getattr(scan, part)))
    for kept in ("series_uid", "nodules", "annotated", "label_maps", "labels", "figures", "locations", "acquisition"):
        assert getattr(got, kept) is getattr(scan, kept)
    assert (got.slice_uids, got.nodule_figures) == ((), ())
    right = got.lungs.array == 1
    placed = hilum.place_label_map(got.label_maps["side"], got, order=0).label_map.mask.array == 1
    assert (placed & right).sum() > 0.9 * right.sum()


def test_a_scan_on_its_own_grid_stays_as_it_is(scan):
    assert hilum.resample(scan, like=scan) is scan
    assert hilum.resample(scan, scan.ct.spacing) is scan


def test_nodules_lie_where_they_lay(scan):
    fine = hilum.resample(scan, 2.0)
    redrawn = hilum.mask_nodules(fine)
    for k, nodule in enumerate(scan.nodules, 1):
        index = np.argwhere(redrawn.array == k).mean(axis=0)
        assert np.linalg.norm(fine.ct.geometry.index_to_world(index) - nodule.center) < 2.0


def test_what_lies_beyond_the_scan_gets_a_note(scan):
    beyond = hilum.resample(scan, like=Geometry((60, 60, 60), (5.0, 8.0, 8.0), (-240.0, -240.0, -150.0)))
    assert [note.code for note in beyond.notes[len(scan.notes) :]] == ["beyond-scan"]
    inside = hilum.resample(scan, like=scan.ct.crop((4, 4, 4), (20, 20, 20)))
    assert inside.notes == scan.notes


def test_a_reoriented_scan_keeps_the_order_of_its_slices(scan):
    g = scan.ct.geometry
    top = g.index_to_world((g.shape[0] - 1, 0, 0))
    upside = Geometry(g.shape, g.spacing, top, ((0, 0, -1), (0, 1, 0), (1, 0, 0)))

    def flip(mask):
        return replace(mask, array=mask.array[::-1], geometry=upside)

    side = LabelMap(flip(scan.label_maps["side"].mask), {"right": 1})
    flipped = replace(
        scan, ct=flip(scan.ct), lungs=flip(scan.lungs), nodule_mask=flip(scan.nodule_mask), label_maps={"side": side},
        slice_uids=scan.slice_uids[::-1],
    )  # fmt: skip
    back = hilum.reorient(flipped)
    assert back.slice_uids == scan.slice_uids
    for got, want in (
        (back.ct, scan.ct), (back.lungs, scan.lungs), (back.nodule_mask, scan.nodule_mask),
        (back.label_maps["side"].mask, scan.label_maps["side"].mask),
    ):  # fmt: skip
        assert np.array_equal(got.array, want.array)
        assert got.geometry.isclose(want.geometry)
    sagittal = Geometry(g.shape, g.spacing, g.origin, ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    assert hilum.reorient(Scan("a", Volume(scan.ct.array, sagittal), slice_uids=scan.slice_uids)).slice_uids == ()


@pytest.mark.parametrize(
    "change",
    [
        hilum.normalize,
        lambda x: hilum.zero_center(x, 0.25),
        lambda x: hilum.window(x, "lung"),
        lambda x: hilum.window(x, center=-600, width=1500, function="SIGMOID"),
        lambda x: hilum.apply_voi_lut(x, **LUNG),
    ],
)
def test_gray_values_change_in_the_ct_of_a_scan_alone(scan, change):
    got, want = change(scan), change(scan.ct)
    assert same(got.ct, want)
    assert replace(got, ct=scan.ct).__dict__ == scan.__dict__


@pytest.mark.parametrize(
    "make",
    [
        hilum.tissue_map,
        hilum.segment_lungs,
        lambda x: hilum.segment_lungs(x, method="tutorial3d", dilate_mm=5.0),
    ],
)
def test_a_mask_is_made_of_a_scan_as_of_its_ct(scan, make):
    assert same(make(scan), make(scan.ct))


def test_labels_keep_their_names(scan):
    names = {1: "right lung", 2: "left lung"}
    assert dict(scan.lungs.names) == names
    for changed in (
        hilum.resample(scan.lungs, 5.0),
        hilum.resample(scan.lungs, like=scan.ct.crop((1, 2, 3), (30, 40, 50))),
        hilum.resample(scan, like=Geometry((9, 9, 9), (9.0, 9.0, 9.0), (-40, -40, -40), TURNED)).lungs,
        hilum.reorient(replace(scan.lungs, geometry=replace(scan.lungs.geometry, direction=FLIPPED))),
        hilum.dilate(scan.lungs, 8.0),
        hilum.dilate(scan, 8.0).lungs,
        hilum.place_label_map(LabelMap(scan.lungs, {"right": 1, "left": 2}), hilum.resample(scan, 7.0)).label_map.mask,
    ):
        assert dict(changed.names) == names
    assert dict(hilum.tissue_map(scan, tissues=hilum.TISSUES[:2]).names) == {1: "air", 2: "lung"}


def test_nodules_are_drawn_on_whatever_has_a_grid(scan):
    want = hilum.mask_nodules(scan.ct.geometry, scan.nodules)
    for got in (hilum.mask_nodules(scan), hilum.mask_nodules(scan.ct, scan.nodules)):
        assert same(got, want)
    one = hilum.mask_nodules(scan, scan.nodules[:1])
    assert one.array.max() == 1
    assert same(hilum.cover_nodules(scan, samples=2), hilum.cover_nodules(scan.ct.geometry, scan.nodules, samples=2))
    empty = hilum.mask_nodules(Scan("a", scan.ct, annotated=True))
    assert not empty.array.any()
    with pytest.raises(AnnotationError, match=r"not searched for nodules; hilum\.read\(path, annotations=\.\.\.\)"):
        hilum.mask_nodules(Scan("a", scan.ct))


def test_the_lungs_of_a_scan_grow(scan):
    got = hilum.dilate(scan, 8.0)
    assert same(got.lungs, hilum.dilate(scan.lungs, 8.0))
    assert got.nodule_mask is scan.nodule_mask
    with pytest.raises(InputError, match=r"no lung mask to grow; .*segment_lungs"):
        hilum.dilate(replace(scan, lungs=None), 8.0)


def test_a_grid_is_computed_of_whatever_has_one(scan):
    want = hilum.resampled_geometry(scan.ct.geometry, 2.0)
    assert hilum.resampled_geometry(scan, 2.0) == hilum.resampled_geometry(scan.ct, spacing=2.0) == want


def test_a_written_scan_is_its_ct_under_its_uid(scan, tmp_path):
    named = replace(scan, series_uid="1.2.826.0.1.3680043.8.498.1")
    hilum.write(named, tmp_path / "ct.nii.gz")
    read = hilum.read(tmp_path / "ct.nii.gz")
    assert np.array_equal(read.ct.array, scan.ct.array)
    assert read.series_uid == named.series_uid
    assert np.array_equal(nibabel.load(tmp_path / "ct.nii.gz").dataobj, scan.ct.array.T)


def test_a_recipe_goes_by_its_name_its_path_or_its_value(scan, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[resample]\nspacing_mm = 6.0\n[lungs]\nmethod = "none"\n')
    recipe = hilum.recipe(path)
    results = [hilum.preprocess(scan, one) for one in (recipe, str(path), path)]
    assert all(same(one.ct, results[0].ct) for one in results)
    named = hilum.preprocess(scan, "tutorial2017")
    assert same(named.ct, hilum.preprocess(scan, hilum.recipe("tutorial2017")).ct)


CALLS = {
    "resample": lambda x: hilum.resample(x, 1.0),
    "like": lambda x: hilum.resample(Volume(np.zeros((3, 3, 3), np.int16), GRID), like=x),
    "reorient": hilum.reorient,
    "normalize": hilum.normalize,
    "zero_center": hilum.zero_center,
    "window": lambda x: hilum.window(x, "lung"),
    "apply_voi_lut": lambda x: hilum.apply_voi_lut(x, **LUNG),
    "tissue_map": hilum.tissue_map,
    "segment_lungs": hilum.segment_lungs,
    "write": lambda x: hilum.write(x, "never.nii"),
    "preprocess": lambda x: hilum.preprocess(x, "luna16"),
    "mask_nodules": hilum.mask_nodules,
    "cover_nodules": hilum.cover_nodules,
    "resampled_geometry": lambda x: hilum.resampled_geometry(x, 1.0),
    "place_label_map": lambda x: hilum.place_label_map(LabelMap(EMPTY, {"a": 1}), x),
}

WRONG = {
    "str": ("scan/", r"^a str is no scan.*; hilum\.read\(\.\.\.\) reads one$"),
    "Path": (Path("scan"), r"^a PosixPath is no scan.*; hilum\.read\(\.\.\.\) reads one$"),
    "array": (np.zeros((3, 3, 3)), r"^a numpy array is no scan.*hilum\.Volume\.from_array\(array, spacing=\.\.\.\)"),
    "sitk": (SimpleITK.Image(3, 3, 3, SimpleITK.sitkInt16), r"^an Image is no scan.*hilum\.Volume\.from_sitk\(image\)"),
    "nibabel": (
        nibabel.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.eye(4)),
        r"^a Nifti1Image is no scan.*hilum\.Volume\.from_nibabel\(image\)",
    ),
    "ref": (hilum.ScanRef("folder", "a", Path("scan")), r"^a ScanRef is no scan.*; hilum\.read\(ref\.path\) reads"),
    "label map": (LabelMap(EMPTY, {"a": 1}), r"^a LabelMap is no .*label_map\.mask"),
    "nodule": (Nodule((0.0, 0.0, 0.0), 5.0), r"^a Nodule is no scan.*; pass the scan that it belongs to$"),
    "scan of a run": (RunScan.__new__(RunScan), r"^a RunScan is no scan.*; its scan\(\) reads one$"),
    "list": ([], r"^a list is no scan.*; call the function once for each$"),
    "None": (None, r"^None is no scan"),
    "int": (3, r"^an int is no scan"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_argument_names_the_right_call(call, wrong):
    value, message = WRONG[wrong]
    if (call, wrong) == ("like", "None"):
        return  # no grid is asked for
    with pytest.raises(InputTypeError, match=message) as caught:
        CALLS[call](value)
    assert isinstance(caught.value, InputError)
    assert isinstance(caught.value, TypeError)
    assert caught.value.code == "argument"


def test_the_calls_that_sentences_name_exist():
    for maker in arguments._MAKERS.values():
        for noun in (Volume, Mask):
            assert callable(getattr(noun, maker.partition("(")[0]))
    assert callable(hilum.read_mask)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hilum.segment_lungs(EMPTY), "a Mask is no CT; pass the scan"),
        (lambda: hilum.preprocess(Volume(np.zeros((3, 3, 3)), GRID), "luna16"), r"a Volume is no scan; hilum\.Scan\("),
        (lambda: hilum.dilate("lungs.nii.gz", 3.0), r"a str is no mask; hilum\.read_mask\(\.\.\.\) reads one"),
        (lambda: hilum.dilate(np.zeros((3, 3, 3)), 3.0), r"a numpy array is no mask; hilum\.Mask\.from_array\("),
        (lambda: hilum.dilate(Volume(np.zeros((3, 3, 3)), GRID), 3.0), r"a Volume is no mask; hilum\.segment_lungs\("),
        (lambda: hilum.mask_nodules(GRID, Nodule((0.0, 0.0, 0.0), 5.0)), r"a Nodule is no sequence.*scan\.nodules"),
        (lambda: hilum.mask_nodules(GRID, [(0.0, 0.0, 0.0)]), r"a tuple is no nodule; .*scan\.nodules"),
        (lambda: hilum.mask_nodules(GRID), r"None is no sequence of nodules; pass a scan, or its nodules"),
        (lambda: hilum.agreement(Scan("a", Volume(np.zeros((3, 3, 3)), GRID))), r"a Scan is no nodule.*scan\.nodules"),
        (lambda: hilum.consensus_mask(3), r"an int is no nodule; .*mask_nodules\(scan\)"),
        (lambda: hilum.reading_mask(Nodule((0.0, 0.0, 0.0), 5.0)), r"a Nodule is no reading; .*nodule\.readings"),
        (lambda: hilum.place_label_map(EMPTY, GRID), r"hilum\.LabelMap\(mask"),
        (lambda: hilum.preprocess(Scan("a", EMPTY), 3), "an int is no recipe; give default"),
    ],
)  # fmt: skip
def test_another_wrong_argument_names_the_right_call(call, message):
    with pytest.raises(InputTypeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (hilum.read, "a Scan is no path; it is in memory already"),
        (lambda _: hilum.read(["a.dcm", "b.dcm"]), "a list is no path; give the folder that holds the files"),
        (lambda _: hilum.read(hilum.ScanRef("folder", "a", Path("scan"))), r"a ScanRef is no path; .*ref\.path"),
        (lambda _: hilum.read(3), "an int is no path; give the path of a file or folder"),
        (lambda _: hilum.read(None), "None is no path"),
        (lambda scan: hilum.read_mask(scan.lungs), "a Mask is no path; it is in memory already"),
        (lambda _: hilum.series(3), "an int is no path"),
        (lambda scan: hilum.write(scan, scan), "a Scan is no path"),
        (hilum.PatchDataset, "a Scan is no path"),
        (hilum.PatchFolder, "a Scan is no path"),
        (lambda _: hilum.attach_labels("scan", []), r"a str is no scan; hilum\.read\(\.\.\.\) reads one"),
        (lambda scan: hilum.attach_labels(scan, ["tumor.nii"]), r"a str is no label file; give a list"),
    ],
)  # fmt: skip
def test_what_is_no_path_is_refused(scan, call, message):
    with pytest.raises(InputTypeError, match=message):
        call(scan)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda scan, x: hilum.normalize(scan, lower=x), "lower"),
        (lambda scan, x: hilum.normalize(scan, upper=x), "upper"),
        (hilum.zero_center, "mean"),
        (lambda scan, x: hilum.window(scan, center=x, width=5.0), "center"),
        (lambda scan, x: hilum.window(scan, center=5.0, width=x), "width"),
        (hilum.dilate, "radius_mm"),
        (lambda scan, x: hilum.dilate(scan, 8.0, workers=x), "workers"),
        (lambda scan, x: hilum.segment_lungs(scan, dilate_mm=x), "dilate_mm"),
        (lambda scan, x: hilum.mask_nodules(scan, level=x), "level"),
        (lambda scan, x: hilum.cover_nodules(scan, samples=x), "samples"),
        (lambda scan, x: hilum.resample(scan, 5.0, workers=x), "workers"),
        (lambda scan, x: hilum.apply_voi_lut(scan, table=[0], first=x), "first"),
        (lambda _, x: hilum.read(".", max_gap_mm=x), "max_gap_mm"),
        (lambda _, x: hilum.read(".", hu_offset=x), "hu_offset"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused_by_name(scan, call, name):
    for value, told in (("1", "a str"), ([1.0], "a list"), (scan, "a Scan")):
        with pytest.raises(InputTypeError, match=f"^{name} is {told}, expected a number$"):
            call(scan, value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda scan: hilum.segment_lungs(scan, method=3), "an int is no lung method; give hilum, tutorial3d"),
        (lambda scan: hilum.tissue_map(scan, tissues=["lung"]), r"a str is no tissue; pass hilum\.TISSUES"),
        (lambda scan: hilum.tissue_map(scan, tissues="lung"), r"a str is no sequence of tissues; pass hilum\.TISSUES"),
        (lambda scan: hilum.attach_labels(scan, hilum.LabelFile("a.nii", "map")), r"a LabelFile is no list of label"),
        (lambda scan: hilum.read(".", annotations=scan), "a Scan is no path"),
        (lambda scan: hilum.write(scan, "never.nii", series_uid=3), "an int is no series UID"),
        (hilum.open_run, "a Scan is no path"),
        (lambda _: hilum.read(".", rescale=1.0), "rescale is 1.0, expected a slope"),
        (lambda scan: hilum.window(scan, (-600, 1500)), r"is not one of lung.*; or give center= and width="),
    ],
)  # fmt: skip
def test_an_option_of_another_type_is_refused(scan, call, message):
    with pytest.raises(InputError, match=message):
        call(scan)


@pytest.mark.parametrize("order", [2, True, "cubik", None, 3.0])
def test_an_unknown_order_is_refused_by_its_names(order):
    with pytest.raises(InputError, match=r"expected cubic \(3\), linear \(1\) or nearest \(0\)"):
        hilum.resample(Volume(np.zeros((3, 3, 3), np.int16), GRID), order=order)
