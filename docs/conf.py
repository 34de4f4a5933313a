"""How the documentation is built; `python3 dev.py docs` does it."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_extensions"))
os.environ["MPLBACKEND"] = "agg"

import hilum

project = "hilum"
author = "The hilum developers"
copyright = "2026, The hilum developers"  # noqa: A001 - Sphinx names it so
version = release = hilum.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "hilum_docs",
]
exclude_patterns = ["_build", "_extensions", "_templates", "gallery", "concepts"]
templates_path = ["_templates"]
needs_sphinx = "8.1"
nitpicky = True
default_role = "py:obj"
myst_heading_anchors = 3
myst_links_external_new_tab = False

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings tell types, with shapes and units
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the template of a class lists them
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": ["gallery", "concepts"],
    "gallery_dirs": ["_generated/gallery", "_generated/concepts"],
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "image_scrapers": ("matplotlib", "hilum_docs.save_new_figures"),
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "write_computation_times": False,
    "capture_repr": ("_repr_html_",),  # a figure is shown, its name is not
    "min_reported_time": 10**6,  # seconds: how long an example took on one machine tells nobody anything
    "plot_gallery": "True",
}

html_theme = "pydata_sphinx_theme"
html_title = "hilum"
html_context = {"default_mode": "auto"}
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["hilum.css"]
html_sidebars = {"index": [], "get-started": [], "python": [], "zh/get-started": []}
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
}
