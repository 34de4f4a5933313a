"""Text from files, made safe: every character is seen for what it is, and none of it is markup."""

from __future__ import annotations

import unicodedata
from html import escape
from typing import Any

import msgspec

LONGEST = 2000
"""Characters of one text that are shown."""

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that show nothing or turn what follows: controls, formats such as bidirectional overrides, ..."""

_MARKS = 3
"""Combining marks on one letter that are drawn; a pile of them would cover its neighbors."""


def visible(text: object, *, limit: int = LONGEST) -> str:
    r"""Write hidden characters out, and cut what is too long.

    Parameters
    ----------
    text : object
        Anything; its ``str`` is used.
    limit : int
        The most characters of it that are kept.

    Returns
    -------
    str
        Not yet HTML: see `html`.

    Examples
    --------
    >>> print(visible("a\u202eb\x1b[2J"))
    a\u{202e}b\u{1b}[2J
    """
    whole = str(text)
    shown, marks = [], 0
    for character in whole[:limit]:
        category = unicodedata.category(character)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        shown.append(f"\\u{{{ord(character):x}}}" if category in _HIDDEN or marks > _MARKS else character)
    rest = len(whole) - limit
    return "".join(shown) + (f" ... and {rest} characters more" if rest > 0 else "")


def html(text: object) -> str:
    """Text from anywhere as HTML.

    Parameters
    ----------
    text : object

    Returns
    -------
    str
        For an element or a quoted attribute.
    """
    return escape(visible(text))


def all_visible(value: Any) -> Any:
    """Apply `visible` to every text in plain dicts and lists, keys included.

    Parameters
    ----------
    value : dict, list, str, number, bool or None

    Returns
    -------
    the same kinds
    """
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(name): all_visible(one) for name, one in value.items()}
    if isinstance(value, list):
        return [all_visible(one) for one in value]
    return value


def json_block(value: object) -> str:
    """Write records as JSON that may stand in a script element.

    Parameters
    ----------
    value : object
        What `msgspec` writes.

    Returns
    -------
    str
        ASCII without ``<``, ``>`` and ``&``: nothing in it ends the element or begins another.
    """
    text = msgspec.json.encode(all_visible(msgspec.to_builtins(value))).decode()
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return "".join(c if c.isascii() else _json_escape(c) for c in text)


def _json_escape(character: str) -> str:
    pairs = character.encode("utf-16-be")
    return "".join(f"\\u{pairs[k] << 8 | pairs[k + 1]:04x}" for k in range(0, len(pairs), 2))
