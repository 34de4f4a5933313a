"""Stored values to Hounsfield units: Modality LUTs, minimum and maximum, any bits, frames that crash decoders."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless
from test_dicom import GRID, codes, enhanced, noise, raises, read_by_pydicom, save, slice_of, write

import hilum
from hilum.errors import FormatError, UnsupportedError
from hilum.io.dicom import by_pydicom, decoder_process, hu
from hilum.io.dicom.headers import read_headers
from hilum.io.dicom.hu import frame_to_hu
from hilum.io.dicom.luts import ModalityLut, parse_lut
from hilum.io.dicom.reader import read_dicom
from hilum.io.dicom.records import SliceHeader

# ---------------------------------------------------------------- Modality LUT


def tabled(folder, table, *, first=0, kind="HU", signed=False, words=True, entries=None, bits=16, **more):
    """Write a series whose slices have a table instead of slope and intercept."""
    stored = noise(low=-300 if signed else 0, high=1500).astype("<i2" if signed else "<u2")

    def change(ds, _):
        item = Dataset()
        item.add_new(0x00283002, "SS" if first < 0 else "US", [entries or len(table) % 65536, first, bits])
        item.ModalityLUTType = kind
        big = more.get("syntax") == ExplicitVRBigEndian
        data = np.array(table, ">u2" if big else "<u2").tobytes() if words else [int(v) for v in table]
        item.add_new(0x00283006, "OW" if words else "US", data)
        ds.ModalityLUTSequence = Sequence([item])
        del ds.RescaleSlope, ds.RescaleIntercept

    options = {"slope": 1, "intercept": 0, "kind": stored.dtype.str, "bits": (16, 16, 15), "change": change} | more
    return write(folder, stored, **options)


def by_oracle(folder):
    files = sorted((pydicom.dcmread(p) for p in folder.iterdir()), key=lambda d: d.ImagePositionPatient[2])
    return np.array([apply_modality_lut(d.pixel_array, d) for d in files])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
@pytest.mark.parametrize(("first", "signed"), [(0, False), (400, False), (-200, True)])
@pytest.mark.parametrize("words", [True, False])
def test_a_modality_lut_gives_what_pydicom_gives(tmp_path, syntax, first, signed, words):
    table = np.random.default_rng(2).integers(0, 3000, 900)
    scan = read_dicom(tabled(tmp_path, table, first=first, signed=signed, words=words, syntax=syntax))
    want = by_oracle(tmp_path)
    np.testing.assert_array_equal(scan.ct.array, want)
    assert (want == table[-1]).any()  # values beyond both ends are met
    assert (want == table[0]).any()
    assert codes(scan) == ["modality-lut"]
    assert f"{GRID.shape[0]} slices" in scan.notes[0].text


def test_zero_entries_stand_for_65536(tmp_path):
    table = np.arange(65536)[::-1] % 4000
    scan = read_dicom(tabled(tmp_path, table))
    np.testing.assert_array_equal(scan.ct.array, by_oracle(tmp_path))


@given(st.data())
def test_a_table_is_looked_up_as_its_definition_says(data):
    first = data.draw(st.integers(-32768, 32767))
    table = data.draw(st.lists(st.integers(0, 65535), min_size=1, max_size=40))
    values = np.array(data.draw(st.lists(st.integers(-40000, 70000), min_size=1, max_size=40)))
    descriptor = struct.pack("<Hh H", len(table), first, 16)
    raw = np.array(table, "<u2").tobytes()
    lut = parse_lut(descriptor, raw, "HU", order="little", signed=True, negative=False)
    want = [table[min(max(int(v) - first, 0), len(table) - 1)] for v in values]
    assert lut.look_up(values).tolist() == want


def test_entries_of_eight_bits_lie_in_words_or_bytes_and_signed_ones_are_signed():
    descriptor = struct.pack("<HHH", 5, 7, 8)
    options = {"order": "little", "signed": False}
    words = parse_lut(descriptor, struct.pack("<5H", 1, 2, 3, 200, 255), "HU", negative=False, **options)
    narrow = parse_lut(descriptor, bytes([1, 2, 3, 200, 255, 0]), "HU", negative=False, **options)
    assert words == narrow
    assert words.look_up(np.array([0, 8, 11, 99])).tolist() == [1, 2, 255, 255]
    descriptor = struct.pack("<HHH", 3, 0, 16)
    below = parse_lut(descriptor, struct.pack("<3h", -1000, 0, 500), "HU", negative=True, **options)
    assert below.look_up(np.array([0, 1, 2])).tolist() == [-1000, 0, 500]


@pytest.mark.parametrize(
    ("descriptor", "data"),
    [(b"", b"12"), (struct.pack("<HHH", 3, 0, 16), b"12345"), (struct.pack("<HHH", 1, 0, 0), b"12"),
     (struct.pack("<HHH", 1, 0, 17), b"12"), (struct.pack("<HHH", 0, 0, 16), b"12" * 9),
     (struct.pack("<HH", 1, 0), b"12")],
)  # fmt: skip
def test_a_table_that_is_none_has_no_entries(descriptor, data):
    assert not parse_lut(descriptor, data, "HU", order="little", signed=False, negative=False).table


def test_a_table_that_cannot_be_trusted_is_refused(tmp_path):
    table = np.arange(900)
    assert "not HU" in raises(UnsupportedError, "not-hounsfield", tabled(tmp_path / "a", table, kind="US"))
    raises(UnsupportedError, "not-hounsfield", tabled(tmp_path / "b", table, kind="OD"))
    raises(FormatError, "bad-modality-lut", tabled(tmp_path / "c", table, entries=901))
    folder = tabled(tmp_path / "d", table)
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.RescaleSlope, ds.RescaleIntercept = "1", "-1024"
        ds.save_as(path)
    assert "slope" in raises(FormatError, "lut-and-rescale", folder)


def test_one_slice_with_a_table_among_others_is_read_by_it(tmp_path):
    tabled(tmp_path / "lut", np.arange(1500)[::-1])
    one = min((tmp_path / "lut").iterdir())
    write(tmp_path / "all", noise(low=0, high=1500), intercept=0, bits=(16, 16, 15))
    (tmp_path / "all" / one.name).write_bytes(one.read_bytes())
    scan = read_dicom(tmp_path / "all")
    np.testing.assert_array_equal(scan.ct.array[0], 1499 - noise(low=0, high=1500)[0])
    np.testing.assert_array_equal(scan.ct.array[1:], noise(low=0, high=1500)[1:])
    assert "1 slices" in scan.notes[0].text


def test_an_empty_lut_sequence_is_none(tmp_path):
    scan = read_dicom(write(tmp_path, change=lambda ds, _: setattr(ds, "ModalityLUTSequence", Sequence([]))))
    np.testing.assert_array_equal(scan.ct.array, noise())
    assert not scan.notes


def test_padding_under_a_table_is_told_by_the_stored_value():
    table = np.array([0, *range(1, 100)], np.int32)
    header = SliceHeader("x", lut=ModalityLut("HU", 0, (table - 2000).tobytes()), slope=1.0, intercept=0.0, padding=0)
    stored = np.full((9, 9), 80, np.uint16)
    stored[0, 0] = 0
    out = np.empty((9, 9), np.int16)
    done = frame_to_hu(stored, header, out)
    assert (done.padding, out[0, 0], out[4, 4]) == (1, -1024, -1920)


# ---------------------------------------------------------------- Smallest and Largest Image Pixel Value


def with_ends(low, high, vr="US"):
    def change(ds, k):
        ds.add_new(0x00280106, vr, low(k) if callable(low) else low)
        ds.add_new(0x00280107, vr, high(k) if callable(high) else high)

    return change


@pytest.mark.parametrize(("kind", "intercept", "vr"), [("<u2", -1024, "US"), ("<i2", 0, "SS")])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, ExplicitVRBigEndian])
def test_right_ends_say_nothing_wrong_ones_are_counted_and_unused(tmp_path, monkeypatch, kind, intercept, vr, syntax):
    def low(k):
        return int(noise()[k].min()) - intercept

    def high(k):
        return int(noise()[k].max()) - intercept

    options = {"kind": kind, "intercept": intercept, "bits": (16, 16, 15), "syntax": syntax}
    assert not read_dicom(write(tmp_path / "right", change=with_ends(low, high, vr), **options)).notes
    change = with_ends(low, lambda k: high(k) + (k in {1, 4}), vr)
    wrong = write(tmp_path / "wrong", change=change, **options)
    scan = read_dicom(wrong)
    np.testing.assert_array_equal(scan.ct.array, noise())
    assert codes(scan) == ["minmax-tags-disagree"]
    assert f"in 2 of {GRID.shape[0]} slices" in scan.notes[0].text
    assert read_by_pydicom(monkeypatch, wrong).notes == scan.notes


def test_the_sign_of_the_pixels_is_that_of_the_ends(tmp_path):
    low, high = (lambda k: int(noise()[k].min()) % 65536), (lambda k: int(noise()[k].max()))
    options = {"kind": "<i2", "intercept": 0, "bits": (16, 16, 15)}
    assert not read_dicom(write(tmp_path, change=with_ends(low, high), **options)).notes


def test_ends_count_padding_and_only_significant_bits(tmp_path):
    for k in range(GRID.shape[0]):
        stored = (noise()[k] + 1024).astype("<u2")
        ds = slice_of(GRID, k, stored | 0xA000)
        with_ends(int(stored.min()), int(stored.max()))(ds, k)
        save(ds, stored | 0xA000, tmp_path / "dirty" / f"{k}")
        stored = (noise()[k]).astype("<i2")
        stored[[0, 0, -1, -1], [0, -1, 0, -1]] = -2000
        ds = slice_of(GRID, k, stored, intercept=0, bits=(16, 16, 15))
        with_ends(-2000, int(stored.max()), "SS")(ds, k)
        save(ds, stored, tmp_path / "padded" / f"{k}")
    assert not read_dicom(tmp_path / "dirty").notes
    assert codes(read_dicom(tmp_path / "padded")) == ["padding-to-air"]


def test_the_ends_of_a_multi_frame_file_are_those_of_all_frames(tmp_path):
    path = enhanced(tmp_path / "one.dcm", list(range(7)))
    for high, want in ((int(noise().max()) + 1024, []), (5000, ["minmax-tags-disagree"])):
        ds = pydicom.dcmread(path)
        with_ends(int(noise().min()) + 1024, high)(ds, 0)
        ds.save_as(path)
        assert codes(read_dicom(path)) == want


# ---------------------------------------------------------------- any bits, any rescale


@st.composite
def frames(draw):
    allocated = draw(st.sampled_from([8, 16, 32]))
    stored = draw(st.integers(1, allocated))
    high = draw(st.integers(stored - 1, allocated - 1))
    signed = draw(st.booleans())
    slope = draw(st.one_of(st.integers(-9, 9), st.floats(-40, 40)).filter(lambda v: abs(v) > 1e-3))
    intercept = draw(st.one_of(st.integers(-5000, 5000), st.floats(-70000, 70000)))
    words = draw(st.lists(st.integers(0, 2**allocated - 1), min_size=9, max_size=9))
    header = SliceHeader(
        "x", slope=float(slope), intercept=float(intercept), bits_allocated=allocated, bits_stored=stored,
        high_bit=high, signed=signed, rows=3, columns=3,
    )  # fmt: skip
    return header, np.array(words, f"u{allocated // 8}").reshape(3, 3)


@given(frames())
def test_hounsfield_units_are_the_real_number_rounded_once_and_saturated(frame):
    header, words = frame
    stored = words.view(words.dtype.str.replace("u", "i")) if header.signed else words
    shift, bits = header.high_bit + 1 - header.bits_stored, header.bits_stored
    values = np.array([int(w) >> shift & (1 << bits) - 1 for w in words.ravel()], np.int64)
    if header.signed:
        values = np.where(values >> (bits - 1), values - (1 << bits), values)
    real = values.astype(np.float64) * header.slope + header.intercept
    want = np.clip(np.rint(real), -32768, 32767)
    out = np.empty((3, 3), np.int16)
    done = frame_to_hu(stored.copy(), header, out)
    same = out.ravel() == want
    assert done.padding or same.all()
    assert (same | (out.ravel() == -1024))[real < -1024].all()  # what may be padding
    assert same[(real >= -1024) & (real <= 32767) & ~done_words(words, header)].all()
    assert done.stored_range == (values.min(), values.max()) or done.padding


def done_words(words, header):
    """Whole words that mean padding by bits which are not stored."""
    corner = words[[0, 0, -1, -1], [0, -1, 0, -1]]
    alike = (corner == corner[0]).all() and header.bits_stored < header.bits_allocated
    return np.full(words.size, False) if not alike else (words == corner[0]).ravel()


def test_monochrome1_is_about_the_screen_not_the_values(tmp_path):
    scan = read_dicom(write(tmp_path, change=lambda ds, _: setattr(ds, "PhotometricInterpretation", "MONOCHROME1")))
    np.testing.assert_array_equal(scan.ct.array, noise())


# ---------------------------------------------------------------- decoders that crash


def deadly(folder):
    """Write a JPEG-LS series; its frames claim 211 bits, on which GDCM 3.0.24 ends the process."""
    header = bytes.fromhex("ffd8fff7000bd3000c000a01011100ffda0008010100000000") + bytes(64)
    write(folder)
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.PixelData = encapsulate([header])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.file_meta.TransferSyntaxUID = JPEGLSLossless
        ds.save_as(path)
    return folder


def test_damaged_frames_are_refused_in_one_line_and_nothing_else_is_printed(tmp_path, capfd):
    raises(FormatError, "damaged", deadly(tmp_path))
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def no_child():
    decoder_process._stop_all()
    yield
    decoder_process._stop_all()


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize(
    ("program", "says"),
    [("import os; os.abort()", "signal 6"), ("raise SystemExit(3)", "exit status 3"), ("print(1/0)", "exit status 1")],
)
def test_a_decoder_that_crashes_costs_its_scan_alone(tmp_path, monkeypatch, capfd, program, says):
    write(tmp_path, syntax=RLELossless)
    monkeypatch.setattr(decoder_process, "_PROGRAM", program + "  # {path!r} {number}")
    assert says in raises(FormatError, "damaged", tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("no_child")
def test_a_decoder_that_hangs_is_stopped(tmp_path, monkeypatch):
    write(tmp_path, syntax=RLELossless)
    monkeypatch.setattr(decoder_process, "_PROGRAM", "import time; time.sleep(600)  # {path!r} {number}")
    monkeypatch.setattr(decoder_process, "SECONDS_PER_FRAME", 0.05)
    assert "does not end" in raises(FormatError, "damaged", tmp_path)


def test_a_child_decodes_as_this_process_does(tmp_path):
    write(tmp_path, syntax=RLELossless)
    headers = [read_headers(tmp_path, p.name)[0] for p in sorted(tmp_path.iterdir())]
    plain = by_pydicom.decode_frames
    with ThreadPoolExecutor(3) as pool:
        met = list(pool.map(lambda h: decoder_process.decode(tmp_path / h.path, [h]), headers))
    for h, frames in zip(headers, met, strict=True):
        np.testing.assert_array_equal(frames, plain(tmp_path / h.path, [h]))


@pytest.mark.usefixtures("no_child")
def test_a_child_is_kept_for_the_next_read_and_through_refusals_but_not_through_a_crash(tmp_path):
    write(tmp_path, syntax=RLELossless)
    hilum.read(tmp_path)
    kept = {decoder.process.pid for decoder in decoder_process._idle.queue}
    assert kept
    path = min(tmp_path.iterdir())
    header = read_headers(tmp_path, path.name)[0]
    with pytest.raises(FormatError, match="cannot be decoded"):
        decoder_process.decode(tmp_path / "gone.dcm", [header])
    hilum.read(tmp_path)  # its threads may start more decoders
    assert kept <= {decoder.process.pid for decoder in decoder_process._idle.queue}
    for decoder in decoder_process._idle.queue:
        decoder.process.kill()
        decoder.process.wait()
    with pytest.raises(FormatError, match=r"crashed .signal 9."):
        decoder_process.decode(path, [header])
    decoder_process._stop_all()
    assert len(decoder_process.decode(path, [header])) == 1


PARENT = """
import os, sys
import hilum
from hilum.io.dicom import decoder_process
hilum.read(sys.argv[1])
print(*[decoder.process.pid for decoder in decoder_process._idle.queue], flush=True)
if sys.argv[2] == "fork":
    if (fork := os.fork()) == 0:
        assert not decoder_process._idle.queue
        hilum.read(sys.argv[1])
        assert decoder_process._idle.queue
        sys.exit(0)
    assert os.waitpid(fork, 0)[1] == 0
if sys.argv[2] == "killed":
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("ending", ["normal", "fork", "killed"])
def test_no_child_outlives_the_process_that_started_it(tmp_path, ending):
    write(tmp_path, syntax=RLELossless)
    words = [sys.executable, "-W", "error", "-c", PARENT, tmp_path, ending]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == (-9 if ending == "killed" else 0)
    assert done.stderr == ""
    children = [int(word) for word in done.stdout.split()]
    assert children
    for pid in children:
        for _ in range(6000):  # a killed parent's child sees its line closed, and ends by itself
            if not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes():
                break
            time.sleep(0.01)
        else:
            pytest.fail(f"child {pid} lives on")


def test_what_a_child_refuses_is_refused_here_with_its_words(tmp_path):
    write(tmp_path, syntax=RLELossless)
    path = min(tmp_path.iterdir())
    header = read_headers(tmp_path, path.name)[0]
    path.unlink()
    with pytest.raises(FormatError, match="RLE Lossless cannot be decoded"):
        decoder_process.decode(path, [header])


@pytest.mark.real
def test_real_frames_that_crash_the_decoder_are_refused(real_data, tmp_path, capfd):
    source = real_data / "oddities" / "transfer-syntaxes"
    (path,) = source.glob("*JPEG2000LosslessOnly*")
    data = bytearray(path.read_bytes())
    at = data.find(pydicom.dcmread(path).PixelData[:64])
    for place, byte in ((58, 176), (158, 224), (287, 176), (352, 226)):  # found by mutation
        data[at + place] = byte
    (tmp_path / "hurt.dcm").write_bytes(data)
    (header,) = read_headers(tmp_path, "hurt.dcm")
    with pytest.raises(FormatError, match=r"crashed .signal 6.|cannot be decoded"):
        decoder_process.decode(tmp_path / "hurt.dcm", [header])
    assert capfd.readouterr() == ("", "")


@given(st.data())
def test_plain_frames_get_in_one_go_what_they_get_step_by_step(data):
    signed = data.draw(st.booleans())
    bits = data.draw(st.sampled_from([8, 12, 16]))
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    value = st.integers(low, high)
    intercept = data.draw(st.sampled_from([-1024.0, 0.0, -1000.5, 300.0, -32768.0]))
    header = SliceHeader(
        "a.dcm", rows=3, columns=4, slope=data.draw(st.sampled_from([1.0, 1.0, 2.0])), intercept=intercept,
        bits_stored=bits, high_bit=bits - 1, signed=signed,
        padding=data.draw(st.none() | value | st.sampled_from([-2000, low, high])),
        padding_limit=data.draw(st.none() | value),
    )  # fmt: skip
    few = st.sampled_from([low, high, 0, 5, header.padding if header.padding is not None else 1])
    words = data.draw(st.lists(few | value | few, min_size=12, max_size=12))
    corner = header.padding
    if corner is not None and low <= corner <= high and data.draw(st.booleans()):
        words[0] = words[3] = words[8] = words[11] = corner  # a possible value is padding where it fills all corners
    stored = np.array(words).astype("<i2" if signed else "<u2").reshape(3, 4)
    stored.flags.writeable = False
    quick, slow = np.empty((3, 4), np.int16), np.empty((3, 4), np.int16)
    done = hu.frame_to_hu(stored, header, quick)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hu, "rescale_plain", lambda *_: None)
        assert hu.frame_to_hu(stored, header, slow) == done
    np.testing.assert_array_equal(quick, slow)
