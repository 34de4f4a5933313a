"""The file that type checkers read has every public name and every public method."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

from public_face import public_objects

import hilum

CALLS = Path(__file__).with_name("typed_calls.py")


def attributes():
    return [node for node in ast.walk(ast.parse(CALLS.read_text())) if isinstance(node, ast.Attribute)]


def test_every_public_name_is_in_the_file_that_type_checkers_read():
    named = {node.attr for node in attributes() if isinstance(node.value, ast.Name) and node.value.id == "hilum"}
    assert set(hilum.__all__) - named == set()
    assert named <= set(hilum.__all__)


def test_every_public_method_is_in_it():
    used = {node.attr for node in attributes()}
    inner = {public.name for public in public_objects() if public.name.partition(".")[0] in hilum.__all__}
    assert {name for name in inner if name.rpartition(".")[2] not in used} == set()


def test_types_are_shipped():
    assert (Path(hilum.__file__).parent / "py.typed").is_file()
    assert find_spec("hilum").origin == hilum.__file__
