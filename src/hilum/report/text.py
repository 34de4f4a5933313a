"""Make text from files safe to show: hidden characters become visible, and nothing is markup."""

import json
import re
import unicodedata
from html import escape
from typing import Any

import msgspec

MAX_CHARACTERS = 2000  # characters shown of one text

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # Unicode categories of invisible characters

_MARKS = 3  # combining marks shown on one letter; more would cover the neighboring text


def visible(text: object, *, limit: int = MAX_CHARACTERS) -> str:
    r"""Replace hidden characters by their code points, and cut long text.

    Parameters
    ----------
    text : object
        Anything; its ``str`` is used.
    limit : int
        Largest number of characters.

    Returns
    -------
    str
        Not HTML; see `html`.

    Examples
    --------
    >>> print(visible("a\u202eb\x1b[2J"))
    a\u{202e}b\u{1b}[2J
    """
    full = str(text)
    shown, marks = [], 0
    for character in full[:limit]:
        category = unicodedata.category(character)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        shown.append(f"\\u{{{ord(character):x}}}" if category in _HIDDEN or marks > _MARKS else character)
    rest = len(full) - limit
    return "".join(shown) + (f" ... and {rest} more characters" if rest > 0 else "")


def html(text: object) -> str:
    """Escape any text as HTML; it is safe in an element or a quoted attribute."""
    return escape(visible(text))


def all_visible(value: Any) -> Any:
    """Apply `visible` to every string in dicts and lists, including keys.

    Parameters
    ----------
    value : dict, list, str, number, bool or None
        What to clean; not changed.

    Returns
    -------
    the same kinds
    """
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(name): all_visible(one) for name, one in value.items()}
    return [all_visible(one) for one in value] if isinstance(value, list) else value


def json_block(value: object) -> str:
    """Write records as JSON that is safe in a script element.

    Parameters
    ----------
    value : object
        Anything that msgspec can encode.

    Returns
    -------
    str
        ASCII without ``<``, ``>`` and ``&``, so that it cannot end the element.
    """
    text = msgspec.json.encode(all_visible(msgspec.to_builtins(value))).decode()
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return re.sub(r"[^\x00-\x7f]+", lambda match: json.dumps(match[0])[1:-1], text)
