"""Where a spoiled lung mask is most doubtful: in what was spoiled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hilum.io.png import png_bytes
from hilum.ops.preview import draw_preview
from hilum.ops.preview_slices import DOUBT_COLOR, LABEL_PALETTE, PALETTE
from hilum.ops.quality.doubtful_places import FIELDS, doubtful_places
from hilum.ops.quality.measure import ALARMS, measure_lungs, quality_notes
from hilum.phantom.chest import make_phantom
from hilum.scan import Note
from hilum.volume import Mask


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(seed=5, shape=(100, 128, 128), spacing=(3.0, 2.8, 2.8))


def spoiled(phantom, code):
    """A mask with one fault, and where the fault is."""
    lungs, hu = phantom.lungs.array.copy(), phantom.scan.ct.array
    z, y, x = np.indices(lungs.shape)
    inside = lungs > 0
    if code == "missed-lung":
        where = (lungs == 2) & (z > np.median(z[lungs == 2]))
        lungs[where] = 0
    elif code == "sides-mixed":
        where = (lungs == 1) & (z < np.median(z[lungs == 1]))
        lungs[where] = 2
    elif code == "leak":
        where = (hu < -950) & (y < 8) & (x > 30) & (x < 90) & (z > 40) & (z < 60) & ~inside
        lungs[where] = 1
    else:
        if code == "organ-included":  # the liver
            below = np.argwhere(lungs == 1)[:, 0].min() + 2
            middle = (below, *np.argwhere(lungs == 1)[:, 1:].mean(axis=0))
        else:
            middle = np.argwhere(inside).mean(axis=0)
        ball = sum(((a - m) * s) ** 2 for a, m, s in zip((z, y, x), middle, phantom.lungs.spacing, strict=True)) < 40**2
        where = ball & (hu > 0) & ~inside
        lungs[where] = 1
    return Mask(lungs, phantom.lungs.geometry), where


@pytest.mark.parametrize("code", ["missed-lung", "sides-mixed", "leak", "organ-included", "heart-included"])
def test_the_place_is_in_what_was_spoiled(phantom, code):
    mask, where = spoiled(phantom, code)
    assert where.any()
    place = doubtful_places(phantom.scan.ct, mask, [code])[code]
    at = tuple(round(v) for v in place.voxel)
    box = tuple(slice(max(0, v - 2), v + 3) for v in at)
    assert where[box].mean() > 0.5
    assert 2.0 < place.radius_mm < 80.0


def test_an_alarm_of_the_judge_has_its_place(phantom):
    mask, where = spoiled(phantom, "missed-lung")
    codes = [note.code for note in quality_notes(measure_lungs(phantom.scan.ct, mask))]
    assert "missed-lung" in codes
    place = doubtful_places(phantom.scan.ct, mask, codes)["missed-lung"]
    assert where[round(place.voxel[0])].any()


def test_a_right_mask_and_alarms_without_a_place_have_none(phantom):
    assert doubtful_places(phantom.scan.ct, phantom.lungs, ["leak", "organ-included", "sides-mixed"]) == {}
    assert doubtful_places(phantom.scan.ct, phantom.lungs, ["ragged", "one-lung", "cropped"]) == {}
    assert set(FIELDS) <= ALARMS


def test_the_preview_shows_the_place_with_a_ring(phantom):
    mask, where = spoiled(phantom, "sides-mixed")
    notes = (Note("sides-mixed", "..."), Note("cropped", "..."))
    scan = replace(phantom.scan, lungs=mask, notes=notes, nodules=())
    shown = draw_preview(scan)
    (doubt,) = [panel for panel in shown.panels if panel.plane == "doubt"]
    assert (doubt.code, where[doubt.place].any()) == ("sides-mixed", True)
    ringed = np.argwhere(shown.pixels == DOUBT_COLOR)
    assert len(ringed)
    assert ((ringed[:, 1] >= doubt.left) & (ringed[:, 1] < doubt.left + doubt.width)).all()
    assert png_bytes(shown.pixels, LABEL_PALETTE)
    plain = draw_preview(replace(scan, notes=notes[1:]))
    assert [panel.plane for panel in plain.panels] == ["coronal", "axial", "axial", "axial"]
    assert plain.pixels.max() < len(PALETTE)


def test_a_nodule_beside_the_lungs_is_shown_before_larger_ones(phantom):
    scan = phantom.scan
    small = min(range(len(scan.nodules)), key=lambda k: scan.nodules[k].diameter_mm)
    figures = tuple({"inside_lungs": 0.1 if k == small else 1.0} for k in range(len(scan.nodules)))
    shown = draw_preview(replace(scan, nodule_figures=figures))
    assert next(panel.nodule for panel in shown.panels if panel.plane == "nodule") == small + 1
