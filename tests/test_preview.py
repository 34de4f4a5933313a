"""The small pictures and the histogram of a finished scan."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from small_runs import finished_scans

import hilum
from hilum import batch
from hilum._kernels.intensity.tables import count_scaled, count_values
from hilum.errors import FormatError
from hilum.geometry import Geometry
from hilum.io.png import png_bytes
from hilum.ops.intensity import UnitRange
from hilum.ops.preview import draw_preview
from hilum.ops.preview_slices import COLORS, GRAYS, HEIGHT, LEFT_COLOR, NODULE_COLOR, PALETTE, RIGHT_COLOR
from hilum.outputs.finished import read_record
from hilum.outputs.parts import FACTS, PICTURE, read_preview
from hilum.outputs.store import read_stored
from hilum.phantom.chest import make_phantom
from hilum.pipeline import preview_of
from hilum.recipes import parse_recipe
from hilum.scan import Nodule, Scan
from hilum.volume import Mask, Volume

COARSE = "[resample]\nspacing_mm = 3.0\n"


@pytest.fixture(scope="module")
def made():
    phantom = make_phantom(seed=3, shape=(60, 96, 96), spacing=(5.0, 4.0, 4.0))
    return hilum.preprocess(phantom.scan, parse_recipe(COARSE))


def part(preview, panel):
    return preview.pixels[panel.top : panel.top + panel.height, panel.left : panel.left + panel.width]


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 35)))
def test_another_reader_sees_the_picture_that_was_written(pixels):
    with Image.open(io.BytesIO(png_bytes(pixels, PALETTE))) as seen:
        assert np.array_equal(np.asarray(seen.convert("RGB")), PALETTE[pixels])


def test_a_color_that_is_none_is_refused():
    with pytest.raises(ValueError, match="36 colors"):
        png_bytes(np.full((2, 2), 36, np.uint8), PALETTE)


@given(hnp.arrays(np.int16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=20)), st.sampled_from([1, 2, 3]))
def test_every_value_is_counted_once(volume, workers):
    expected = np.bincount(volume.ravel().astype(np.int64) + 32768, minlength=65536)
    assert np.array_equal(count_values(volume, workers=workers), expected)


@given(
    hnp.arrays(np.int32, (5, 4, 3), elements=st.integers(-40000, 40000)),
    st.floats(-0.4, 0.4),
    st.sampled_from([1, 2]),
)
def test_scaled_values_are_counted_as_the_nearest_whole_number(values, beside, workers):
    volume = ((values + beside + 650) / 20000).astype(np.float32)
    found = count_scaled(volume, scale=20000.0, offset=-650.0, workers=workers)
    expected = np.clip(values, -32768, 32767).ravel().astype(np.int64) + 32768
    assert np.array_equal(found, np.bincount(expected, minlength=65536))


def test_the_right_lung_is_on_the_left_and_the_head_on_top(made):
    preview = draw_preview(made)
    coronal = part(preview, preview.panels[0])
    assert [panel.plane for panel in preview.panels[:4]] == ["coronal", "axial", "axial", "axial"]
    assert np.argwhere(coronal == RIGHT_COLOR)[:, 1].max() < np.argwhere(coronal == LEFT_COLOR)[:, 1].min() + 10
    places = [panel.place for panel in preview.panels[1:4]]
    assert places == sorted(places)
    bright_head = made.ct.array.copy()
    bright_head[-8:] = 3000
    for array, row in ((bright_head, 0), (bright_head[::-1], -1)):
        shown = draw_preview(replace(made, ct=Volume(array, made.ct.geometry), lungs=None, nodules=()))
        rows = part(shown, shown.panels[0]).min(axis=1)
        assert rows[row] == GRAYS - 1
        assert rows[-1 - row] < 10


def turned(volume, order, flips):
    """The same voxels in the same places of the patient, under other array axes."""
    geometry = volume.geometry
    corner = [n - 1 if flip else 0 for n, flip in zip(geometry.shape, flips, strict=True)]
    direction = [tuple(-v if flip else v for v in d) for d, flip in zip(geometry.direction, flips, strict=True)]
    step = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    return type(volume)(
        volume.array[step].transpose(order),
        Geometry(
            tuple(geometry.shape[a] for a in order),
            tuple(geometry.spacing[a] for a in order),
            tuple(geometry.index_to_world(corner)),
            tuple(direction[a] for a in order),
        ),
    )


@given(st.permutations(range(3)), st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_the_array_axes_do_not_matter(order, flips):
    rng = np.random.default_rng(5)
    grid = Geometry((14, 20, 18), (4.0, 3.0, 3.5), (-20.0, 7.0, 100.0))
    ct = Volume(rng.integers(-1100, 200, grid.shape, np.int16), grid)
    lungs = Mask((ct.array < -700).astype(np.uint8), grid)
    nodules = tuple(Nodule(tuple(grid.index_to_world(v)), 9.0) for v in ((5.0, 8.2, 7.7), (9.0, 3.4, 12.4)))
    drawn = hilum.mask_nodules(grid, nodules)
    scan = Scan("1", ct, nodules, lungs=lungs, nodule_mask=drawn)
    other = replace(
        scan, ct=turned(ct, order, flips), lungs=turned(lungs, order, flips), nodule_mask=turned(drawn, order, flips)
    )
    first, second = draw_preview(scan), draw_preview(other)
    assert np.array_equal(first.pixels, second.pixels)
    assert first.panels == second.panels
    assert np.array_equal(first.histogram.counts, second.histogram.counts)


def test_nodules_are_ringed_where_they_are_and_shown_close_up(made):
    preview = draw_preview(made)
    close = [panel for panel in preview.panels if panel.plane == "nodule"]
    sizes = [made.nodules[panel.nodule - 1].diameter_mm for panel in close]
    assert sizes == sorted((n.diameter_mm for n in made.nodules), reverse=True)[:4]
    for panel in close:
        edge = np.argwhere(part(preview, panel) == NODULE_COLOR)
        assert np.allclose(edge.mean(axis=0), (panel.height - 1) / 2, atol=4)
        radius = np.hypot(*(edge - (panel.height - 1) / 2).T) * 50 / panel.height
        assert abs(radius.mean() - made.nodules[panel.nodule - 1].diameter_mm / 2) < 3.0
    plain = draw_preview(replace(made, nodules=(), nodule_mask=None))
    assert not (plain.pixels == NODULE_COLOR).any()
    assert len(plain.panels) == 4
    grid = made.ct.geometry
    far = Nodule(tuple(grid.index_to_world((-40.0, 5.0, 5.0))), 9.0)
    assert len(draw_preview(replace(made, nodules=(far,), nodule_mask=None)).panels) == 4
    corner = Nodule(tuple(grid.index_to_world((0.0, 0.0, 0.0))), 9.0)
    (shown,) = [p for p in draw_preview(replace(made, nodules=(corner,), nodule_mask=None)).panels if p.nodule]
    assert (shown.place, shown.plane) == (0, "nodule")


def test_what_lies_outside_the_scan_is_black_in_a_close_up():
    grid = Geometry((10, 20, 20), (2.0, 2.0, 2.0))
    scan = Scan("1", Volume(np.full(grid.shape, 100, np.int16), grid), (Nodule((0.0, 0.0, 10.0), 6.0),))
    preview = draw_preview(scan)
    close = part(preview, preview.panels[-1])
    assert not close[:25].any()
    assert not close[:, :25].any()
    assert (close[40:, 40:] > 0).any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 300, 1), (1, 5, 700), (400, 3, 2)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (40.0, 0.1, 0.1), (0.1, 9.0, 30.0)])
def test_any_grid_gives_a_strip(shape, spacing):
    grid = Geometry(shape, spacing)
    ct = Volume(np.zeros(shape, np.int16), grid)
    for lungs in (None, Mask(np.zeros(shape, np.uint8), grid), Mask(np.ones(shape, np.uint8), grid)):
        preview = draw_preview(Scan("1", ct, (Nodule((0.0, 0.0, 0.0), 5.0),), lungs=lungs))
        assert preview.pixels.shape[0] == HEIGHT
        assert preview.pixels.max() < GRAYS + len(COLORS)
        assert preview.histogram.total == ct.array.size


def test_the_unit_range_is_turned_back_into_hu(made):
    scale = UnitRange(-1000.0, 400.0, 0.25)
    unit = replace(made, ct=hilum.normalize(made.ct, lower=-1000.0, upper=400.0, mean=0.25))
    before, after = draw_preview(made), draw_preview(unit, unit_range=scale)
    cut = np.clip(made.ct.array, -1000, 400)
    assert np.array_equal(after.histogram.counts, np.bincount(cut.ravel().astype(np.int64) + 32768, minlength=65536))
    assert np.abs(before.pixels.astype(int) - after.pixels).max() < GRAYS  # outlines are where they were
    same = before.pixels == after.pixels
    assert same.mean() > 0.5  # air outside is cut off
    assert (before.cut, after.cut) == (None, (-1000.0, 400.0))


def test_a_preview_is_kept_with_its_scan_and_watched(tmp_path):
    phantom = make_phantom(seed=3, shape=(48, 80, 80), spacing=(6.5, 4.5, 4.5))
    hilum.write(phantom.scan.ct, tmp_path / "1.2.3.mhd")
    refs, _ = batch.index([tmp_path / "1.2.3.mhd"])
    batch.run(refs, parse_recipe(COARSE), tmp_path / "out")
    ((folder, record),) = finished_scans(tmp_path / "out")
    facts, picture = read_preview(folder, record)
    array = read_stored(folder, record, "ct").array
    below, above = int((array < -1104).sum()), int((array >= 1536).sum())
    assert (facts.below, facts.above) == (below, above)
    assert facts.counts == np.histogram(array, np.arange(-1104, 1537, 16) - 0.5)[0].tolist()
    assert facts.percentiles["95"] == np.percentile(array, 95, method="inverted_cdf")
    with Image.open(io.BytesIO(picture)) as seen:
        assert seen.size == (facts.width, facts.height)
    plain = Scan("1.2.3", phantom.scan.ct)
    drawn = preview_of(hilum.preprocess(plain, parse_recipe(COARSE)), parse_recipe(COARSE))
    assert png_bytes(drawn.pixels, PALETTE) == picture
    for name in (PICTURE, FACTS):
        kept = (folder / name).read_bytes()
        for spoiled in (kept[:-1], bytes([kept[0] ^ 1]) + kept[1:]):
            (folder / name).write_bytes(spoiled)
            with pytest.raises(FormatError, match=r"the size|not match its checksum"):
                read_preview(folder, record)
        (folder / name).unlink()
        with pytest.raises(FormatError, match="missing or not a regular file"):
            read_preview(folder, record)
        (folder / name).write_bytes(kept)
    told = json.loads((folder / "scan.json").read_text())
    del told["files"][PICTURE]
    (folder / "scan.json").write_text(json.dumps(told))
    assert read_record(folder) is None  # it promises a preview
    told["parts"].remove("preview")
    (folder / "scan.json").write_text(json.dumps(told))
    assert read_preview(folder, read_record(folder)) is None
