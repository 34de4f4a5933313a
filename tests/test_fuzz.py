"""Hurt inputs of every format are read or refused; and the kit that says so can say otherwise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fuzz_inputs import SECRET, bases, make
from fuzz_worker import Judge, check_bases

import hilum

ROOT = Path(__file__).resolve().parents[1]


def fuzz(*words, path=ROOT):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])}
    program = [sys.executable, ROOT / "bench" / "fuzz.py", *map(str, words)]
    return subprocess.run(program, capture_output=True, text=True, env=environment, check=False, timeout=600)


def test_five_hundred_hurt_inputs_are_read_or_refused():
    done = fuzz("--count", 500, "--seed", 20, "--workers", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    table = {line[:22].strip(): [int(word) for word in line[22:].split()] for line in done.stdout.splitlines()[1:]}
    total, read, _, refused, defects = table["all"]
    assert total == 500
    assert table.keys() == {base.name for base in bases()} | {"all"}
    assert min(read, refused) > 50  # it does not refuse whatever it sees
    assert defects == 0


def test_the_same_number_is_the_same_input():
    one, same, other = make(3, 40), make(3, 40), make(4, 40)
    assert (one.data, one.story) == (same.data, same.story)
    assert one.data != other.data


class Planted:
    """A reader that does something wrong once it is armed."""

    def __init__(self):
        self.fault = None

    def __call__(self, path, annotations=None):
        scan = hilum.read(path, annotations=annotations)
        return self.fault(scan) if self.fault else scan


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    made = Judge(tmp_path_factory.mktemp("fuzz"), Planted())
    check_bases(made)
    return made


class UnfitError(hilum.InputError):
    def __str__(self):
        return self.what


def raising(error):
    def fault(_):
        raise error

    return fault


def warning(scan):
    warnings.warn("planted", stacklevel=1)
    return scan


FAULTS = {
    "IndexError": raising(IndexError("planted")),
    "MemoryError": raising(MemoryError()),
    "RecursionError": raising(RecursionError()),
    "SystemExit": raising(SystemExit(3)),
    "a line of 301": raising(UnfitError("x" * 301)),
    "control characters": raising(UnfitError("a\x1b[2Jb")),
    "control characters: 'a": raising(UnfitError("a\nb")),
    "tells the patient's name": raising(UnfitError(f"of {SECRET}")),
    "a warning: planted": warning,
    "silently changed": lambda scan: replace(scan, ct=hilum.Volume(scan.ct.array + np.int16(1), scan.ct.geometry)),
    "float32 of": lambda scan: replace(scan, ct=hilum.Volume(scan.ct.array.astype(np.float32), scan.ct.geometry)),
}


@pytest.mark.parametrize("text", FAULTS)
def test_every_kind_of_defect_is_seen(judge, text):
    number = next(k for k in range(1000) if judge.judge(make(1, k)).kind == "read" and not make(1, k).decides)
    judge.read.fault = FAULTS[text]
    verdict = judge.judge(make(1, number))
    judge.read.fault = None
    assert verdict.kind == "defect"
    assert verdict.text.startswith(text)
    assert judge.judge(make(1, number)).kind == "read"


def test_a_note_makes_a_change_a_known_one(judge):
    number = next(k for k in range(1000) if judge.judge(make(1, k)).kind == "read" and not make(1, k).decides)
    judge.read.fault = lambda scan: replace(
        scan, ct=hilum.Volume(scan.ct.array + np.int16(1), scan.ct.geometry), notes=(hilum.Note("odd", "odd"),)
    )
    assert judge.judge(make(1, number)) == ("changed", "odd")
    judge.read.fault = None


DEADLY = """
import os, signal
import hilum

calls = 0


def read(path, annotations=None):
    global calls
    calls += 1
    if calls == 25:
        os.kill(os.getpid(), signal.{signal})
    if calls == 26:
        os.write(2, b"planted line")
    return hilum.read(path, annotations=annotations)
"""


@pytest.mark.parametrize(
    ("name", "reason", "inputs", "deaths"), [("SIGSEGV", "died with -11", 20, 2), ("SIGALRM", "more than 10 s", 12, 1)]
)
def test_a_death_is_charged_to_its_input_and_the_rest_is_judged(tmp_path, name, reason, inputs, deaths):
    (tmp_path / "planted.py").write_text(DEADLY.format(signal=name))
    count = len(bases())  # what is read before the first hurt input
    options = ("--count", inputs, "--seed", 1, "--workers", 1, "--reader", "planted:read", "--save", tmp_path / "kept")
    done = fuzz(*options, path=tmp_path)
    assert done.returncode == 1
    last = [k for k in range(inputs) if k % (25 - count) == 24 - count]  # each worker dies at its 25th call
    charged = [int(line.split()[0]) for line in done.stdout.splitlines() if reason in line]
    assert charged == last
    assert len(last) == deaths
    assert re.search(r"^all +(\d+) ", done.stdout, re.MULTILINE)[1] == str(inputs)  # all are in the table
    victim = make(1, last[0])
    assert (tmp_path / "kept" / str(last[0]) / victim.name).read_bytes() == victim.data


def test_what_is_printed_is_a_defect(tmp_path):
    (tmp_path / "planted.py").write_text(DEADLY.replace("calls == 25", "False").format(signal="SIGTERM"))
    done = fuzz("--count", 20, "--seed", 1, "--workers", 1, "--reader", "planted:read", path=tmp_path)
    assert [line for line in done.stdout.splitlines() if "printed 'planted line'" in line]
    assert done.returncode == 1
