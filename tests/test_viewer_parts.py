"""What the viewer's server sends of a scan for its planes and its 3-D view."""

from __future__ import annotations

import asyncio

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
