"""The command line: a command parses, calls once, prints."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError

import hilum
from hilum.cli import exports, plots, recipes, runs, scans, training, viewing
from hilum.cli.ending import ended_by_signals, ending, status_of
from hilum.cli.status import ALL_WELL, REFUSED, UNREAD, USAGE
from hilum.console import OutputLostError, complain, lenient_streams
from hilum.errors import HilumError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMANDS: tuple[Callable[..., int], ...] = (
    runs.run,
    runs.demo,
    scans.info,
    scans.convert,
    scans.lungs,
    scans.nodules,
    runs.stats,
    runs.report,
    runs.verify,
    runs.store,
    training.slices,
    training.patches,
    training.froc,
    viewing.view,
)
"""Every command, by the name of its function."""

RECIPE_COMMANDS: dict[str, Callable[..., int]] = {
    "list": recipes.list_recipes,
    "show": recipes.show,
    "check": recipes.check,
}
"""Every command of ``hilum recipe``."""

PLOT_COMMANDS: tuple[Callable[..., int], ...] = (
    plots.histogram,
    plots.montage,
    plots.surface,
    plots.steps,
    plots.nodules,
    plots.window,
    plots.compare,
    plots.overview,
)
"""Every command of ``hilum plot``, by the name of its function."""

EXPORT_COMMANDS: tuple[Callable[..., int], ...] = (
    exports.nnunet,
    exports.monai,
    exports.seg,
    exports.coco3d,
    exports.csv,
)
"""Every command of ``hilum export``, by the name of its function."""


PRINTING = frozenset({"info", "stats", "verify", "recipe", "froc"})
"""Commands that print what they find: without stdout they end. All others leave files, and go on."""

HELP = frozenset({"--help", "-h", "--version"})
"""What makes any command print, and no more."""


def _app() -> App:
    program = App(
        name="hilum",
        help="Chest CT scans in, training-ready and geometry-true data out.",
        version=hilum.__version__,
        help_format="plaintext",  # a renderer of markup costs more than all the rest of the start
        suppress_keyboard_interrupt=False,  # it would end the program without a word
    )
    for command in COMMANDS:
        program.command(command)
    group = App(name="recipe", help="Look at recipes, and check your own.", help_format="plaintext")
    for name, command in RECIPE_COMMANDS.items():
        group.command(command, name=name)
    program.command(group)
    drawn = App(name="plot", help="Draw a picture of a scan.", help_format="plaintext")
    for command in PLOT_COMMANDS:
        drawn.command(command)
    program.command(drawn)
    given = App(name="export", help="Bring a finished output into another program's form.", help_format="plaintext")
    for command in EXPORT_COMMANDS:
        given.command(command)
    program.command(given)
    return program


app = _app()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        In place of the process's own.

    Returns
    -------
    int
        0 all well; 1 something was refused or failed; 2 usage; 130 and 143 interrupted, by Ctrl-C and by SIGTERM; 141
        nobody read what was printed.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    with lenient_streams(needed=_only_prints(words)):
        try:
            return _run(words, debug=debug)
        except OutputLostError as lost:
            if lost.closed:
                return UNREAD
            complain(f"stdout takes no more: {lost}; make room, or send it elsewhere")
            return REFUSED


def _only_prints(words: list[str]) -> bool:
    """Whether all that comes of a command is what it prints."""
    return not words or words[0] in PRINTING or not HELP.isdisjoint(words)


def _run(words: list[str], *, debug: bool) -> int:
    """Run a command, and say in one line what came in its way."""
    try:
        with ended_by_signals():
            status = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as problem:
        complain(f"{problem}; see 'hilum --help'")
        return USAGE
    except OutputLostError:
        raise
    except HilumError as refusal:
        if debug:
            raise
        complain(str(refusal))
        return REFUSED
    except KeyboardInterrupt as asked:
        complain(ending(asked))
        return status_of(asked)
    except Exception as problem:  # the last resort: a person gets one line, a developer --debug
        if debug:
            raise
        complain(f"failed, which it should not: {type(problem).__name__}: {problem}; give --debug to see where")
        return REFUSED
    return status if isinstance(status, int) else ALL_WELL
