"""Where the real scans are, how a test asks for them, and how tests share the cores.

`python3 dev.py test` spreads them with pytest-xdist: the tests of a file stay together, so that what a file's fixtures
make is made once, and the files of `LONGEST` start first, so that none is left over at the end. No worker compiles what
another one is compiling.
"""

from __future__ import annotations

import os
import shutil
import time
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import settings
from small_runs import write_small

from hilum import batch
from hilum._kernels.compile import machine_code
from hilum._os.files import lock_handle
from hilum.batch import supervisor

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

LONGEST = (
    "test_pages", "test_viewer_browser", "test_fuzz", "test_lungs", "test_batch", "test_convert", "test_viewer_walk",
    "test_cluster", "test_plot_command", "test_hostile_runs", "test_kernels", "test_quality", "test_machine",
    "test_luna16", "test_hostile", "test_stores", "test_real", "test_pictures", "test_dicom", "test_viewer", "test_run",
    "test_kept", "test_scans_index", "test_dicom_values", "test_exports", "test_privacy", "test_degenerate",
)  # fmt: skip
"""Files in the order in which they start; the others follow. A wrong order costs time, and nothing else."""

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
    """Let one worker at a time load or compile the kernels of a module, so that the others load what it compiled."""
    if not hasattr(config, "workerinput") or os.name != "posix":
        return
    load = machine_code.load

    def load_alone(definition, kinds):
        module = Path(definition.function.__code__.co_filename)
        if not module.is_file():  # the source is a text of a test
            return load(definition, kinds)
        handle = os.open(module, os.O_RDONLY)
        try:
            while lock_handle(handle) is False:
                time.sleep(0.005)
            return load(definition, kinds)
        finally:
            os.close(handle)

    machine_code.load = load_alone


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
