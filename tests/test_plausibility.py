"""Whether numbers are Hounsfield units: silent on scans and phantoms of any kind, outspoken on spoiled ones."""

from __future__ import annotations

import numpy as np
import pytest

import hilum
from hilum.errors import GeometryError
from hilum.io.dicom.reader import index_dicom, read_dicom
from hilum.io.inspect import inspect
from hilum.ops.quality.plausibility import note_implausible_size, note_implausible_values
from hilum.phantom.chest import PhantomOptions, make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.recipes import parse_recipe
from hilum.volume import Volume

SPOILED = {
    "never applied": lambda hu: hu + 1024,
    "never applied, -1000": lambda hu: hu + 1000,
    "applied twice": lambda hu: np.maximum(hu - 1024, -32768),
    "applied twice, -1000": lambda hu: np.maximum(hu - 1000, -32768),
    "8-bit lung": lambda hu: np.rint(np.clip((hu + 1350) / 1500, 0, 1) * 255),
    "8-bit mediastinum": lambda hu: np.rint(np.clip((hu + 160) / 400, 0, 1) * 255),
    "mask": lambda hu: hu > -400,
    "display mask": lambda hu: (hu > -400) * 255,
    "labels": lambda hu: np.digitize(hu, [-900, -400, 0, 200]),
    "constant": lambda hu: hu * 0,
    "ten times": lambda hu: np.clip(hu * 10 + 30000, -32768, 32767),
}
SAYS = {
    "never applied": "never been applied",
    "never applied, -1000": "never been applied",
    "applied twice": "applied twice",
    "applied twice, -1000": "applied twice",
    "8-bit lung": "8-bit display values",
    "8-bit mediastinum": "8-bit display values",
    "mask": "2 different values from 0 to 1, as in a label map or mask",
    "display mask": "label map or mask",
    "labels": "label map or mask",
    "constant": "label map or mask",
    "ten times": "no ",
}

KINDS = {
    "thick": {},
    "noisy and sharp": {"options": PhantomOptions(kernel="sharp", noise_hu=60.0)},
    "without noise": {"options": PhantomOptions(noise_hu=0.0)},
    "without a table or circle": {"options": PhantomOptions(table=False, field_of_view=False)},
    "ill": {"options": PhantomOptions(consolidation=True, effusion=True, emphysema=True)},
    "soft": {"options": PhantomOptions(kernel="soft")},
    "padded": {"options": PhantomOptions(padding_hu=-2000)},
    "thin": {"shape": (40, 200, 200), "spacing": (0.6, 1.9, 1.9)},
    "tight": {"shape": (60, 90, 90), "spacing": (4.0, 3.0, 3.0)},
    "few slices": {"shape": (4, 128, 128), "spacing": (8.0, 3.0, 3.0)},
}


def asked(array, like):
    return note_implausible_values(Volume(array.astype(np.int16), like.geometry))


@pytest.fixture(scope="module")
def phantoms():
    coarse = {"shape": (60, 120, 120), "spacing": (5.0, 3.2, 3.2)}
    return {name: make_phantom(seed=k, **coarse | more).scan.ct for k, (name, more) in enumerate(KINDS.items())}


@pytest.mark.parametrize("kind", KINDS)
def test_phantoms_are_plausible_until_they_are_spoiled(phantoms, kind):
    ct = phantoms[kind]
    assert not note_implausible_values(ct)
    for how, spoil in SPOILED.items():
        (note,) = asked(spoil(ct.array.astype(np.float64)), ct)
        assert note.code == "not-hu"
        assert SAYS[how] in note.text, (how, note.text)


def test_a_field_of_view_inside_the_body_is_plausible(phantoms):
    ct = phantoms["thick"]
    z, y, x = (slice(n // 3, 2 * n // 3) for n in ct.shape)
    inside = ct.array[z, y, x]
    assert not note_implausible_values(Volume(inside, hilum.Geometry(inside.shape, (5.0, 3.2, 3.2))))


def test_the_cause_names_where_air_lies(phantoms):
    ct = phantoms["thick"]
    (note,) = asked(ct.array + 1024, ct)
    assert abs(int(note.text.split("near ")[1].split(",")[0]) - 24) < 25


def test_too_few_voxels_or_other_types_are_not_judged(phantoms):
    ct = phantoms["thick"]
    tiny = np.zeros((2, 3, 4), np.int16)
    assert not note_implausible_values(Volume(tiny, hilum.Geometry(tiny.shape, (1.0, 1.0, 1.0))))
    assert not note_implausible_values(Volume(ct.array.astype(np.float32) + 9999, ct.geometry))


def test_reading_says_it_once_whatever_the_format(phantoms, tmp_path):
    ct = phantoms["thick"]
    raw = Volume(ct.array + np.int16(1024), ct.geometry)
    coarse = parse_recipe("[resample]\nspacing_mm = 4.0\n")
    for name in ("a.mhd", "a.nii.gz", "a.nrrd"):
        hilum.write(ct, tmp_path / name)
        assert not hilum.read(tmp_path / name).notes
        hilum.write(raw, tmp_path / name)
        scan = hilum.read(tmp_path / name)
        assert [note.code for note in scan.notes] == ["not-hu"]
        assert [n.code for n in hilum.preprocess(scan, coarse).notes].count("not-hu") == 1


def grid(*spacing, shape=(40, 64, 64)):
    return hilum.Geometry(shape, spacing)


@pytest.mark.parametrize(
    ("geometry", "says"),
    [
        (grid(0.00125, 0.0007, 0.0007), "the spacing seems to be in m"),
        (
            grid(0.125, 0.07, 0.07),
            "64 voxels of 0.07 mm along y make 4.48 mm, not a person's CT: the spacing seems to be in cm",
        ),
        (grid(1250.0, 700.0, 700.0), "the spacing seems to be in micrometers"),
        (
            grid(0.05, 0.7, 0.7),
            "40 voxels of 0.05 mm along z make 2 mm, not a person's CT: the spacing seems to be wrong",
        ),
        (grid(100.0, 0.7, 0.7), "voxels of 100 mm along z"),
        (grid(1.0, 10.0, 10.0, shape=(4, 300, 300)), "300 voxels of 10 mm along y make 3000 mm"),
    ],
)
def test_a_size_that_no_person_has_is_told_with_its_cause(geometry, says):
    (note,) = note_implausible_size(geometry)
    assert note.code == "implausible-size"
    assert says in note.text


@pytest.mark.parametrize(
    "geometry",
    [grid(1.25, 0.7, 0.7), grid(0.2, 0.11, 0.11), grid(0.05, 0.7, 0.7, shape=(1, 9, 9)), grid(20.0, 1.0, 1.0)],
)
def test_the_size_of_a_person_is_plausible(geometry):
    assert not note_implausible_size(geometry)


@pytest.mark.parametrize("name", ["a.mha", "a.nii.gz", "a.nrrd", "a.npy"])
def test_an_implausible_size_is_noted_where_it_is_read_and_refused_where_it_is_preprocessed(name, tmp_path):
    hu = np.random.default_rng(0).integers(-1000, 400, (16, 16, 16)).astype(np.int16)
    hilum.write(Volume(hu, hilum.Geometry(hu.shape, (0.05, 0.05, 0.05))), tmp_path / name)
    scan = hilum.read(tmp_path / name)
    assert "implausible-size" in {note.code for note in scan.notes}
    with pytest.raises(GeometryError, match=r"16 voxels of 0\.05 mm along z make 0\.8 mm") as caught:
        hilum.preprocess(scan, hilum.recipe("default"))
    assert caught.value.code == "implausible-size"


def test_info_tells_the_size_of_a_dicom_series_by_its_headers(tmp_path):
    small = make_phantom(seed=1, shape=(4, 16, 16), spacing=(0.05, 3.2, 3.2))
    write_dicom_series(small, tmp_path / "series")
    assert "implausible-size" in {one.code for series in inspect(tmp_path / "series") for one in series.findings}


@pytest.mark.real
def test_real_scans_are_plausible_until_they_are_spoiled(real_data):
    folders = ["lidc-idri-0314/image", "cip-ct64/ct-64Dicom", "lung-pet-ct-dx-A0002"]
    folders += [f"lidc-idri-partial/small/LIDC-IDRI-000{k}" for k in (1, 2, 3)]
    cts = [
        read_dicom(real_data / name, series=stack.series_uid).ct
        for name in folders
        for stack in index_dicom(real_data / name)
    ]
    cts.append(hilum.read(real_data / "cip-ct64" / "ct-64.nrrd").ct)
    assert len(cts) == 8
    for ct in cts:
        assert not note_implausible_values(ct)
        small = Volume(ct.array[:, ::4, ::4], hilum.Geometry(ct.array[:, ::4, ::4].shape, (1.0, 1.0, 1.0)))
        for how, spoil in SPOILED.items():
            (note,) = asked(spoil(small.array.astype(np.float64)), small)
            assert SAYS[how] in note.text, (how, note.text)


@pytest.mark.real
@pytest.mark.parametrize("name", ["lm-64.nrrd", "wholeLung-64.nrrd"])
def test_real_label_maps_are_known_as_such(real_data, name):
    (note,) = hilum.read(real_data / "cip-ct64" / name).notes
    assert "label map or mask" in note.text
