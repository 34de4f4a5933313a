"""The public face: every name is there, typed, documented, and costs nothing until it is used."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import hilum

STUB = Path(hilum.__file__).with_suffix(".pyi")


def test_the_stub_lists_exactly_the_public_names():
    listed = {
        alias.asname
        for node in ast.parse(STUB.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert listed | {"__version__"} == set(hilum.__all__)
    assert dir(hilum) == sorted(hilum.__all__)


def test_a_module_that_was_imported_is_no_public_name():
    import hilum.batch

    assert "batch" not in dir(hilum)
    assert {name for name in dir(hilum) if name.startswith("_")} == {"__version__"}
    assert {"read", "resample", "Scan"} <= set(dir(hilum))


@pytest.mark.parametrize("name", sorted(set(hilum.__all__) - {"__version__", "RECIPES", "TISSUES", "WINDOW_PRESETS"}))
def test_every_public_name_is_documented(name):
    value = getattr(hilum, name)
    text = inspect.getdoc(value) or ""
    assert len(text) > 30
    if inspect.isfunction(value):
        assert "Parameters\n---" in text
        returns_nothing = inspect.signature(value).return_annotation in {None, "None"}
        assert returns_nothing or "Returns\n---" in text or "Yields\n---" in text


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nosuch"):
        _ = hilum.nosuch


def test_importing_hilum_or_a_room_imports_no_heavy_library_and_prints_nothing():
    heavy = {"numba", "pydicom", "nibabel", "nrrd", "scipy", "skimage", "SimpleITK", "matplotlib", "pandas", "rich"}
    code = (
        "import sys, hilum, hilum.io, hilum.batch, hilum.pipeline, hilum.recipes\n"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
