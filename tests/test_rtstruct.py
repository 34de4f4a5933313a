"""Structure sets: filled where their contours lie, told apart by series, or refused in one line."""

from __future__ import annotations

from contextlib import suppress

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from region_files import FRAME, SERIES, contour, images, item, save_to, square, structure_set
from scipy import ndimage
from test_dicom import GRID, UID, write
from test_tilt import position, tilted, write_tilted

import hilum
from hilum.errors import HilumError
from hilum.geometry import Geometry
from hilum.io.dicom.reader import read_dicom
from hilum.io.labels.attach import attach_labels
from hilum.io.labels.regions import list_regions
from hilum.io.labels.rtstruct import read_rtstruct
from hilum.ops.labels.contours import fill_contours
from hilum.phantom import make_phantom
from hilum.phantom.files import write_dicom_series, write_structure_set
from hilum.phantom.structure_sets import _outlines
from hilum.scan_ref import LabelFile
from hilum.volume import Mask

TUMOR = (2, 3, 8, 8)  # rows and columns of a rectangle, the last excluded


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return read_dicom(write(tmp_path_factory.mktemp("ct")))


def drawn(grid=GRID, slices=range(1, 5), corners=TUMOR):
    return [square(grid, k, *corners) for k in slices]


def read(made, tmp_path, scan, *regions):
    path = made if not isinstance(made, Dataset) else save_to(made, tmp_path / "rs.dcm")
    return read_rtstruct(path, scan, regions or (("GTV", "gtv"),))


def codes(notes):
    return [note.code for note in notes]


def refusal(code, made, tmp_path, scan, *regions):
    with pytest.raises(HilumError) as caught:
        read(made, tmp_path, scan, *regions)
    assert caught.value.code == code, caught.value
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) <= 300
    assert not any(secret in text for secret in ("ZZDOE", "MRN123", "19610203"))
    return text


def block(slices=range(1, 5), corners=TUMOR, shape=GRID.shape):
    mask = np.zeros(shape, bool)
    mask[list(slices), corners[0] : corners[2], corners[1] : corners[3]] = True
    return mask


# --- what is in a file -----------------------------------------------------------------------------------------------


def test_regions_are_listed_without_reading_a_contour(tmp_path, scan):
    made = structure_set([("GTV", drawn()), ("Lung L ", []), ("Größe\x1b[31m", [])])
    path = save_to(made, tmp_path / "rs.dcm")
    listed = list_regions(path)
    assert (listed.kind, listed.series_uids, listed.frame_uids) == ("rtstruct", (SERIES,), (FRAME,))
    assert [(r.number, r.name, r.type) for r in listed.regions] == [
        (1, "GTV", "ORGAN"), (2, "Lung L", "ORGAN"), (3, "Größe?[31m", "ORGAN"),
    ]  # fmt: skip
    start = path.read_bytes().index(b"\x06\x30\x39\x00SQ")
    path.write_bytes(path.read_bytes()[: start + 12])  # the contours are cut off
    with pytest.raises(HilumError):
        read_rtstruct(path, scan, (("GTV", "gtv"),))
    del made.ROIContourSequence
    assert list_regions(save_to(made, tmp_path / "short.dcm")) == listed


# --- filling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", ["explicit", ImplicitVRLittleEndian])
def test_a_region_is_filled_on_the_slices_of_the_scan(tmp_path, scan, syntax):
    made = structure_set([("Other", drawn(corners=(0, 0, 2, 2))), ("GTV", drawn())])
    if syntax != "explicit":
        made.file_meta.TransferSyntaxUID = syntax
    maps, notes = read(made, tmp_path, scan)
    assert np.array_equal(maps["gtv"].mask.array, block())
    assert maps["gtv"].mask.geometry == scan.ct.geometry
    assert maps["gtv"].values == {"gtv": 1}
    assert notes == ()


def test_regions_that_overlap_are_maps_of_their_own(tmp_path, scan):
    made = structure_set([("PTV", drawn(corners=(1, 1, 10, 9))), ("GTV", drawn())])
    maps, _ = read(made, tmp_path, scan, ("GTV", "tumor"), ("PTV", "ptv"))
    assert list(maps) == ["tumor", "ptv"]
    assert np.array_equal(maps["tumor"].mask.array & maps["ptv"].mask.array, block())


def test_contours_of_a_tilted_gantry_lie_on_their_own_slices(tmp_path):
    """The slices are shifted onto a straight grid; a ball drawn on the original ones stays where it is."""
    grid = tilted(18)
    scan = read_dicom(write_tilted(tmp_path / "ct", grid))
    center, radius = grid.index_to_world((12, 30, 28)), 14.0
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    contours = []
    for k in range(grid.shape[0]):
        first = position(grid, k)
        normal, down, across = np.array(grid.direction)
        height = (first - center) @ normal
        if abs(height) < radius:
            middle, r = center + height * normal, np.sqrt(radius**2 - height**2)
            contours.append([middle + r * (np.cos(a) * across + np.sin(a) * down) for a in angles])
    maps, notes = read(structure_set([("GTV", contours)]), tmp_path, scan)
    mask = maps["gtv"].mask
    inside = np.linalg.norm(mask.geometry.index_to_world(np.moveaxis(np.indices(mask.shape), 0, -1)) - center, axis=-1)
    assert np.mean(mask.array != (inside < radius)) < 2e-4
    assert mask.volume_ml() * 1000 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.01)
    assert notes == ()


def test_a_hole_and_a_contour_stored_twice(tmp_path, scan):
    outer = [square(GRID, 2, 1, 1, 10, 9)] * 2
    maps, notes = read(structure_set([("GTV", [*outer, square(GRID, 2, 4, 4, 6, 6)])]), tmp_path, scan)
    expected = block([2], (1, 1, 10, 9)) & ~block([2], (4, 4, 6, 6))
    assert np.array_equal(maps["gtv"].mask.array, expected)
    assert codes(notes) == ["contours-repeated"]
    with_xor = attach_labels(scan, [LabelFile(tmp_path / "rs.dcm", "rtstruct", regions=(("GTV", "gtv"),), xor=True)])
    inner = block([2], (4, 4, 6, 6))  # the outer contour cancels itself
    assert np.array_equal(with_xor.label_maps["gtv"].mask.array, inner)


def test_xor_contours_take_the_parts_that_one_of_them_has(tmp_path, scan):
    pair = [contour(square(GRID, 2, *corners), "CLOSEDPLANAR_XOR") for corners in ((1, 1, 6, 6), (4, 4, 9, 9))]
    maps, _ = read(structure_set([("GTV", pair)]), tmp_path, scan)
    assert np.array_equal(maps["gtv"].mask.array, block([2], (1, 1, 6, 6)) ^ block([2], (4, 4, 9, 9)))
    pair[1].ContourGeometricType = "CLOSED_PLANAR"
    refusal("bad-contour", structure_set([("GTV", pair)]), tmp_path, scan)


# --- odd contours: counted -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "code", "text"),
    [
        ([contour(square(GRID, 3, 1, 1, 4, 4)[:3], "OPEN_PLANAR")], "contours-left-out", "1 open"),
        ([contour(GRID.index_to_world([(3, 5, 5)]), "POINT")], "contours-left-out", "1 single points"),
        ([contour(square(GRID, 3, 1, 1, 4, 4), "SPIRAL")], "contours-left-out", "1 of an unknown kind"),
        (
            [GRID.index_to_world([(1, 2, 4), (5, 2, 4), (5, 8, 4), (1, 8, 4)])],
            "contours-left-out",
            "1 across the slices",
        ),
        ([square(GRID, 9, *TUMOR)], "contours-left-out", "1 beyond the slices"),
        ([square(GRID, 5.3, *TUMOR)], "contours-between-slices", "up to 0.75 mm"),
        ([square(GRID, 2.3, 0, 0, 9, 9)], "contours-crowded", "1 contours"),
        ([square(GRID, 5, 2, 3, 99, 8)], "contours-cut", "1 contours"),
        ([square(GRID, 3, 1, 1, 5, 5)], "contours-overlap", "1 contours"),
        ([square(GRID, 3, 9.2, 1.2, 9.6, 1.7)], "contours-too-small", "1 contours"),
        ([square(GRID, 6, *TUMOR)], "contour-gaps", "1 slices"),
        ([contour(square(GRID, 5, *TUMOR), image=2)], "contours-misplaced", "1 of 5 contours"),
    ],
)
def test_what_is_odd_about_a_contour_is_counted(tmp_path, scan, more, code, text):
    maps, notes = read(structure_set([("GTV", [*drawn(), *more])]), tmp_path, scan)
    assert codes(notes) == [code]
    assert text in notes[0].text
    assert notes[0].text.startswith("gtv: ")
    assert np.array_equal(maps["gtv"].mask.array[[1, 2, 4]], block()[[1, 2, 4]])


def test_a_contour_may_name_the_next_slice(tmp_path, scan):
    for image, noted in ((4, False), (3, True)):
        made = structure_set([("GTV", [*drawn(), contour(square(GRID, 5, *TUMOR), image=image)])])
        assert ("contours-misplaced" in codes(read(made, tmp_path, scan)[1])) == noted


def test_a_region_on_every_second_slice_is_interpolated(tmp_path, scan):
    maps, notes = read(structure_set([("GTV", drawn(slices=(0, 2, 4)))]), tmp_path, scan)
    assert np.array_equal(maps["gtv"].mask.array, block(range(5)))
    assert [str(note) for note in notes] == [
        "contours-interpolated: gtv: 2 slices between regularly spaced contours were filled by interpolation"
    ]


def test_a_region_without_pixels_is_no_label_map(tmp_path, scan):
    """Beside another one it is a note; alone the file is refused."""
    regions = [
        ("GTV", drawn()), ("None", []), ("Iso", [contour(GRID.index_to_world([(3, 5, 5)]), "POINT")]),
        ("Open", [contour(square(GRID, 3, 1, 1, 4, 4)[:3], "OPEN_PLANAR")]),
        ("Tiny", [square(GRID, 3, 1.2, 1.2, 1.8, 1.8)]), ("Away", [square(GRID, 99, 1, 1, 4, 4)]),
    ]  # fmt: skip
    made = structure_set(regions)
    maps, notes = read(made, tmp_path, scan, *((name, name.lower()) for name, _ in regions))
    assert list(maps) == ["gtv"]
    assert [str(note) for note in notes] == [
        "empty-region: none: it has no contours",
        "points-only: iso: it is a point, not a region",
        "empty-region: open: 1 contours are left out: 1 open",
        "empty-region: tiny: none of its contours contains a pixel center",
        "empty-region: away: 1 contours are left out: 1 beyond the slices",
    ]
    for name, _ in regions[1:]:
        text = refusal("empty-region", made, tmp_path, scan, (name, name.lower()))
        assert f"no pixel is inside '{name}'" in text


# --- the right file for the scan -------------------------------------------------------------------------------------


def other(made, **values):
    for place in made.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence:
        for name, value in values.items():
            if value is None:
                delattr(place, name)
            else:
                setattr(place, name, value)
    return made


def test_a_structure_set_of_another_series_is_refused(tmp_path, scan):
    elsewhere = f"{UID}.5"
    made = structure_set([("GTV", drawn())], series=elsewhere)
    assert "another series" in refusal("other-regions", made, tmp_path, scan)
    # Its series is right, its images are not: another patient's file.
    made = other(structure_set([("GTV", drawn())]), ContourImageSequence=images(series=elsewhere))
    refusal("other-regions", made, tmp_path, scan)
    # Its contours name images of the other of two series.
    made = structure_set([("GTV", [contour(points, image=0) for points in drawn()])])
    for one in made.ROIContourSequence[0].ContourSequence:
        one.ContourImageSequence = images([0], series=elsewhere)
    series = made.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence
    series.append(item(SeriesInstanceUID=elsewhere, ContourImageSequence=images(series=elsewhere)))
    refusal("other-regions", made, tmp_path, scan)
    # Without any images the series decides.
    refusal(
        "other-regions",
        other(structure_set([("GTV", drawn())], series=elsewhere), ContourImageSequence=None),
        tmp_path,
        scan,
    )


def test_a_structure_set_of_another_frame_of_reference_is_refused(tmp_path, scan):
    made = other(structure_set([("GTV", drawn())]), ContourImageSequence=None)
    assert codes(read(made, tmp_path, scan)[1]) == []
    made.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = f"{UID}.92"
    assert "frame of reference" in refusal("other-regions", made, tmp_path, scan)


def test_images_decide_where_a_file_contradicts_itself(tmp_path, scan):
    for image in (images([3]), images(range(7), series=f"{UID}.5")):
        made = structure_set([("GTV", [contour(points) for points in drawn()])])
        for one in made.ROIContourSequence[0].ContourSequence:
            one.ContourImageSequence = image[:1]
        notes = read(made, tmp_path, scan)[1]
        assert codes(notes) == (["contours-misplaced"] if len(image) == 1 else ["region-images"])


def test_a_file_that_names_nothing_fits_by_its_frame_of_reference(tmp_path, scan):
    made = structure_set([("GTV", drawn())])
    del made.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence
    assert codes(read(made, tmp_path, scan)[1]) == ["region-by-frame"]
    hilum.write(scan.ct, tmp_path / "ct.nii.gz")
    refusal("other-regions", made, tmp_path, hilum.read(tmp_path / "ct.nii.gz"))


def test_a_name_that_is_not_there_or_twice_is_refused(tmp_path, scan):
    made = structure_set([("GTV", drawn()), ("Lung L", []), ("GTV", drawn(corners=(0, 0, 2, 2)))])
    assert "'GTV#1', 'Lung L', 'GTV#3'" in refusal("no-such-region", made, tmp_path, scan, ("Lung R", "lung_r"))
    text = refusal("ambiguous-region", made, tmp_path, scan)
    assert "2 regions are called 'GTV'; choose one by its number, such as 'GTV#1'" in text
    for name, corners in (("GTV#1", TUMOR), ("GTV#3", (0, 0, 2, 2))):
        maps, _ = read(made, tmp_path, scan, (name, "gtv"))
        assert np.array_equal(maps["gtv"].mask.array, block(corners=corners))
    assert "'GTV#1', 'Lung L', 'GTV#3'" in refusal("no-such-region", made, tmp_path, scan, ("GTV#2", "gtv"))
    made.ROIContourSequence[0].ContourSequence = Sequence()  # one of them is empty
    maps, _ = read(made, tmp_path, scan)
    assert np.array_equal(maps["gtv"].mask.array, block(corners=(0, 0, 2, 2)))


# --- damaged files ---------------------------------------------------------------------------------------------------


def damaged_points(text):
    def change(made):
        one = made.ROIContourSequence[0].ContourSequence[1]
        del one.ContourData
        one.add_new(0x30060050, "OB", text)

    return change


def without(*path):
    def change(made):
        for name in path[:-1]:
            made = getattr(made, name)[0]
        delattr(made, path[-1])

    return change


CORRUPT = [
    ("bad-contour", damaged_points(b"1\\2\\3\\4")),
    ("bad-contour", damaged_points(b"1\\2\\nan\\1\\2\\3\\1\\2\\3\\1\\2\\3")),
    ("bad-contour", damaged_points(b"1\\2\\inf\\1\\2\\3\\1\\2\\3\\1\\2\\3")),
    ("bad-contour", damaged_points(b"1\\2\\1e300\\1\\2\\3\\1\\2\\3\\1\\2\\3")),
    ("bad-contour", damaged_points(b"1\\2\\3,5\\1\\2\\3\\1\\2\\3\\1\\2\\3")),
    ("bad-contour", damaged_points(b"1\\2\\1_000\\1\\2\\3\\1\\2\\3\\1\\2\\3")),
    ("bad-contour", damaged_points(b"")),
    ("bad-contour", damaged_points(b"\xff\xfe\x00")),
    ("bad-contour", damaged_points(b"1\\2\\3\\1\\2\\3")),  # fewer points than stated
    ("no-such-region", without("StructureSetROISequence")),
    ("damaged", without("StructureSetROISequence", "ROINumber")),
    ("damaged", without("ROIContourSequence", "ReferencedROINumber")),
    ("empty-region", without("ROIContourSequence")),
    ("empty-region", without("ROIContourSequence", "ContourSequence")),
    ("bad-contour", without("ROIContourSequence", "ContourSequence", "ContourData")),
    ("no-such-region", without("StructureSetROISequence", "ROIName")),
    ("not-regions", without("SOPClassUID")),
]


@pytest.mark.parametrize(("code", "change"), CORRUPT)
def test_a_corrupt_structure_set_is_refused_in_one_line(tmp_path, scan, code, change):
    made = structure_set([("GTV", drawn())])
    change(made)
    refusal(code, made, tmp_path, scan)


def test_a_file_that_ends_early_is_refused_or_read_whole(tmp_path, scan):
    whole = save_to(structure_set([("GTV", drawn())]), tmp_path / "rs.dcm").read_bytes()
    expected = block()
    for size in [*range(0, len(whole), 97), len(whole) - 1]:
        path = tmp_path / "cut.dcm"
        path.write_bytes(whole[:size])
        with suppress(HilumError):
            maps, _ = read_rtstruct(path, scan, (("GTV", "gtv"),))
            assert np.array_equal(maps["gtv"].mask.array, expected)  # only the observations are cut off


def test_noise_never_raises_anything_else(tmp_path, scan):
    whole = bytearray(save_to(structure_set([("GTV", drawn())]), tmp_path / "rs.dcm").read_bytes())
    random = np.random.default_rng(5)
    for _ in range(300):
        noisy = bytearray(whole)
        for at in random.integers(132, len(noisy), 3):
            noisy[at] = random.integers(256)
        path = tmp_path / "noisy.dcm"
        path.write_bytes(noisy)
        with suppress(HilumError):
            read_rtstruct(path, scan, (("GTV", "gtv"),))


def test_other_files_are_refused(tmp_path, scan):
    refusal("missing", tmp_path / "none.dcm", tmp_path, scan)
    (tmp_path / "text.dcm").write_text("no DICOM " * 100)
    refusal("not-regions", tmp_path / "text.dcm", tmp_path, scan)
    refusal("not-regions", next((write(tmp_path / "ct")).iterdir()), tmp_path, scan)
    made = structure_set([("GTV", drawn())])
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    refusal("unsupported", made, tmp_path, scan)


# --- the real thing --------------------------------------------------------------------------------------------------


def surface_distance(one, other, spacing):
    """The largest distance from the edge of a mask to that of another, mm, in each slice, and the other way."""
    edges = [
        mask & ~ndimage.binary_erosion(mask, np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]])) for mask in (one, other)
    ]
    worst = 0.0
    for a, b in (edges, edges[::-1]):
        for k in range(len(a)):
            if a[k].any():
                worst = max(worst, float(ndimage.distance_transform_edt(~b[k], sampling=spacing)[a[k]].max()))
    return worst


REPEATED = [11, 29, 30, 37, 43, 44]
"""Slices of the left lung whose contour the file has an even number of times: the reference is empty there."""


def test_a_real_structure_set_is_filled_as_another_program_did(real_data):
    folder = real_data / "nsclc-LUNG1-002"
    scan = hilum.read(folder)
    regions = (("Lung R", "lung_r"), ("Lung L", "lung_l"), ("GTV-1", "gtv-1"))
    maps, notes = read_rtstruct(folder / "1.dcm", scan, regions)
    lungs, tumor = (nibabel.load(real_data / "lungs" / f"chest-tumor-3mm.{name}.nii.gz") for name in ("lungs", "tumor"))
    for name, file, value in (("lung_r", lungs, 1), ("lung_l", lungs, 2), ("gtv-1", tumor, 1)):
        voxels = np.argwhere(np.asarray(file.dataobj) == value)
        world = nibabel.affines.apply_affine(np.diag([-1, -1, 1, 1]) @ file.affine, voxels)
        reference = np.zeros(scan.ct.shape, bool)
        reference[tuple(np.rint(scan.ct.geometry.world_to_index(world)).astype(int).T)] = True
        mine = maps[name].mask.array.astype(bool)
        if name == "lung_l":
            assert not reference[REPEATED[1:]].any()
            assert mine[REPEATED].any(axis=(1, 2)).all()
            mine, reference = (np.delete(mask, REPEATED, axis=0) for mask in (mine, reference))
        assert 2 * np.count_nonzero(mine & reference) / (mine.sum() + reference.sum()) > 0.9999
        assert surface_distance(mine, reference, scan.ct.spacing[1:]) <= 0.977 + 1e-6  # one pixel here and there
        assert np.count_nonzero(mine ^ reference) <= 6
    assert codes(notes) == ["region-images", "contours-repeated", "contours-too-small"]
    # Combined by exclusive or, as the other program did, all slices of the left lung agree.
    maps, notes = read_rtstruct(folder / "1.dcm", scan, regions[1:2], xor=True)
    reference = np.zeros(scan.ct.shape, bool)
    world = nibabel.affines.apply_affine(
        np.diag([-1, -1, 1, 1]) @ lungs.affine, np.argwhere(np.asarray(lungs.dataobj) == 2)
    )
    reference[tuple(np.rint(scan.ct.geometry.world_to_index(world)).astype(int).T)] = True
    assert np.count_nonzero(maps["lung_l"].mask.array.astype(bool) ^ reference) <= 10
    assert "contours-repeated" not in codes(notes)


# --- the phantom's writer --------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.sampled_from([0.2, 0.5, 0.8]))
def test_the_edges_of_a_mask_are_filled_to_the_same_mask(seed, share):
    random = np.random.default_rng(seed)
    mask = ndimage.uniform_filter(random.random((3, 24, 20)), (1, 3, 3)) > np.quantile(random.random(99), share)
    contours = []
    for k, image in enumerate(mask):
        contours += [GRID.index_to_world([(k, *corner) for corner in outline]) for outline in _outlines(image)]
    grid = Geometry((3, 24, 20), GRID.spacing, GRID.origin, GRID.direction)
    assert np.array_equal(fill_contours(contours, grid).mask.array.astype(bool), mask)


def test_the_phantoms_lungs_are_read_back_from_its_structure_set(tmp_path):
    phantom = make_phantom(seed=1, shape=(30, 96, 96), spacing=(10.0, 4.0, 4.0))
    write_dicom_series(phantom, tmp_path / "ct")
    lungs = phantom.lungs
    masks = {name: Mask(lungs.array == value, lungs.geometry) for name, value in (("Lung R", 1), ("Lung L", 2))}
    path = write_structure_set(masks, tmp_path / "rs.dcm", series_uid=phantom.scan.series_uid)
    maps, notes = read_rtstruct(path, hilum.read(tmp_path / "ct"), (("Lung L", "left"), ("Lung R", "right")))
    assert np.array_equal(maps["left"].mask.array, lungs.array == 2)
    assert np.array_equal(maps["right"].mask.array, lungs.array == 1)
    assert notes == ()
