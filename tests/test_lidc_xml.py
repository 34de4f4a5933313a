from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lidc_message import SERIES, SQUARE, message, nodule, other, points_text, roi, slice_uid

from hilum.errors import AnnotationError, InputError, MissingInputError
from hilum.io.annotations.lidc_xml import parse_message, series_of

PLAIN = message(
    nodule(roi(-10.5, uid=slice_uid(3)), roi("-8.0 ", [(1, 2), (3, 4)], inclusion="FALSE"), roi(-6, [(7, 8)])),
    nodule(roi(-3, [(5, 6)]), scores={}) + other(-4, 9, 10),
    "",
)


SECOND = "<SeriesInstanceUid>1.2.3.4</SeriesInstanceUid>"


def write(folder, content):
    path = folder / "reading.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_everything_that_was_drawn_is_read(tmp_path):
    found = parse_message(write(tmp_path, PLAIN))
    assert found.series_uid == SERIES
    first, second, third = found.sessions
    assert (len(first.nodules), len(second.nodules), len(third.nodules)) == (1, 1, 0)
    marked = first.nodules[0]
    assert marked.scores == {"subtlety": 4.0, "malignancy": 3.0}
    assert [o.z_mm for o in marked.outlines] == [-10.5, -8.0, -6.0]
    assert [o.inclusion for o in marked.outlines] == [True, False, True]
    assert [o.sop_uid for o in marked.outlines] == [slice_uid(3), "", ""]
    assert [o.points for o in marked.outlines] == [
        [(float(x), float(y)) for x, y in SQUARE],
        [(1, 2), (3, 4)],
        [(7, 8)],
    ]
    assert marked.outlines[1].array().tolist() == [[2, 1], [4, 3]]
    assert marked.outlined
    assert not second.nodules[0].outlined
    assert [(o.z_mm, o.points) for o in second.others] == [(-4.0, [(9.0, 10.0)])]


def test_dates_names_and_free_text_are_not_kept(tmp_path):
    text = PLAIN.replace("removed", "ZZSECRET CLINIC").replace("Nodule 001", "ZZSECRET DOE").replace("anon", "ZZSECRET")
    assert "ZZSECRET" not in repr(parse_message(write(tmp_path, text)))
    assert "2001" not in repr(parse_message(write(tmp_path, PLAIN)))


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("SeriesInstanceUid", "SeriesInstanceUID"),
        PLAIN.replace(' xmlns="http://www.nih.gov"', ""),
        PLAIN.replace(' xmlns="http://www.nih.gov"', ' xmlns="http://www.nih.gov/idri"'),
        PLAIN.replace("</", "</n:").replace("<", "<n:").replace("<n:/n:", "</n:").replace("<n:?", "<?").replace(
            " xmlns=", " xmlns:n="
        ),
        PLAIN.replace("><", ">\r\n\t<"),
        PLAIN.replace("TRUE", " True "),
        PLAIN.replace("<inclusion>TRUE</inclusion>", ""),
        PLAIN.replace("<roi>", "<!-- a note --><roi><?old tool?>"),
        PLAIN.replace("<noduleID>", "<![CDATA[<roi>]]><noduleID>"),
        PLAIN.replace("<ResponseHeader>", "<a><ResponseHeader>").replace("</ResponseHeader>", "</ResponseHeader></a>"),
        "\ufeff" + PLAIN,
        PLAIN.replace("UTF-8", "UTF-16").encode("utf-16"),
        PLAIN.replace("UTF-8", "ISO-8859-1").replace("anon", "\xe4").encode("latin-1"),
        PLAIN.replace("UTF-8", "windows-1252").replace("anon", "\u20ac").encode("cp1252"),
    ],
    ids=["uid-case", "no-space", "idri-space", "prefix", "white", "true-case", "no-inclusion", "comments", "cdata",
         "deeper", "bom", "utf16", "latin", "cp1252"],
)  # fmt: skip
def test_dialects_and_encodings_say_the_same(tmp_path, text):
    want = parse_message(write(tmp_path, PLAIN))
    got = parse_message(write(tmp_path, text))
    for reading in (want, got):
        for session in reading.sessions:
            for outline in [o for m in session.nodules for o in m.outlines] + session.others:
                outline.line = 0
    assert got == want


@pytest.mark.parametrize(
    ("content", "text", "code"),
    [
        (b"", "is empty", "annotation"),
        (b" \r\n", "is empty", "annotation"),
        (PLAIN[: len(PLAIN) // 2], "line 2: not well-formed XML", "annotation"),
        (PLAIN + "<more/>", "not well-formed", "annotation"),
        ("\n" + PLAIN, "not well-formed", "annotation"),
        (PLAIN.encode() + b"\0\0", "not well-formed", "annotation"),
        (PLAIN.replace("anon", "\xe4").encode("latin-1"), "not well-formed", "annotation"),
        (PLAIN.encode("utf-16"), "not well-formed", "annotation"),
        (PLAIN.encode("utf-32"), "not well-formed", "annotation"),
        (PLAIN.replace("UTF-8", "no-such-thing"), "encoding", "annotation"),
        (PLAIN.replace("UTF-8", "utf_7"), "encoding", "annotation"),
        ("seriesuid,coordX,coordY,coordZ,diameter_mm\n", "not well-formed", "annotation"),
        ("<a/>", "holds no LidcReadMessage", "annotation"),
        ("<html><LidcReadMessage/></html>", "holds no readingSession", "annotation"),
        (message(), "holds no readingSession", "annotation"),
        (PLAIN.replace("LidcReadMessage", "IdriReadMessage"), "X-ray", "xray-message"),
        (PLAIN.replace("readingSession", "CXRreadingSession"), "X-ray", "xray-message"),
        (PLAIN.replace("<Lidc", "<!DOCTYPE x><Lidc", 1), "declares a document type", "unsafe-xml"),
        (PLAIN.replace("<Lidc", '<!DOCTYPE x SYSTEM "file:///etc/passwd"><Lidc', 1), "declares", "unsafe-xml"),
        (PLAIN.replace("<Lidc", '<!DOCTYPE x [<!ENTITY a "b">]><Lidc', 1), "declares", "unsafe-xml"),
        (PLAIN.replace("anon", "&a;"), "not well-formed", "annotation"),
        (PLAIN.replace("-10.5", "north"), "line 2: imageZposition is 'north'", "annotation"),
        (PLAIN.replace("-10.5", ""), "imageZposition is ''", "annotation"),
        (PLAIN.replace("-10.5", "nan"), "imageZposition is 'nan'", "annotation"),
        (PLAIN.replace("-10.5", "-10,5"), "imageZposition is '-10,5'", "annotation"),
        (PLAIN.replace("-10.5", "1e300"), "imageZposition is 1e\\+300", "annotation"),
        (PLAIN.replace("-10.5", "9" * 400), "more than 256 characters", "annotation"),
        (PLAIN.replace("<xCoord>10<", "<xCoord>inf<"), "xCoord is 'inf'", "annotation"),
        (PLAIN.replace("<xCoord>10<", "<xCoord>1e999<"), "xCoord is inf", "annotation"),
        (PLAIN.replace("<xCoord>10<", "<xCoord>\u0661<"), "xCoord is", "annotation"),
        (PLAIN.replace("<yCoord>10<", "<yCoord>1_0<"), "yCoord is '1_0'", "annotation"),
        (PLAIN.replace("<xCoord>10</xCoord>", ""), "a point without", "annotation"),
        (PLAIN.replace("FALSE", "PERHAPS"), "inclusion is neither", "annotation"),
        (PLAIN.replace("<StudyInstanceUID>1.2.3.4</StudyInstanceUID>", SECOND), "second series", "annotation"),
        (PLAIN.replace("<ResponseHeader>", "<roi></roi><ResponseHeader>"), "an outline out of place", "annotation"),
        (PLAIN.replace("<ResponseHeader>", "<locus></locus><ResponseHeader>"), "a point out of place", "annotation"),
        (PLAIN.replace("<ResponseHeader>", "<xCoord>3</xCoord><ResponseHeader>"), "outside a point", "annotation"),
        (PLAIN.replace("<ResponseHeader>", nodule() + "<ResponseHeader>"), "a nodule out of place", "annotation"),
        (message(nodule(nodule())), "a nodule out of place", "annotation"),
        (message(f"<readingSession>{nodule()}</readingSession>"), "a readingSession out of place", "annotation"),
        (message(nodule(other(1, 2, 3))), "an outline out of place", "annotation"),
        (message(nodule(f"<roi>{roi(1)}</roi>")), "an outline out of place", "annotation"),
        (message(nodule(f"<roi><locus>{points_text([(1, 2)])}</locus></roi>")), "a point out of place", "annotation"),
        ("<readingSession/>", "a readingSession out of place", "annotation"),
        ("<a>" * 1000, "64 deep", "annotation"),
    ],
    ids=range(45),
)  # fmt: skip
def test_what_is_no_such_file_is_refused_in_one_line(tmp_path, content, text, code):
    with pytest.raises(AnnotationError, match=text) as caught:
        parse_message(write(tmp_path, content))
    assert caught.value.code == code
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)


def test_ratings_that_are_none_are_counted(tmp_path):
    scores = {
        "subtlety": 0,
        "malignancy": "three",
        "texture": "",
        "margin": 7,
        "sphericity": "2.5",
        "lobulation": " 5 ",
    }
    found = parse_message(write(tmp_path, message(nodule(roi(1), scores=scores))))
    assert found.sessions[0].nodules[0].scores == {"lobulation": 5.0}
    assert found.bad_scores == 4


def test_files_that_are_too_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("hilum.io.annotations.lidc_xml._SIZE_LIMIT", 10000)
    with pytest.raises(AnnotationError, match="larger than 10000 bytes"):
        parse_message(write(tmp_path, PLAIN + " " * 10000))
    monkeypatch.setattr("hilum.io.annotations.lidc_xml._MAX_POINTS", 10)
    with pytest.raises(AnnotationError, match="more than 10 points"):
        parse_message(write(tmp_path, PLAIN))


def test_missing_files_and_folders_are_refused(tmp_path):
    for read in (parse_message, series_of):
        with pytest.raises(MissingInputError):
            read(tmp_path / "gone.xml")
        with pytest.raises(InputError):
            read(tmp_path)


def test_the_series_is_read_from_the_beginning(tmp_path):
    assert series_of(write(tmp_path, PLAIN)) == SERIES
    assert series_of(write(tmp_path, PLAIN[:400])) == SERIES  # what is cut off behind it is met when it is parsed
    assert series_of(write(tmp_path, message("", series=""))) == ""
    assert series_of(write(tmp_path, message("", series="Doe, Jane"))) == ""
    assert series_of(write(tmp_path, " " * 40000 + message("", head=""))) == SERIES
    with pytest.raises(AnnotationError):
        series_of(write(tmp_path, PLAIN[:100]))


def refusal_of(read, path):
    """What a function refuses a file with; nothing else may come out of it."""
    try:
        read(path)
    except InputError as refusal:
        return str(refusal)
    return ""


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=200)
def test_damage_never_costs_more_than_a_refusal(tmp_path_factory, seed):
    chance = random.Random(seed)  # noqa: S311 - which bytes are damaged is no secret
    raw = bytearray(PLAIN.encode())
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(raw))
        kind = chance.randrange(4)
        if kind == 0:
            raw[at] = chance.randrange(256)
        elif kind == 1:
            del raw[at : at + chance.randint(1, 40)]
        elif kind == 2:
            part = raw[at : at + chance.randint(1, 200)]
            raw[chance.randrange(len(raw)) : 0] = part
        else:
            raw[at:at] = chance.choice(
                [b"<roi>", b"</roi>", b"<edgeMap>", b"&lt;", b"1e9", b"<!--", b"-", b"<![CDATA["]
            )
        if not raw:
            raw[:] = b"<"
    path = write(tmp_path_factory.mktemp("damaged"), bytes(raw))
    for read in (parse_message, series_of):
        line = refusal_of(read, path)
        assert len(line) <= 300
        assert line.isprintable()


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "outlined", "small", "points", "others"),
    [
        ("053.xml", [1, 1, 1, 1], [0, 0, 0, 0], 3695, 39),
        ("69.xml", [1, 1, 1, 1], [3, 0, 3, 3], 3406, 13),
        ("71.xml", [0, 0, 1, 1], [7, 1, 11, 7], 4180, 25),
        ("72.xml", [3, 3, 3, 4], [0, 0, 0, 0], 4412, 38),
    ],
)
def test_the_real_files_have_exact_counts(real_data, name, outlined, small, points, others):
    found = parse_message(next(real_data.rglob(name)))
    assert len(found.sessions) == 4
    assert [sum(m.outlined for m in s.nodules) for s in found.sessions] == outlined
    assert [sum(not m.outlined for m in s.nodules) for s in found.sessions] == small
    assert sum(len(o.points) for s in found.sessions for m in s.nodules for o in m.outlines) == points
    assert sum(len(s.others) for s in found.sessions) == others
    assert found.bad_scores == 0
