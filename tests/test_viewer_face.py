"""The viewer's page at four widths: where it opens, names, places, links, header fields, keys, mouse and fingers."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nibabel
import numpy as np
import pydicom
import pytest
import viewer_walks
from nibabel.affines import apply_affine

import hilum
from hilum import cli
from hilum.errors import HilumError, InputError
from hilum.io.volumes.nifti import write_nifti
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series, write_luna16
from hilum.report.risk import LEVELS
from hilum.viewer.described import header_fields, start_place
from hilum.viewer.sources import open_source


def page(test):
    """A test that needs Chromium and Playwright."""
    for mark in viewer_walks.MARKS:
        test = mark(test)
    return test


WIDTHS = ("1920", "1366", "800", "400")
PRIVATE = {
    "PatientName": "Doe^Jane", "PatientID": "SSN-4711", "PatientBirthDate": "19400102", "StudyDescription": "free A",
    "SeriesDescription": "free B", "PatientComments": "free C", "InstitutionName": "Hospital Q",
}  # fmt: skip
CASES = ("LIDC-IDRI-0001", "LIDC-IDRI-0002")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("face")


@pytest.fixture(scope="module")
def runs(place):
    """Two runs of two phantoms, on grids of 2.5 and 4 mm."""
    phantoms = [make_phantom(seed=seed, shape=(60, 128, 128), spacing=(5.0, 3.0, 3.0)) for seed in (3, 4)]
    root = write_luna16(phantoms, place / "luna", flipped=())
    found = []
    for name, spacing in (("fine", 2.5), ("coarse", 4)):
        (place / f"{name}.toml").write_text(f"[resample]\nspacing_mm = {spacing}\n[nodules]\nmask = true\n")
        found.append(place / name)
        words = ["run", str(root), "--out", str(found[-1]), "--recipe", str(place / f"{name}.toml"), "--workers", "1"]
        assert cli.main(words) == 0
    name_cases(found[0])
    return found


def name_cases(run):
    """Give the scans cases, as an input of LIDC-IDRI has them."""
    (run / "SHA256SUMS").unlink()  # it lists the table as it was
    with (run / "scans.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, case in zip(rows, CASES, strict=True):
        row["case"] = case
    with (run / "scans.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


@pytest.fixture(scope="module")
def series(place):
    """A DICOM folder whose headers name a patient."""
    folder = write_dicom_series(make_phantom(seed=5, shape=(48, 96, 96), spacing=(6.0, 3.5, 3.5)), place / "series")
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        for name, value in PRIVATE.items():
            setattr(header, name, value)
        header.SeriesNumber, header.ConvolutionKernel = 7, "B60f"
        header.save_as(path)
    return folder


def record_of(run, number=0):
    folder = sorted((run / "scans").iterdir())[number]
    return json.loads((folder / "scan.json").read_text())


# ---- the server's part


def test_it_opens_at_the_largest_nodule_then_in_the_lungs_then_in_the_volume():
    grid = hilum.Geometry((20, 30, 40), (2.0, 1.5, 1.0), (5.0, -7.0, 11.0))
    lungs = np.zeros(grid.shape, np.uint8)
    lungs[4:11, 6:20, 3:10] = 1
    lungs[6:9, 8:12, 20:31] = 2
    scan = hilum.Scan("", hilum.Volume(np.zeros(grid.shape, np.int16), grid), lungs=hilum.Mask(lungs, grid))
    affine = nibabel.affines.from_matvec(np.array([[0, 0, 1.0], [0, 1.5, 0], [2.0, 0, 0]]), grid.origin)
    nodules = [{"label": 1, "world": (10.0, 0.0, 20.0), "diameter_mm": 4.0},
               {"label": 2, "world": (12.0, 3.0, 25.0), "diameter_mm": 9.0},
               {"label": 3, "world": (900.0, 0.0, 0.0), "diameter_mm": 30.0}]  # fmt: skip
    assert start_place(scan, nodules) == {"world": [12.0, 3.0, 25.0], "nodule": 2}
    ends = [(np.nonzero(lungs)[axis].min() + np.nonzero(lungs)[axis].max() + 1) // 2 for axis in range(3)]
    assert start_place(scan, nodules[2:]) == {"world": apply_affine(affine, ends).tolist(), "nodule": None}
    empty = replace(scan, lungs=hilum.Mask(np.zeros_like(lungs), grid))
    for bare in (empty, replace(scan, lungs=None)):
        assert start_place(bare, []) == {"world": apply_affine(affine, (10, 15, 20)).tolist(), "nodule": None}


def test_header_fields_hold_no_patient(series):
    source = open_source(series)
    view = source.open_scan(0)
    fields = dict(view.page_facts(0)["header"])
    first = pydicom.dcmread(min(series.iterdir()))
    assert fields["Series Instance UID"] == first.SeriesInstanceUID
    assert (fields["Series Number"], fields["Convolution Kernel"]) == ("7", "B60f")
    assert float(fields["Slice Thickness, mm"]) == first.SliceThickness
    assert (fields["Slices"], fields["Rows"], fields["Columns"]) == ("48", "96", "96")
    told = json.dumps(view.page_facts(0)) + json.dumps(source.session({}))
    for secret in PRIVATE.values():
        assert secret not in told


def test_a_field_without_a_value_is_left_out():
    grid = hilum.Geometry((2, 3, 4), (2.0, 1.5, 1.0))
    assert [name for name, _ in header_fields("", {}, grid)][:3] == ["Slices", "Rows", "Columns"]
    assert ("Convolution Kernel", "D") in header_fields("", {"kernel": "D"}, grid)


def test_the_list_has_cases_and_words(runs):
    session = open_source(runs[0]).session({})
    assert [row["title"] for row in session["scans"]] == list(CASES)
    for number, row in enumerate(session["scans"]):
        record = record_of(runs[0], number)
        assert (row["name"], row["series"], row["dataset"]) == (record["scan_id"], record["series_uid"], "luna16")
        assert row["risk_words"] == LEVELS[row["risk"]]
    for row in open_source(runs[1]).session({})["scans"]:
        assert row["title"] == row["name"]  # without a case


# ---- beside


def test_the_same_series_of_another_run_is_beside(runs):
    source = open_source(runs[0], beside=runs[1])
    for number in range(2):
        view = source.open_scan(number)
        facts = view.page_facts(number)
        assert facts["beside"] == ("fine", "coarse")
        other = view.volume("beside")
        stored = next((runs[1] / "scans" / record_of(runs[1], number)["scan_id"]).glob("ct.*"))
        assert (np.asarray(other.array) == hilum.read(stored).ct.array).all()
        assert record_of(runs[0], number)["series_uid"] == record_of(runs[1], number)["series_uid"]
        assert facts["volumes"]["beside"]["shape"] == list(other.shape)


def test_a_swapped_file_of_the_other_run_is_not_shown(runs, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(runs[1], copy)
    one, two = sorted(next(folder.glob("ct.*")) for folder in (copy / "scans").iterdir())
    one.write_bytes(two.read_bytes())
    source = open_source(runs[0], beside=copy)
    with pytest.raises(HilumError, match="the size that was recorded"):
        source.open_scan(0).page_facts(0)


def test_what_cannot_be_beside_is_refused(runs, series, tmp_path):
    ct = make_phantom(seed=9, shape=(30, 40, 40), spacing=(10.0, 9.0, 9.0)).scan.ct
    write_nifti(ct, tmp_path / "ct.nii")
    root = write_luna16([make_phantom(seed=9, shape=(40, 64, 64), spacing=(7.5, 6.0, 6.0))], tmp_path / "luna")
    assert cli.main(["run", str(root), "--out", str(tmp_path / "else"), "--workers", "1"]) == 0
    for path, beside, said in (
        (runs[0], series, "a run can only be compared with another run"),
        (series, runs[0], "a scan can only be compared with another scan"),
        (runs[0], tmp_path / "else", "no series of the run is among"),
        (series, tmp_path / "missing", "."),
    ):
        with pytest.raises(InputError, match=said):
            open_source(path, beside=beside)
    with pytest.raises(InputError, match="exclude each other"):
        open_source(runs[0], beside=runs[1], original=runs[0].parent / "luna")
    source = open_source(tmp_path / "ct.nii", beside=series)
    assert source.open_scan(0).page_facts(0)["beside"] == ("ct.nii", "series")


# ---- the page


@pytest.fixture(scope="module")
def seen_run(runs, tmp_path_factory):
    return viewer_walks.walk("face", runs[0], tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def seen_series(series, tmp_path_factory):
    return viewer_walks.walk("face", series, tmp_path_factory.mktemp("series"))


@pytest.fixture(params=["run", "series"])
def seen(request):
    return request.getfixturevalue(f"seen_{request.param}")


@page
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_or_over_something_else(seen, width):
    told, pictures = seen[0][width], seen[1]
    assert told["faults"] == []
    drawers = {"800": ["show-run", "show-facts"], "400": ["show-run", "show-tools", "show-facts"]}.get(width, [])
    assert told.get("drawers", []) == [one for one in drawers if one != "show-run" or "titles" in told]
    assert not viewer_walks.is_blank(pictures[f"{width}-page"])
    for drawer in told.get("drawers", []):
        assert viewer_walks.differ(pictures[f"{width}-page"], pictures[f"{width}-{drawer}"]) > 0.05


@page
@pytest.mark.parametrize("width", WIDTHS)
def test_the_corner_shows_the_index_of_the_voxel(seen, width):
    told = seen[0][width]
    z, y, x = told["opened"]
    assert told["indices"] == {"axial": z, "coronal": y, "sagittal": x}
    assert f"voxel ({z}, {y}, {x})" in told["reading"]


@page
@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_opens_at_its_largest_nodule(seen_run, runs, width):
    told = seen_run[0][width]
    largest = max(record_of(runs[0])["nodules"], key=lambda one: one["diameter_mm"])
    assert told["opened"] == [round(v) for v in largest["voxel"]]
    assert np.allclose(told["opened_world"], largest["world"])


@page
def test_a_series_opens_in_its_middle(seen_series):
    assert seen_series[0]["1366"]["opened"] == [24, 48, 48]


@page
@pytest.mark.parametrize("width", WIDTHS)
def test_names_are_readable_and_found(seen_run, runs, width):
    told = seen_run[0][width]
    ids = [record_of(runs[0], number)["scan_id"] for number in range(2)]
    assert told["titles"] == list(CASES)
    assert told["ids"] == [f"{one} · luna16" for one in ids]
    assert told["searched"] == [CASES[0], ids[1], "no such scan"]
    assert told["found"] == [[CASES[0]], [CASES[1]], []]
    (level,) = {row["risk_words"] for row in open_source(runs[0]).session({})["scans"][:1]}
    assert f"Risk{level}" in told["figures"]


@page
@pytest.mark.parametrize("width", WIDTHS)
def test_a_place_can_be_typed(seen, width):
    right, far, few, words, outside, lps, ras = seen[0][width]["jumps"]
    assert (right["told"], right["voxel"], right["open"]) == ("", [7, 21, 30], False)
    assert re.fullmatch(r"Voxels have x from 0 to \d+, not 3000\.", far["told"])
    assert few["told"] == words["told"] == "Write three numbers, such as 136, 250, 180."
    assert outside["told"].startswith("This is outside the scan: it would be voxel (")
    assert all(one["voxel"] == [7, 21, 30] for one in (far, few, words, outside, lps, ras))
    assert lps["told"] == ras["told"] == ""


@page
@pytest.mark.parametrize("width", WIDTHS)
def test_header_fields_are_listed_and_searched(seen, width):
    told = seen[0][width]
    assert "Series Instance UID" in told["tags"]
    assert told["tagsFound"] == ["Spacing (z, y, x), mm"]
    assert not [secret for secret in PRIVATE.values() if secret in " ".join(told["tags"])]


@page
@pytest.mark.parametrize("width", WIDTHS)
def test_white_and_black_change_places(seen, width):
    gray, inverted = (seen[1][f"{width}-{name}"][45:-40, 25:-25, 0] for name in ("gray", "inverted"))
    inside = np.ptp(np.stack([gray, inverted]), axis=0) >= 0
    inside &= ~((gray == 0) & (inverted == 0))  # black around the slice stays
    assert inside.mean() > 0.5
    rest = np.abs(gray + inverted - 1)[inside]
    assert np.quantile(rest, 0.95) <= 2 / 255  # letters and the bar stay
    assert np.abs(gray - inverted)[inside].mean() > 0.2


@page
@pytest.mark.parametrize("width", ["1920", "1366"])
def test_the_mouse_zooms_moves_and_resets(seen, width):
    told, pictures = seen[0][width], seen[1]
    start, wheel, plus, minus, reset = told["scales"]
    assert np.allclose([wheel / start, plus / wheel, minus / wheel, reset / start], [1.15, 1.25, 1.0, 1.0])
    assert told["panned"][0] == told["panned"][1]
    before, after = (pictures[f"{width}-{name}"][60:-60, 60:-60, 0] for name in ("unmoved", "moved"))
    assert np.abs(after[20:, 40:] - before[:-20, :-40]).mean() < 0.05 < np.abs(after - before).mean()
    assert told["swiped"][1] - told["swiped"][0] == 5  # 30 pixels up


@page
@pytest.mark.parametrize("width", ["800", "400"])
def test_fingers_go_through_slices_zoom_move_and_choose(seen, width):
    told = seen[0][width]
    assert told["swiped"][1] - told["swiped"][0] == 10  # 60 pixels up
    assert told["tapped"][0] == told["beforeTap"][0]
    assert told["tapped"][1:] != told["beforeTap"][1:]
    assert told["dragged"][0] == told["tapped"][0]
    assert told["dragged"][1] < told["tapped"][1]
    assert told["dragged"][2] < told["tapped"][2]
    before, pinched, held, place = told["pinched"]
    assert pinched / before == pytest.approx(2, rel=0.02)
    assert held == place  # what the first finger of two did is undone
    assert told["reset"][0] == pytest.approx(told["reset"][1])
    assert told["alone"] == ["axial"]
    assert told["together"] == 4


@page
@pytest.mark.parametrize("width", WIDTHS)
def test_a_link_shows_the_same_view_again(seen, width):
    told = seen[0][width]
    kept, fresh, again = told["kept"]
    assert again == kept != fresh
    assert kept["voxel"] == [20, 30, 25]
    assert (kept["invert"], kept["rings"], kept["masks"]) == ("true", "false", "true")
    assert len(kept["panes"]) == 1
    parts = urlsplit(told["link"])
    assert parts.path == "/link/"
    assert parse_qs(parts.fragment, strict_parsing=True)["window"] == ["40,400"]
    assert "#" not in told["landed"]
    assert not told["notice"]
    assert re.fullmatch(r"/[\w-]{22}/", urlsplit(told["landed"]).path)


@page
def test_a_bad_link_is_ignored_with_a_line(seen):
    values, other, nothing, long, text = seen[0]["1366"]["bad"]
    assert (
        values
        == text.replace("axial", "window")
        == "These parts of the link are not valid, and were ignored: at, window"
    )
    assert nothing.endswith("ignored: nothing")
    assert long.endswith(f"ignored: {'x' * 20}")
    assert other == "The link names a scan that is not here; it was ignored."


@page
def test_the_sheet_lists_every_key_and_no_other(seen):
    assert seen[0]["working"] == seen[0]["listed"]
    assert len(seen[0]["listed"]) == len(set(seen[0]["listed"])) > 30


@page
def test_the_docs_list_the_same_keys(seen_run):
    text = (Path(__file__).parents[1] / "docs/viewer.md").read_text()
    table = text[text.index("| key | what |") : text.index("## In a notebook")]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| ")]
    told = [word.removesuffix(",").strip("`") for word in " ".join(cells).split()]
    shown = [word if word == "," else word.removesuffix(",") for word in seen_run[0]["shown"].split()]
    assert sorted(set(shown) - set(told)) == []
    assert sorted(set(told) - set(shown) - {"", "key", "---"}) == []


@page
def test_the_cube_of_the_3d_view_is_gray(seen_run):
    corner = seen_run[1]["1366-render"][-60:-8, 8:60]
    assert np.ptp(corner, axis=-1).max() <= 2 / 255
    assert corner.max() > 0.3
    assert np.ptp(seen_run[1]["1366-render"], axis=-1).max() > 0.2  # the lungs are colored


@page
def test_two_runs_move_together_or_alone(runs, tmp_path):
    seen, _ = viewer_walks.walk("beside", runs[0], tmp_path, options=("--beside", runs[1]))
    record = record_of(runs[1])
    grid = hilum.Geometry(*(tuple(record["geometry"][name]) for name in ("shape", "spacing", "origin")))
    for width in WIDTHS:
        told = seen[width]
        assert told["title"] == "fine beside coarse (b)"
        planes = ["axial", "coronal", "sagittal"]
        assert told["panes"] == sorted([*planes, *(f"{one}-beside" for one in planes)])
        for step in ("coupled", "stepped", "reset"):
            there = [round(v) for v in (np.subtract(told[step]["world"], grid.origin)[::-1] / grid.spacing)]
            assert [int(told[step][f"{plane}-beside"]) for plane in planes] == there
        steps = ("coupled", "stepped", "alone", "other", "again")
        at = {name: (int(told[name]["axial"]), int(told[name]["axial-beside"])) for name in steps}
        assert at["stepped"][0] == at["coupled"][0] + 1
        assert at["alone"] == (at["stepped"][0], at["stepped"][1] - 10)
        assert at["other"] == (at["alone"][0] + 1, at["alone"][1])
        assert at["again"][0] == at["other"][0] + 1
        assert abs(at["again"][1] - at["other"][1]) <= 1


@page
def test_a_link_outlives_its_viewer(runs, tmp_path):
    """A viewer at the same port that was started again has another folder; the link leads to it."""
    old, _ = viewer_walks.walk("outlive", runs[0], tmp_path)
    port = urlsplit(old["link"]).port
    new, _ = viewer_walks.walk("outlive", runs[0], tmp_path, old["link"], options=("--port", port))
    assert old["voxel"] == new["voxel"] == "20,30,25"
    assert old["folder"] != new["folder"]
    assert old["folder"].strip("/") not in old["link"]
