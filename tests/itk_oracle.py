"""SimpleITK's view of a volume, to hold ours against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import SimpleITK

from hilum.geometry import Geometry
from hilum.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path


def itk_image(volume: Volume) -> SimpleITK.Image:
    """The volume as SimpleITK holds it: sizes and spacing (x, y, z), axes as columns."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.array))
    image.SetSpacing(volume.geometry.spacing[::-1])
    image.SetOrigin(volume.geometry.origin)
    image.SetDirection(np.array(volume.geometry.direction)[::-1].T.ravel().tolist())
    return image


def itk_read(path: Path) -> Volume:
    """What SimpleITK reads from a file."""
    image = SimpleITK.ReadImage(str(path))
    axes = np.array(image.GetDirection()).reshape(3, 3).T[::-1]
    geometry = Geometry(image.GetSize()[::-1], image.GetSpacing()[::-1], image.GetOrigin(), axes)
    return Volume(SimpleITK.GetArrayFromImage(image), geometry)
