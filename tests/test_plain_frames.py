"""Plain frames, several files at a time: the same as frame by frame, and nothing of what is damaged or not plain."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.io.dicom import hu
from hilum.io.dicom.plain import FrameStats, read_plain, rescale_plain
from hilum.io.dicom.records import SliceHeader
from hilum.io.padding_values import AIR

ROWS, COLUMNS = 3, 5
SIZE = 2 * ROWS * COLUMNS


def _header(path: str, **fields: object) -> SliceHeader:
    plain = {"rows": ROWS, "columns": COLUMNS, "slope": 1.0, "intercept": -1024.0, "pixel_offset": 0}
    return SliceHeader(path, pixel_bytes=SIZE, **{**plain, **fields})  # type: ignore[arg-type]


def _write(folder: Path, name: str, values: object, *, before: int = 0) -> None:
    (folder / name).write_bytes(b"\xff" * before + np.asarray(values).astype("<u2").tobytes())


def _read(root: Path, frames: list[tuple[int, SliceHeader]], planes: int) -> tuple[dict, np.ndarray]:
    out = np.full((planes, ROWS, COLUMNS), -9, np.int16)
    return read_plain(root, frames, np.empty((ROWS, COLUMNS), np.int16), out), out


@given(st.data())
def test_files_give_what_their_frames_give_one_by_one(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("frames")
    count = data.draw(st.sampled_from([1, 3, 15, 16, 17, 40]))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    odd = st.fixed_dictionaries(
        {},
        optional={
            "slope": st.just(2.0), "intercept": st.sampled_from([-1000.0, -0.5, None]), "padding": st.just(7),
            "bits_stored": st.just(12), "signed": st.booleans(), "bits_allocated": st.just(8),
            "pixel_offset": st.just(-1), "big_endian": st.just(True), "samples": st.just(3),
        },
    )  # fmt: skip
    frames, stored = [], {}
    for k, plane in enumerate(random.permutation(count + 2)[:count].tolist()):
        before = int(random.integers(0, 9))
        fields = {"pixel_offset": before, **(data.draw(odd) if k % 4 == 3 else {})}
        words = random.integers(0, 3000, (ROWS, COLUMNS))
        words[0, 0] = 40000 if k % 7 == 5 else words[0, 0]  # more than int16 holds, or below it
        _write(folder, f"{k}.dcm", words, before=before)
        header = _header(f"{k}.dcm", **fields)
        frames.append((plane, header))
        stored[plane] = words.astype("<u2").view("<i2" if header.signed else "<u2")
    done, out = _read(folder, frames, count + 2)
    for plane, header in frames:
        alone = np.empty((ROWS, COLUMNS), np.int16)
        usual = header.bits_allocated == 16 and not header.big_endian and header.samples == 1
        usual = usual and header.pixel_offset >= 0 and header.signed == frames[0][1].signed
        told = rescale_plain(stored[plane], header, alone) if usual else None
        assert done.get(plane) == told
        if told is not None:
            np.testing.assert_array_equal(out[plane], alone)


def _words() -> np.ndarray:
    return np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)


def test_a_file_cut_short_is_left_out_and_its_neighbors_are_not(tmp_path):
    for k in range(3):
        _write(tmp_path, f"{k}.dcm", _words() + k)
    (tmp_path / "1.dcm").write_bytes((tmp_path / "1.dcm").read_bytes()[:-1])
    done, out = _read(tmp_path, [(k, _header(f"{k}.dcm")) for k in range(3)], 3)
    assert sorted(done) == [0, 2]
    np.testing.assert_array_equal(out[2], _words() + 2 - 1024)


def test_a_folder_opened_as_a_file_is_left_out(tmp_path):
    (tmp_path / "0.dcm").mkdir()
    _write(tmp_path, "1.dcm", _words())
    done, _ = _read(tmp_path, [(k, _header(f"{k}.dcm")) for k in range(2)], 2)
    assert list(done) == [1]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc, which is Linux's")
def test_a_file_that_is_gone_leaves_no_other_open(tmp_path):
    _write(tmp_path, "0.dcm", _words())
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        done, _ = _read(tmp_path, [(0, _header("0.dcm")), (1, _header("1.dcm"))], 2)
        assert done == {}
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_frames_of_one_file_are_read_each_at_its_place(tmp_path):
    many = np.arange(20 * ROWS * COLUMNS).reshape(20, ROWS, COLUMNS)
    _write(tmp_path, "many.dcm", many, before=6)
    frames = [(19 - k, _header("many.dcm", frame=k, frames=20, pixel_offset=6)) for k in range(20)]
    done, out = _read(tmp_path, frames, 20)
    assert len(done) == 20
    np.testing.assert_array_equal(out, many[::-1] - 1024)
    assert done[0].stored_range == (int(many[19].min()), int(many[19].max()))


def test_nothing_is_read_of_nothing(tmp_path):
    assert _read(tmp_path, [], 1)[0] == {}


# Padding --------------------------------------------------------------------------------------------------------------


def _quick_and_slow(stored, header):
    """What a frame becomes in one go, and what step by step; the quick one is None where it is left to the slow one."""
    quick, slow = np.empty(stored.shape, np.int16), np.empty(stored.shape, np.int16)
    done = rescale_plain(stored, header, quick)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hu, "rescale_plain", lambda *_: None)
        want = hu.frame_to_hu(stored, header, slow)
    if done is not None:
        assert done == want
        np.testing.assert_array_equal(quick, slow)
    return done, want


@given(st.data())
def test_padding_is_what_it_is_step_by_step(data):
    signed = data.draw(st.booleans())
    bits = data.draw(st.sampled_from([12, 16, 16]))
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    odd = [w for w in (-2000, -3024, -32768, 63536, -976, -2001, -1400, low, high, 0) if low <= w <= high]
    header = SliceHeader(
        "a.dcm", slope=1.0, intercept=data.draw(st.sampled_from([-1024.0, 0.0, -1000.0, 30.0, 32767.0, -32768.0])),
        bits_stored=bits, high_bit=bits - 1, signed=signed, padding=data.draw(st.none() | st.sampled_from(odd)),
        padding_limit=data.draw(st.none() | st.sampled_from(odd)),
    )  # fmt: skip
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    palette = data.draw(st.lists(st.sampled_from(odd) | st.integers(low, high) | st.integers(0, 2000), min_size=1))
    words = random.choice(palette, (data.draw(st.sampled_from([2, 5])), data.draw(st.sampled_from([2, 31, 70]))))
    if data.draw(st.booleans()):
        words[[0, 0, -1, -1], [0, -1, 0, -1]] = data.draw(st.sampled_from(palette))
    _quick_and_slow(words.astype("<i2" if signed else "<u2"), header)


@pytest.mark.parametrize(
    ("signed", "word", "fields"),
    [
        (True, -2000, {"padding": -2000}),
        (True, -2000, {}),
        (True, -3024, {"padding": -2000}),
        (False, 63536, {}),
        (False, 63536, {"padding": 63536}),
        (False, 63536, {"intercept": -1000.0}),
        (True, -4000, {}),  # undeclared and unknown, but in all corners
        (True, -1500, {"padding": -2000, "padding_limit": -1100}),
        (True, -2000, {"intercept": 0.0}),
    ],
)
def test_usual_padding_is_set_in_one_go_and_counted(signed, word, fields):
    header = SliceHeader("a.dcm", **{"slope": 1.0, "intercept": -1024.0, "bits_stored": 16, "signed": signed, **fields})
    stored = np.random.default_rng(3).integers(1, 3000, (40, 70)).astype("<i2" if signed else "<u2")
    rows, columns = np.ogrid[:40, :70]
    outside = (rows - 19.5) ** 2 + (columns - 34.5) ** 2 > 30**2
    stored[outside] = word
    done, _ = _quick_and_slow(stored, header)
    assert done == FrameStats(int(outside.sum()), 0, 0, (min(word, int(stored.min())), int(stored.max())))
    whole = np.empty(stored.shape, np.int16)
    rescale_plain(stored, header, whole)
    assert (whole[outside] == AIR).all()
    assert (whole[~outside] > AIR).all()


def test_what_lies_below_air_for_no_known_reason_stays_and_is_counted_where_it_is_low():
    stored = np.arange(12, dtype="<i2").reshape(3, 4)
    stored[1] = [-100, -700, -900, -2000]
    done, _ = _quick_and_slow(stored, SliceHeader("a.dcm", slope=1.0, intercept=-1024.0, signed=True))
    assert done == FrameStats(1, 0, 2, (-2000, 11))


@pytest.mark.parametrize("kind", ["i2", "u2"])
def test_a_frame_with_words_from_end_to_end_is_left_to_the_slow_way(kind):
    ends = np.iinfo(kind)
    stored = np.arange(ends.min, ends.max + 1).astype(f"<{kind}").reshape(256, 256)
    done, want = _quick_and_slow(stored, SliceHeader("a.dcm", slope=1.0, intercept=0.0, signed=kind == "i2"))
    assert done is None
    assert want.padding


def test_padded_files_give_what_their_frames_give(tmp_path):
    padded = np.where(np.eye(ROWS, COLUMNS) > 0, -2000, _words())
    for k in range(3):
        _write(tmp_path, f"{k}.dcm", (padded + 0 if k == 1 else _words()).astype("<i2").view("<u2"))
    done, out = _read(tmp_path, [(k, _header(f"{k}.dcm", signed=True)) for k in range(3)], 3)
    assert [done[k].padding for k in range(3)] == [0, ROWS, 0]
    np.testing.assert_array_equal(out[1], np.where(padded == -2000, AIR, padded - 1024))
