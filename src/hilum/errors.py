"""The exception tree; every message says where, what was found, and what to do, in one line."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import PurePath

LINE_LIMIT = 300
"""The longest message, in characters: a refusal is one line that a terminal and a ledger can hold."""

_WHERE_LIMIT = 110


def one_line(text: object, *, limit: int = LINE_LIMIT) -> str:
    """Make text from anywhere safe to print: one line, no control characters, bounded.

    Parameters
    ----------
    text : object
        Anything; its ``str`` is used. Text from files can hold terminal escape codes and line breaks.
    limit : int
        The most characters returned; a longer text ends in an ellipsis.

    Returns
    -------
    str
        Printable text without line breaks.
    """
    raw = str(text)[: 4 * limit]
    kept = "".join(" " if c.isspace() else "?" if unicodedata.category(c)[0] == "C" else c for c in raw)
    line = " ".join(kept.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _short_where(where: str | PurePath) -> str:
    text = one_line(where, limit=4000)
    return text if len(text) <= _WHERE_LIMIT else "…" + text[1 - _WHERE_LIMIT :]


class HilumError(Exception):
    """Whatever hilum refuses or fails at, on purpose.

    Parameters
    ----------
    what : str
        What was found, and what was expected instead.
    where : str or path, optional
        The file, folder, series or option concerned.
    do : str, optional
        The next step for the person reading it.
    code : str, optional
        A short, stable name of the reason (``"truncated"``), for ledgers and programs.
    """

    code = "error"

    def __init__(self, what: str, *, where: str | PurePath | None = None, do: str = "", code: str = "") -> None:
        self.what, self.where, self.do = what, where, do
        if code:
            self.code = code
        head = f"{_short_where(where)}: " if where is not None else ""
        tail = f"; {one_line(do, limit=90)}" if do else ""
        super().__init__(head + one_line(what, limit=LINE_LIMIT - len(head) - len(tail)) + tail)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling between processes with every part intact."""
        return _rebuild, (type(self), self.what, self.where, self.do, self.code)


def _rebuild(kind: type[HilumError], what: str, where: str | PurePath | None, do: str, code: str) -> HilumError:
    return kind(what, where=where, do=do, code=code)


class InputError(HilumError, ValueError):
    """An input that cannot be used as it is: refused, nothing written."""

    code = "bad-input"


class MissingInputError(InputError, FileNotFoundError):
    """A path that does not exist, or a folder without anything to read."""

    code = "missing"

    __str__ = Exception.__str__  # OSError would put its own format before ours


class FormatError(InputError):
    """A file that is not what it says it is: truncated, malformed, of another kind."""

    code = "format"


class UnsupportedError(InputError):
    """A valid input of a kind that hilum does not read."""

    code = "unsupported"


class SeriesError(InputError):
    """Slices that do not make one trustworthy volume."""

    code = "series"


class GeometryError(InputError):
    """A grid that is not one: a spacing of zero, directions that are no axes, a size of nothing."""

    code = "geometry"


class AnnotationError(InputError):
    """Annotations that cannot be trusted: a missing column, a diameter of zero, text for a number."""

    code = "annotation"


class RecipeError(HilumError, ValueError):
    """A recipe with an unknown name, an unknown option or a value out of range."""

    code = "recipe"


class OutputError(HilumError, OSError):
    """An output that cannot be written."""

    code = "output"

    __str__ = Exception.__str__


def name_some(shown: Iterable[str], limit: int = 3) -> str:
    """Name a few things of many, and count the rest.

    Parameters
    ----------
    shown : iterable of str
        Names that are fit to print.
    limit : int
        How many are named.

    Returns
    -------
    str
        ``a, b, c and 4 more``; each name once.
    """
    names = list(dict.fromkeys(shown))
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
