"""What is built from a checkout: the page is in it, or the build stops with one line; the extras name every task."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

import hilum

ROOT = Path(hilum.__file__).parents[2]

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="hilum is not run from a checkout")


@pytest.fixture
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture
def checkout(tmp_path):
    """A checkout with nearly nothing in it, and no clone: node, if there is any, builds no page."""
    pytest.importorskip("hatchling", reason="hatchling builds the archive")
    place = tmp_path / "checkout"
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "src/hilum/__init__.py"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    return place


def build(checkout, target, **environment):
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", checkout / "dist"]
    env = os.environ | {"HILUM_WITHOUT_KERNELS": "1"} | environment
    return subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", ["sdist", "wheel"])
def test_without_the_page_the_build_stops_with_one_line(checkout, target):
    done = build(checkout, target)
    assert done.returncode == 1
    assert done.stderr.strip().count("\n") == 0
    assert re.search(r"node .*HILUM_WITHOUT_PAGE=1", done.stderr)
    assert not (checkout / "dist").is_dir() or not os.listdir(checkout / "dist")


@pytest.mark.parametrize("target", ["sdist", "wheel"])
def test_a_build_without_the_page_can_be_asked_for(checkout, target):
    assert build(checkout, target, HILUM_WITHOUT_PAGE="0").returncode == 1
    done = build(checkout, target, HILUM_WITHOUT_PAGE="1")
    assert done.returncode == 0, done.stderr
    assert len(os.listdir(checkout / "dist")) == 1


def test_the_source_archive_has_the_page_and_builds_alone(checkout, tmp_path):
    page = checkout / "src/hilum/viewer/page/index.html"
    page.parent.mkdir(parents=True)
    page.write_text("the page")
    assert build(checkout, "sdist").returncode == 0
    (archive,) = (checkout / "dist").iterdir()
    with tarfile.open(archive) as file:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.2 has none
        file.extractall(tmp_path / "unpacked", **safely)  # noqa: S202 - made here
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert (unpacked / "src/hilum/viewer/page/index.html").read_text() == "the page"
    assert build(unpacked, "wheel").returncode == 0


def test_all_has_every_extra_but_the_compiler(project):
    extras = project["project"]["optional-dependencies"]
    (named,) = extras["all"]
    assert set(re.fullmatch(r"hilum\[(.*)\]", named)[1].split(",")) == set(extras) - {"all", "compile"}


def test_the_core_has_no_heavy_package(project):
    core = " ".join(project["project"]["dependencies"])
    heavy = ("numba", "llvmlite", "scikit-image", "scipy", "matplotlib", "torch", "pandas")
    assert not [name for name in heavy if name in core]


def test_every_extra_that_a_message_names_is_there(project):
    extras = set(project["project"]["optional-dependencies"])
    named = set()
    for path in (*(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"):
        named |= {part for found in re.findall(r"hilum\[([a-z0-9,]+)\]", path.read_text(encoding="utf-8"))
                  for part in found.split(",")}  # fmt: skip
    assert {"all", "plots", "viewer", "compile"} <= named <= extras


def test_the_page_on_installing_names_every_extra(project):
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    assert not [name for name in project["project"]["optional-dependencies"] if f"hilum[{name}]" not in page]
