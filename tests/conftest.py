"""Where the real scans are, how a test asks for them, and how tests share the cores.

`python3 dev.py test` spreads them with pytest-xdist: the tests of a file stay together, so that what a file's fixtures
make is made once, and the files of `LONGEST` start first, so that none is left over at the end.

A test fails if it runs a kernel for argument types that the list of signatures lacks: a wheel would lack them too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import settings
from small_runs import write_small

from hilum import batch
from hilum._kernels.compile.signatures import listed
from hilum.batch import supervisor

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

LONGEST = (
    "test_kernel_library", "test_pages", "test_viewer_browser", "test_fuzz", "test_lungs", "test_batch", "test_convert",
    "test_viewer_walk", "test_cluster", "test_plot_command",
    "test_hostile_runs", "test_kernels", "test_quality", "test_machine",
    "test_luna16", "test_hostile", "test_stores", "test_real", "test_pictures", "test_dicom", "test_viewer", "test_run",
    "test_kept", "test_scans_index", "test_dicom_values", "test_exports", "test_privacy", "test_degenerate",
)  # fmt: skip
"""Files in the order in which they start; the others follow. A wrong order costs time, and nothing else."""

RECORD = "HILUM_KERNEL_SIGNATURES"
USED = pytest.StashKey[Path]()
LISTED = frozenset(listed())

# The machine that runs this may be busy: a slow example is no failure.
settings.register_profile("hilum", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("hilum")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Order the files."""
    if hasattr(config, "workerinput"):  # else one process runs them all
        rank = {name: k for k, name in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


def pytest_configure(config):
    """Let this process and those that it starts write down the kernels that they run."""
    if RECORD not in os.environ:  # else `python3 dev.py signatures` collects them
        config.stash[USED] = Path(tempfile.mkdtemp(), "signatures.txt")
        os.environ[RECORD] = str(config.stash[USED])


def pytest_unconfigure(config):
    if USED in config.stash:
        shutil.rmtree(config.stash[USED].parent, ignore_errors=True)
        del os.environ[RECORD]


@pytest.fixture(autouse=True)
def _kernels_are_listed(request):
    """Fail a test that runs, here or in a process that it starts, a kernel for types that are not listed."""
    yield
    used = request.config.stash.get(USED, None)
    if used is None or not used.is_file():
        return
    lines = {line for line in used.read_text(encoding="utf-8").splitlines() if line.startswith("hilum.")}
    used.unlink()
    unlisted = sorted(line for line in lines - LISTED if not line.startswith("hilum._kernels.fresh."))
    assert not unlisted, f"kernels for types that signatures.txt lacks (python3 dev.py signatures): {unlisted}"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans; a test that needs one skips where it is absent."""
    if not DATA.is_dir():
        pytest.skip("the real scans of ../shared/data are not on this machine")
    return DATA


@pytest.fixture(scope="module")
def no_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def no_workers():
    """Make scans in this process unless a test gives a number of workers: a process starts slower than a tiny scan."""

    def make_rows(jobs, workers, limits, watch):
        return supervisor.make_rows(jobs, workers or None, limits, watch)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("run", "convert"):
            patch.setattr(import_module(f"hilum.batch.{name}"), "make_rows", make_rows)
        yield


# Small runs: a test module names its COUNT of tiny scans and its RECIPE.


@pytest.fixture(scope="module")
def inputs(request, tmp_path_factory):
    """A folder of tiny scans."""
    return write_small(tmp_path_factory.mktemp("small"), request.module.COUNT)


@pytest.fixture(scope="module")
def refs(inputs):
    return batch.index([inputs])[0]


@pytest.fixture(scope="module")
def clean(request, refs, tmp_path_factory):
    """An undisturbed run, in this process."""
    out = tmp_path_factory.mktemp("clean")
    batch.run(refs, request.module.RECIPE, out)
    return out


@pytest.fixture
def finished(clean, tmp_path):
    """A copy of the undisturbed run."""
    return Path(shutil.copytree(clean, tmp_path / "out"))
