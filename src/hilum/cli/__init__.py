"""The command line: a command parses its arguments, calls the library once, and prints."""

import sys
from collections.abc import Callable, Sequence

from cyclopts import App, CycloptsError

import hilum
from hilum.cli import exports, folds, plots, recipes, runs, scans
from hilum.cli.status import ALL_WELL, REFUSED, UNREAD, USAGE, describe_interrupt, exit_status, raise_on_signals
from hilum.console import OutputLostError, lenient_streams, print_error
from hilum.errors import HilumError

_Commands = tuple[Callable[..., int | None], ...]

COMMANDS: _Commands = (
    runs.run, runs.demo, scans.info, scans.convert, scans.lungs, scans.nodules, runs.stats, runs.report, runs.verify,
    runs.store, folds.folds, exports.slices, exports.patches, exports.froc,
    exports.score, scans.view,
)  # fmt: skip
GROUPS: tuple[tuple[str, str, _Commands], ...] = (
    ("recipe", "List, show and check recipes.", (recipes.list_, recipes.show, recipes.check)),
    ("plot", "Draw a picture of a scan.", (
        plots.histogram, plots.montage, plots.surface, plots.steps, plots.nodules, plots.window, plots.compare,
        plots.overview,
    )),
    ("export", "Write a finished output in the format of another program.", (
        exports.nnunet, exports.monai, exports.seg, exports.coco3d, exports.csv,
    )),
)  # fmt: skip

PRINTING = frozenset({"info", "stats", "verify", "recipe", "froc", "score"})
"""Commands whose only result is what they print: they stop when stdout is closed. The others write files and go on."""

HELP = frozenset({"--help", "-h", "--version"})  # options that make any command print and do nothing else


_PURPOSE = "Chest CT scans in, training-ready and geometry-true data out."

# A markup renderer would take longer than the rest of the start. Cyclopts would swallow Ctrl-C without a message.
app = App(
    name="hilum", help=_PURPOSE, version=hilum.__version__, help_format="plaintext", suppress_keyboard_interrupt=False
)
for _command in COMMANDS:
    app.command(_command)
for _name, _help, _commands in GROUPS:
    _group = App(name=_name, help=_help, help_format="plaintext")
    for _command in _commands:
        _group.command(_command)
    app.command(_group)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Defaults to the arguments of the process.

    Returns
    -------
    int
        0 if all went well; 1 if something was refused or failed; 2 for wrong usage; 130 after Ctrl-C, 143 after
        SIGTERM; 141 if nobody reads stdout.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    only_prints = not words or words[0] in PRINTING or not HELP.isdisjoint(words)
    with lenient_streams(stdout_required=only_prints):
        return _run(words, debug=debug)


def _run(words: list[str], *, debug: bool) -> int:
    """Run one command and print an error as one line."""
    try:
        with raise_on_signals():
            status = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as problem:
        print_error(f"{problem}; see 'hilum --help'")
        return USAGE
    except OutputLostError as lost:
        if lost.closed:
            return UNREAD
        print_error(f"cannot write to stdout: {lost}; free some space, or write the output to another place")
        return REFUSED
    except KeyboardInterrupt as interrupt:
        print_error(describe_interrupt(interrupt))
        return exit_status(interrupt)
    except Exception as problem:  # users get one line, developers the traceback with --debug
        if debug:
            raise
        unexpected = f"unexpected {type(problem).__name__}: {problem}; add --debug to see where it happened"
        print_error(str(problem) if isinstance(problem, HilumError) else unexpected)
        return REFUSED
    return status if isinstance(status, int) else ALL_WELL
