"""One scan in the forms that the page reads: volumes as NIfTI, surfaces as STL, and facts as JSON."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np

from hilum.errors import InputError, MissingInputError, RecipeError, UnsupportedError
from hilum.io.meshes import pack_stl
from hilum.io.read_options import DEFAULT, ReadOptions
from hilum.io.volumes.nifti_forms import flip_xy
from hilum.io.volumes.placement import GridRecord
from hilum.ops.lungs import fallback, segment
from hilum.ops.nodules.masks import mask_nodules
from hilum.ops.rendering import body_cells, lung_cells
from hilum.ops.surfaces import Mesh, label_surface, surfaces
from hilum.outputs import records, store
from hilum.outputs.findings import finished_status
from hilum.recipes import parse_recipe
from hilum.report.text import all_visible
from hilum.scan import Scan
from hilum.viewer.beside import Beside, hu_of_run
from hilum.viewer.corrections import EditableMask, editable_masks
from hilum.viewer.described import Fields, header_fields, start_place
from hilum.viewer.label_overlays import Overlay, make_overlays
from hilum.viewer.volume_stream import HEADER_BYTES, cut_to_labels
from hilum.volume import Mask, Volume

LABEL = re.compile(r"label-(\d{1,4})(?:-(\d{1,3}))?")  # the number of a label map, and the value of a label

SURFACES = {"right": "right lung", "left": "left lung", "lungs": "lungs", "nodules": "nodule"}
"""Surfaces and the start of their meshes' names; ``lungs`` for a mask without sides."""

TISSUES = ("bones", "vessels")
"""Small volumes that are drawn in 3-D: the patient without the table, and the inside of the lungs."""

WALL_MM = 3.0
"""What lies so near under the surface of the lungs is left out of the vessels: their wall."""


@dataclass(eq=False)
class ScanView:
    """An open scan; volumes and surfaces that take long are made on first use.

    Parameters
    ----------
    scan : Scan
        Without its label maps.
    unit : str
        Unit of the voxels of ``scan.ct``.
    facts : dict
        Nodules, notes and measurements.
    beside : Beside or None
        What is shown beside the scan.
    sha256 : str
        SHA-256 of its ``scan.json``; empty for a scan that belongs to no run.
    overlays : tuple of Overlay
        Its label maps; number k of them is the volume ``label-k``, its value v the surface ``label-k-v``.
    read : ReadOptions
        How the run read its input.
    dilated_mm : float
        By how much the lungs were dilated.
    record : ScanRecord or None
        Its ``scan.json``; None for a scan that belongs to no run.
    """

    scan: Scan
    unit: str
    facts: dict[str, Any]
    beside: Beside | None = None
    sha256: str = ""
    overlays: tuple[Overlay, ...] = ()
    read: ReadOptions = DEFAULT
    dilated_mm: float = 0.0
    record: records.ScanRecord | None = None
    made: dict[str, Volume | None] = field(default_factory=dict)

    def volume(self, name: str) -> Volume | None:
        """``ct``, ``beside``, ``lungs``, ``nodules``, `TISSUES` or ``label-0``, ``label-1``, ..."""
        if label := LABEL.fullmatch(name):
            return self.overlays[int(label[1])].mask if not label[2] and int(label[1]) < len(self.overlays) else None
        if name not in self.made:
            self.made[name] = self._make(name)
        return self.made[name]

    def sent(self, name: str) -> Volume | None:
        """A volume as it is sent: of lungs and nodules the box around their labels."""
        volume = self.volume(name)
        return cut_to_labels(volume) if volume is not None and name in {"lungs", "nodules"} else volume

    def _make(self, name: str) -> Volume | None:
        scan = self.scan
        if name == "ct":
            return scan.ct
        if name == "lungs" and scan.lungs is None and self.unit == store.HU and scan.ct.array.dtype == np.int16:
            mask = fallback.find_lungs(scan.ct, segment.segment_lungs).mask
            return mask if mask.array.any() else None
        if name == "nodules" and scan.nodule_mask is None and scan.nodules:
            return mask_nodules(scan.ct.geometry, scan.nodules)
        if name == "beside" and self.beside is not None:
            return as_hu(self.beside.load(self.read))
        if name in TISSUES:
            return self._tissue(name)
        return {"lungs": scan.lungs, "nodules": scan.nodule_mask}.get(name)

    @property
    def editable(self) -> list[EditableMask]:
        """The masks that the run stored; one that is made here, for the page alone, cannot be corrected."""
        maps = {one.name: number for number, one in enumerate(self.overlays)}
        return [] if self.record is None else editable_masks(self.scan, self.record, maps)

    def editable_mask(self, name: str) -> EditableMask:
        """One of them, as the page calls it; `MissingInputError` if there is none."""
        if (found := next((one for one in self.editable if one.name == name), None)) is None:
            raise MissingInputError("this scan has no such mask to correct")
        return found

    def _tissue(self, name: str) -> Volume | None:
        ct = self.scan.ct
        if self.unit != store.HU:
            raise UnsupportedError("a 3-D view of tissue needs HU")
        if ct.array.dtype != np.int16:
            hu = np.nan_to_num(ct.array, nan=-1024.0).clip(-32768, 32767)
            ct = Volume(np.rint(hu).astype(np.int16), ct.geometry)
        if name == "bones":
            return body_cells(ct)
        if (lungs := self.volume("lungs")) is None:
            return None
        return lung_cells(ct, Mask(lungs.array, lungs.geometry), margin_mm=WALL_MM + self.dilated_mm)

    def surface(self, name: str) -> bytes | None:
        """``right``, ``left``, ``lungs``, ``nodules`` or ``label-0-1`` as STL, RAS mm."""
        if label := LABEL.fullmatch(name):
            number, value = int(label[1]), int(label[2] or 0)
            mask = self.overlays[number].mask if number < len(self.overlays) else None
            _need_skimage()
            return _stl([label_surface(mask, value)]) if mask is not None and value else None
        return self._surfaces.get(name)

    @cached_property
    def _surfaces(self) -> dict[str, bytes]:
        _need_skimage()
        if (lungs := self.volume("lungs")) is None:
            return {}
        try:
            meshes = surfaces(replace(self.scan, lungs=Mask(lungs.array, lungs.geometry)))
        except InputError:
            return {}  # nothing to show
        stl = {}
        for surface, prefix in SURFACES.items():
            if parts := [mesh for mesh in meshes if mesh.name.startswith(prefix)]:
                stl[surface] = _stl(parts)
        return stl

    @cached_property
    def _start(self) -> dict[str, Any]:
        return start_place(self.scan, self.facts["nodules"])

    def page_facts(self, number: int) -> dict[str, Any]:
        """Facts about the scan for the page; lungs are listed even if they are not segmented yet."""
        base = f"api/scans/{number}"
        scan = self.scan
        lungs = scan.lungs is not None or (self.unit == store.HU and scan.ct.array.dtype == np.int16)
        available = {"ct": True, "beside": self.beside is not None, "lungs": lungs,
                     "nodules": scan.nodule_mask is not None or bool(scan.nodules)}  # fmt: skip
        volumes = {k: self._volume_facts(k, f"{base}/{k}.nii") if yes else None for k, yes in available.items()}
        one_label = scan.lungs is not None and not (scan.lungs.array == 2).any()
        parts = {"right": lungs and not one_label, "left": lungs and not one_label, "lungs": lungs and one_label,
                 "nodules": lungs and bool(scan.nodules)}  # fmt: skip
        surface_urls = {name: f"{base}/{name}.stl" if yes else None for name, yes in parts.items()}
        grid = GridRecord.of(scan.ct.geometry)
        geometry = {name: getattr(grid, name) for name in ("shape", "spacing", "origin", "direction")}
        maps = [self._overlay_facts(k, base) for k in range(len(self.overlays))]
        names = None if self.beside is None else self.beside.names
        facts = {**self.facts, "label_maps": maps, "start": self._start, "beside": names}
        tissues = {"bones": self.unit == store.HU, "vessels": lungs and self.unit == store.HU}
        tissue_urls = {name: f"{base}/{name}.nii" if yes else None for name, yes in tissues.items()}
        urls = {"surfaces": surface_urls, "tissues": tissue_urls}
        return {**all_visible(facts), "geometry": geometry, "volumes": volumes, **urls}

    def _overlay_facts(self, number: int, base: str) -> dict[str, Any]:
        """Names, volumes and colors of a label map, and the addresses of its box and surfaces."""
        one = self.overlays[number]
        urls = {label["value"]: f"{base}/label-{number}-{label['value']}.stl" for label in one.labels if label["ml"]}
        labels = [{**label, "surface": urls.get(label["value"])} for label in one.labels]
        if one.mask is None:
            return {"name": one.name, "volume": None, "labels": labels}
        size = HEADER_BYTES + one.mask.array.size
        box = {"url": f"{base}/label-{number}.nii", "bytes": size, "shape": list(one.mask.shape)}
        return {"name": one.name, "volume": box, "labels": labels}

    def _volume_facts(self, name: str, url: str) -> dict[str, Any] | None:
        """Address, size and unit of a volume; of a mask less may be sent. ``first`` is the slice to begin with.

        Reads the volume beside the scan, because the page needs its size.
        """
        volume = self.volume("beside") if name == "beside" else self.scan.ct
        if volume is None:
            return None
        size = volume.array.size * (volume.array.itemsize if name in {"ct", "beside"} else 1)
        unit = {"ct": self.unit, "beside": store.HU}.get(name)
        facts = {"url": url, "bytes": HEADER_BYTES + size, "shape": list(volume.shape), "unit": unit}
        if name == "ct":
            start = float(volume.geometry.world_to_index(self._start["world"])[0])
            facts["first"] = min(max(round(start), 0), volume.shape[0] - 1)
        return facts


def view_of_input(scan: Scan, *, more_fields: Fields = ()) -> ScanView:
    """Show a scan as it was read, and header fields that it does not keep; its label maps lie on its grid."""
    ct = as_hu(scan.ct)
    nodules = []
    for number, nodule in enumerate(scan.nodules, 1):
        voxel = ct.geometry.world_to_index(nodule.center).tolist()
        where = {"label": number, "world": list(nodule.center), "voxel": voxel, "diameter_mm": nodule.diameter_mm}
        unknown = dict.fromkeys(("inside_lungs", "mean_hu", "voxels"))
        readers = [dict(reading.scores) for reading in nodule.readings]
        nodules.append({**where, **unknown, "readers": readers, "scores": dict(nodule.scores)})
    notes = [{"code": note.code, "text": note.text} for note in scan.notes]
    facts = {"nodules": nodules, "notes": notes, "figures": dict(scan.figures), "labels": dict(scan.labels)}
    facts["header"] = [*header_fields(scan.series_uid, scan.acquisition, ct.geometry), *more_fields]
    run = {"status": finished_status(note.code for note in scan.notes), "recipe": None, "doubt": "", "scan_sha256": ""}
    return ScanView(replace(scan, ct=ct, label_maps={}), store.HU, facts | run, overlays=make_overlays(scan.label_maps))


def view_of_finished(
    scan: Scan,
    record: records.ScanRecord,
    sha256: str,
    *,
    overlays: tuple[Overlay, ...],
    doubt: str,
    recipe: str,
    beside: Beside | None,
) -> ScanView:
    """Show a finished scan; values of the unit range are converted back to HU if the recipe can be read."""
    read, dilated = DEFAULT, 0.0
    with suppress(RecipeError):
        parsed = parse_recipe(recipe)
        read, dilated = ReadOptions.of_recipe(parsed.read), parsed.lungs.dilate_mm
    # A scan without its run does not say what it was scaled from.
    ct, unit = hu_of_run(scan.ct, record.unit, recipe) if recipe else (scan.ct, record.unit)
    facts = {name: getattr(record, name) for name in ("notes", "figures", "labels")}
    facts["nodules"] = [_nodule(nodule) for nodule in record.nodules]
    facts["header"] = header_fields(record.series_uid, record.acquisition, record.source_geometry.to_geometry())
    run = {"recipe": None, "doubt": doubt, "scan_sha256": sha256}
    return ScanView(replace(scan, ct=as_hu(ct)), unit, facts | run, beside, sha256, overlays, read, dilated, record)


def _nodule(nodule: records.NoduleRecord) -> dict[str, Any]:
    scores: dict[str, float] = dict(nodule.scores)
    if nodule.readers:
        scores = {"readers": nodule.readers, **scores}
    if nodule.agreement is not None:
        scores["agreement"] = nodule.agreement
    names = ("label", "world", "voxel", "diameter_mm", "inside_lungs", "mean_hu", "voxels")
    return {name: getattr(nodule, name) for name in names} | {"readers": [], "scores": scores}


def _need_skimage() -> None:
    if find_spec("skimage") is None:
        what, do = "surfaces need scikit-image", "pip install 'hilum[viewer]'"
        raise UnsupportedError(what, do=do, code="no-viewer")


def _stl(meshes: Sequence[Mesh]) -> bytes:
    """Pack surfaces in RAS mm, as the page reads them."""
    white = (1.0, 1.0, 1.0, 1.0)  # STL has no color
    return pack_stl([(replace(mesh, vertices=flip_xy(mesh.vertices)), white) for mesh in meshes])


def as_hu(ct: Volume) -> Volume:
    """Convert a volume to a type that the page reads: int16 and float32 stay, everything else becomes float32."""
    return (
        ct
        if ct.array.dtype in {np.dtype(np.int16), np.dtype(np.float32)}
        else Volume(ct.array.astype(np.float32), ct.geometry)
    )
