"""Names of label maps: safe as file names on every system, and told from one another."""

import re
from pathlib import Path

from hilum.scan_ref import ScanRef

_OTHERS = re.compile(r"[^a-z0-9_-]+")
_LONGEST = 48
DEVICE = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")  # Windows has no files of these names, whatever the suffix
_NAMED = re.compile(r"([A-Za-z0-9_-]+)=(.+)")


def map_name(text: str) -> str:
    """Make the name of a label map from any text.

    Returns
    -------
    str
        1 to 48 of the characters ``[a-z0-9_-]``; ``labels`` if nothing of the text can be used.

    Examples
    --------
    >>> map_name("Lung L"), map_name("GTV-1")
    ('lung_l', 'gtv-1')
    """
    name = _OTHERS.sub("_", text.strip().lower())[:_LONGEST].strip("_-") or "labels"
    return f"{name}_labels" if DEVICE.fullmatch(name) else name


def split_named(text: str) -> tuple[str, str]:
    """Split ``NAME=FILE`` into both; without a name, or if there is a file called so, the name is empty."""
    named = None if Path(text).exists() else _NAMED.fullmatch(text)
    return (named[1], named[2]) if named else ("", text)


def map_names(ref: ScanRef) -> list[str]:
    """List the label maps that the label files of a scan become."""
    return [
        name
        for file in ref.label_files
        for name in ([file.name] if file.kind == "map" else [name for _, name in file.regions])
    ]
