from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import finished_scans

import hilum
from hilum import cli
from hilum.errors import RecipeError
from hilum.io.read_options import ReadOptions
from hilum.phantom.chest import make_phantom
from hilum.phantom.files import write_dicom_series
from hilum.recipe_sections import Output, Read
from hilum.recipes import RECIPES, parse_recipe, recipe, recipe_fingerprint, recipe_toml, with_options
from hilum.volume import Volume

pytestmark = pytest.mark.usefixtures("no_workers")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_toml_with_all_its_defaults(name):
    text = recipe_toml(recipe(name))
    assert parse_recipe(text) == RECIPES[name]
    assert "spacing_mm = 1.0" in text
    assert f'name = "{name}"' in text


@given(spacing=st.tuples(*[st.floats(0.1, 100)] * 3), order=st.sampled_from([0, 1, 3]), dilate=st.floats(0, 50))
def test_any_valid_recipe_survives_toml(spacing, order, dilate):
    text = f"[resample]\nspacing_mm = {list(spacing)}\norder = {order}\n[lungs]\ndilate_mm = {dilate!r}"
    chosen = parse_recipe(text)
    assert chosen.resample.spacing_mm == spacing
    assert parse_recipe(recipe_toml(chosen)) == chosen


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[resample]\nspacing_mm = -1.0", "spacing_mm is -1.0"),
        ("[resample]\nspacing_mm = nan", "spacing_mm is nan"),
        ("[resample]\nspacing_mm = [1.0, 0.0, 1.0]", "spacing_mm"),
        ("[resample]\nspacing_mm = [1.0, 1.0]", "length 3"),
        ("[resample]\norder = 2", "order"),
        ('[resample]\ngrid = "middle"', "grid"),
        ("[resampel]\norder = 1", "resampel"),
        ("[lungs]\ndilate = 5", "dilate"),
        ("[lungs]\ndilate_mm = -5.0", "dilate_mm"),
        ('[lungs]\nmethod = "tutorial3d"\nairways = true', "lungs.airways"),
        ('[lungs]\nmethod = "tutorial2d"\npathology = "exclude"', "lungs.pathology"),
        ('[lungs]\nbackground = "sides"', "lungs.background"),
        ("[read]\nmax_gap_mm = -1.0", "max_gap_mm"),
        ("[read]\nmax_gap_mm = nan", "max_gap_mm"),
        ("[read]\nmax_gap = 1.0", "max_gap"),
        ("[read]\nhu_offset = 1e7", "hu_offset"),
        ("[read]\nrescale = [1.0]", "read.rescale is"),
        ("[read]\nrescale = [0.0, -1024.0]", "read.rescale is"),
        ("[read]\nrescale = [1.0, 2e6]", "read.rescale is"),
        ("[intensity]\nlower = 400.0", "not below"),
        ("[nodules]\nmin_readers = 0", "min_readers"),
        ("[nodules]\nmin_readers = 17", "min_readers"),
        ('name = "../x"', "name"),
        ("not toml", "="),
    ],
)
def test_a_bad_recipe_is_refused_in_one_line_that_names_the_option(text, told):
    with pytest.raises(RecipeError) as refusal:
        parse_recipe(text, where="mine.toml")
    assert told in str(refusal.value)
    assert str(refusal.value).startswith("mine.toml: ")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) <= 300


def test_a_recipe_is_found_by_name_or_file(tmp_path):
    (tmp_path / "mine.toml").write_text('name = "mine"\n[lungs]\nmethod = "none"\n')
    assert recipe(tmp_path / "mine.toml").lungs.method == "none"
    with pytest.raises(RecipeError, match="default, tutorial2017, luna16"):
        recipe("nosuch")
    with pytest.raises(RecipeError, match="cannot be read"):
        recipe(tmp_path / "gone.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(RecipeError, match="cannot be read"):
        recipe(tmp_path / "latin.toml")


def test_the_fingerprint_follows_what_decides_the_result_and_nothing_else():
    base = recipe_fingerprint(recipe("default"))
    assert base == recipe_fingerprint(parse_recipe(""))
    assert base == recipe_fingerprint(parse_recipe("[nodules]\nmin_readers = 1"))
    assert base == recipe_fingerprint(parse_recipe('name = "other"\n[compute]\nworkers = 3'))
    changed = [
        "[resample]\nspacing_mm = 2.0", "[resample]\norder = 1", "[lungs]\ndilate_mm = 1.0", '[orient]\naxes = "keep"',
        "[read]\nmax_gap_mm = 4.0", '[read]\ntilt = "refuse"', "[read]\nrescale = [1, -1024]", "[read]\nhu_offset = 1",
        "[nodules]\nmask = false", "[nodules]\nmin_readers = 2",
        '[intensity]\noutput = "unit"', '[output]\nformat = "npy"',
    ]  # fmt: skip
    marks = {base, *(recipe_fingerprint(parse_recipe(text)) for text in changed)}
    assert len(marks) == len(changed) + 1


def test_options_of_the_command_line_win():
    changed = with_options(recipe("default"), file_format="npy")
    assert changed == msgspec.structs.replace(RECIPES["default"], output=Output(format="npy"))
    assert with_options(recipe("luna16")) == recipe("luna16")
    stated = with_options(recipe("default"), max_gap_mm=6.0, tilt="refuse", rescale=(1.0, -24.0), hu_offset=-1000.0)
    assert stated.read == Read(max_gap_mm=6.0, tilt="refuse", rescale=(1.0, -24.0), hu_offset=-1000.0)
    assert with_options(stated, max_gap_mm=None, tilt=None) == stated
    assert ReadOptions.of_recipe(stated.read).rescaled(2.0, 0.0) == (1.0, -1024.0)
    assert ReadOptions.of_recipe(Read()) == ReadOptions(max_gap_mm=5.0)
    with pytest.raises(RecipeError, match="options of the command line"):
        with_options(recipe("default"), max_gap_mm=-1.0)


def test_a_run_reads_as_the_command_line_says(tmp_path, capsys):
    phantom = make_phantom(seed=1, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0))
    write_dicom_series(phantom, tmp_path / "in")
    hilum.write(Volume(phantom.scan.ct.array + 1024, phantom.scan.ct.geometry), tmp_path / "in.nii.gz")
    (tmp_path / "r.toml").write_text('[lungs]\nmethod = "none"\n[resample]\ngrid = "native"\n')

    def run(source, out, *options):
        words = ["run", tmp_path / source, "--out", tmp_path / out, "--recipe", tmp_path / "r.toml", *options]
        return cli.main([str(word) for word in words])

    def stored(out):
        ((folder, record),) = finished_scans(tmp_path / out)
        return hilum.read(folder / "ct.nii.gz").ct.array, [note["code"] for note in record.notes]

    assert run("in", "plain") == run("in.nii.gz", "offset", "--hu-offset", "-1024") == 0
    assert (stored("plain")[0] == phantom.scan.ct.array).all()
    assert (stored("offset")[0] == phantom.scan.ct.array).all()
    assert stored("plain")[1].count("stated-rescale") == 0
    assert "stated-rescale" in stored("offset")[1]
    assert "hu_offset = -1024.0" in (tmp_path / "offset" / "recipe.toml").read_text()
    assert run("in.nii.gz", "rescale", "--rescale", "1,-1024", "--no-tilt") == 0
    assert 'tilt = "refuse"' in (tmp_path / "rescale" / "recipe.toml").read_text()
    assert run("in.nii.gz", "offset") == 1  # another recipe
    sorted((tmp_path / "in").iterdir())[9].unlink()
    assert run("in", "gap") == 1
    assert "--max-gap-mm 24" in capsys.readouterr().err
    assert run("in", "gap", "--max-gap-mm", "24") == 0
