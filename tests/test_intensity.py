"""Normalizing, windows and voxel statistics, held against their formulas and pydicom."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import InputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.ops.intensity import WINDOW_PRESETS, apply_voi_lut, normalize, window, zero_center
from hilum.ops.statistics import HuHistogram, Moments, count_hu, measure_moments
from hilum.testing import volumes
from hilum.volume import Volume

EVERY_HU = np.arange(-32768, 32768, dtype=np.int16).reshape(1, 256, 256)
BOUNDS = st.tuples(st.floats(-3000, 2000), st.floats(0.5, 4000))


def as_volume(array):
    return Volume(array, Geometry(array.shape, (1.0, 1.0, 1.0)))


def reals(values):
    return as_volume(np.array(values, np.float32).reshape(1, 1, -1))


# Normalize ------------------------------------------------------------------------------------------------------------


@given(volumes(), BOUNDS)
def test_normalize_is_its_formula(volume, bounds):
    lower, upper = bounds[0], bounds[0] + bounds[1]
    got = normalize(volume, lower=lower, upper=upper)
    want = np.clip((volume.array.astype(float) - lower) / (upper - lower), 0, 1)
    assert got.array.dtype == np.float32
    assert got.geometry == volume.geometry
    np.testing.assert_allclose(got.array, want, atol=1e-6)


def test_normalize_reaches_both_ends_exactly_for_every_value_and_dtype():
    for array in (
        EVERY_HU,
        EVERY_HU.astype(np.float32),
        EVERY_HU.astype(">i2"),
        np.arange(256, dtype=np.uint8).reshape(1, 16, 16),
    ):
        got = normalize(as_volume(array)).array
        assert (got.max(), got.dtype) == (1 if array.max() >= 400 else got.max(), np.float32)
        np.testing.assert_allclose(got, np.clip((array.astype(float) + 1000) / 1400, 0, 1), atol=1e-7)


@pytest.mark.parametrize("bounds", [(400.0, -1000.0), (0.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_an_empty_range_is_refused(bounds):
    with pytest.raises(InputError, match="lower < upper"):
        normalize(reals([0]), lower=bounds[0], upper=bounds[1])


@pytest.mark.parametrize("mean", [0.25, -0.1, 1 / 3])
def test_a_mean_subtracted_in_the_same_pass_gives_the_same_bits(mean):
    for volume in (as_volume(EVERY_HU), reals([-2000.5, -300.25, 12.5])):
        want = zero_center(normalize(volume), mean=mean)
        np.testing.assert_array_equal(normalize(volume, mean=mean).array, want.array)
        assert (normalize(volume, mean=mean).array != normalize(volume).array).all()
    with pytest.raises(InputError, match="mean"):
        normalize(reals([0]), mean=float("inf"))


def test_zero_center_subtracts_in_float32():
    unit = normalize(as_volume(EVERY_HU))
    got = zero_center(unit, mean=0.25)
    np.testing.assert_array_equal(got.array, unit.array - np.float32(0.25))
    assert got.array.dtype == np.float32
    assert zero_center(reals([0.25])).array.item() == 0
    with pytest.raises(InputError, match="mean"):
        zero_center(unit, mean=float("nan"))


# Windows --------------------------------------------------------------------------------------------------------------


def by_the_standard(x, center, width, function):
    """DICOM PS3.3 C.11.2.1.2.1 and C.11.2.1.3, value by value, in the standard's own words, for 0 to 255."""
    y_min, y_max = 0.0, 255.0
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return (y_max - y_min) / (1 + np.exp(-4 * (x - center) / width)) + y_min
    c, w = (center - 0.5, width - 1) if function == "LINEAR" else (center, width)
    if x <= c - w / 2:
        return y_min
    if x > c + w / 2:
        return y_max
    return ((x - c) / w + 0.5) * (y_max - y_min) + y_min


@given(st.integers(-1200, 1200), st.integers(1, 3000), st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]))
def test_windows_are_the_standard_to_the_digit(center, width, function):
    values = np.unique(
        np.clip(np.array([center + k * width // 7 for k in range(-6, 7)] + [-1024, 0, 3071]), -1024, 3071)
    )
    got = window(as_volume(values.astype(np.int16).reshape(1, 1, -1)), center=center, width=width, function=function)
    want = [int(np.floor(by_the_standard(float(x), center, width, function) + 0.5)) for x in values]
    assert got.array.dtype == np.uint8
    assert got.array.ravel().tolist() == want
    real = window(reals(values), center=center, width=width, function=function)
    np.testing.assert_array_equal(real.array, got.array)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_pydicom(function):
    from pydicom.dataset import Dataset
    from pydicom.pixels.processing import apply_windowing

    values = np.arange(-2048, 2048)
    header = Dataset()
    header.PhotometricInterpretation, header.BitsStored, header.PixelRepresentation = "MONOCHROME2", 13, 1
    header.WindowCenter, header.WindowWidth, header.VOILUTFunction = -600, 1500, function
    header.RescaleSlope, header.RescaleIntercept = 1, 0
    # pydicom's output spans the input's range, -4096 to 4095.
    share = (apply_windowing(values, header) + 4096) / 8191
    got = window(as_volume(values.astype(np.int16).reshape(1, 1, -1)), preset="lung", function=function)
    assert np.abs(got.array.ravel() - share * 255).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(-600, 1500), (40, 400), (400, 1800), (50.5, 351), (0, 2), (-3, 17)])
def test_windows_are_pydicoms_to_the_digit(function, center, width):
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_windowing

    values = np.arange(-2048, 2048)
    header = Dataset()
    header.PhotometricInterpretation, header.BitsStored, header.PixelRepresentation = "MONOCHROME2", 8, 0
    header.WindowCenter, header.WindowWidth, header.VOILUTFunction = center, width, function
    with np.errstate(over="ignore"):
        want = np.floor(apply_windowing(values, header) + 0.5)  # from 0 to 255, as 8 bits hold
    got = window(as_volume(values.astype(np.int16).reshape(1, 1, -1)), center=center, width=width, function=function)
    np.testing.assert_array_equal(got.array.ravel(), want)


@given(st.data())
def test_a_voi_lut_is_pydicoms_to_the_digit(data):
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_voi
    from pydicom.sequence import Sequence

    bits = data.draw(st.sampled_from([8, *range(10, 17)]))
    table = data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=2, max_size=60))
    first = data.draw(st.integers(-1200, 1200))
    # Nearer than 256 to the first entry: with 8 bits pydicom wraps what lies further beyond the table.
    values = np.array(data.draw(st.lists(st.integers(first - 300, first + 255), min_size=1, max_size=60)), np.int16)
    item, header = Dataset(), Dataset()
    item.add_new(0x00283002, "SS" if first < 0 else "US", [len(table), first, bits])
    item.add_new(0x00283006, "US", table)
    header.VOILUTSequence = Sequence([item])
    got = apply_voi_lut(as_volume(values.reshape(1, 1, -1)), table=table, first=first, bits=bits).array
    np.testing.assert_array_equal(got.ravel(), apply_voi(values, header))
    assert got.dtype == (np.uint8 if bits == 8 else np.uint16)


def test_every_value_takes_its_entry_of_a_voi_lut_and_those_beyond_its_ends_the_end_entries():
    got = apply_voi_lut(as_volume(EVERY_HU), table=[7, 1, 9], first=-1, bits=8).array.ravel()
    want = [7 if v <= -1 else 1 if v == 0 else 9 for v in EVERY_HU.ravel()]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "options",
    [
        {"table": []},
        {"table": [0.5, 1.0]},
        {"table": [[1, 2]]},
        {"table": [0, 256]},
        {"table": [-1, 5]},
        {"table": [0, 1024], "bits": 10},
        {"table": [0, 1], "bits": 9},
        {"table": [0, 1], "bits": 17},
        {"table": np.zeros(65537, int)},
    ],
)
def test_a_voi_lut_that_is_none_is_refused(options):
    with pytest.raises(InputError):
        apply_voi_lut(as_volume(EVERY_HU), **{"first": 0, **options})
    with pytest.raises(InputError, match="float32"):
        apply_voi_lut(reals([0]), table=[0, 1], first=0)


def test_a_linear_window_is_not_an_exact_one():
    values = as_volume(np.arange(-1500, 500, dtype=np.int16).reshape(1, 1, -1))
    linear = window(values, center=40, width=80).array
    assert np.any(linear != window(values, center=40, width=80, function="LINEAR_EXACT").array)
    assert np.any(linear != window(values, center=40, width=80, function="SIGMOID").array)
    assert np.any(linear != window(values, center=41, width=80).array)


def test_a_window_of_one_is_a_threshold():
    got = window(as_volume(np.array([[[99, 100, 101]]], np.int16)), center=100.5, width=1)
    assert got.array.ravel().tolist() == [0, 0, 255]


def test_presets_are_the_customary_windows():
    assert {name: (w.center, w.width) for name, w in WINDOW_PRESETS.items()} == {
        "lung": (-600, 1500),
        "mediastinum": (40, 400),
        "soft-tissue": (50, 350),
        "bone": (400, 1800),
    }
    for name, preset in WINDOW_PRESETS.items():
        want = window(as_volume(EVERY_HU), center=preset.center, width=preset.width).array
        np.testing.assert_array_equal(window(as_volume(EVERY_HU), preset=name).array, want)
    with pytest.raises(TypeError):
        WINDOW_PRESETS["brain"] = WINDOW_PRESETS["lung"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"preset": "lungs"},
        {"preset": "lung", "width": 100.0},
        {"preset": "lung", "center": 0.0, "width": 100.0},
        {"center": 40.0},
        {"width": 400.0},
        {"center": 40.0, "width": 0.5},
        {"center": 40.0, "width": 0.0, "function": "LINEAR_EXACT"},
        {"center": 40.0, "width": -1.0, "function": "SIGMOID"},
        {"center": float("nan"), "width": 400.0},
        {"center": 40.0, "width": float("inf")},
        {"center": 40.0, "width": 400.0, "function": "linear"},
    ],
)
def test_a_window_that_is_none_is_refused(options):
    with pytest.raises(InputError) as caught:
        window(reals([0]), **options)
    assert len(str(caught.value)) <= 300


# Statistics -----------------------------------------------------------------------------------------------------------


@settings(max_examples=25)  # each looks at 65,536 bins
@given(st.lists(volumes(max_size=6), min_size=1, max_size=3), st.floats(0, 100))
def test_a_sum_of_histograms_has_the_statistics_of_all_voxels(scans, percent):
    together = np.concatenate([scan.array.ravel() for scan in scans]).astype(float)
    histogram = sum((count_hu(scan) for scan in scans), start=HuHistogram())
    assert histogram.total == together.size
    assert histogram.mean() == pytest.approx(together.mean(), abs=1e-9)
    assert histogram.std() == pytest.approx(together.std(), abs=1e-7)
    assert histogram.percentile(percent) == np.percentile(together, percent, method="inverted_cdf")
    unit = np.clip((together + 1000) / 1400, 0, 1)
    assert histogram.mean(lower=-1000, upper=400) == pytest.approx(unit.mean(), abs=1e-12)
    assert histogram.std(lower=-1000, upper=400) == pytest.approx(unit.std(), abs=1e-9)


@settings(max_examples=40)
@given(st.lists(volumes(max_size=6), max_size=4))
def test_moments_add_up(scans):
    parts = [normalize(scan) for scan in scans]
    got = sum((measure_moments(part) for part in parts), start=Moments())
    together = np.concatenate([np.zeros(0, np.float32), *[part.array.ravel() for part in parts]]).astype(float)
    assert got.total == together.size
    assert got.std == pytest.approx(together.std() if together.size else 0, abs=1e-9)
    if together.size:
        assert got.mean == pytest.approx(together.mean(), abs=1e-12)
        assert (got.lowest, got.highest) == (together.min(), together.max())


def test_moments_stay_exact_far_from_zero():
    offset = 1e6
    volume = reals([offset, offset + 1, offset + 2, offset + 3])
    assert measure_moments(volume).std == pytest.approx(np.sqrt(1.25), rel=1e-12)


def test_histograms_count_both_ends_and_every_layout():
    histogram = count_hu(as_volume(EVERY_HU[:, ::-1]))
    assert histogram.counts.tolist() == [1] * 65536
    assert (histogram.percentile(0), histogram.percentile(100)) == (-32768, 32767)
    assert count_hu(as_volume(EVERY_HU.astype(">i2"))).total == 65536


def test_statistics_of_nothing_and_of_other_types_are_refused():
    for ask in (lambda h: h.mean(), lambda h: h.std(), lambda h: h.percentile(50)):
        with pytest.raises(InputError, match="histogram is empty"):
            ask(HuHistogram())
    full = count_hu(as_volume(EVERY_HU))
    for ask in (lambda: full.percentile(101), lambda: full.mean(lower=0.0), lambda: full.mean(lower=1.0, upper=0.0)):
        with pytest.raises(InputError):
            ask()
    with pytest.raises(UnsupportedError, match="int16"):
        count_hu(reals([0.5]))
    for counts in (np.zeros(4, np.int64), np.zeros(65536), np.full(65536, -1)):
        with pytest.raises(InputError, match="histogram"):
            HuHistogram(counts)
    with pytest.raises(ValueError, match="read-only"):
        full.counts[0] = 7
