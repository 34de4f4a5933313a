"""Which images make a volume: by header records, and by files that are read, listed and run."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from test_dicom import GRID, UID, codes, noise, raises, save, slice_of, write
from test_series import AXIAL, headers, judged, moved, shuffled, sizes

import hilum
from hilum.cli import main
from hilum.datasets import folder
from hilum.errors import InputError, SeriesError
from hilum.io.dicom.choice import choose_stack
from hilum.io.dicom.fields import TAGS, binary_count, binary_number
from hilum.io.dicom.frames import select_slices
from hilum.io.dicom.grouping import group_slices
from hilum.io.dicom.headers import read_headers
from hilum.io.dicom.reader import index_dicom, read_dicom
from hilum.io.dicom.records import SliceHeader
from hilum.io.dicom.times import seconds_of, split_by_time
from hilum.io.inspect import inspect

CSA = "1.3.12.2.1107.5.9.1"


def repeated(count, *, size=20, **fields):
    """Volumes at the same positions; each field is a function of the volume and the slice."""
    first = headers(size)
    return [
        replace(h, path=f"{p}-{h.path}", sop_uid=f"{h.sop_uid}.{p}", instance_number=p * size + k + 1,
                **{name: value(p, k) for name, value in fields.items()})
        for p in range(count)
        for k, h in enumerate(first)
    ]  # fmt: skip


def told(members):
    return [(len(g.slices), g.told_by, g.value) for g in group_slices(members)]


# ---------------------------------------------------------------- several volumes in one series


@pytest.mark.parametrize(
    ("field", "name", "values", "shown"),
    [
        ("temporal_position", "TemporalPositionIdentifier", "123", "123"),
        ("cardiac_phase", "NominalPercentageOfCardiacPhase", ("70", "40", "10"), ("10", "40", "70")),
        ("respiratory_phase", "NominalPercentageOfRespiratoryPhase", ("0", "50"), ("0", "50")),
        ("trigger_time", "TriggerTime", ("0", "120.5"), ("0", "120.5")),
        ("kernel", "ConvolutionKernel", ("B30f", "B70f"), ("B30f", "B70f")),
        ("kvp", "KVP", ("140", "80"), ("80", "140")),
        ("thickness", "SliceThickness", (1.0, 5.0), ("1", "5")),
        ("acquisition_number", "AcquisitionNumber", (7, 3), ("3", "7")),
        ("description", "SeriesDescription", ("a1", "b2", "c3"), ("", "", "")),
        ("comments", "ImageComments", ("a1", "b2"), ("", "")),
        ("acquisition_time", "AcquisitionTime", ("101000", "101500"), ("1", "2")),
    ],
)
def test_an_attribute_tells_volumes_at_the_same_positions_apart(field, name, values, shown):
    members = repeated(len(values), **{field: lambda p, _: values[p]})
    assert told(shuffled(members)) == [(20, name, value) for value in shown]
    stack, (note,) = choose_stack(judged(members))
    assert note.code == "split-series"
    assert f"told apart by {name}" in note.text
    assert "took the first of the largest" in note.text
    smallest = min(values, key=float) if shown[0].isdigit() else values[0]  # of text, the first by InstanceNumber
    assert {getattr(h, field) for h in stack.slices} == {smallest if field != "acquisition_time" else values[0]}


def test_an_attribute_that_is_absent_or_changes_with_each_slice_tells_nothing():
    assert sizes(repeated(2, temporal_position=lambda p, _: "1" * p)) == [40]
    assert sizes(repeated(2, trigger_time=lambda p, k: f"{31 * k % 20 + 100 * k + p}")) != [40]  # by position
    assert sizes(repeated(2, comments=lambda p, k: f"{p} {k}")) == [40]
    assert sizes(repeated(3)) == [60]


def test_two_attributes_can_tell_four_volumes_apart():
    members = repeated(4, cardiac_phase=lambda p, _: ("40", "70")[p // 2], kernel=lambda p, _: ("B30f", "B70f")[p % 2])
    name = "NominalPercentageOfCardiacPhase, ConvolutionKernel"
    values = ("40, B30f", "40, B70f", "70, B30f", "70, B70f")
    assert told(shuffled(members)) == [(20, name, value) for value in values]


def test_a_last_phase_that_lacks_slices_is_not_taken_and_mixes_with_no_other():
    for fields in (
        {"temporal_position": lambda p, _: str(p)},
        {"content_time": lambda p, k: f"1010{5 * p:02d}.{k:03d}"},
    ):
        members = repeated(3, **fields)[:-4]
        assert [size for size, *_ in told(members)] == [20, 20, 16]


def test_phases_of_a_couch_position_are_told_apart_by_the_time_within_it():
    def time(p, k):
        return f"1010{10 + k // 4:02d}.{p * 250 + k % 4:03d}"

    members = repeated(3, acquisition_time=time)
    groups = group_slices(shuffled(members))
    assert [g.told_by for g in groups] == ["AcquisitionTime"] * 3
    for phase, group in enumerate(groups):
        assert {h.path for h in group.slices} == {h.path for h in members[20 * phase : 20 * phase + 20]}
    assert [size for size, *_ in told(members[:-2])] == [20, 20, 18]
    lost = [h for h in members if h.path not in {"0-s005.dcm", "1-s012.dcm"}]  # which phase they are of is not told
    assert [size for size, *_ in told(lost)] == [58]


def test_one_slice_that_was_taken_again_makes_no_second_volume():
    first = [replace(h, acquisition_time=f"1010{k:02d}") for k, h in enumerate(headers(20))]
    again = replace(first[7], path="again", sop_uid="9.9", acquisition_time="101107")
    assert sizes([*first, again]) == [21]  # judged together: their pixels must be the same


@pytest.mark.parametrize("place", [0, 7, 19])
@pytest.mark.parametrize("field", ["acquisition_number", "each acquisition", "acquisition_time"])
def test_images_of_one_position_beside_a_scan_are_left_out(place, field):
    scan = [replace(h, acquisition_number=30, acquisition_time=f"1020{k:02d}") for k, h in enumerate(headers(20))]
    numbers = {"acquisition_number": lambda _: 1, "each acquisition": lambda b: b + 1, "acquisition_time": lambda _: 30}
    waiting = [
        replace(scan[place], path=f"w{b}", sop_uid=f"8.{b}", acquisition_time=f"1010{b:02d}",
                acquisition_number=numbers[field](b))
        for b in range(6)
    ]  # fmt: skip
    groups = group_slices(shuffled([*waiting, *scan]))
    assert [len(g.slices) for g in groups] == [20, 6]
    assert {h.path for h in groups[1].slices} == {h.path for h in waiting}


def test_acquisitions_that_alternate_along_one_regular_stack_stay_together():
    for number in (lambda k: 1 + k % 2, lambda k: 1 + k % 3, lambda k: 1 + k // 2 % 2):
        turns = [replace(h, acquisition_number=number(k)) for k, h in enumerate(headers(20))]
        assert sizes(turns) == [20]
        assert sizes([replace(h, instance_number=20 - h.instance_number) for h in turns]) == [20]
        assert sizes([replace(h, instance_number=None) for h in turns]) == [20]
    # each acquisition has its own numbers: two scans that lie between each other
    own = [replace(h, acquisition_number=1 + k % 2, instance_number=k // 2) for k, h in enumerate(headers(20))]
    assert sorted(sizes(own)) == [10, 10]


@pytest.mark.parametrize(("gap", "parts"), [(7, 2), (4, 1)])
def test_blocks_far_apart_are_two_volumes_where_nothing_is_missing_between_them(gap, parts):
    every = headers(40)
    blocks = [*every[:15], *every[15 + gap :]]  # 24 and 15 mm
    assert sizes(blocks) == [len(blocks)]  # the numbers jump: slices are missing
    counted = [replace(h, instance_number=k) for k, h in enumerate(blocks)]
    assert len(sizes(counted)) == parts
    scanned = [replace(h, acquisition_number=1 + (h.position[2] > 150)) for h in blocks]
    assert len(sizes(scanned)) == parts
    if parts == 2:
        stack, (note,) = choose_stack(judged(counted))
        assert len(stack.slices) == 18
        assert "far apart" in note.text


def test_times_are_read_as_dicom_writes_them():
    assert seconds_of("101530.25") == 10 * 3600 + 15 * 60 + 30.25
    assert seconds_of("1015") == seconds_of("101500")
    assert seconds_of("20000101101530.250000+0100") == seconds_of("101530.25")
    assert all(np.isnan(seconds_of(text)) for text in ("", "QZXSMITH", "10:15:30", "1.2.3", "1015301"))
    assert split_by_time(headers(5)) == ("", [])


# ---------------------------------------------------------------- which slices are of one series


@pytest.mark.parametrize("field", ["patient", "study_uid", "frame_uid"])
@pytest.mark.parametrize("uid", ["", "1.2.3"])
def test_patients_studies_and_frames_of_reference_are_never_joined(field, uid):
    members = [replace(h, series_uid=uid, **{field: f"a{k // 20}"}) for k, h in enumerate(headers(40))]
    assert sizes(members) == [20, 20]
    assert sizes([replace(h, **{field: ""}) if h.instance_number == 5 else h for h in members[:20]]) == [20]
    stacks = judged(members)
    assert len({stack.series_part for stack in stacks}) == 2
    again = judged([replace(h, patient=h.patient[::-1]) for h in members])
    assert [s.series_part for s in again] == [s.series_part for s in stacks]  # a patient could be guessed from it
    _, (note,) = choose_stack(stacks)
    assert {"patient": "patient", "study_uid": "study", "frame_uid": "frame of reference"}[field] in note.text


@pytest.mark.parametrize("field", ["series_number", "kernel", "description"])
def test_without_a_series_uid_other_attributes_tell_series_apart(field):
    values = (2, 3) if field == "series_number" else ("B30f", "B70f")
    members = [replace(h, **{field: values[k % 2]}) for k, h in enumerate(headers(40))]
    assert sizes([replace(h, series_uid="") for h in members]) == [20, 20]
    assert sizes(members) == [40]  # one UID, one regular line
    assert len({stack.series_part for stack in judged([replace(h, series_uid="") for h in members])}) == 2


def test_a_description_for_each_slice_parts_nothing():
    members = [replace(h, series_uid="", description=f"d{k}") for k, h in enumerate(headers(20))]
    assert sizes(members) == [20]


def test_slices_with_a_series_uid_each_are_joined_where_they_stack_up():
    members = [replace(h, series_uid=f"1.2.{k:03d}") for k, h in enumerate(headers(20))]
    (group,) = group_slices(shuffled(members))
    assert (len(group.slices), group.series_uid) == (20, "1.2.000")
    assert [f.code for f in group.findings] == ["joined-series"]
    assert sizes([h for k, h in enumerate(members) if k != 9]) == [19]  # `judge` tells the gap
    twice = [*members, replace(members[4], path="b", series_uid="9")]
    uneven = [moved(h, (0, 0, 0.4 * k**2)) for k, h in enumerate(members)]
    studies = [replace(h, study_uid=f"5.{k}") for k, h in enumerate(members)]
    for other in (twice, uneven, studies, members[:2]):
        assert set(sizes(other)) == {1}
    (finding,) = group_slices(studies)[0].findings
    assert finding.text.endswith("they differ in study")
    two = [*members, *(replace(h, series_uid=f"3.{k:03d}", series_number=4) for k, h in enumerate(members))]
    assert sizes(two) == [20, 20]


def test_a_frame_of_reference_for_each_slice_is_refused():
    (group,) = group_slices([replace(h, frame_uid=f"7.{k}") for k, h in enumerate(headers(20))])
    assert [(f.code, f.action) for f in group.findings] == [("no-common-frame", "refused")]


def test_objects_without_an_image_are_not_damaged():
    plain = headers(5)
    report = SliceHeader("csa", series_uid="1.2.3", modality="CT", sop_class=CSA, sop_uid="1")
    raw = replace(report, path="raw", sop_class="1.2.840.10008.5.1.4.1.1.66", sop_uid="2")
    torn = replace(plain[2], path="torn", pixel_bytes=0, position=(), rows=0, sop_uid="3")  # a CT Image has one
    found = select_slices([*plain, report, raw, torn])
    assert {f.code: f.files for f in found.findings} == {
        "ignored-no-image": ("csa", "raw"),
        "ignored-damaged-file": ("torn",),
    }


# ---------------------------------------------------------------- the choice


def test_an_original_comes_before_derived_images_however_many():
    thin = [replace(h, image_type=("DERIVED", "SECONDARY", "AXIAL", "MIP")) for h in headers(80, 1.5, uid="9.9")]
    stack, (note,) = choose_stack([judged_one(thin), judged_one(headers(40))])
    assert stack.series_uid == "1.2.3"
    assert "the original one" in note.text
    assert "derived" in note.text
    assert choose_stack([judged_one(thin), judged_one(headers(5))])[0].series_uid == "9.9"  # that is no chest
    reformatted = [replace(h, image_type=("ORIGINAL", "SECONDARY", "AXIAL")) for h in thin]
    assert choose_stack([judged_one(reformatted), judged_one(headers(40))])[0].series_uid == "9.9"


def judged_one(members):
    (stack,) = judged(members)
    return stack


def test_the_choice_between_kernels_is_told_and_can_be_made():
    stacks = [judged_one(headers(40, uid=uid, kernel=kernel)) for uid, kernel in (("1.2.3", "B70f"), ("1.2.4", "B40f"))]
    _, (note,) = choose_stack(stacks)
    assert "B40f 40 slices of 3 mm" in note.text
    assert "B70f 40 slices of 3 mm" in note.text
    for series, number in (("B70f", 0), ("b40F", 1), ("1", 0), ("2", 1), ("1.2.4", 1)):
        assert choose_stack(stacks, series=series) == (stacks[number], ())
    assert choose_stack(stacks, volume=1)[0] is stacks[0]
    for wrong in ({"series": "3"}, {"series": "B31f"}, {"volume": 3}, {"series": "B70f", "volume": 2}, {"phase": "70"}):
        with pytest.raises(SeriesError, match="hilum info"):
            choose_stack(stacks, **wrong)


def test_a_phase_is_named_by_its_value_also_where_each_is_a_series():
    stacks = judged(repeated(3, cardiac_phase=lambda p, _: f"{30 * p + 10}"))
    for phase in ("40", "40.0", "40 %"):
        stack, notes = choose_stack(stacks, phase=phase)
        assert (stack.value, notes) == ("40", ())
    alone = [judged_one(headers(40, uid=f"1.{k}.3", temporal_position=str(k))) for k in (1, 2)]
    assert choose_stack(alone, phase="2")[0] is alone[1]


def test_images_of_one_position_are_never_the_choice():
    many = judged_one([replace(h, position=(0.0, 0.0, 5.0)) for h in headers(50, uid="9.9")])
    assert choose_stack([many, judged_one(headers(6))])[0].series_uid == "1.2.3"


# ---------------------------------------------------------------- files


def phases(root, values, *, keyword="NominalPercentageOfCardiacPhase", uid=f"{UID}.1"):
    """Write volumes at the same positions into one folder; returns their HU."""
    volumes = [noise(seed=p) for p in range(len(values))]
    for p, (value, hu) in enumerate(zip(values, volumes, strict=True)):
        for k in range(GRID.shape[0]):
            ds = slice_of(GRID, k, (hu[k] + 1024).astype("<u2"), uid=uid)
            ds.SOPInstanceUID, ds.InstanceNumber = f"{uid}.{p}.{k}", p * 10 + k + 1
            setattr(ds, keyword, value)
            save(ds, (hu[k] + 1024).astype("<u2"), root / f"i{(k * 5 + p * 11) % 23 + 100 * p:03d}.dcm")
    return volumes


@pytest.mark.parametrize(
    ("keyword", "values", "names"),
    [
        ("NominalPercentageOfCardiacPhase", [70.0, 10.0], ["70", "10"]),
        ("TemporalPositionIdentifier", [1, 2], ["1", "2"]),
        ("TemporalPositionIndex", [1, 2], ["1", "2"]),
        ("ConvolutionKernel", ["B30f", "B70f"], ["B30f", "B70f"]),
        ("SeriesDescription", ["ZZDOE^JANE 0%", "ZZDOE^JANE 50%"], ["zzdoe^jane 0%", "ZZDOE^JANE 50%"]),
    ],
)
def test_each_volume_of_a_series_can_be_read_listed_and_asked_for(tmp_path, capsys, keyword, values, names):
    volumes = phases(tmp_path / "in", values, keyword=keyword)
    scan = hilum.read(tmp_path / "in")
    assert codes(scan) == ["split-series"]
    first = 1 if values[0] == 70.0 else 0
    np.testing.assert_array_equal(scan.ct.array, volumes[first])
    for name, volume in zip(names, volumes, strict=True):
        np.testing.assert_array_equal(hilum.read(tmp_path / "in", phase=name).ct.array, volume)
    records = inspect(tmp_path / "in")
    assert [r.usable for r in records] == [True, True]
    assert [r.chosen for r in records] == [True, False]
    for number in (1, 2):
        array = hilum.read(tmp_path / "in", volume=number).ct.array
        np.testing.assert_array_equal(array, volumes[first if number == 1 else 1 - first])
    assert main(["info", str(tmp_path / "in"), "--json"]) == 0
    out = capsys.readouterr().out
    assert [line["usable"] for line in json.loads(out)] == [True, True]
    assert "ZZDOE" not in out
    assert {line["told_by"] for line in json.loads(out)} <= {keyword, "TemporalPositionIdentifier"}
    assert main(["convert", str(tmp_path / "in"), str(tmp_path / "o.mha"), "--volume", "2"]) == 0
    np.testing.assert_array_equal(hilum.read(tmp_path / "o.mha").ct.array, volumes[1 - first])


def test_what_fits_no_volume_is_an_error(tmp_path):
    phases(tmp_path, [10.0, 40.0])
    for wrong in ({"phase": "55"}, {"volume": 3}, {"series": "7"}):
        assert "hilum info" in raises(SeriesError, "no-such-series", tmp_path, **wrong)
    raises(InputError, "option", tmp_path, volume=0)
    hilum.write(hilum.read(tmp_path, volume=1).ct, tmp_path / "v.mha")
    with pytest.raises(InputError, match="only a DICOM folder"):
        hilum.read(tmp_path / "v.mha", volume=1)


def test_volumes_that_nothing_tells_apart_are_refused_as_such(tmp_path):
    phases(tmp_path, ["", ""], keyword="AccessionNumber")
    assert "several volumes at the same positions" in raises(SeriesError, "conflicting-duplicates", tmp_path)


def test_frames_of_one_file_are_told_apart_by_their_temporal_position(tmp_path):
    volumes = [noise(seed=p) for p in range(2)]
    first = slice_of(GRID, 0, np.zeros((12, 10), "<u2"))
    shared, frames, pixels = Dataset(), [], []
    orientation, measures, value = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = first.PixelSpacing, "2.5"
    value.RescaleIntercept, value.RescaleSlope, value.RescaleType = "-1024", "1", "HU"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([orientation]), Sequence([measures])
    shared.PixelValueTransformationSequence = Sequence([value])
    for k in range(GRID.shape[0]):
        for p in range(2):
            frame, plane, content, heart = Dataset(), Dataset(), Dataset(), Dataset()
            plane.ImagePositionPatient = [f"{v:.6f}" for v in GRID.index_to_world((k, 0, 0))]
            content.TemporalPositionIndex, content.FrameAcquisitionNumber = p + 1, 1
            heart.NominalPercentageOfCardiacPhase = 40.0 + 30 * p
            frame.PlanePositionSequence, frame.FrameContentSequence = Sequence([plane]), Sequence([content])
            frame.CardiacSynchronizationSequence = Sequence([heart])
            frames.append(frame)
            pixels.append((volumes[p][k] + 1024).astype("<u2"))
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(first, keyword)
    first.SOPClassUID, first.NumberOfFrames = "1.2.840.10008.5.1.4.1.1.2.1", len(frames)
    first.SharedFunctionalGroupsSequence, first.PerFrameFunctionalGroupsSequence = Sequence([shared]), Sequence(frames)
    save(first, np.stack(pixels), tmp_path / "all.dcm")
    for k, scan in enumerate((read_dicom(tmp_path), read_dicom(tmp_path / "all.dcm", phase="2"))):
        np.testing.assert_array_equal(scan.ct.array, volumes[k])
    np.testing.assert_array_equal(read_dicom(tmp_path, phase="70").ct.array, volumes[1])


def test_slices_at_one_position_or_none_with_a_time_each_can_be_placed(tmp_path):
    def nowhere(ds, k):
        ds.AcquisitionTime = ds.ContentTime = f"1010{k:02d}"
        del ds.ImagePositionPatient

    def same(ds, k):
        nowhere_kept = ds.ImagePositionPatient
        nowhere(ds, k)
        ds.ImagePositionPatient = ["1.5", "2.5", "3.5"] if nowhere_kept else None

    for name, change, code in (("a", nowhere, "no-position"), ("b", same, "one-position")):
        write(tmp_path / name, change=change)
        assert "slice_spacing_mm" in raises(SeriesError, code, tmp_path / name)
        scan = read_dicom(tmp_path / name, slice_spacing_mm=2.5)
        np.testing.assert_array_equal(scan.ct.array, noise())
        assert "assumed-positions" in codes(scan)
        assert scan.ct.spacing[0] == 2.5
    write(tmp_path / "c")
    raises(InputError, "option", tmp_path / "c", slice_spacing_mm=2.5)


def test_a_csa_object_is_not_the_lost_slice(tmp_path):
    write(tmp_path, change=lambda _, k: k != 3)
    report = slice_of(GRID, 0, np.zeros((12, 10), "<u2"))
    report.SOPClassUID, report.SOPInstanceUID = CSA, "1.9.9"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "Rows", "Columns", "BitsAllocated"):
        delattr(report, keyword)
    report.save_as(tmp_path / "IM900.dcm", enforce_file_format=True)
    text = raises(SeriesError, "missing-slices", tmp_path, max_gap_mm=0)
    assert "IM900" not in text
    assert "damaged" not in text
    assert "ignored-no-image" in codes(read_dicom(tmp_path, max_gap_mm=6))


def test_a_folder_lists_the_series_that_are_read(tmp_path):
    def each(ds, k):
        ds.SeriesInstanceUID = f"{UID}.5.{k + 10}"

    write(tmp_path / "joined", change=each)
    (ref,) = folder.index(tmp_path / "joined").refs
    assert len(ref.files) == GRID.shape[0]
    scan = folder.load(ref)
    np.testing.assert_array_equal(scan.ct.array, noise())
    assert scan.series_uid == ref.series_uid == f"{UID}.5.10"

    def nameless(number):
        def change(ds, _):
            del ds.SeriesInstanceUID
            ds.SeriesNumber = number

        return change

    for number in (1, 2):
        for path in write(tmp_path / f"{number}", noise(seed=number), change=nameless(number)).iterdir():
            (tmp_path / "flat").mkdir(exist_ok=True)
            path.rename(tmp_path / "flat" / f"{number}{path.name}")
    refs = folder.index(tmp_path / "flat").refs
    assert len({ref.scan_id for ref in refs}) == len(index_dicom(tmp_path / "flat")) == 2
    read = {folder.load(ref).ct.array.tobytes() for ref in refs}
    assert read == {noise(seed=number).astype("<i2").tobytes() for number in (1, 2)}


def test_binary_numbers_of_a_header_are_read_and_names_are_hashed(tmp_path):
    assert binary_number(struct.pack("<f", 40.0)) == binary_number(struct.pack(">d", 40.0), "big") == "40"
    assert [binary_number(v) for v in (b"", b"70", struct.pack("<d", np.nan))] == ["", "", ""]
    assert (binary_count(b"\1\2"), binary_count(b"\0\0\0\3", "big"), binary_count(b"1")) == (513, 3, None)
    phases(tmp_path, [40.0])
    for path in tmp_path.iterdir():
        ds = pydicom.dcmread(path)
        ds.SeriesDescription = ds.ImageComments = "ZZDOE^JANE"
        ds.save_as(path)
        (header,) = read_headers(tmp_path, path.name)
        assert header.cardiac_phase == "40"
        assert "ZZDOE" not in repr(header)
        assert "MRN123" not in repr(header)
        assert header.patient
    assert {"patient_id", "patient_name"} <= TAGS.keys()


def test_directions_still_part_volumes():
    coronal = headers(6, orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    assert told([*headers(9, orientation=AXIAL), *coronal]) == [
        (9, "ImageOrientationPatient", ""),
        (6, "ImageOrientationPatient", ""),
    ]
