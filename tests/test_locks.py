"""The locks agree and name no host, and ``dev.py frameworks`` runs every test that wants a framework."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "requirements"

pytestmark = pytest.mark.skipif(not (ROOT / "dev.py").is_file(), reason="an installed package comes without its locks")


def pins(name):
    """The versions of each package of a lock: several where they depend on the Python; and what has no hash."""
    found, text = {}, (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    for package, version in re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", text, re.MULTILINE):
        found.setdefault(package, set()).add(version)
    lines = [line for line in text.splitlines() if line and not line.startswith("    --hash=sha256:")]
    bare = [line for line in lines if not line.endswith(" \\")]
    return found, bare, text


@pytest.mark.parametrize("name", ["bootstrap", "run", "dev", "frameworks"])
def test_a_lock_has_hashes_and_names_no_host(name):
    found, bare, text = pins(name)
    assert found
    assert bare == []
    assert "://" not in text
    assert "index-url" not in text


@pytest.mark.parametrize(("more", "base"), [("dev", "run"), ("frameworks", "dev")])
def test_locks_that_are_installed_together_agree(more, base):
    ours, theirs = pins(more)[0], pins(base)[0]
    shared = ours.keys() & theirs.keys()
    assert "numpy" in shared
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


def test_every_framework_is_locked_and_every_test_of_one_is_run():
    names = (LOCKS / "frameworks.in").read_text().split()
    assert set(names) <= pins("frameworks")[0].keys()
    asked = {test.partition("::")[0] for test in runpy.run_path(str(ROOT / "dev.py"))["ASK_FRAMEWORKS"]}
    wanted = re.compile(rf"(?:importorskip|find_spec)\(\"(?:{'|'.join(names)})[\".]")
    found = {f"tests/{path.name}" for path in (ROOT / "tests").glob("test_*.py") if wanted.search(path.read_text())}
    assert "tests/test_exports_frameworks.py" in found
    assert found - asked == set()
