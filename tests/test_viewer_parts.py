"""What the viewer's server sends of a scan for its planes and its 3-D view."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage

import hilum
from hilum import cli
from hilum.io.volumes.nifti import write_nifti
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_luna16

app = pytest.importorskip("hilum.viewer.app", reason="needs starlette")
httpx = pytest.importorskip("httpx")

from hilum.viewer.sources import open_source  # noqa: E402
from hilum.viewer.volume_stream import cut_to_labels  # noqa: E402

WEB = Path(__file__).parents[1] / "viewer/web"

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (WEB / "node_modules/esbuild").is_dir(),
    reason="the page's tools are not installed: python3 dev.py page, where node is",
)

RECIPE = "[resample]\nspacing_mm = 2.5\n[nodules]\nmask = true\n[lungs]\ndilate_mm = 5.0\n"


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(seed=3, shape=(60, 128, 128), spacing=(5.0, 3.0, 3.0))


@pytest.fixture(scope="module")
def run(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    (folder / "r.toml").write_text(RECIPE)
    root = write_luna16([phantom], folder / "luna", flipped=())
    assert cli.main(["run", str(root), "--out", str(folder / "out"), "--recipe", str(folder / "r.toml")]) == 0
    return folder / "out"


def asked(path):
    """What answers a GET of an address, of a viewer that shows a path."""
    served = app.make_app(open_source(path))

    def get(address):
        async def answer():
            inside = httpx.ASGITransport(served, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=inside, base_url="http://here") as client:
                return await client.get(f"/api/scans/0{address}")

        return asyncio.run(answer())

    return get


def image(answer):
    """The array (z, y, x) and the affine of an answer."""
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(answer.content)
    one = nibabel.Nifti1Image.from_bytes(answer.content)
    return np.asarray(one.dataobj).transpose(), one.affine


def test_bones_and_vessels_are_cells_of_the_scan(run):
    get = asked(run)
    assert get("").json()["tissues"] == {name: f"api/scans/0/{name}.nii" for name in ("bones", "vessels")}
    folder = next((run / "scans").iterdir())
    scan = nibabel.load(folder / "ct.nii.gz")
    ct, lungs = (np.asarray(nibabel.load(folder / f"{name}.nii.gz").dataobj).transpose() for name in ("ct", "lungs"))
    bones, affine = image(get("/bones.nii"))
    np.testing.assert_allclose(affine, scan.affine, atol=1e-3)  # cells of one voxel
    bright = ndimage.binary_opening(ct > 300)
    assert bright.sum() > 1000
    np.testing.assert_array_equal(bones[bright], ct[bright])
    assert (bones[0, 0] == -1024).all()
    vessels, _ = image(get("/vessels.nii"))
    away = ndimage.distance_transform_edt(np.pad(lungs > 0, 1, mode="edge"), sampling=2.5)[1:-1, 1:-1, 1:-1]
    assert (vessels[away <= 7.9] == -1024).all()  # 5 mm that the recipe dilated, 3 mm of wall
    np.testing.assert_array_equal(vessels[away > 8.1], ct[away > 8.1])


def test_tissue_that_a_scan_does_not_have_is_refused(run, tmp_path):
    get = asked(run)
    for name in ("muscles.nii", "bones.stl", "bones.nii.gz", "tissues.nii"):
        assert get(f"/{name}").status_code == 404
    air = hilum.Volume(np.full((20, 40, 40), -1000, np.int16), hilum.Geometry((20, 40, 40), (5.0, 5.0, 5.0)))
    write_nifti(air, tmp_path / "air.nii")
    get = asked(tmp_path / "air.nii")
    assert get("/vessels.nii").status_code == 404
    bones, _ = image(get("/bones.nii"))
    assert (bones <= -1000).all()


# ---- slices from a place on, and masks cut to their labels


def taken(path, first, slices, *how):
    """What the page's code makes of an answer in a file."""
    command = ["node", "test/volumes.mjs", str(path), str(first), str(slices), *how]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_slices_come_from_the_place_where_the_page_opens(run):
    get = asked(run)
    facts = get("").json()
    folder = next((run / "scans").iterdir())
    stored = nibabel.load(folder / "ct.nii.gz")
    ct = np.asarray(stored.dataobj).transpose()
    nodules = json.loads((folder / "scan.json").read_text())["nodules"]
    largest = max(nodules, key=lambda one: one["diameter_mm"])
    first = facts["volumes"]["ct"]["first"]
    assert first == round(largest["voxel"][0])
    for start in (0, 1, first, len(ct) - 1):
        turned, affine = image(get(f"/ct.nii?first={start}"))
        np.testing.assert_array_equal(turned, np.roll(ct, -start, axis=0))
        np.testing.assert_allclose(affine, stored.affine, atol=1e-3)
    for wrong in ("-1", str(len(ct)), "1.0", "", "a", "1" * 30):
        answer = get(f"/ct.nii?first={wrong}")
        assert answer.status_code == 422
        assert answer.json() == {"error": f"there is no such slice; first is from 0 to {len(ct) - 1}"}


@needs_node
def test_the_page_has_the_slices_that_are_here_in_their_places(run, tmp_path):
    get = asked(run)
    ct, _ = image(get("/ct.nii"))
    sums = ct.sum(axis=(1, 2), dtype=np.int64).tolist()
    for first in (0, 5, len(ct) - 1):
        (tmp_path / "ct.nii").write_bytes(get(f"/ct.nii?first={first}").content)
        seen = taken(tmp_path / "ct.nii", first, len(ct))
        assert seen["data"] == ct.ravel().tolist()
        order = [(first + k) % len(ct) for k in range(len(ct))]
        counts = [len(here) for _, here, _ in seen["here"]]
        assert counts == sorted(counts)
        assert counts[0] == 0
        assert counts[-1] == len(ct)
        assert len(set(counts)) > 10
        for _, here, totals in seen["here"]:
            assert here == sorted(order[: len(here)])
            assert totals == [sums[k] for k in here]
    for how, error in (("CUT", "the volume came cut short"), ("MORE", "more came than the server had said")):
        assert taken(tmp_path / "ct.nii", first, len(ct), how) == {"error": error}
    told = taken(tmp_path / "ct.nii", first, len(ct), "HUGE")["error"]
    assert told.startswith("this browser has no 1125899907 MB in one piece for the volume; ")


def test_masks_are_cut_to_their_labels(run):
    get = asked(run)
    folder = next((run / "scans").iterdir())
    for name in ("lungs", "nodules"):
        stored = nibabel.load(folder / f"{name}.nii.gz")
        labels = np.asarray(stored.dataobj).transpose()
        cut, affine = image(get(f"/{name}.nii"))
        box = [slice(one.min(), one.max() + 1) for one in np.nonzero(labels)]
        np.testing.assert_array_equal(cut, labels[tuple(box)])
        corner = nibabel.affines.apply_affine(stored.affine, [one.start for one in box][::-1])
        np.testing.assert_allclose(affine[:3, 3], corner, atol=1e-3)


def test_a_mask_without_labels_is_one_voxel():
    empty = hilum.Mask(np.zeros((4, 5, 6), np.uint8), hilum.Geometry((4, 5, 6), (3.0, 2.0, 1.0)))
    cut = cut_to_labels(empty)
    assert (cut.shape, cut.geometry.origin) == ((1, 1, 1), empty.geometry.origin)
