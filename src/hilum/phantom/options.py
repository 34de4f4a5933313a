"""The options of a phantom."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from hilum.errors import InputError
from hilum.phantom.disease import Disease, MissingLung
from hilum.phantom.patient import NoduleKind

Kernel = Literal["standard", "soft", "sharp"]  # the reconstruction kernels


@dataclass(frozen=True)
class PhantomOptions:
    """The nodules and diseases of a phantom, and how it is scanned.

    Parameters
    ----------
    nodules : tuple of {"inside", "wall", "vessel", "ground-glass"}
        The kind of each nodule; may be empty.
    table : bool, default True
        Whether the patient lies on a table.
    field_of_view : bool, default True
        Whether voxels outside a circle of 384 mm are padding, as in a scanner's reconstruction.
    padding_hu : int, default -1024
        The value of that padding, HU.
    consolidation, effusion, emphysema : bool, default False
        Consolidation in the right lower lobe; pleural fluid at the back of the left lung, which is not lung in the
        truth; patches of emphysema in the upper halves.
    noise_hu : float, default 20.0
        Standard deviation of the noise, HU.
    haze, mass : bool, default False
        Patches of ground-glass and consolidation in dependent lung; a large mass at the right hilum.
    missing : {"none", "right", "left"}, default "none"
        A lung that is replaced by fluid, and is not lung in the truth.
    prone : bool, default False
        Whether the patient is prone: table, fluid and stomach gas change sides.
    kernel : {"standard", "soft", "sharp"}, default "standard"
        White noise; noise that is correlated in a slice; noise and edges amplified as by a bone kernel.

    Raises
    ------
    InputError
        If a value is out of range or a name is unknown.

    Examples
    --------
    >>> from hilum.phantom import PhantomOptions, make_phantom
    >>> chest = make_phantom(shape=(20, 48, 48), options=PhantomOptions(nodules=("wall",), emphysema=True))
    >>> [nodule.kind for nodule in chest.nodules]
    ['wall']
    """

    nodules: tuple[NoduleKind, ...] = ("inside", "wall", "vessel", "ground-glass", "inside")
    table: bool = True
    field_of_view: bool = True
    padding_hu: int = -1024
    consolidation: bool = False
    effusion: bool = False
    emphysema: bool = False
    noise_hu: float = 20.0
    kernel: Kernel = "standard"
    haze: bool = False
    mass: bool = False
    missing: MissingLung = "none"
    prone: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodules", tuple(self.nodules))
        if not (np.isfinite(self.noise_hu) and 0 <= self.noise_hu <= 1000):
            raise InputError(f"noise_hu is {self.noise_hu}, expected 0 to 1000 HU", code="bad-option")
        if not -32768 <= self.padding_hu <= 32767:
            raise InputError(f"padding_hu is {self.padding_hu}, expected an int16", code="bad-option")
        choices: list[tuple[str, str, tuple[str, ...]]] = [
            ("kernel", self.kernel, get_args(Kernel)),
            ("missing", self.missing, get_args(MissingLung)),
            *(("nodule kind", kind, get_args(NoduleKind)) for kind in self.nodules),
        ]
        for name, value, known in choices:
            if value not in known:
                raise InputError(f"{name} is {value!r}, expected one of {', '.join(known)}", code="bad-option")

    @property
    def disease(self) -> Disease:
        """The options that concern the patient's diseases."""
        return Disease(**{name: getattr(self, name) for name in Disease.__dataclass_fields__})
