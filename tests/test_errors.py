"""Messages of one safe line, and errors that survive a journey between processes."""

from __future__ import annotations

import inspect
import pickle
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum import errors
from hilum.errors import LINE_LIMIT, FormatError, GeometryError, HilumError, MissingInputError, OutputError, one_line

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, HilumError)]
NASTY = "\x1b[31mred\x1b[0m\r\nnext\tline\x00\u202egnp.exe\u2028end\x9b2J"


def is_safe(text, limit=LINE_LIMIT):
    return (
        len(text) <= limit
        and len(text.splitlines()) <= 1
        and not any(unicodedata.category(c)[0] == "C" or c in "\u2028\u2029" for c in text)
    )


@given(st.text(max_size=2000), st.integers(10, 400))
def test_one_line_is_printable_and_bounded(text, limit):
    line = one_line(text, limit=limit)
    assert is_safe(line, limit)
    assert one_line(line, limit=limit) == line


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=80))
def test_one_line_keeps_what_is_harmless(text):
    assert one_line(text) == text


def test_one_line_takes_the_teeth_out_of_terminal_codes():
    assert not is_safe(NASTY)
    assert one_line(NASTY) == "?[31mred?[0m next line??gnp.exe end?2J"
    assert one_line("x" * 1000) == "x" * 299 + "…"
    assert one_line(Path("a") / "b\nc") == "a/b c"


@given(st.sampled_from(KINDS), st.text(max_size=900), st.none() | st.text(max_size=900), st.text(max_size=900))
def test_a_message_is_one_safe_line_whatever_goes_into_it(kind, what, where, do):
    assert is_safe(str(kind(what, where=where, do=do)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_survives_pickling(kind):
    error = kind("found this", where=Path("/data/scan"), do="do that", code="special")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - pickled a moment ago
    assert type(copy) is kind
    assert (str(copy), copy.what, copy.where, copy.do, copy.code) == (
        "/data/scan: found this; do that",
        "found this",
        Path("/data/scan"),
        "do that",
        "special",
    )


def test_parts_of_a_message_are_optional_and_a_long_path_keeps_its_end():
    assert str(FormatError("ends early")) == "ends early"
    assert FormatError("ends early").code == "format"
    assert GeometryError("ends early").code == "geometry"
    text = str(FormatError("ends early", where="/very" * 100 + "/slice-007.dcm"))
    assert text.startswith("…")
    assert text.endswith("slice-007.dcm: ends early")


def test_errors_can_be_caught_as_what_they_are_in_python_too():
    assert issubclass(FormatError, ValueError)
    assert issubclass(MissingInputError, FileNotFoundError)
    assert issubclass(OutputError, OSError)
    assert all(issubclass(kind, HilumError) for kind in KINDS)
    # OSError would print "[Errno ...]", or swallow a second argument.
    assert str(MissingInputError("nothing there", where="a/b")) == "a/b: nothing there"
    assert str(OutputError("disk is full", where="a/b")) == "a/b: disk is full"
