"""The pages of the documentation: their blocks run, languages agree, links resolve, every public name has its place."""

from __future__ import annotations

import csv
import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pages
import pytest
from conftest import DATA
from dsb2017_files import write_dsb2017
from lidc_message import message, nodule, roi, square
from public_face import write_face_folder

import hilum
from hilum.cli import program
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.phantom.options import PhantomOptions

pytestmark = [
    pytest.mark.usefixtures("no_workers"),
    pytest.mark.skipif(not pages.read_page("index.md"), reason="an installed package comes without the pages"),
]

CASE = DATA / "lidc-idri-0314"
TRANSLATIONS = {
    "zh/get-started.md": "get-started.md",
    "zh/luna16.md": "luna16.md",
    "zh/lidc.md": "lidc.md",
    "zh/faq.md": "faq.md",
    "zh/README.md": "../README.md",
}
PAGES = sorted(p.relative_to(pages.DOCS).as_posix() for p in pages.DOCS.rglob("*.md") if "_" not in p.parts[-2][:1])


def small(seed):
    return make_phantom(seed=seed, shape=(48, 96, 96), spacing=(6.25, 4.0, 4.0))


def a_scan():
    write_dicom_series(small(1), "scan")


def patients():
    write_dsb2017([small(seed) for seed in (1, 2, 3)], "DSB2017", labels={0: 1, 1: 0})


def scan_of_get_started():
    """The scan and the table that the first page makes, so that both pages tell of the same one."""
    first = next(code for kind, code in pages.blocks(pages.read_page("get-started.md")) if kind == "python")
    pages.run_block("python", first, {})


def scan_of_get_started_and_a_clear_one():
    scan_of_get_started()
    clear = make_phantom(seed=3, shape=(48, 96, 96), spacing=(6.25, 4.0, 4.0), options=PhantomOptions(nodules=()))
    write_dicom_series(clear, "clear")
    with Path("annotations.csv").open("a") as table:
        table.write(f"{clear.scan.series_uid},,,,\n")


def lidc_case():
    """The case that the page tells of, where it is there; else a phantom with two readers."""
    series = Path("LIDC/LIDC-IDRI-0314/series")
    series.parent.mkdir(parents=True)
    if CASE.is_dir():
        shutil.copytree(CASE / "image", series)
        shutil.copy(CASE / "053.xml", series.parent)
        return
    phantom = small(1)
    write_dicom_series(phantom, series)
    z, y, x = phantom.scan.ct.geometry.world_to_index(phantom.scan.nodules[0].center).round().astype(int)
    height = phantom.scan.ct.geometry.index_to_world((z, y, x))[2]
    drawn = nodule(roi(f"{height:.4f}", square(x - 2, y - 2, 4)))
    (series.parent / "053.xml").write_text(message(drawn, drawn, series=phantom.scan.series_uid))


def a_run_of_seven_patients():
    """Eight scans in folders named after cases; one case has two."""
    recipe = Path("tiny.toml")
    recipe.write_text('name = "tiny"\n[lungs]\nmethod = "none"\n[resample]\ngrid = "native"\n')
    rows = ["seriesuid,coordX,coordY,coordZ,diameter_mm"]
    for k, case in enumerate((1, 2, 2, 3, 4, 5, 6, 7)):
        phantom = make_phantom(seed=k, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0))
        home = Path(f"SCANS/LIDC-IDRI-{case:04d}")
        home.mkdir(parents=True, exist_ok=True)
        hilum.write(phantom.scan.ct, home / f"1.2.{k}.mhd")
        x, y, z = phantom.scan.ct.geometry.center
        rows.append(f"1.2.{k},{x},{y},{z},9" if k % 2 else f"1.2.{k},,,,")
    Path("annotations.csv").write_text("\n".join(rows))
    program()(
        ["run", "SCANS", "--annotations", "annotations.csv", "--recipe", "tiny.toml", "--out", "OUT"],
        result_action="return_value",
    )


def scans_for_a_run():
    """Two series with a table of their nodules, and a volume file that ends too early."""
    rows = ["seriesuid,coordX,coordY,coordZ,diameter_mm"]
    for seed in (1, 2):
        phantom = small(seed)
        write_dicom_series(phantom, Path(f"SCANS/{seed}"))
        rows += [",".join(map(str, (phantom.scan.series_uid, *n.center, n.diameter_mm))) for n in phantom.scan.nodules]
    Path("annotations.csv").write_text("\n".join(rows))
    hilum.write(small(3).scan.ct, "SCANS/broken.mha")
    os.truncate("SCANS/broken.mha", 100_000)


def own_labels():
    """A scan and a ball that somebody drew in it, on slices of its own."""
    scan = small(1).scan
    grid = scan.ct.geometry
    hilum.write(scan.ct, _made("imagesTr") / "case1.nii.gz")
    fine = hilum.Geometry((60, 60, 60), (1.0, 1.0, 1.0), tuple(np.subtract(grid.center, (80.0, 30.0, 30.0))))
    distance = np.linalg.norm(np.moveaxis(np.indices(fine.shape), 0, -1) - 30, axis=-1)
    hilum.write(hilum.Mask(distance < 12, fine), _made("labelsTr") / "case1.nii.gz")


def _made(name):
    Path(name).mkdir()
    return Path(name)


def a_scan_and_a_run():
    write_face_folder(Path())


def nothing():
    pass


@pytest.mark.parametrize(
    ("name", "prepare"),
    [
        ("get-started.md", nothing),
        ("python.md", a_scan_and_a_run),
        ("from-the-tutorial.md", nothing),
        ("dicom.md", nothing),
        ("your-recipe.md", a_scan),
        ("stores.md", a_scan),
        ("runs.md", scans_for_a_run),
        ("faq.md", scans_for_a_run),
        ("score.md", a_scan_and_a_run),
        ("dsb2017.md", patients),
        ("labels.md", own_labels),
        ("tables.md", nothing),
        ("lidc.md", lidc_case),
        ("folds.md", a_run_of_seven_patients),
        ("baseline.md", nothing),
        ("frameworks.md", scan_of_get_started_and_a_clear_one),
    ],
)
def test_a_page_runs_and_prints_what_it_shows(name, prepare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare()
    text = pages.read_page(name)
    _, ran = pages.run_page(text, compared=name != "lidc.md" or CASE.is_dir())
    fences = [fence.partition(" ")[::2] for fence, _ in pages.blocks(text)]
    left_out = {library for _, library in fences if library and find_spec(library) is None}
    here = [kind for kind, library in fences if library not in left_out]
    assert ran["python"] + ran["sh"] >= 2
    assert ran == {kind: here.count(kind) for kind in pages.KINDS}
    assert left_out <= {"torch", "monai", "torchio", "nnunetv2", "pandas"}
    assert text.lower().count("*not run in the build") >= len(left_out)


def test_the_snippets_of_python_are_short_and_thirty():
    snippets = [code for kind, code in pages.blocks(pages.read_page("python.md")) if kind.startswith("python")]
    assert len(snippets) >= 30
    assert [code for code in snippets if len(code.splitlines()) > 4] == []


def test_a_page_that_shows_something_else_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = "```python\nprint(1 + 1)\n```\n\n```text\n{}\n```\n"
    pages.run_page(page.format(2))
    with pytest.raises(AssertionError, match="what was printed is"):
        pages.run_page(page.format(3))
    with pytest.raises(AssertionError, match="hilum recipe check no"):
        pages.run_page("```sh\nhilum recipe check no.toml\n```\n")
    script = "```sh pytest\npython -c 'print(6 * 7)'{}\n```\n\n```text pytest\n42\n```\n"
    pages.run_page(script.format(""))
    with pytest.raises(AssertionError, match="exit 3"):
        pages.run_page(script.format("; exit 3"))
    _, ran = pages.run_page(script.format("; exit 3").replace("pytest", "no_such_library"))
    assert set(ran.values()) == {0}


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_a_translation_has_the_same_code(name):
    ours, theirs = pages.read_page(TRANSLATIONS[name]), pages.read_page(name)
    assert pages.blocks(theirs) == pages.blocks(ours)
    assert len(pages.blocks(ours)) > 2
    own = {Path(name).name, "index.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"}  # not pages of the site
    wanted = {Path(link.partition("#")[0]).name for link in pages.links(ours)} - own
    assert {Path(link.partition("#")[0]).name for link in pages.links(theirs)} - own == wanted
    heads = [[line.split()[0] for line in re.findall(r"^#+ .*$", text, re.MULTILINE)] for text in (ours, theirs)]
    assert heads[0] == heads[1]
    rows = [len(re.findall(r"^(?:\||\* )", text, re.MULTILINE)) for text in (ours, theirs)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    text = pages.read_page(name)
    for link in pages.links(text):
        path, _, anchor = link.partition("#")
        if "_generated/" in path:  # made when the documentation is built, which checks it
            continue
        target = (pages.DOCS / name).parent / path if path else pages.DOCS / name
        assert target.exists(), link
        assert not anchor or anchor in pages.anchors(target.read_text(encoding="utf-8")), link


def test_a_link_that_leads_nowhere_would_be_told():
    text = "See [a](nowhere.md#here) and [b](https://example.org).\n\n```\n[c](d)\n```\n# A title, of `x_y`\n"
    assert pages.links(text) == ["nowhere.md#here"]
    assert pages.anchors(text) == {"a-title-of-x_y"}


@pytest.mark.parametrize("name", PAGES)
def test_commands_that_pages_name_exist(name):
    text = pages.read_page(name)
    code = "".join(code for kind, code in pages.blocks(text) if not kind.startswith(("python", "toml")))
    named = set(re.findall(r"^(?:\$ )?hilum ([a-z]+)", code, re.MULTILINE)) | set(re.findall(r"`hilum ([a-z]+)", text))
    assert named <= set(program())


def test_every_public_name_is_in_one_group_of_the_reference():
    text = pages.read_page("reference/api.rst")
    parts = re.split(r"^(\w.*)\n-{3,}$", text, flags=re.MULTILINE)[1:]
    groups = dict(zip(parts[::2], parts[1::2], strict=True))
    named = {
        title: re.findall(r"^   (\w+)$|py:data:: (\w+)|^``hilum\.(plot)``", body, re.MULTILINE)
        for title, body in groups.items()
    }
    listed = ["".join(found) for group in named.values() for found in group]
    assert len(listed) == len(set(listed))
    missing = set(hilum.__all__) - set(listed)
    assert not missing, f"add to docs/reference/api.rst, under what they are for: {sorted(missing)}"
    assert set(listed) <= set(hilum.__all__)
    tasks = ["Read", "Look", "Interop", "Pictures", "Geometry", "Resample", "Lungs", "Nodules", "Recipes", "Training"]
    assert [title for title in groups if title.startswith(tuple(tasks))] == [
        next(title for title in groups if title.startswith(task)) for task in tasks
    ]


def test_every_page_is_reached_from_the_index():
    named = set()
    for name in ("index.md", "how-to.md", "reference/index.md"):
        for _, tree in re.findall(r"^```{(toctree)}\n(.*?)^```$", pages.read_page(name), re.DOTALL | re.MULTILINE):
            lines = [re.sub(r".*<(.*)>", r"\1", line) for line in tree.splitlines()]
            named |= {os.path.normpath(Path(name).parent / line) + ".md" for line in lines if line}
    told = {name for name in PAGES if not re.match(r"decisions/0", name)}
    assert told - named == {"index.md"}


def test_sections_of_the_recipe_page_are_those_of_a_recipe():
    text = pages.read_page("your-recipe.md")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    assert [row[0] for row in rows] == [f for f in hilum.Recipe.__struct_fields__ if f != "name"]
    for section, told in rows:
        for option in type(getattr(hilum.recipe("default"), section)).__struct_fields__:
            assert f"`{option}`" in told, (section, option)


def test_the_table_of_the_first_page_is_one_that_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scan_of_get_started()
    with Path("annotations.csv").open(newline="") as table:
        assert len(list(csv.DictReader(table))) == 5
