"""Readings of LIDC-IDRI as text, for tests: what a reader drew goes in, XML comes out."""

from __future__ import annotations

SERIES = "1.2.826.0.1.3680043.8.498.1"
SQUARE = [(10, 10), (11, 10), (12, 10), (13, 10), (14, 10), (14, 11), (14, 12), (14, 13), (14, 14), (13, 14), (12, 14),
          (11, 14), (10, 14), (10, 13), (10, 12), (10, 11), (10, 10)]  # fmt: skip
"""A closed line of x, y: 3 x 3 pixels inside, 5 x 5 with the line."""


def slice_uid(k):
    return f"1.2.826.0.1.3680043.8.498.2.{k}"


def square(x, y, size):
    """A closed square outline with its first corner at a pixel, `size` steps wide."""
    side = range(size)
    points = [(x + k, y) for k in side] + [(x + size, y + k) for k in side]
    points += [(x + size - k, y + size) for k in side] + [(x, y + size - k) for k in side]
    return [*points, points[0]]


def points_text(points, tag="edgeMap"):
    return "".join(f"<{tag}><xCoord>{x}</xCoord><yCoord>{y}</yCoord></{tag}>" for x, y in points)


def roi(z, points=SQUARE, *, uid="", inclusion="TRUE"):
    return (
        f"<roi><imageZposition>{z}</imageZposition><imageSOP_UID>{uid}</imageSOP_UID>"
        f"<inclusion>{inclusion}</inclusion>{points_text(points)}</roi>"
    )


def nodule(*rois, scores=None):
    given = {"subtlety": 4, "malignancy": 3} if scores is None else scores
    rated = "".join(f"<{name}>{value}</{name}>" for name, value in given.items())
    return (
        f"<unblindedReadNodule><noduleID>Nodule 001</noduleID><characteristics>{rated}</characteristics>"
        f"{''.join(rois)}</unblindedReadNodule>"
    )


def other(z, x, y, uid=""):
    return (
        f"<nonNodule><nonNoduleID>7</nonNoduleID><imageZposition>{z}</imageZposition>"
        f"<imageSOP_UID>{uid}</imageSOP_UID>{points_text([(x, y)], 'locus')}</nonNodule>"
    )


def message(
    *sessions, series=SERIES, head='<?xml version="1.0" encoding="UTF-8"?>\n', space=' xmlns="http://www.nih.gov"'
):
    read = "".join(
        f"<readingSession><annotationVersion>3.12</annotationVersion>"
        f"<servicingRadiologistID>anon</servicingRadiologistID>{session}</readingSession>"
        for session in sessions
    )
    named = f"<SeriesInstanceUid>{series}</SeriesInstanceUid>" if series else ""
    return (
        f'{head}<LidcReadMessage uid="1.3.6.1.4.1"{space}><ResponseHeader><Version>1.8.1</Version>'
        f"<DateRequest>2001-02-03</DateRequest><RequestingSite>removed</RequestingSite>{named}"
        f"<StudyInstanceUID>1.2.3.4</StudyInstanceUID></ResponseHeader>{read}</LidcReadMessage>\n"
    )
