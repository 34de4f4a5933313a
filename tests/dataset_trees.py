"""Phantoms in the layouts of data sets with labels, and whether a run brought the labels to their places."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from small_runs import finished_scans

import hilum
from hilum.datasets.dirlab import GRIDS
from hilum.outputs.finished import read_stored
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import reverse_in_plane, write_dicom_series, write_structure_set
from hilum.volume import Mask

SLANT = ((0.0, np.sin(0.2), np.cos(0.2)), (0.0, np.cos(0.2), -np.sin(0.2)), (1.0, 0.0, 0.0))
"""Array axes of a scan that is rotated by 11 degrees about the axis from right to left."""

FAST = '[lungs]\nmethod = "none"\n'


def chest(seed, kind="plain"):
    """A phantom, and a label map: 1 the right lung, 2 the left, 3 a ball of 14 ml in the world."""
    shape, spacing = {"thick": ((20, 64, 64), (6.0, 2.4, 2.4))}.get(kind, ((48, 64, 64), (2.5, 2.4, 2.4)))
    slanted = {"direction": SLANT} if kind == "oblique" else {}
    scan = make_phantom(seed=seed, shape=shape, spacing=spacing, **slanted).scan
    labels = scan.lungs.array.copy()
    axes = np.moveaxis(np.indices(scan.ct.shape), 0, -1)
    middle = np.array(scan.ct.geometry.center) + np.array([11.0, -7.0, 5.0])
    distance = np.linalg.norm(scan.ct.geometry.index_to_world(axes) - middle, axis=-1)
    labels[distance <= 15.0] = 3
    ct, mask = scan.ct, Mask(labels, scan.ct.geometry)
    return (reverse_in_plane(ct), reverse_in_plane(mask)) if kind == "flipped" else (ct, mask)


def with_ball(scan):
    """A scan, and its lungs and a ball about its first nodule as a label map."""
    grid = scan.ct.geometry
    axes = np.moveaxis(np.indices(grid.shape), 0, -1)
    near = np.linalg.norm(grid.index_to_world(axes) - np.array(scan.nodules[0].center), axis=-1) <= 12
    return scan.ct, Mask(np.where(near, 3, scan.lungs.array), grid)


def places(mask):
    """The centroid in the world and the volume in ml of each label."""
    found = {}
    for value in np.unique(mask.array[mask.array > 0]).tolist():
        at = np.argwhere(mask.array == value)
        found[value] = mask.geometry.index_to_world(at.mean(axis=0)), len(at) * np.prod(mask.geometry.spacing) / 1000
    return found


def check_places(stored, truth):
    """Each label of a stored map is where it was, and as large."""
    now, before = places(stored), places(truth)
    assert now.keys() == before.keys()
    for value, (center, volume) in before.items():
        assert np.linalg.norm(now[value][0] - center) < 0.1, value
        if volume >= 1:
            assert abs(now[value][1] / volume - 1) < 0.01, value


def stored_scans(out):
    """The finished scans of a run by their id: folder and record."""
    return {folder.name: (folder, record) for folder, record in finished_scans(Path(out))}


def stored_map(out, scan_id, name="labels"):
    """A label map that a run stored, and the names of its values."""
    folder, record = stored_scans(out)[scan_id]
    return read_stored(folder, record, f"labels/{name}"), dict(record.label_maps[name].values)


def write_dirlab(root, places):
    """Volumes of DIR-Lab, HU + 1024 without a header, from head to feet; returns the phantoms by their names.

    `places` are the paths of the images by their names here: ``{"case1_T00": "Case1Pack/Images/case1_T00_s.img"}``.
    """
    made = {}
    for seed, (name, place) in enumerate(places.items()):
        grid = GRIDS[name.partition("_")[0]]
        spacing = (2.5, grid.in_plane_mm, grid.in_plane_mm)
        down = ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
        made[name] = make_phantom(seed=seed, shape=grid.shape, spacing=spacing, direction=down)
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes((made[name].scan.ct.array + 1024).astype("<i2").tobytes())
    return made


def write_csv(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))


def write_lndb(root, cases, *, readers=None):
    """LNDb: `cases` are scans and label maps by number; `readers` how many masks each has, by default one.

    Label 3 of a label map is a nodule of the merged table. A case without label map has no finding. Folds are two.
    """
    merged = [("LNDbID", "RadID", "RadFindingID", "FindingID", "x", "y", "z", "AgrLevel", "Nodule", "Volume", "Text")]
    for turn, (number, (ct, mask)) in enumerate(cases.items()):
        name = f"LNDb-{number:04d}"
        (root / f"data{turn % 2}").mkdir(parents=True, exist_ok=True)
        (root / "masks").mkdir(exist_ok=True)
        hilum.write(ct, root / f"data{turn % 2}" / f"{name}.mhd")
        if mask is None:
            continue
        for reader in range(1, (readers or {}).get(number, 1) + 1):
            hilum.write(mask, root / "masks" / f"{name}_rad{reader}.mhd")
        center, volume = places(mask)[3]
        merged.append((number, 1, 3, 1, *np.round(center, 4).tolist(), 1, 1, round(volume * 1000, 2), 5))
    numbers = list(cases)
    write_csv(root / "trainset_csv" / "trainNodules_gt.csv", *merged)
    write_csv(root / "trainset_csv" / "trainCTs.csv", ("LNDbID", "RadN"), *((n, 1) for n in numbers))
    write_csv(root / "trainset_csv" / "trainFleischner.csv", ("LNDbID", "Fleischner"), *((n, n % 4) for n in numbers))
    halves = zip(numbers[::2], [*numbers[1::2], ""], strict=False)
    write_csv(root / "trainset_csv" / "trainFolds.csv", ("Fold0", "Fold1"), *halves)
    return root


def write_luna25(root, cases):
    """LUNA25: `cases` are scans with their nodules' malignancy by series UID; the patients are 100001, 100002, ..."""
    rows = [("PatientID", "SeriesInstanceUID", "StudyDate", "CoordX", "CoordY", "CoordZ", "LesionID", "AnnotationID",
             "NoduleID", "label", "Age_at_StudyDate", "Gender")]  # fmt: skip
    (root / "luna25_images").mkdir(parents=True)
    (root / "luna25_nodule_blocks" / "image").mkdir(parents=True)
    np.save(root / "luna25_nodule_blocks" / "image" / "100001_1_19990102.npy", np.zeros((4, 8, 8), np.int16))
    for patient, (uid, (scan, labels)) in enumerate(cases.items(), start=100001):
        hilum.write(scan.ct, root / "luna25_images" / f"{uid}.mha")
        for k, (nodule, label) in enumerate(zip(scan.nodules, labels, strict=False)):
            center = [f"{value:.4f}" for value in nodule.center]
            rows.append(
                (patient, uid, 19990102, *center, k, f"{patient}_{k}_19990102", f"{patient}_{k}", label, 61, "Male")
            )
    write_csv(root / "LUNA25_Public_Training_Development_Data.csv", *rows)
    return root


def write_nsclc(root, scans):
    """NSCLC-Radiomics: `scans` by patient; a CT and a structure set of the two lungs and a tumor for each."""
    for patient, scan in scans.items():
        study = root / patient / "09-18-2008-StudyID-NA-69331"
        write_dicom_series(scan.ct, study / "0.000000-NA-82046", series_uid=scan.series_uid)
        at = scan.lungs
        masks = {"Lung-Right": at.array == 1, "Lung-Left": at.array == 2, "GTV-1": with_ball(scan)[1].array == 3}
        regions = {name: Mask(mask, at.geometry) for name, mask in masks.items()}
        (study / "3.000000-NA-78236").mkdir()
        write_structure_set(regions, study / "3.000000-NA-78236" / "1-1.dcm", series_uid=scan.series_uid)
    (root / "metadata.csv").write_text("Series UID,Collection\n")
    return root


def write_nlst(root, studies, *, cancers=()):
    """NLST as TCIA's tool writes it: `studies` are lists of scans by participant and year, 1999 to 2001."""
    participants = dict.fromkeys(pid for pid, _ in studies)
    for (pid, year), scans in studies.items():
        for number, scan in enumerate(scans, start=1):
            series = f"{number}.000000-0OPLSEVZOOMT20s-{number:05d}"
            place = root / "NLST" / str(pid) / f"01-02-{year}-NLST-LSS-{pid % 100000}" / series
            write_dicom_series(scan.ct, place, series_uid=scan.series_uid)
    (root / "metadata.csv").write_text("Series UID,Collection,Subject ID\n")
    rows = ((pid, 1 if pid in cancers else 0, 61) for pid in (*participants, 218890))
    write_csv(root / "nlst_780_prsn_idc_20210527.csv", ("pid", "can_scr", "age"), *rows)
    return root


def write_nnunet(root, cases, *, labels, channel="_0000", **facts):
    """A raw data set of nnU-Net; `cases` are scans and label maps by name, those without a label map the test set."""
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (root / folder).mkdir(parents=True)
    for name, (ct, mask) in cases.items():
        hilum.write(ct, root / f"images{'Ts' if mask is None else 'Tr'}" / f"{name}{channel}.nii.gz")
        if mask is not None:
            hilum.write(mask, root / "labelsTr" / f"{name}.nii.gz")
    trained = sum(mask is not None for _, mask in cases.values())
    stated = {"labels": labels, "channel_names": {"0": "CT"}, "numTraining": trained, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(stated | facts))
    return root


def write_decathlon(root, cases):
    """Task06_Lung of the Medical Segmentation Decathlon, with the files that macOS left in its archive."""
    write_nnunet(root, cases, labels={}, channel="")
    for name in cases:
        for folder in ("imagesTr", "labelsTr"):
            (root / folder / f"._{name}.nii.gz").write_bytes(b"\x00\x05\x16\x07" * 40)
    listed = [
        {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
        for name, (_, mask) in cases.items()
        if mask is not None
    ]
    facts = {"name": "Lung", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "cancer"}, "training": listed}
    facts |= {"test": [f"./imagesTs/{name}.nii.gz" for name, (_, mask) in cases.items() if mask is None]}
    (root / "dataset.json").write_text(json.dumps(facts))
    return root
