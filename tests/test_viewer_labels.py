"""Label maps in the viewer: where they are drawn, what is said of them, and what is refused."""

from __future__ import annotations

import asyncio
import json
import struct
from dataclasses import replace

import httpx
import nibabel
import numpy as np
import pytest
from browser import browser, find
from served import ask, started
from small_runs import append_row
from test_viewer_browser import BUILT, HIGH, WIDE, Viewer, served

import hilum
from hilum import cli
from hilum.errors import HilumError, InputError
from hilum.ops.labels.overlay import COLORS, HEX_COLORS
from hilum.outputs.ledger import Row
from hilum.outputs.store import store_scan
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series, write_structure_set
from hilum.scan import LabelMap
from hilum.viewer import app
from hilum.viewer.sources import open_source

EVIL = "<img src=x onerror='window.hacked=1'>\u202e"
TURN = np.deg2rad(15)
GRIDS = {
    "straight": hilum.Geometry((30, 40, 36), (2.5, 1.0, 1.2), (-20.0, -15.0, 40.0)),
    "flipped": hilum.Geometry((30, 40, 36), (2.5, 1.0, 1.2), (20.0, 15.0, 40.0), ((0, 0, 1), (0, -1, 0), (-1, 0, 0))),
    "oblique": hilum.Geometry(
        (30, 40, 36),
        (2.5, 1.0, 1.2),
        (-20.0, -15.0, 40.0),
        ((0, -np.sin(TURN), np.cos(TURN)), (0, np.cos(TURN), np.sin(TURN)), (1, 0, 0)),
    ),
}
GRID = GRIDS["straight"]

needs_browser = pytest.mark.skipif(
    find() is None or not BUILT.is_file(), reason="no Chromium, or the page is not built"
)


def box(value=1, *, z=(10, 20), y=(10, 22), x=(5, 15)):
    array = np.zeros(GRID.shape, np.uint8)
    array[slice(*z), slice(*y), slice(*x)] = value
    return array


def scan_of(grid=GRID, **maps):
    array = np.full(grid.shape, -600, np.int16)  # gray in the lung window
    labeled = {name: LabelMap(hilum.Mask(labels, grid), values) for name, (labels, values) in maps.items()}
    lungs = hilum.Mask(box(1, x=(30, 33)) + box(2, x=(33, 36)), grid)
    return hilum.Scan(series_uid="1.2", ct=hilum.Volume(array, grid), lungs=lungs, label_maps=labeled)


def stored(folder, **scans):
    for name, scan in scans.items():
        store_scan(
            scan, folder / "scans", scan_id=name, file_format="npy", source=scan.ct.geometry, recipe_name="mine",
            recipe_sha256="0", fingerprint="f" * 64,
        )  # fmt: skip
        append_row(folder, Row(id=name, status="done"))
    (folder / "recipe.toml").write_text('name = "mine"\n')
    return folder


def answers(source, *paths):
    """What the application answers, without a login."""

    async def get():
        transport = httpx.ASGITransport(app.make_app(source))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(get())


def stl_ml(data):
    """The volume of a binary STL in ml."""
    (count,) = struct.unpack_from("<I", data, 80)
    kind = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("rest", "<u2")])
    a, b, c = np.moveaxis(np.frombuffer(data, kind, count, 84)["corners"].astype(float), 1, 0)
    return abs(np.einsum("ij,ij->", a, np.cross(b, c))) / 6000


# ---- what the server gives


@pytest.mark.parametrize("name", GRIDS)
def test_a_label_map_lies_where_it_was_stored(name, tmp_path):
    grid = GRIDS[name]
    labels = box(1) + box(7, z=(22, 25))
    run = stored(tmp_path, one=scan_of(grid, tumor=(box(1), {"tumor": 1}), parts=(labels, {"upper": 7, "lower": 1})))
    source = open_source(run)
    (facts,) = answers(source, "/api/scans/0")
    parts, tumor = facts.json()["label_maps"]
    assert [(one["name"], one["value"], one["color"]) for one in parts["labels"]] == [
        ("lower", 1, HEX_COLORS[0]),
        ("upper", 7, HEX_COLORS[1]),
    ]
    assert tumor["labels"][0]["color"] == HEX_COLORS[2]
    for label, count in ((parts["labels"][1], 3 * 12 * 10), (tumor["labels"][0], 10 * 12 * 10)):
        assert label["ml"] == pytest.approx(count * grid.voxel_volume / 1000)
        at = np.rint(grid.world_to_index(label["at"])).astype(int)
        assert labels[tuple(at)] == label["value"]
    nifti, stl = answers(source, "/" + parts["volume"]["url"], "/" + parts["labels"][1]["surface"])
    assert len(nifti.content) == parts["volume"]["bytes"]
    image = nibabel.Nifti1Image.from_bytes(nifti.content)
    voxels = np.argwhere(np.asarray(image.dataobj) == 7)
    world = nibabel.affines.apply_affine(image.affine, voxels) * [-1, -1, 1]
    index = np.rint(grid.world_to_index(world)).astype(int)
    assert sorted(map(tuple, index.tolist())) == sorted(map(tuple, np.argwhere(labels == 7).tolist()))
    assert stl_ml(stl.content) == pytest.approx(parts["labels"][1]["ml"], rel=0.15)  # cells of 2 mm round its edges


def test_a_scan_without_label_maps_has_none_and_an_empty_one_has_no_volume(tmp_path):
    run = stored(tmp_path, plain=scan_of(), void=scan_of(tumor=(np.zeros(GRID.shape, np.uint8), {"tumor": 1})))
    source = open_source(run)
    plain, void, session = answers(source, "/api/scans/0", "/api/scans/1", "/api/session")
    assert plain.json()["label_maps"] == []
    (tumor,) = void.json()["label_maps"]
    label = {"name": "tumor", "value": 1, "ml": 0.0, "color": HEX_COLORS[0], "at": None, "surface": None}
    assert tumor == {"name": "tumor", "volume": None, "labels": [label]}
    assert [row["label_maps"] for row in session.json()["scans"]] == [[], ["tumor"]]
    for number in (0, 1):
        for name in ("label-0.nii", "label-0-1.stl"):
            assert answers(source, f"/api/scans/{number}/{name}")[0].status_code == 404


def test_only_what_there_is_is_given(tmp_path):
    source = open_source(stored(tmp_path, one=scan_of(tumor=(box(), {"tumor": 1}))))
    names = ("label-1.nii", "label-0-1.nii", "label-0.stl", "label--1.nii", "label-99999.nii", "label-0-0.stl",
             "label-1-1.stl", "label-.nii", "label-0.png", "tumor.nii", "label-%D9%A1.nii")  # fmt: skip
    for answer in answers(source, *(f"/api/scans/0/{name}" for name in names)):
        assert answer.status_code == 404, answer.url
    assert answers(source, "/api/scans/0/label-0.nii")[0].status_code == 200


def test_a_label_of_no_voxel_has_an_empty_surface(tmp_path):
    source = open_source(stored(tmp_path, one=scan_of(tumor=(box(), {"tumor": 1, "edema": 2}))))
    (facts,) = answers(source, "/api/scans/0")
    assert [label["surface"] is None for label in facts.json()["label_maps"][0]["labels"]] == [False, True]
    (stl,) = answers(source, "/api/scans/0/label-0-2.stl")
    assert (stl.status_code, len(stl.content)) == (200, 84)


def test_a_damaged_label_map_is_refused_by_name(tmp_path):
    run = stored(tmp_path, one=scan_of(tumor=(box(), {"tumor": 1})), two=scan_of())
    path = run / "scans/one/labels/tumor.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x05")
    bad, good = answers(open_source(run), "/api/scans/0", "/api/scans/1")
    assert bad.status_code == 422
    assert "scans/one/labels/tumor.npy" in bad.json()["error"]
    assert str(tmp_path) not in bad.text
    assert good.status_code == 200
    path.unlink()
    assert "scans/one/labels/tumor.npy" in answers(open_source(run), "/api/scans/0")[0].json()["error"]


@pytest.mark.parametrize("values", [{"a": 0}, {"a": 256}, {"a": 1, "b": 1}])
def test_values_that_no_label_map_has_are_refused(values, tmp_path):
    run = stored(tmp_path, one=scan_of(tumor=(box(), {"tumor": 1})))
    path = run / "scans/one/scan.json"
    record = json.loads(path.read_text())
    record["label_maps"]["tumor"]["values"] = values
    path.write_text(json.dumps(record))
    (run / "ledger.jsonl").unlink()
    (answer,) = answers(open_scan_alone(run), "/api/scans/0")
    assert answer.status_code in {404, 422}
    assert "\n" not in answer.json()["error"]


def open_scan_alone(run):
    append_row(run, Row(id="one", status="done"))
    return open_source(run)


@pytest.mark.parametrize("name", ["../tumor", "a/b", "", ".", "tumor\n"])
def test_a_name_that_leads_out_of_the_folder_is_no_record(name, tmp_path):
    run = stored(tmp_path, one=scan_of(tumor=(box(), {"tumor": 1})))
    path = run / "scans/one/scan.json"
    path.write_text(path.read_text().replace('"tumor": {', f"{json.dumps(name)}: {{", 1))
    (answer,) = answers(open_source(run), "/api/scans/0")
    assert answer.status_code in {404, 422}


# ---- label maps beside a scan that is not run


def files(tmp_path, grid=GRID, labels=None, name="case1.tumor.nii.gz"):
    hilum.write(scan_of(grid).ct, tmp_path / "case1.nii.gz")
    hilum.write(hilum.Mask(box() if labels is None else labels, grid), tmp_path / name)
    return tmp_path / "case1.nii.gz", str(tmp_path / name)


@pytest.mark.parametrize("name", GRIDS)
def test_a_file_on_another_grid_is_placed_by_world_coordinates(name, tmp_path):
    scan, _ = files(tmp_path, GRIDS[name])
    part = hilum.Mask(box(), GRIDS[name]).crop((8, 6, 2), (24, 30, 20))
    turned = part.geometry
    far = tuple(turned.index_to_world((0, 0, turned.shape[2] - 1)).tolist())
    z, y, x = turned.direction
    flipped = replace(turned, origin=far, direction=(z, y, tuple(-one for one in x)))
    hilum.write(hilum.Mask(np.ascontiguousarray(part.array[:, :, ::-1]), flipped), tmp_path / "other.nii.gz")
    source = open_source(scan, labels=[f"mine={tmp_path / 'other.nii.gz'}"])
    facts, nifti = answers(source, "/api/scans/0", "/api/scans/0/label-0.nii")
    (mine,) = facts.json()["label_maps"]
    assert (mine["name"], mine["volume"]["shape"]) == ("mine", [10, 12, 10])
    image = nibabel.Nifti1Image.from_bytes(nifti.content)
    corner = GRIDS[name].index_to_world((10, 10, 5)) * [-1, -1, 1]
    assert np.allclose(image.affine[:3, 3], corner, atol=1e-3)
    assert np.asarray(image.dataobj).all()


def test_a_label_map_is_called_as_its_file_without_the_scans_name(tmp_path):
    scan, labels = files(tmp_path)
    other = tmp_path / "Lung L.nii.gz"
    hilum.write(hilum.Mask(box(), GRID), other)
    assert sorted(open_source(scan, labels=[labels, str(other)]).scan.label_maps) == ["lung_l", "tumor"]
    hilum.write(hilum.Mask(box(), GRID), tmp_path / "case10.nii.gz")  # the name of another scan
    assert list(open_source(scan, labels=[str(tmp_path / "case10.nii.gz")]).scan.label_maps) == ["case10"]
    assert list(open_source(scan, labels=[f"a={labels}"]).scan.label_maps) == ["a"]
    assert open_source(scan).scan.label_maps == {}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: [str(path / "none.nii.gz")], "there is no such label map"),
        (lambda path: [str(path / "table.csv")], "is no label map that hilum reads"),
        (lambda path: [str(path / "case1.nii.gz")], "it is no label map"),
        (lambda path: [str(path / "case1.tumor.nii.gz")] * 2, "two label maps of this scan are called 'tumor'"),
        (lambda path: [str(path / "far.nii.gz")], "shares no voxel with the scan"),
        (lambda path: [str(path / "cut.nii.gz")], "cut.nii.gz"),
    ],
)
def test_a_label_map_that_does_not_fit_is_refused(make, said, tmp_path):
    scan, labels = files(tmp_path)
    (tmp_path / "table.csv").write_text("a,b\n")
    hilum.write(hilum.Mask(box(), replace(GRID, origin=(500.0, 0.0, 0.0))), tmp_path / "far.nii.gz")
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "far.nii.gz").read_bytes()[:60])
    with pytest.raises(HilumError, match=said):
        open_source(scan, labels=make(tmp_path))
    assert open_source(scan, labels=[labels]).scan.label_maps.keys() == {"tumor"}


def test_a_file_without_geometry_is_laid_on_the_voxels_on_request(tmp_path):
    scan, _ = files(tmp_path)
    hilum.write(hilum.Mask(box(), hilum.Geometry(GRID.shape, (1.0, 1.0, 1.0))), tmp_path / "bare.nii.gz")
    with pytest.raises(HilumError, match="--label-grid voxels"):
        open_source(scan, labels=[str(tmp_path / "bare.nii.gz")])
    opened = open_source(scan, labels=[str(tmp_path / "bare.nii.gz")], label_grid="voxels")
    assert (opened.scan.label_maps["bare"].mask.array == box()).all()
    (facts,) = answers(opened, "/api/scans/0")
    assert "labels-on-voxels" in [note["code"] for note in facts.json()["notes"]]


def test_a_run_takes_no_regions(tmp_path, capsys):
    run = stored(tmp_path / "run", one=scan_of())
    with pytest.raises(InputError, match="a run has its own"):
        open_source(run, rois=["Lung*"])
    if (app.PAGE / "index.html").is_file():
        assert cli.main(["view", str(run), "--roi", "Lung*", "--no-browser"]) != 0
        assert "leave out --annotations, --roi" in capsys.readouterr().err


@pytest.fixture(scope="module")
def contoured(tmp_path_factory):
    """A DICOM series with a structure set beside it, and another series without one."""
    root = tmp_path_factory.mktemp("contoured")
    phantom = make_phantom(seed=1, shape=(24, 48, 48), spacing=(10.0, 7.0, 7.0))
    for uid in ("1.2.826.0.1.7.1", "1.2.826.0.1.7.2"):
        (root / uid).mkdir()
        write_dicom_series(phantom, root / uid, series_uid=uid)
    grid = hilum.read(root / "1.2.826.0.1.7.1").ct.geometry
    array = np.zeros(grid.shape, np.uint8)
    array[8:12, 20:30, 10:18] = 1
    masks = {"GTV-1": hilum.Mask(array, grid), "Lung L": hilum.Mask(np.ascontiguousarray(array[:, :, ::-1]), grid)}
    write_structure_set(masks, root / "1.2.826.0.1.7.1/RS.dcm", series_uid="1.2.826.0.1.7.1")
    return root, array


def test_regions_of_a_structure_set_are_shown(contoured):
    root, array = contoured
    series, other = root / "1.2.826.0.1.7.1", root / "1.2.826.0.1.7.2"
    maps = open_source(series, rois=["GTV-1=tumor"]).scan.label_maps
    assert list(maps) == ["tumor"]
    assert (maps["tumor"].mask.array == array).all()
    structures = str(series / "RS.dcm")
    assert sorted(open_source(series, labels=[structures]).scan.label_maps) == ["gtv-1", "lung_l"]
    assert sorted(open_source(series, labels=[structures], rois=["Lung*"]).scan.label_maps) == ["lung_l"]
    assert open_source(series).scan.label_maps == {}
    for options, said in (
        ({"rois": ["Heart"]}, "fits no region; there are 'GTV-1', 'Lung L'"),
        ({"labels": [f"tumor={structures}"]}, "is no label map that hilum reads"),
        ({"labels": [str(series)]}, "is no label map that hilum reads"),
    ):
        with pytest.raises(HilumError, match=said):
            open_source(series, **options)
    for options in ({"labels": [structures]}, {"rois": ["GTV-1"]}):
        with pytest.raises(HilumError, match="structure set") as problem:
            open_source(other, **options)
        assert problem.value.code in {"no-regions", "other-regions"}


@pytest.mark.parametrize("option", ["--labels", "--mask"])
def test_the_command_shows_a_label_map_beside_a_scan(option, tmp_path):
    if not (app.PAGE / "index.html").is_file():
        pytest.skip("the page is not built (python3 dev.py page; needs node)")
    scan, labels = files(tmp_path)
    with started(scan, option, labels) as (_, host, folder):
        facts = json.loads(ask(host, f"/{folder}/api/scans/0")[2])
        assert [one["name"] for one in facts["label_maps"]] == ["tumor"]
        assert ask(host, f"/{folder}/api/scans/0/label-0.nii", Cookie=None)[0] == 403  # only for the page


# ---- what the page shows


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    """Scans with two label maps that overlap, with twenty, with an odd name, and with none."""
    two = {"parts": (box(1) + box(3, z=(22, 28)), {"upper": 3, "lower": 1}),
           "tumor": (box(1, y=(12, 16), x=(7, 11)), {"tumor": 1}), "void": (box(0), {"void": 1})}  # fmt: skip
    many = {f"m{k:02}": (box(1, x=(k, k + 2)), {f"m{k:02}": 1}) for k in range(20)}
    scans = {
        "a-two": scan_of(**two),
        "b-many": scan_of(**many),
        "c-odd": scan_of(odd=(box(), {EVIL: 1})),
        "d-none": scan_of(),
    }
    run = stored(tmp_path_factory.mktemp("labeled"), **scans)
    with served(run) as (address, _), browser(width=WIDE, height=HIGH) as page:
        yield Viewer(page, address)


def show(viewer, number):
    viewer.open()
    viewer.click(f"#scans li[data-id='{number}']")
    viewer.wait(f"document.querySelector('#scans li[aria-current=true]').dataset.id === '{number}'")
    viewer.wait("document.getElementById('at-crosshair').textContent !== ''")
    viewer.wait(
        "performance.getEntriesByName('hilum:masks').length > 1 || document.getElementById('busy').textContent === ''"
    )
    viewer.wait("document.getElementById('render').dataset.state !== 'waiting'")
    for key in "xi":
        viewer.key(key)
    viewer.settle()


def color_at(viewer, voxel):
    """The color of a voxel in the axial plane, after the crosshair went to its slice."""
    viewer.settle()
    picture = viewer.picture("axial")
    scale = float(viewer.page.run("document.querySelector('#axial canvas').dataset.scale"))
    row = picture.shape[0] / 2 + (voxel[1] - (GRID.shape[1] - 1) / 2) * GRID.spacing[1] * scale
    column = picture.shape[1] / 2 + (voxel[2] - (GRID.shape[2] - 1) / 2) * GRID.spacing[2] * scale
    return picture[round(row), round(column)].astype(int)


def over_gray(color, opacity=0.35):
    gray = 127.5
    return np.array([gray + (part - gray) * opacity for part in color])


@needs_browser
def test_labels_are_drawn_listed_and_switched(labeled):
    show(labeled, 0)
    assert labeled.texts("#labels .switch") == ["parts", "tumor", "void"]
    assert labeled.texts("#labels .size") == ["3.6 ml", "2.16 ml", "0.48 ml", "0 ml"]
    assert labeled.texts("#labels .what") == ["lower (1)", "upper (3)", "value 1", "value 1"]
    assert labeled.page.run("document.getElementById('layer-2').disabled")
    bare, lower, tumor = (15, 30, 20), (15, 20, 13), (15, 14, 9)
    assert np.abs(color_at(labeled, bare) - 127.5).max() < 2
    assert np.abs(color_at(labeled, lower) - over_gray(COLORS[0])).max() < 3
    assert np.abs(color_at(labeled, tumor) - over_gray(COLORS[2])).max() < 3  # on top, and not mixed
    labeled.click("#layer-1")
    assert np.abs(color_at(labeled, tumor) - over_gray(COLORS[0])).max() < 3
    labeled.click("#no-labels")
    assert np.abs(color_at(labeled, tumor) - 127.5).max() < 2
    labeled.key("k")
    assert np.abs(color_at(labeled, tumor) - over_gray(COLORS[2])).max() < 3
    labeled.key("l")
    assert np.abs(color_at(labeled, tumor) - 127.5).max() < 2
    labeled.key("l")
    labeled.page.run("document.querySelectorAll('.label')[1].click()")  # go to `upper`
    labeled.settle()
    assert labeled.crosshair()[0] in range(22, 28)
    assert np.abs(color_at(labeled, (25, 14, 9)) - over_gray(COLORS[1])).max() < 3
    labeled.is_quiet()


@needs_browser
def test_twenty_label_maps_fit_the_panel(labeled):
    show(labeled, 1)
    assert len(labeled.texts("#labels .switch")) == 20
    bottom, height = labeled.page.run(
        "const s = document.querySelector('.labels').getBoundingClientRect(); [s.bottom, s.height]"
    )
    assert bottom <= HIGH
    assert height <= 0.27 * HIGH
    assert labeled.page.run(
        "document.getElementById('facts').scrollWidth <= document.getElementById('facts').clientWidth"
    )
    assert labeled.page.run("document.querySelector('#facts .grow').clientHeight") > 60
    assert np.abs(color_at(labeled, (15, 14, 10)) - over_gray(COLORS[2])).max() < 3  # m10 covers m09
    labeled.is_quiet()


@needs_browser
def test_an_odd_name_is_text_and_a_scan_without_label_maps_has_no_panel(labeled):
    show(labeled, 2)
    assert labeled.texts("#labels .what") == [r"<img src=x onerror='window.hacked=1'>\u{202e} (1)"]
    assert labeled.page.run("window.hacked === undefined && !document.querySelector('#labels img')")
    show(labeled, 3)
    assert labeled.page.run("document.getElementById('label-maps').hidden")
    assert "Lungs, nodules, labels" not in labeled.texts("#scene option")
    labeled.choose("search", "m07", event="input")
    assert labeled.texts("#scans .name") == ["b-many"]
    labeled.is_quiet()
