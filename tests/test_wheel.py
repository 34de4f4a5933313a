"""The wheel: the page of `hilum view` is in it, and works where there is no node and no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from served import ADDRESS, ask, let_in

import hilum
from hilum.io.volumes.nifti import write_nifti
from hilum.phantom.chest import make_phantom
from hilum.viewer import app

ROOT = Path(hilum.__file__).parents[2]
PAGE_FILES = {"index.html", *app.FILES}

pytestmark = [
    pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="hilum is not run from a checkout"),
    pytest.mark.skipif(
        not (app.PAGE / "index.html").is_file(), reason="the page is not built (python3 dev.py page; needs node)"
    ),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds what a wheel of this checkout holds, and nothing else."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel")
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", place]
    environment = {
        **os.environ,
        "HILUM_WITHOUT_KERNELS": "1",
    }  # they take minutes; tests/test_kernel_library.py has them
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, env=environment)
    (wheel,) = place.glob("hilum-*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(place / "site")
    return place / "site"


def test_the_page_is_in_it_whole_and_its_sources_are_not(installed):
    page = installed / "hilum" / "viewer" / "page"
    assert {path.name for path in page.iterdir()} == PAGE_FILES
    for name in PAGE_FILES:
        assert (page / name).read_bytes() == (app.PAGE / name).read_bytes()
    assert not [path for path in installed.rglob("*") if path.suffix in {".ts", ".map"} or path.name == "node_modules"]


def test_it_shows_a_scan_without_node(installed, tmp_path):
    scan = tmp_path / "ct.nii.gz"
    write_nifti(make_phantom(seed=1, shape=(40, 64, 64), spacing=(7.5, 6.0, 6.0)).scan.ct, scan)
    nowhere = tmp_path / "bin"
    nowhere.mkdir()
    env = os.environ | {"PATH": str(nowhere), "PYTHONPATH": str(installed)}
    where = [sys.executable, "-P", "-c", "import hilum; print(hilum.__file__)"]
    told = subprocess.run(where, cwd=tmp_path, env=env, check=True, capture_output=True, text=True).stdout
    assert Path(told.strip()) == installed / "hilum" / "__init__.py"
    command = [sys.executable, "-P", "-m", "hilum.cli", "view", "--no-browser", scan]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            host, code = ADDRESS.fullmatch(process.stdout.readline()).groups()
            base = f"/{let_in(host, code)}/"
            assert b"<!doctype html>" in fetched(host, base)
            assert fetched(host, f"{base}page/viewer.js") == (app.PAGE / "viewer.js").read_bytes()
            assert b'"viewable":true' in fetched(host, f"{base}api/session")
        finally:
            process.terminate()
            assert process.wait(60) == 0


def fetched(host, path):
    """What is answered; any status but 200 is an error."""
    status, _, body = ask(host, path)
    assert status == 200
    return body
