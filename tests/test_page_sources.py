"""A reader who starts at any block of a page can find where its names and its files come from, above it on the page."""

from __future__ import annotations

import ast
import builtins
import re
import shlex
import textwrap
from itertools import pairwise

import pages
import pytest

from hilum.recipes import RECIPES

pytestmark = pytest.mark.skipif(not pages.read_page("index.md"), reason="an installed package comes without the pages")

PAGES = sorted(p.relative_to(pages.DOCS).as_posix() for p in pages.DOCS.rglob("*.md") if "_" not in p.parts[-2][:1])
READERS = {"read", "read_mask", "open_run", "series", "attach_labels", "PatchDataset", "LabelFile", "preprocess"}
VALUES = re.compile(r"^--(?:annotations|recipe|labels|detections|candidates|excluded|scans|patients)$")
"""Options whose value is a file that has to be there."""

PATH = re.compile(r"^[A-Za-z][\w./-]*$")


def undefined(code, known):
    """The names that a block uses and that neither it nor a block above it defines; the block's names join `known`."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
                known.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                known.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                known |= {alias.asname or alias.name.partition(".")[0] for alias in names}
            case ast.ExceptHandler(name=str(name)):
                known.add(name)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return used - known - set(dir(builtins))


def files_read_by_python(code):
    """The files that calls such as `hilum.read("scan")` name."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READERS:
            words = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "annotations")]
            found |= {word.value for word in words if isinstance(word, ast.Constant) and isinstance(word.value, str)}
    return {name for name in found if PATH.match(name)}


def files_read_by_commands(code):
    """The first path of each command, and the files of its options."""
    found = set()
    for line in re.findall(r"^(?:\$ )?hilum (.*)$", code, re.MULTILINE):
        words = shlex.split(line.partition("|")[0], comments=True)
        found |= {word for option, word in pairwise(words) if VALUES.match(option)}
        if words and words[0] in {"run", "info", "convert", "lungs", "nodules", "view", "store", "verify", "report"}:
            found |= set(words[1:2])
    return {name for name in found if PATH.match(name)} - set(RECIPES)


def told(name, above):
    """Whether the page has said what a file is: in backticks or bold in its prose, or as a word of a block above."""
    top = name.partition("/")[0]
    return re.search(rf"[`'\" /]{re.escape(top)}(?:[-`'\"/.,:* \n]|$)", above) is not None


@pytest.mark.parametrize("name", PAGES)
def test_names_of_a_block_are_defined_above_it(name):
    known = {"__name__"}
    for fence, code in pages.blocks(pages.read_page(name)):
        if fence.startswith("python"):
            lacking = undefined(textwrap.dedent(code), known)
            assert not lacking, f"{name} uses {sorted(lacking)} without a line above that says what they are:\n{code}"


@pytest.mark.parametrize("name", PAGES)
def test_files_of_a_block_are_named_above_it(name):
    pieces = re.split(r"^(```(?!\{)[^\n`]*\n.*?^```$)", pages.read_page(name), flags=re.DOTALL | re.MULTILINE)
    for k in range(1, len(pieces), 2):
        ((fence, code),) = pages.blocks(pieces[k])
        near = "".join(pieces[:k]) + pieces[k + 1] + " ".join(re.findall(r"--out \S+|hilum convert \S+ \S+\n", code))
        names = files_read_by_python(code) if fence.startswith("python") else files_read_by_commands(code)
        lacking = {file for file in names if not told(file, near)}
        assert not lacking, f"{name} reads {sorted(lacking)}; nothing above or right below says what it is:\n{code}"


def test_a_name_or_file_from_nowhere_is_found():
    known = {"hilum"}
    assert (
        undefined("import numpy as np\nfor k in range(3):\n    print(np.abs(k), [j for j in (k,)])\n", known) == set()
    )
    assert undefined("lungs = hilum.segment_lungs(iso)", known) == {"iso"}
    assert undefined("print(lungs, k)", known) == set()
    assert files_read_by_python('scan = hilum.read("scan", annotations="a.csv")\nopen("x")') == {"scan", "a.csv"}
    assert files_read_by_commands("hilum run SCANS --recipe small.toml --out OUT  # goes on") == {"SCANS", "small.toml"}
    assert told("scan/1", "`scan` is a folder")
    assert told("OUT", "hilum run SCANS --out OUT\n")
    assert not told("scan", "scanners and a series\n")
    assert not told("OUT", "WITHOUT")
