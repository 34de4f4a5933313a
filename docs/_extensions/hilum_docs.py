"""What this documentation needs beyond Sphinx's own extensions."""

import ast
import importlib
import inspect
import io
import re
import sys
from itertools import pairwise
from pathlib import Path

import msgspec
from cyclopts import App
from matplotlib.figure import Figure
from rich.console import Console
from sphinx_gallery.scrapers import figure_rst

import hilum
from hilum.cli import program

WIDTH = 88
CHINESE = "zh/"


def setup(sphinx):
    """Register the hooks."""
    sphinx.connect("config-inited", write_generated_pages)
    sphinx.connect("autodoc-process-docstring", describe_constant)
    sphinx.connect("autodoc-process-docstring", describe_sections)
    sphinx.connect("autodoc-process-docstring", name_what_has_no_page)
    sphinx.connect("html-page-context", tell_language)
    return {"parallel_read_safe": True}


def write_generated_pages(sphinx, _config):
    """Write the pages that make themselves, before Sphinx looks which pages there are."""
    folder = Path(sphinx.srcdir, "_generated")
    folder.mkdir(exist_ok=True)
    for name, text in (("commands.md", command_page()), ("pictures.rst", pictures_page())):
        page = folder / name
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def pictures_page():
    """The page of every function that draws, as reStructuredText."""
    return f"""Pictures
========

.. automodule:: hilum.plot

The :doc:`gallery <gallery/index>` shows what they draw.

.. autosummary::
   :toctree: api
   :template: autosummary/base.rst

{chr(10).join(f"   {name}" for name in dir(hilum.plot))}
"""


def command_page():
    """The page of the command line, as Markdown."""
    parts = ["# Command line", "What each command says of itself; this page is made when the documentation is built."]
    parts += [_section("hilum", help_of([]), level=2)]
    for words in every_command(program()):
        parts.append(_section(f"hilum {' '.join(words)}", help_of(words), level=1 + min(len(words), 2)))
    return "\n\n".join(parts) + "\n"


def every_command(app, before=()):
    """Each command as the words that call it; of a group the group first."""
    for name in sorted(app):
        if name.startswith("-"):
            continue
        words = [*before, name]
        yield words
        if isinstance(app[name], App):
            yield from every_command(app[name], words)


def help_of(words):
    """The help of a command, as a terminal of fixed width shows it."""
    told = io.StringIO()
    console = Console(file=told, width=WIDTH, color_system=None, force_terminal=False, legacy_windows=False)
    program().help_print(list(words), console=console)
    return "\n".join(line.rstrip() for line in told.getvalue().strip().splitlines())


def _section(title, text, *, level):
    return f"{'#' * level} {title}\n\n```text\n{text}\n```"


def describe_constant(_sphinx, what, name, value, _options, lines):
    """Take a constant's description from where it is set; what its type says of itself tells nothing."""
    package, _, constant = name.rpartition(".")
    if what != "data" or package != "hilum" or constant not in hilum.__all__:
        return
    module = importlib.import_module(home_of(constant))
    lines[:] = constant_text(module, constant).splitlines()
    if hasattr(value, "items"):
        lines += ["", *(f"* ``{key!r}``: {_told(entry)}" for key, entry in value.items()), ""]
    elif isinstance(value, tuple):
        lines += ["", *(f"* {_told(entry)}" for entry in value), ""]


def home_of(name):
    """The module that the stub imports a public name from."""
    for node in ast.parse(Path(hilum.__file__).with_suffix(".pyi").read_text()).body:
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return f"hilum.{node.module}"
    raise LookupError(f"hilum.{name} is not in the stub")


def constant_text(module, name):
    """The string that follows an assignment in a module's source."""
    body = ast.parse(inspect.getsource(module)).body
    for node, after in pairwise(body):
        target = getattr(node, "target", None) or next(iter(getattr(node, "targets", [])), None)
        told = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else None
        if getattr(target, "id", "") == name and isinstance(told, str):
            return inspect.cleandoc(told)
    raise LookupError(f"{module.__name__}.{name} is not described after its assignment")


def _told(entry):
    if not isinstance(entry, hilum.Recipe):
        return f"``{entry!r}``"
    usual, own = (msgspec.to_builtins(recipe) for recipe in (hilum.recipe("default"), entry))
    others = [
        f"``{section}.{option} = {value!r}``"
        for section, options in own.items()
        if section != "name"
        for option, value in options.items()
        if value != usual[section][option]
    ]
    return ", ".join(others) or "every default"


def describe_sections(_sphinx, _what, _name, value, _options, lines):
    """Say what each section of a recipe holds, in the words of its class."""
    if value is not hilum.Recipe:
        return
    for section in value.__struct_fields__:
        told = inspect.getdoc(type(getattr(hilum.recipe("default"), section)))
        if section != "name":
            lines += ["", f"``{section}``", *(f"   {line}" for line in told.splitlines())]
    lines.append("")


def name_what_has_no_page(_sphinx, _what, _name, value, _options, lines):
    """Set single backticks for the parameters of an object and for names that are not public; the others are links."""
    own = getattr(value, "__func__", value)
    own = getattr(own, "fget", None) or own
    parameters = _parameters(own)
    module = sys.modules.get(getattr(own, "__module__", None) or "")

    def written(found):
        text = found[1]
        if text in parameters:
            return f"*{text}*"
        last = text.rpartition(".")[2]
        if text.startswith("hilum.") and text.split(".")[1] in hilum.__all__:
            return found[0]  # a public name, or a member of one
        if text.startswith("hilum.") and last in hilum.__all__:
            return f"`hilum.{last}`"
        inner = text.startswith("hilum.") and text[len("hilum.") :] not in hilum.__all__ and _importable(text)
        if inner or (last not in hilum.__all__ and hasattr(module, text)):
            return f"``{text}``"
        return found[0]

    lines[:] = [re.sub(r"(?<![`:\w])`([A-Za-z_][\w.]*)`(?![`_])", written, line) for line in lines]


def _parameters(value):
    try:
        return set(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return set()


def _importable(name):
    """Whether a name is that of a module, or of something in one."""
    module, _, last = name.rpartition(".")
    return _is_module(name) or (_is_module(module) and hasattr(importlib.import_module(module), last))


def _is_module(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def tell_language(_sphinx, pagename, _template, context, _doctree):
    """Say in which language a page is, for browsers and readers aloud."""
    context["language"] = "zh-Hans" if pagename.startswith(CHINESE) else "en"


def save_new_figures(_block, block_vars, gallery_conf):
    """Save figures that an example has made without pyplot, as all functions of hilum do.

    Every figure that has a name in the example, or is the value of a block's last line, is shown once, under the
    block that made it.
    """
    names = block_vars["example_globals"]
    shown = names.setdefault("__figures_shown__", [])
    paths = []
    for value in list(names.values()):
        if isinstance(value, Figure) and not hasattr(value, "number") and not any(value is known for known in shown):
            shown.append(value)
            path = next(block_vars["image_path_iterator"])
            value.savefig(path, dpi=100, facecolor=value.get_facecolor())
            paths.append(path)
    return figure_rst(paths, gallery_conf["src_dir"])
