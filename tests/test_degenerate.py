"""Volumes that are no chest: of one voxel, flat, constant, of noise, of NaN. Every step gives a result or one line."""

from __future__ import annotations

import io
from contextlib import suppress
from functools import partial
from importlib import import_module

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hilum
from hilum.errors import HilumError, InputError
from hilum.geometry import Geometry
from hilum.ops.intensity import normalize, window, zero_center
from hilum.ops.lungs.fallback import find_lungs
from hilum.ops.lungs.segment import METHODS, segment_lungs
from hilum.ops.morphology import dilate
from hilum.ops.nodules.masks import mask_nodules
from hilum.ops.preview import draw_preview
from hilum.ops.quality.measure import measure, quality_notes
from hilum.ops.quality.plausibility import note_implausible_values
from hilum.ops.resample import resample
from hilum.ops.statistics import count_hu, measure_moments
from hilum.ops.surfaces import surfaces
from hilum.scan import Nodule, Scan
from hilum.volume import Mask, Volume

SHAPES = ((1, 1, 1), (2, 2, 2), (1, 9, 7), (9, 1, 1), (7, 9, 1), (1, 1, 9), (3, 5, 40))
SPACINGS = ((1.0, 1.0, 1.0), (2.5, 0.7, 0.7), (0.1, 25.0, 3.0))
FILLS = {
    "noise": lambda noise, shape: noise.integers(-1024, 1500, shape).astype(np.int16),
    "ends": lambda noise, shape: noise.choice([-32768, 32767], shape).astype(np.int16),
    "air and tissue": lambda noise, shape: noise.choice([-1000, -800, 40], shape).astype(np.int16),
    "air": lambda _, shape: np.full(shape, -1000, np.int16),
    "padding": lambda _, shape: np.full(shape, -32768, np.int16),
    "float": lambda noise, shape: noise.normal(-500, 500, shape).astype(np.float32),
    "float beyond": lambda noise, shape: noise.choice([-1e30, 1e30], shape).astype(np.float32),
    "NaN": lambda _, shape: np.full(shape, np.nan, np.float32),
    "one infinite": lambda _, shape: np.where(np.arange(np.prod(shape)).reshape(shape), 0, np.inf).astype(np.float32),
}
MASKS = {
    "empty": lambda _, shape: np.zeros(shape, np.uint8),
    "full": lambda _, shape: np.ones(shape, np.uint8),
    "noise": lambda noise, shape: noise.integers(0, 3, shape).astype(np.uint8),
}


@st.composite
def scans(draw):
    """A tiny scan with masks and two nodules."""
    shape, noise = draw(st.sampled_from(SHAPES)), np.random.default_rng(draw(st.integers(0, 99)))
    fill, lungs, nodules = (
        draw(st.sampled_from([*FILLS])),
        draw(st.sampled_from([*MASKS])),
        draw(st.sampled_from([*MASKS])),
    )
    return make(noise, shape, draw(st.sampled_from(SPACINGS)), fill, (lungs, nodules))


def make(noise, shape, spacing, fill, masks=("noise", "noise")):
    grid = Geometry(shape, spacing)
    lungs, nodules = (Mask(MASKS[name](noise, shape), grid) for name in masks)
    places = (Nodule((0.0, 0.0, 0.0), 6.0), Nodule((500.0, 0.0, 0.0), 6.0))
    ct = Volume(FILLS[fill](noise, shape), grid)
    return Scan("1.2.3", ct, nodules=places, annotated=True, lungs=lungs, nodule_mask=nodules)


def tiny(fill="noise", shape=(2, 2, 2)):
    return make(np.random.default_rng(0), shape, (1.0, 1.0, 1.0), fill)


def lungs_of(scan):
    return find_lungs(scan.ct, segment_lungs)


STEPS = {
    **{f"lungs {name}": lambda scan, name=name: segment_lungs(scan.ct, method=name) for name in METHODS},
    "lungs and airways": lambda scan: segment_lungs(scan.ct, airways=True, pathology="exclude", dilate_mm=2.0),
    "find lungs": lambda scan: quality_notes(lungs_of(scan).figures),
    "quality": lambda scan: quality_notes(measure(scan.ct, scan.lungs, scan.nodule_mask)),
    "dilate": lambda scan: dilate(scan.lungs, radius_mm=3.0),
    "nodules": lambda scan: mask_nodules(scan.ct.geometry, scan.nodules),
    "normalize": lambda scan: normalize(scan.ct, mean=0.25),
    "zero center": lambda scan: zero_center(scan.ct),
    **{f"window {name}": partial(lambda scan, name: window(scan.ct, preset="lung", function=name), name=name)
       for name in ("LINEAR", "LINEAR_EXACT", "SIGMOID")},
    **{f"resample {order} {grid}": lambda scan, order=order, grid=grid: resample(scan.ct, order=order, grid=grid)
       for order in (0, 1, 3) for grid in ("center", "corner")},
    "moments": lambda scan: measure_moments(scan.ct).std,
    "histogram": lambda scan: count_hu(scan.ct).percentile(50),
    "plausibility": lambda scan: note_implausible_values(scan.ct),
    "preview": draw_preview,
    "surfaces": surfaces,
    "preprocess": lambda scan: hilum.preprocess(scan, hilum.recipe("default")),
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
@settings(max_examples=8)
@example(tiny())
@example(tiny("NaN"))
@example(tiny("one infinite"))
@example(tiny("float beyond"))
@given(scans())
def test_every_step_gives_a_result_or_one_line(step, scan):
    with suppress(HilumError):  # whose message is one line of at most 300 characters, whatever it is given
        STEPS[step](scan)


NEED_NUMBERS = (
    *("lungs hilum", "lungs tutorial2d", "lungs tutorial3d", "find lungs", "quality", "normalize", "zero center"),
    *("window LINEAR", "moments", "preview", "preprocess"),
)


@pytest.mark.parametrize("fill", ["NaN", "one infinite"])
@pytest.mark.parametrize("step", NEED_NUMBERS)
def test_voxels_that_are_no_numbers_are_refused_by_name(step, fill):
    with pytest.raises(InputError, match=r"NaN or infinity in [1-8] of 8 voxels") as caught:
        STEPS[step](tiny(fill))
    assert caught.value.code == "not-finite"


def test_a_mask_that_no_sampled_row_meets_is_measured_whole():
    scan = tiny(shape=(9, 9, 9))
    lungs = np.zeros((9, 9, 9), np.uint8)
    lungs[1, 1, 1] = 1
    figures = measure(scan.ct, Mask(lungs, scan.ct.geometry), None)
    assert figures["lung_mean_hu"] == scan.ct.array[1, 1, 1]
    assert figures["lung_below_950_share"] in (0.0, 1.0)
    assert np.isfinite(list(figures.values())).all()


PICTURES = {
    "histogram": lambda draw, scan: draw(scan.ct, mask=scan.lungs),
    **{name: lambda draw, scan: draw(scan.ct) for name in ("steps", "montage")},
    **{name: lambda draw, scan: draw(scan) for name in ("nodules", "window", "overview")},
}


@pytest.mark.parametrize("kind", PICTURES)
def test_every_picture_is_drawn_or_refused_in_one_line(kind):
    pytest.importorskip("matplotlib")
    draw = getattr(import_module(f"hilum.pictures.{kind}"), kind)
    for fill, shape in (("noise", (1, 1, 1)), ("padding", (2, 2, 2)), ("air", (1, 9, 7)), ("NaN", (2, 2, 2))):
        with suppress(HilumError):
            PICTURES[kind](draw, tiny(fill, shape)).savefig(io.BytesIO(), dpi=20)
