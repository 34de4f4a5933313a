"""Looking closer in the viewer: outlines, slabs, circles, profiles, cine, two masks, detections by probability."""

from __future__ import annotations

import csv
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import viewer_walks
from scipy import ndimage
from test_labels_shown import SEEN, lab
from viewer_walks import WEB, differ, walk

import hilum
from hilum import cli
from hilum.ops.labels import overlay
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series, write_luna16

pytestmark = viewer_walks.MARKS

WIDTHS = ("1920", "1366", "800", "400")
AXES = {"axial": (1, 2, 0), "coronal": (0, 2, 1), "sagittal": (0, 1, 2)}  # down, across, through
REDUCED = {"mip": np.max, "mean": np.mean, "minip": np.min}
AGREEMENT = {"both": (119, 255, 221), "a": (221, 17, 0), "b": (0, 119, 204)}


@dataclass(frozen=True)
class Walked:
    """What was shown, and seen of it."""

    ct: hilum.Volume
    a: np.ndarray
    b: np.ndarray
    told: dict
    pictures: dict
    folder: Path


def phantom():
    return make_phantom(seed=3, shape=(60, 96, 96), spacing=(5.0, 4.0, 4.0))


def moved(mask, by):
    return np.roll(mask, by, (0, 1, 2))


def seen_of(ct, a, b, path, folder, names, options):
    told, pictures = walk("look", path, folder, *names, options=options)
    return Walked(ct, a, b, told["seen"], pictures, folder)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """A volume file, two masks of it, and the marks of a detector."""
    place = tmp_path_factory.mktemp("volume")
    scan = phantom().scan
    truth = (phantom().lungs.array > 0).astype(np.uint8)
    predicted = np.ascontiguousarray(moved(truth, (1, 2, -1)))
    hilum.write(scan.ct, place / "case.nii.gz")
    for name, mask in (("truth", truth), ("predicted", predicted)):
        hilum.write(hilum.Mask(mask, scan.ct.geometry), place / f"{name}.nii.gz")
    with (place / "marks.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("seriesuid", "coordX", "coordY", "coordZ", "probability"))
        for number, probability in enumerate((0.95, 0.7, 0.5, 0.31, 0.02)):
            rows.writerow(("case", *scan.ct.geometry.index_to_world((30, 40, 20 + 10 * number)), probability))
    options = (
        "--mask",
        place / "truth.nii.gz",
        "--mask",
        f"model={place / 'predicted.nii.gz'}",
        "--detections",
        place / "marks.csv",
    )
    return seen_of(scan.ct, truth, predicted, place / "case.nii.gz", place / "pictures", ("truth", "model"), options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run, over which a folder of predictions is shown."""
    place = tmp_path_factory.mktemp("run")
    root = write_luna16([phantom()], place / "luna", flipped=())
    (place / "r.toml").write_text("[resample]\nspacing_mm = 4.0\n[nodules]\nmask = true\n")
    assert (
        cli.main(["run", str(root), "--out", str(place / "out"), "--recipe", str(place / "r.toml"), "--workers", "1"])
        == 0
    )
    (scan,) = hilum.open_run(place / "out")
    lungs = (scan.lungs.array > 0).astype(np.uint8)
    predicted = np.ascontiguousarray(moved(lungs, (2, 0, 1)))
    (place / "predicted").mkdir()
    hilum.write(hilum.Mask(predicted, scan.geometry), place / f"predicted/{scan.scan_id}.nii.gz")
    names = ("Lungs", "predicted")
    return seen_of(scan.ct, lungs, predicted, place / "out", place / "pictures", names, ("--mask", place / "predicted"))


@pytest.fixture(scope="module")
def dicom(tmp_path_factory):
    """A DICOM folder; hilum segments its lungs."""
    place = tmp_path_factory.mktemp("dicom")
    (place / "series").mkdir()
    write_dicom_series(phantom(), place / "series", series_uid="1.2.826.0.1.7.1")
    ct = hilum.read(place / "series").ct
    lungs = hilum.segment_lungs(ct).array
    return seen_of(ct, lungs == 1, lungs == 2, place / "series", place / "pictures", ("Right lung", "Left lung"), ())


@pytest.fixture(params=["volume", "run", "dicom"])
def walked(request):
    return request.getfixturevalue(request.param)


def plane_of(ct, plane):
    """Through which axis a plane goes; the phantom's axes are those of the patient."""
    down, across, through = AXES[plane]
    assert np.allclose(np.abs(ct.geometry.direction), np.eye(3)[::-1])
    return down, across, through


def signs(ct):
    """Whether each array axis runs towards the head, the back and the left."""
    return [int(np.sign(ct.geometry.direction[axis][2 - axis])) for axis in range(3)]


def shown(values, ct, plane):
    """A plane of values, turned as the page shows it: head on top, the patient's right on the left."""
    down, across, _ = AXES[plane]
    values = values if down < across else values.T
    for out, axis in enumerate((down, across)):
        upright = signs(ct)[axis] > 0
        values = np.flip(values, out) if upright == (axis == 0) else values
    return values


def pixels_at(picture, ct, plane, scale):
    """The color at the middle of each voxel of a plane."""
    down, across, _ = AXES[plane]
    places = []
    for size, axis in ((picture.shape[0], down), (picture.shape[1], across)):
        n, spacing = ct.shape[axis], ct.geometry.spacing[axis]
        places.append(np.floor(size / 2 + (np.arange(n) - (n - 1) / 2) * spacing * scale).astype(int))
    inside = [(at >= 0) & (at < size) for at, size in zip(places, picture.shape[:2], strict=True)]
    color = np.rint(
        picture[np.ix_(*(np.clip(at, 0, size - 1) for at, size in zip(places, picture.shape[:2], strict=True)))] * 255
    )
    return color.astype(int), inside[0][:, None] & inside[1][None]


def middle(shape):
    """The middle half of a plane: the words of a pane are outside."""
    keep = np.zeros(shape, bool)
    keep[shape[0] // 4 : -shape[0] // 4, shape[1] // 4 : -shape[1] // 4] = True
    return keep


# ---- what is seen at each width


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_lies_outside_the_window(walked, width):
    assert walked.told[width]["overflow"] is False


@pytest.mark.parametrize("width", WIDTHS)
def test_a_slider_goes_to_a_slice(walked, width):
    slid = walked.told[width]["slid"]
    for plane, index in slid.items():
        through = AXES[plane][2]
        # As keys do, sliders go up towards the head, the front and the right: against the axes of LPS in two planes.
        ahead = signs(walked.ct)[through] * (1 if plane == "axial" else -1)
        assert index == (30 if ahead > 0 else walked.ct.shape[through] - 1 - 30), plane


@pytest.mark.parametrize("kind", REDUCED)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_slab_shows_what_numpy_computes(walked, width, kind):
    ct = walked.ct
    array = ct.array.astype(np.float64)
    for plane, facts in walked.told[width]["slabs"][kind].items():
        through = AXES[plane][2]
        index = int(facts["index"])
        slices = [k for k in range(ct.shape[through]) if abs(k - index) * ct.geometry.spacing[through] <= 10 + 1e-9]
        values = REDUCED[kind](np.take(array, slices, through), axis=through)
        gray = np.floor(255 * np.clip((values - array.min()) / np.ptp(array), 0, 1) + 0.5)
        color, inside = pixels_at(walked.pictures[f"{width}-{kind}-{plane}"], ct, plane, float(facts["scale"]))
        keep = inside & middle(inside.shape)
        assert np.abs(color[..., 0] - shown(gray, ct, plane))[keep].max() <= 1, plane
        assert keep.sum() > 300


@pytest.mark.parametrize("width", WIDTHS)
def test_without_a_slab_one_slice_is_shown(walked, width):
    assert walked.told[width]["noSlab"] == "off"
    assert differ(walked.pictures[f"{width}-gray-axial"], walked.pictures[f"{width}-mip-axial"]) > 0.1


def voxel_at(walked, width, place):
    """The voxel coordinate under a place of the axial pane, told from its middle in pixels."""
    facts = walked.told[width]["gray"]["axial"]
    _, n, m = walked.ct.shape
    _, high, wide = walked.ct.geometry.spacing
    right, down = (part / float(facts["scale"]) for part in place)
    turns = signs(walked.ct)
    return float(facts["index"]), (n - 1) / 2 + turns[1] * down / high, (m - 1) / 2 + turns[2] * right / wide


@pytest.mark.parametrize("width", WIDTHS)
def test_a_circle_tells_what_numpy_computes(walked, width):
    told = {name: float(value) for name, value in walked.told[width]["circle"].items()}
    z, y, x = voxel_at(walked, width, (-20, -10))
    rim = voxel_at(walked, width, (-4, -2))
    _, high, wide = walked.ct.geometry.spacing
    radius = np.hypot((rim[1] - y) * high, (rim[2] - x) * wide)
    rows, columns = np.indices(walked.ct.shape[1:])
    values = walked.ct.array[int(z)][np.hypot((rows - y) * high, (columns - x) * wide) <= radius].astype(np.float64)
    wanted = {"mean": values.mean(), "sd": values.std(), "min": values.min(), "max": values.max(),
              "area": values.size * high * wide, "voxels": values.size}  # fmt: skip
    assert told == pytest.approx(wanted)
    assert values.size > 5
    assert walked.told[width]["circleText"][0] == f"{values.mean():.1f} HU"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_profile_tells_what_scipy_computes(walked, width):
    told = {name: np.array(text.split(","), float) for name, text in walked.told[width]["profile"].items()}
    start, end = (np.array(voxel_at(walked, width, place)) for place in ((-40, -20), (30, 35)))
    places = start + np.linspace(0, 1, told["mm"].size)[:, None] * (end - start)
    wanted = ndimage.map_coordinates(walked.ct.array.astype(np.float64), places.T, order=1)
    assert np.allclose(told["values"], wanted, atol=0.01)
    assert told["mm"][-1] == pytest.approx(np.linalg.norm((end - start) * walked.ct.geometry.spacing), abs=1e-3)
    mm, value = map(float, re.fullmatch(r"([\d.]+) mm: (-?\d+) HU", walked.told[width]["hover"]).groups())
    share = walked.told[width]["hoverShare"]
    assert mm == pytest.approx(share * told["mm"][-1], abs=0.03 * told["mm"][-1])
    nearest = np.abs(told["mm"] - mm) <= 0.06
    assert np.abs(told["values"][nearest] - value).min() <= 0.51


@pytest.mark.parametrize("width", WIDTHS)
def test_measures_are_removed_one_after_another(walked, width):
    assert walked.told[width]["afterOne"] == 1  # the line is gone, the circle is the last measure again
    assert walked.told[width]["afterTwo"] == ""


@pytest.mark.parametrize("width", WIDTHS)
def test_outlines_leave_the_inside_of_masks_bare(walked, width):
    assert walked.told[width]["outline"] == "true"
    facts = walked.told[width]["gray"]["axial"]
    both = walked.a.astype(bool) & walked.b.astype(bool)
    mask = (both if both.any() else walked.a.astype(bool))[int(facts["index"])]
    deep = shown(ndimage.binary_erosion(mask, iterations=3), walked.ct, "axial")
    assert deep.sum() > 100
    for name, share in (("fill", 1.0), ("outline", 0.0)):
        color, inside = pixels_at(walked.pictures[f"{width}-{name}-axial"], walked.ct, "axial", float(facts["scale"]))
        keep = deep & inside & middle(inside.shape)
        assert (np.ptp(color[keep], axis=-1) > 20).mean() == pytest.approx(share, abs=0.1), name


# ---- two masks


@pytest.mark.parametrize("width", WIDTHS)
def test_two_masks_have_the_dice_of_score(walked, width):
    told = walked.told[width]
    a, b = walked.a > 0, walked.b > 0
    geometry = walked.ct.geometry
    (score,) = hilum.score(*(hilum.Mask(one.astype(np.uint8), geometry) for one in (a, b)), bootstrap=0).cases
    assert round(float(told["agreement"]["dice"]), 4) == round(score.dice, 4)
    assert told["figures"][0] == f"{score.dice:.4f}"
    wanted = {"a": a, "b": b, "both": a & b, "onlyA": a & ~b, "onlyB": b & ~a}
    ml = {name: one.sum() * geometry.voxel_volume / 1000 for name, one in wanted.items()}
    assert {name: float(told["agreement"][name]) for name in ml} == pytest.approx(ml)
    assert "On the shown grid" in told["grid"]
    counts = (a ^ b).sum((1, 2))
    z, y, x = map(int, told["worst"].split(","))
    assert counts[z] == counts.max()
    assert (a ^ b)[z, y, x]


@pytest.mark.parametrize("width", WIDTHS)
def test_two_masks_are_drawn_in_three_colors(walked, width):
    a, b = walked.a > 0, walked.b > 0
    found = set()
    for plane, facts in walked.told[width]["compared"].items():
        through = AXES[plane][2]
        index = int(facts["index"])
        one, other = (shown(np.take(mask, index, through), walked.ct, plane) for mask in (a, b))
        color, inside = pixels_at(walked.pictures[f"{width}-compared-{plane}"], walked.ct, plane, float(facts["scale"]))
        keep = inside & middle(inside.shape)
        gray = color[keep & ~one & ~other]
        assert np.percentile(np.ptp(gray, axis=-1), 90) <= 1  # without the crosshair and its colors
        for name, where in (("both", one & other), ("a", one & ~other), ("b", other & ~one)):
            if (count := (keep & where).sum()) < 30:
                continue
            found.add(name)
            # 0.35 of the color over a gray; what is left after the color must be gray.
            under = (color[keep & where] - 0.35 * np.array(AGREEMENT[name])) / 0.65
            assert (np.ptp(under, axis=-1) <= 3.5).mean() > 0.85, (plane, name, count)
    assert found == ({"a", "b", "both"} if (a & b).any() else {"a", "b"})


# ---- once


def test_the_masks_that_are_offered(volume, run, dicom):
    assert volume.told["1366"]["masks"] == ["none", "Lungs", "Right lung", "Left lung", "model", "truth"]
    assert run.told["1366"]["masks"] == ["none", "Lungs", "Right lung", "Left lung", "Nodules", "predicted"]
    assert dicom.told["1366"]["masks"] == ["none", "Lungs", "Right lung", "Left lung"]


def test_a_link_keeps_slab_outline_and_masks(walked):
    told = walked.told["1366"]
    assert told["linked"]["slab"] == "mip"
    assert told["linked"]["outline"] == "true"
    assert round(float(told["linked"]["dice"]), 6) == round(float(told["agreement"]["dice"]), 6)


def test_a_mask_that_was_corrected_is_compared_anew(run):
    edited = run.told["1366"]["edited"]
    assert [edited[when]["hidden"] for when in ("before", "during", "after")] == [False, True, False]
    assert edited["after"]["dice"] != edited["before"]["dice"]
    assert edited["after"]["b"] == edited["before"]["b"]
    assert float(edited["after"]["a"]) > float(edited["before"]["a"])


def test_cine_plays_at_its_rate_and_rests(walked):
    cine = walked.told["1366"]["cine"]
    playing = cine["playing"]
    assert (playing["name"], cine["paused"]["name"]) == ("Pause", "Play")
    for at in (playing, cine["paused"]):
        assert int(at["done"]) == int(float(at["ms"]) * int(playing["speed"]) / 1000)
    count = walked.ct.shape[0]
    ahead = signs(walked.ct)[0]
    assert cine["last"] == (cine["first"] + ahead * int(cine["paused"]["done"])) % count
    assert cine["still"]
    assert (playing["speed"], cine["faster"]) == ("15", "20")
    assert cine["calm"] == "3"  # the system asks for reduced motion
    assert cine["end"]  # and so it stops at the last slice


@pytest.mark.parametrize("width", WIDTHS)
def test_less_probable_detections_are_hidden(volume, width):
    told = volume.told[width]
    assert told["count"] == "3 of 5"
    assert told["least"] == "from 0.5"
    assert told["listed"] == ["0.95", "0.7", "0.5"]


def test_nothing_else_has_the_colors_of_the_agreement():
    """Every eye tells what is drawn over a slice apart: lungs, nodules, labels, detections, measures, the agreement."""
    text = "".join(path.read_text() for path in WEB.glob("*.ts"))
    named = {
        name: tuple(bytes.fromhex(value))
        for name, value in re.findall(r'const (DETECTION|MEASURE|LINE) = "#(\w{6})"', text)
    }
    lungs = re.search(r"LUNG_COLORS.*?= \{ (.*?) \}", text)[1]
    triples = [
        tuple(map(int, one))
        for one in re.findall(r"\[(\d+), (\d+), (\d+)\]", lungs + re.search(r"NODULE_COLOR: Color.*", text)[0])
    ]
    written = re.search(r"AGREEMENT_COLORS.*?= (\{.*?\})", text)[1]
    agreement = [tuple(map(int, one)) for one in re.findall(r"\[(\d+), (\d+), (\d+)\]", written)]
    assert agreement == list(AGREEMENT.values())
    others = [*named.values(), *triples, *overlay.COLORS]
    assert len(named) == 3
    assert len(others) == 15
    for eye in SEEN:
        for one, other in itertools.product(agreement, others):
            assert np.linalg.norm(lab(one, eye) - lab(other, eye)) > 10, (one, other, eye)
        for one, other in itertools.combinations(agreement, 2):
            assert np.linalg.norm(lab(one, eye) - lab(other, eye)) > 60, (one, other, eye)
        for one, other in itertools.combinations(others, 2):
            assert np.linalg.norm(lab(one, eye) - lab(other, eye)) > 10, (one, other, eye)
