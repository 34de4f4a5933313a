"""Exceptions. Every message is one line: where, what is wrong, and what to do."""

import unicodedata
from collections.abc import Iterable
from functools import partial
from numbers import Real
from pathlib import PurePath

LINE_LIMIT = 300  # the longest message, in characters


def one_line(text: object, *, limit: int = LINE_LIMIT) -> str:
    """Make any text safe to print: one line, without control characters, of limited length.

    Parameters
    ----------
    text : object
        Anything; its ``str`` is used. Text from files can hold terminal escape codes and line breaks.
    limit : int
        Largest number of characters; a longer text ends in an ellipsis.

    Returns
    -------
    str
        Printable text without line breaks.
    """
    raw = str(text)[: 4 * limit]
    printable = "".join(" " if c.isspace() else "?" if unicodedata.category(c)[0] == "C" else c for c in raw)
    line = " ".join(printable.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def path_end(path: str | PurePath, *, limit: int) -> str:
    """Cut the beginning of a path that is longer than `limit` characters; paths differ at the end."""
    text = one_line(path, limit=4000)
    return text if len(text) <= limit else "…" + text[1 - limit :]


class HilumError(Exception):
    """The base class of the errors that hilum raises.

    Parameters
    ----------
    what : str
        What is wrong, and what was expected.
    where : str or path, optional
        The file, folder, series or option concerned.
    do : str, optional
        What to do about it.
    code : str, optional
        A short, stable name of the reason (``"truncated"``), for the ledger and for programs.

    Examples
    --------
    >>> import hilum
    >>> try:
    ...     hilum.read("nowhere")
    ... except hilum.HilumError as error:
    ...     print(error.where, error.code, sep=": ")
    nowhere: missing
    """

    code = "error"

    def __init__(self, what: str, *, where: str | PurePath | None = None, do: str = "", code: str = "") -> None:
        self.what, self.where, self.do = what, where, do
        if code:
            self.code = code
        head = f"{path_end(where, limit=110)}: " if where is not None else ""
        tail = f"; {one_line(do, limit=90)}" if do else ""
        super().__init__(head + one_line(what, limit=LINE_LIMIT - len(head) - len(tail)) + tail)

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from all parts, so that the error can be pickled."""
        return partial(type(self), self.what, where=self.where, do=self.do, code=self.code), ()


class InputError(HilumError, ValueError):
    """An input that cannot be used; nothing is written.

    Examples
    --------
    >>> import hilum
    >>> hilum.Augment(flip="left")
    Traceback (most recent call last):
        ...
    hilum.errors.InputError: flip is 'left'; use some letters of "zyx"
    """

    code = "bad-input"


class MissingInputError(InputError, FileNotFoundError):
    """A path that does not exist, or a folder with nothing to read.

    Examples
    --------
    >>> import hilum
    >>> hilum.read("nowhere")
    Traceback (most recent call last):
        ...
    hilum.errors.MissingInputError: nowhere: ...
    """

    code = "missing"

    __str__ = Exception.__str__  # not the format of OSError


class UnknownScanError(InputError, KeyError):
    """A scan that a run does not have, or did not finish; a KeyError too.

    Examples
    --------
    >>> import hilum
    >>> try:
    ...     hilum.open_run("OUT")["nowhere"]
    ... except hilum.UnknownScanError as error:
    ...     print(error)
    nowhere: the run has no scan of this id; run.ids has the ids
    """

    code = "unknown-scan"

    __str__ = Exception.__str__  # not the quotes of KeyError


class InputTypeError(InputError, TypeError):
    """An argument of the wrong type; the message names the call that makes the right one.

    Examples
    --------
    >>> import hilum
    >>> hilum.segment_lungs("scan")
    Traceback (most recent call last):
        ...
    hilum.errors.InputTypeError: a str is no scan or volume; hilum.read(...) reads one
    """

    code = "argument"


class FormatError(InputError):
    """A file that is truncated, malformed or of another format.

    Examples
    --------
    >>> import hilum
    >>> with open("scan.nrrd", "w") as file:
    ...     _ = file.write("not a volume")
    >>> hilum.read("scan.nrrd")
    Traceback (most recent call last):
        ...
    hilum.errors.FormatError: scan.nrrd: ...
    """

    code = "format"


class UnsupportedError(InputError):
    """A valid input of a kind that hilum does not read.

    Examples
    --------
    >>> import hilum
    >>> hilum.preprocess(hilum.read("lungs.nii.gz"), hilum.recipe("luna16"))
    Traceback (most recent call last):
        ...
    hilum.errors.UnsupportedError: voxels are not Hounsfield units: ...
    """

    code = "unsupported"


class SeriesError(InputError):
    """Slices that do not form one reliable volume.

    Examples
    --------
    >>> import hilum
    >>> hilum.read("scan", series="1.2.3")
    Traceback (most recent call last):
        ...
    hilum.errors.SeriesError: scan: ...
    """

    code = "series"


class GeometryError(InputError):
    """An invalid grid: zero spacing, directions that are not orthogonal unit vectors, zero size.

    Examples
    --------
    >>> import hilum
    >>> hilum.Geometry((10, 20, 30), (0.0, 0.5, 0.5))
    Traceback (most recent call last):
        ...
    hilum.errors.GeometryError: spacing (z, y, x) is (0.0, 0.5, 0.5) mm, expected three positive numbers
    """

    code = "geometry"


class AnnotationError(InputError):
    """Invalid annotations: a missing column, a diameter of zero, text instead of a number.

    Examples
    --------
    >>> import hilum
    >>> hilum.Nodule((0.0, 0.0, 0.0), diameter_mm=0.0)
    Traceback (most recent call last):
        ...
    hilum.errors.AnnotationError: nodule diameter is 0.0 mm, expected a positive number
    """

    code = "annotation"


class RecipeError(HilumError, ValueError):
    """A recipe with an unknown name, an unknown option or a value out of range.

    Examples
    --------
    >>> import hilum
    >>> hilum.recipe("luna")
    Traceback (most recent call last):
        ...
    hilum.errors.RecipeError: ...
    """

    code = "recipe"


class OutputError(HilumError, OSError):
    """An output that cannot be written.

    Examples
    --------
    >>> import hilum
    >>> scan = hilum.read("ct.nii.gz")
    >>> hilum.write(scan.ct, "no-such-folder/ct.nii.gz")
    Traceback (most recent call last):
        ...
    hilum.errors.OutputError: ...
    """

    code = "output"

    __str__ = Exception.__str__


def name_type(value: object) -> str:
    """Name the type of a value for a sentence: ``a str``, ``an int``, ``a numpy array``, ``None``."""
    kind = type(value)
    if value is None:
        return "None"
    if (kind.__module__, kind.__name__) == ("numpy", "ndarray"):
        return "a numpy array"
    return f"{'an' if kind.__name__[0] in 'AEIOaeio' else 'a'} {kind.__name__}"


def check_number(name: str, value: object) -> None:
    """Refuse, with an InputTypeError, an option that has to be a number and is none."""
    if not isinstance(value, Real):
        raise InputTypeError(f"{name} is {name_type(value)}, expected a number")


def name_some(names: Iterable[str]) -> str:
    """List up to three names that are safe to print, without duplicates, and count the rest: ``a, b, c and 4 more``."""
    unique = list(dict.fromkeys(names))
    return ", ".join(unique[:3]) + (f" and {len(unique) - 3} more" if len(unique) > 3 else "")
