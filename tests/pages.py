"""Pages of the documentation as programs: their blocks are run in their order, and what they show is held against it.

``python`` is executed, one set of names for the whole page; lines of ``sh`` are commands of hilum, which end well or as
their comment says (``# exit status 1``); ``toml`` is written to the file that its first line names (``# name.toml``);
``text`` is what the block before it printed, ``...`` standing for anything. A second word names a library (``python
torch``): the block runs where that is installed. ``sh`` with a library is a script, given to the shell whole: the
library's programs are not hilum's. Other kinds do not run.
"""

from __future__ import annotations

import doctest
import io
import os
import re
import shlex
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path

from hilum import cli

DOCS = Path(__file__).resolve().parents[1] / "docs"
KINDS = {"python", "sh", "toml", "text"}


def read_page(name):
    """The text of a page; empty where an installed package comes without the documentation."""
    path = DOCS / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def blocks(text):
    """Every block of code: what is written behind its fence, and the code."""
    return re.findall(r"^```(?!\{)([^\n`]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def run_page(text, *, compared=True):
    """Run a page in the current folder and return its names, and how many blocks of each kind have run.

    With `compared` false what it printed is not held against what it shows, as where its scans are others.
    """
    names, ran, told = {}, dict.fromkeys(KINDS, 0), ""
    for fence, code in blocks(text):
        kind, _, library = fence.partition(" ")
        if kind not in KINDS or (library and find_spec(library) is None):
            continue
        ran[kind] += 1
        if kind == "text":
            if compared:
                compare(code, told)
        elif kind == "toml":
            name = re.match(r"# (\S+\.toml)\n", code)
            Path(name[1]).write_text(code, encoding="utf-8")
        else:
            stream = io.StringIO()
            with redirect_stdout(stream), redirect_stderr(stream), warnings.catch_warnings():
                if library:
                    warnings.simplefilter("ignore")  # those of the library are its own
                if kind == "sh" and library:
                    stream.write(run_script(code))
                else:
                    run_block(kind, code, names)
            told = stream.getvalue()
    return names, ran


def run_script(code):
    """Give a block to the shell, as somebody who pastes it there, and return what it printed; it has to end well."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-e", "-c", code],  # noqa: S607 - the shell of the system
        env={**os.environ, "PATH": programs},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_block(kind, code, names):
    """Execute Python, or give each line to the command line and look at the exit status."""
    if kind == "python":
        exec(compile(code, "<page>", "exec"), names)  # noqa: S102 - our own page
        return
    for line in filter(None, map(str.strip, code.splitlines())):
        words = shlex.split(line, comments=True)
        assert words[0] == "hilum", line
        expected = re.search(r"# exit status (\d)$", line)
        assert cli.main(words[1:]) == (int(expected[1]) if expected else 0), line


def compare(shown, told):
    """Refuse a page that shows something else than what was printed."""
    same = doctest.OutputChecker().check_output(shown, told, doctest.ELLIPSIS)
    assert same, f"the page shows\n{shown}\nand what was printed is\n{told}"


def links(text):
    """Every address that a page links to, without those on the web."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"\]\(([^)\s]+)\)", prose)
    return [link for link in found if "://" not in link]


def anchors(text):
    """The anchors that GitHub and MyST give the headings of a page."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
