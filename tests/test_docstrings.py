"""Docstrings: every parameter says what it is, every public name has an example, and every example runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from public_face import Public, copy_of, public_objects, write_face_folder

import hilum

SOURCE = Path(hilum.__file__).parent
PUBLIC = public_objects()
ENTRY = re.compile(r"^(\S.*)\n((?:[ \t]+\S.*\n?|\n)*)", re.MULTILINE)  # a parameter, and what is said of it
WITH_EXAMPLES = sorted(path for path in SOURCE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))


def parameters(text):
    """The documented parameters of a numpydoc docstring, each with what is said about it."""
    return {name: said for name, (_, said) in entries(text).items()}


def entries(text):
    """The documented parameters: the type of each, and what is said about it."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n---|\Z)", text, re.DOTALL | re.MULTILINE)
    told = {}
    for head, body in ENTRY.findall(f"{section[1]}\n" if section else ""):
        names, _, kind = head.partition(" : ")
        told |= {name.strip().lstrip("*"): (kind, body.strip()) for name in names.split(",")}
    return told


def expected_parameters(value):
    """The parameters that a function, or the class when it is called, takes."""
    if not callable(value):
        return []
    names = inspect.signature(value).parameters
    return [name for name in names if name not in {"self", "cls"} and not name.startswith("_")]


@pytest.mark.parametrize("public", PUBLIC, ids=lambda public: public.name)
def test_a_public_name_says_what_its_parameters_are(public):
    assert len(public.text) > 15
    if inspect.isclass(public.value) and issubclass(public.value, hilum.HilumError):
        return  # the base class says it for all
    told = parameters(public.text)
    missing = [name for name in expected_parameters(public.value) if not told.get(name)]
    assert not missing, f"say what, unit and default of {missing}"


def untold_defaults(public):
    """The parameters whose default, a number or a text, is not told, or not as it is."""
    told = entries(public.text)
    for name, parameter in inspect.signature(public.value).parameters.items():
        default, (kind, said) = parameter.default, told.get(name, ("", ""))
        stated = re.search(r", default (.+)$", kind)
        if stated and ast.literal_eval(stated[1]) != default:
            yield f"{name}: {stated[1]} is not {default!r}"
        if not stated and "default" not in said and isinstance(default, (int, float, str)) and default != "":
            yield f"{name} : ..., default {default!r}"


@pytest.mark.parametrize("public", [p for p in PUBLIC if callable(p.value)], ids=lambda p: p.name)
def test_a_default_is_told_as_it_is(public):
    if not (inspect.isclass(public.value) and issubclass(public.value, hilum.HilumError)):
        assert list(untold_defaults(public)) == []


def test_a_default_that_is_not_told_is_found():
    def shifted(by=3, to="up", axis=0):
        """Shift.

        Parameters
        ----------
        by : int, mm, default 4
            How far.
        to : {"up", "down"}
            Where.
        axis : int
            Which; by default the first.
        """

    assert list(untold_defaults(Public("shifted", shifted))) == ["by: 4 is not 3", "to : ..., default 'up'"]


def needs_example(public):
    """Classes, functions, and methods that take something; a property shows in the example of its class."""
    return inspect.isclass(public.value) or bool(expected_parameters(public.value))


@pytest.mark.parametrize("public", [p for p in PUBLIC if needs_example(p)], ids=lambda public: public.name)
def test_a_public_name_has_an_example_that_runs(public):
    assert "Examples\n---" in public.text
    assert ">>> " in public.text
    assert "+SKIP" not in public.text


def documented():
    """Every docstring of the package: where it stands, and its text."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}", ast.get_docstring(node) or ""


def test_no_documented_parameter_is_bare():
    told = [(where, parameters(text)) for where, text in documented()]
    assert sum(map(len, dict(told).values())) > 1500
    bare = [f"{where}({name})" for where, named in told for name, said in named.items() if not said]
    assert not bare, "\n".join(["say what, unit and default of", *bare])


def test_a_bare_parameter_is_told():
    text = "What.\n\nParameters\n----------\na, b : int, mm\nc : str\n    A name.\n*rest : int\n\nReturns\n-------\nint"
    assert parameters(text) == {"a": "", "b": "", "c": "A name.", "rest": ""}
    assert parameters("What.\n\nReturns\n-------\nint\n") == {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_face_folder(tmp_path_factory.mktemp("face"))


@pytest.mark.usefixtures("no_workers")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of other libraries, when they are imported
@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_examples_run(path, folder, tmp_path, monkeypatch):
    """An example of a public name runs as it stands; one of an inner name uses the names of its module."""
    monkeypatch.chdir(copy_of(folder, tmp_path))
    name = ".".join(("hilum", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
    module = importlib.import_module(name)
    tests = [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]
    assert tests
    for test in filter(has_its_libraries, tests):
        own = test.name.removeprefix(f"{name}.").split(".")[0]
        test.globs = {} if is_public(module, own) else dict(vars(module))
        told = []
        failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append).failed
        assert not failed, "".join(told)


def has_its_libraries(test):
    """Whether the libraries that an example imports are installed; `dev.py frameworks` has them all."""
    names = re.findall(r"^import (\w+)$", "".join(example.source for example in test.examples), re.MULTILINE)
    return all(find_spec(name) for name in names)


def is_public(module, name):
    value = getattr(module, name, None)
    return value is not None and any(public.value is value for public in PUBLIC)
