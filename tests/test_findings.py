"""The page of findings lists exactly the codes that the source gives."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import hilum
from hilum.ops.quality.measure import ALARMS
from hilum.outputs.findings import NOTE_KINDS, REVIEW_CODES, codes_of, finished_status, kind_of

SOURCE = Path(hilum.__file__).parent
PAGE = SOURCE.parents[1] / "docs" / "findings.md"

CODE_FIRST = {"Finding", "MachineFault", "Note", "_StackRefused", "_forbid", "skip", "skip_nodules_outside"}
"""Calls whose first argument is a code; elsewhere it is the keyword ``code``."""

COMPUTED = {
    ("io/dicom/frames.py", "code"): {
        "ignored-color-image",
        "ignored-damaged-file",
        "ignored-incomplete-copy",
        "ignored-localizer",
        "ignored-no-image",
        "ignored-other-modality",
        "ignored-secondary-capture",
    },
    ("io/dicom/stack.py", "'no-' + name.replace('_', '-')"): {"no-pixel-spacing", "no-position", "no-orientation"},
    ("io/dicom/values.py", "problem"): {"decimal-comma", "malformed-value", "odd-modality", "odd-syntax"},
    ("io/dicom/index.py", "code"): {
        "dangling-links",
        "ignored-files",
        "ignored-links",
        "unreadable-files",
        "unreadable-folders",
    },
    ("io/dicom/voxels.py", "code"): {
        "beyond-bits",
        "clipped-hu",
        "low-hu",
        "minmax-tags-disagree",
        "padding-to-air",
    },
    ("io/volumes/hu.py", "code"): {"padding-to-air", "saturated", "nan-to-air", "low-hu"},
    ("io/annotations/lidc.py", "code"): {
        "assumed-pixels",
        "bad-scores",
        "crowded-nodule",
        "duplicate-nodules",
        "marks-not-drawn",
        "no-nodules",
        "outlines-beyond",
        "slice-position-differs",
        "unknown-slices",
        "useless-outlines",
    },
    ("io/labels/rtstruct.py", "code"): {
        "contour-gaps",
        "contours-between-slices",
        "contours-crowded",
        "contours-cut",
        "contours-interpolated",
        "contours-overlap",
        "contours-repeated",
        "contours-too-small",
    },
    ("train/patches.py", "code"): {"unknown-air", "damaged-scan"},
    ("pipeline.py", "NODULE_OUTSIDE_LUNGS"): {"nodule-beside-lungs"},
    ("batch/task.py", "code"): {"process-died", "timeout", "out-of-memory", "unseen"},
    ("batch/identity.py", "CHANGED"): {"changed"},
    ("batch/task.py", "VANISHED"): {"vanished"},
    ("batch/limits.py", "NO_MEMORY"): {"no-memory"},
    ("batch/cluster/contract.py", "CODE"): {"cluster"},
    ("batch/cluster/workers.py", "CODE"): {"cluster"},
    ("io/unpacking.py", "code"): {"too-large", "path", "duplicate-members"},
    ("io/optional_packages.py", "f'no-{extra}'"): {"no-zarr", "no-b2nd"},
    ("io/atomic.py", "fault.code if fault else ''"): set(),  # those of io/errno_faults.py
    ("train/runs.py", "f'run-{row.status}'"): {"run-refused", "run-failed"},
    ("batch/corrections.py", "NOTES[kind]"): {"labels-corrected", "lungs-corrected", "nodules-corrected"},
}
"""Codes that are put together: file, expression, and what it can be."""

PASSED_ON = re.compile(r"\w+\.code|note\['code'\]|type\((failure|problem)\)\.__name__")
"""Expressions that hand a code on, and Python's own names of what broke."""

PARAMETERS = {
    ("errors.py", "code"),
    ("io/dicom/stack.py", "code"),
    ("io/dicom/values.py", "code"),
    ("ops/preview.py", "code"),  # that of a note
    ("train/runs.py", "code"),
}
"""Functions that take a code from their caller."""


def given_in(name, text):
    """Every code of a module, and what is computed there but not known here."""
    found, unknown = set(), set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            given = [k.value for k in node.keywords if k.arg == "code"]
            given += node.args[:1] if called in CODE_FIRST else []
        elif isinstance(node, ast.ClassDef):
            given = [s.value for s in node.body if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == "code"]
        else:
            continue
        for value in given:
            if isinstance(value, ast.Constant):
                found.add(value.value)
            elif (name, ast.unparse(value)) in COMPUTED:
                found |= COMPUTED[name, ast.unparse(value)]
            elif (name, ast.unparse(value)) not in PARAMETERS and not PASSED_ON.fullmatch(ast.unparse(value)):
                unknown.add((name, ast.unparse(value)))
    return found, unknown


def codes_in_source():
    found, unknown = set(), set()
    for path in sorted(SOURCE.rglob("*.py")):
        more, odd = given_in(path.relative_to(SOURCE).as_posix(), path.read_text())
        found |= more
        unknown |= odd
    assert not unknown, f"codes that this test cannot tell: {unknown}"
    return found


def codes_on_page():
    return re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(), flags=re.MULTILINE)


def test_the_page_lists_every_code_of_the_source_and_no_other():
    listed, given = set(codes_on_page()), codes_in_source()
    assert given - listed == set(), "codes that docs/findings.md does not explain"
    assert listed - given == set(), "codes that docs/findings.md explains and the source does not give"


def notes_in_source():
    """Every code that a `Note`, or a `Finding` that is no refusal, can have."""
    found = set()
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if called not in {"Note", "Finding"} or (called == "Finding" and ast.unparse(node.args[2]) == "'refused'"):
                continue
            first = node.args[0]
            found |= (
                {first.value} if isinstance(first, ast.Constant) else COMPUTED.get((name, ast.unparse(first)), set())
            )
    return found | ALARMS  # those of checks, which hand their code on


def test_every_note_of_the_source_has_a_kind_and_nothing_else_has():
    assert set(NOTE_KINDS) == notes_in_source()
    assert {code for code, kind in NOTE_KINDS.items() if kind == "alarm"} > ALARMS
    assert set(NOTE_KINDS) >= REVIEW_CODES
    assert not [code for code in REVIEW_CODES if kind_of(code) == "alarm"]


def test_the_page_tells_the_kind_of_every_code():
    kinds = dict(re.findall(r"^\| `([^`]+)` \| (\S+) \|", PAGE.read_text(), flags=re.MULTILINE))
    assert kinds == {code: NOTE_KINDS.get(code, "-") for code in codes_on_page()}


def test_only_a_change_of_the_data_is_a_repair():
    assert finished_status(["no-nodules: none", "ignored-files: 3", "one-lung: missed"]) == "done"
    assert finished_status(["no-nodules: none", "missing-slices: 1 interpolated: at z = 3"]) == "repaired"
    assert finished_status(["of-another-version: what it was"]) == "repaired"
    assert codes_of(["leak: a", "ragged: b", "leak: c", "cropped: d"], "alarm") == ["leak", "ragged"]


def test_each_code_stands_once_with_its_meaning_and_what_is_done():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len({row.split("|")[1] for row in rows}) == len(rows)
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 4, row
        assert all(len(cell) >= 8 for cell in cells[2:]), row


def test_what_is_computed_is_really_in_the_source():
    kinds = set(re.findall(r'"([a-z]+ [a-z]+|localizer)"', (SOURCE / "io/dicom/frames.py").read_text()))
    for code in COMPUTED["io/dicom/frames.py", "code"]:
        assert code.removeprefix("ignored-").replace("-", " ") in kinds
    for name, expression in COMPUTED:
        text = (SOURCE / name).read_text()
        assert expression in {ast.unparse(n) for n in ast.walk(ast.parse(text)) if isinstance(n, ast.expr)}
    for name in ("io/volumes/hu.py", "io/annotations/lidc.py"):
        assert all(f'"{code}"' in (SOURCE / name).read_text() for code in COMPUTED[name, "code"])


def test_a_new_code_would_be_seen():
    found, unknown = given_in(
        "x.py", "Note('fresh', t)\nraise E(t, code='raised')\nFinding(made(), t)\nf(code=x)\ng(code=y.code)"
    )
    assert found == {"fresh", "raised"}
    assert unknown == {("x.py", "made()"), ("x.py", "x")}
