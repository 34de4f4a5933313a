"""What is public, name by name, and a folder with scans for examples that read something."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pages

import hilum
from hilum.cli import program
from hilum.phantom import make_phantom
from hilum.phantom.files import write_dicom_series

RECIPE = 'name = "small"\n[resample]\nspacing_mm = 4.0\n'


@dataclass(frozen=True)
class Public:
    """One public object: its name as a user writes it, and what it is."""

    name: str
    value: object

    @property
    def text(self):
        return inspect.getdoc(self.value) or ""


def public_objects():
    """Every public function, class, method and property, and what the reference lists beside them.

    Constants have no docstring of their own.
    """
    found = []
    for name in sorted(set(hilum.__all__) - {"__version__"}):
        value = getattr(hilum, name)
        inside = public_names(value) if inspect.ismodule(value) else {name: value}
        for own, part in inside.items():
            whole = f"{name}.{own}" if inspect.ismodule(value) else name
            if inspect.isfunction(part) or inspect.isclass(part):
                found.append(Public(whole, part))
            found += [Public(f"{whole}.{key}", member) for key, member in members(part)]
    for name in re.findall(r"^   (\w+\.[\w.]+)$", pages.read_page("reference/api.rst"), re.MULTILINE):
        module, _, own = name.rpartition(".")
        found.append(Public(name, getattr(importlib.import_module(f"hilum.{module}"), own)))
    return found


def public_names(module):
    """What a public module, such as `hilum.plot`, offers."""
    names = getattr(module, "__all__", None) or [name for name in dir(module) if not name.startswith("_")]
    return {name: getattr(module, name) for name in names}


def members(value):
    """The public methods and properties of a class of hilum, also those that it inherits from one."""
    for name in sorted(dir(value)) if inspect.isclass(value) else ():
        owner = next((base for base in value.__mro__ if name in vars(base)), object)
        if name.startswith("_") or not owner.__module__.startswith("hilum"):
            continue
        member = inspect.getattr_static(value, name)
        member = getattr(member, "__func__", member)
        if inspect.isfunction(member) or isinstance(member, (property, functools.cached_property)):
            yield name, member


def write_face_folder(folder):
    """Write what examples read: a DICOM series, its table of nodules, volume files, and a finished run with patches."""
    phantom = make_phantom(seed=1, shape=(48, 96, 96), spacing=(6.25, 4.0, 4.0))
    series = write_dicom_series(phantom, folder / "scan")
    shutil.copy(next(series.glob("*1.dcm")), series / "again.dcm")  # an oddity, so that there is a note
    rows = [",".join(map(str, (phantom.scan.series_uid, *n.center, n.diameter_mm))) for n in phantom.scan.nodules]
    table = folder / "annotations.csv"
    table.write_text("\n".join(["seriesuid,coordX,coordY,coordZ,diameter_mm", *rows, ""]))
    hilum.write(phantom.scan.ct, folder / "ct.nii.gz")
    hilum.write(phantom.lungs, folder / "lungs.nii.gz")
    recipe = folder / "small.toml"
    recipe.write_text(RECIPE)
    run("run", series, "--annotations", table, "--recipe", recipe, "--out", folder / "OUT")
    run("patches", folder / "OUT", "--size", 16, "--out", folder / "PATCHES")
    return folder


def run(*words):
    """Run a command of hilum that has to end well."""
    assert program()([str(word) for word in words], result_action="return_value") in {None, 0}


def copy_of(folder, target):
    """Give an example a folder of its own."""
    return Path(shutil.copytree(folder, target, dirs_exist_ok=True))
