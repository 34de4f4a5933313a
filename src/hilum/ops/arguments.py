"""What a caller hands to a public function: a volume, the scan that holds one, or something that needs a call first."""

from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn, TypeVar, overload

from hilum.errors import InputTypeError, name_type
from hilum.geometry import Geometry
from hilum.scan import LabelMap, Nodule, Scan
from hilum.scan_ref import ScanRef
from hilum.volume import Mask, Volume

VolumeOrScan = TypeVar("VolumeOrScan", bound=Volume | Scan)  # the result has the type of the argument, a mask's too
Kind = TypeVar("Kind")
Gray = TypeVar("Gray", Volume, Scan)  # the result is a volume for a mask, too

_CALLS: dict[tuple[type, ...], str] = {
    (ScanRef,): "hilum.read(ref.path) reads the scan that it names",
    (LabelMap,): "pass its mask: label_map.mask",
    (Nodule, Geometry): "pass the scan that it belongs to",
    (list, tuple, set, dict): "call the function once for each",
}
_MAKERS = {  # by the package that a type comes from
    "numpy": "from_array(array, spacing=...)",
    "torch": "from_array(tensor.numpy(), spacing=...)",
    "SimpleITK": "from_sitk(image)",
    "itk": "from_itk(image)",
    "nibabel": "from_nibabel(image)",
}


def volume_of(given: object) -> Volume:
    """The volume that a caller means: the argument itself, or the CT of a scan."""
    if isinstance(given, Scan):
        return given.ct
    return given if isinstance(given, Volume) else refuse_type(given, "scan or volume")


def hu_of(given: object) -> Volume:
    """`volume_of`, but a mask is refused: it holds labels, no gray values."""
    volume = volume_of(given)
    return refuse_type(volume, "CT", do="pass the scan, or its ct") if isinstance(volume, Mask) else volume


def scan_of(given: object) -> Scan:
    """The argument, if it is a scan."""
    return expect(given, Scan, "scan", do="hilum.Scan('name', volume) makes one" if isinstance(given, Volume) else "")


def expect(given: object, kind: type[Kind] | tuple[type[Kind], ...], expected: str, *, do: str = "") -> Kind:
    """The argument, if it has a type; else the refusal of `refuse_type`."""
    return given if isinstance(given, kind) else refuse_type(given, expected, do=do)


def geometry_of(given: object) -> Geometry:
    """The grid that a caller means: the argument itself, or that of a volume or scan."""
    return given if isinstance(given, Geometry) else volume_of(given).geometry


@overload
def change_ct(given: Volume, change: Callable[[Volume], Volume]) -> Volume: ...


@overload
def change_ct(given: Scan, change: Callable[[Volume], Volume]) -> Scan: ...


def change_ct(given: Volume | Scan, change: Callable[[Volume], Volume]) -> Volume | Scan:
    """Change the gray values of a volume, or those of a scan's CT; the scan keeps everything else."""
    changed = change(volume_of(given))
    return replace(given, ct=changed) if isinstance(given, Scan) else changed


def refuse_type(given: object, expected: str, *, do: str = "") -> NoReturn:
    """Refuse an argument of the wrong type, in a sentence that names the right call.

    Parameters
    ----------
    given : object
        The argument.
    expected : str
        A noun: ``"scan"``.
    do : str
        The right call; by default the one that makes a scan or volume of such an argument.

    Raises
    ------
    InputTypeError
    """
    raise InputTypeError(f"{name_type(given)} is no {expected}", do=do or _right_call(given, expected))


def _right_call(given: object, expected: str) -> str:
    """The call that makes what is expected of an argument."""
    for kinds, call in _CALLS.items():
        if isinstance(given, kinds):
            return call
    if callable(getattr(given, "scan", None)):  # a scan of a finished run
        return "its scan() reads one"
    if maker := _MAKERS.get(type(given).__module__.partition(".")[0]):
        call = f"hilum.{'Mask' if expected == 'mask' else 'Volume'}.{maker}"
        return f"hilum.Scan('name', {call}) makes one" if expected == "scan" else f"{call} makes one"
    return f"hilum.{'read_mask' if expected == 'mask' else 'read'}(...) reads one"
