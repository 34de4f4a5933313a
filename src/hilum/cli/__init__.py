"""The command line: a command parses its arguments, calls the library once, and prints."""

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, NoReturn

import hilum
from hilum.cli.status import (
    ALL_WELL,
    INTERRUPTED,
    REFUSED,
    UNREAD,
    USAGE,
    describe_interrupt,
    exit_status,
    raise_on_signals,
)
from hilum.cli.tasks import TASKS, Command, join_lines
from hilum.console import OutputLostError, lenient_streams, print_error, printing
from hilum.errors import HilumError, OutputError

if TYPE_CHECKING:
    from cyclopts import App, Group

    from hilum.cli import options as options

PRINTING = frozenset({"info", "stats", "verify", "recipe", "froc", "score"})
"""Commands whose only result is what they print: they stop when stdout is closed. The others write files and go on."""

HELP = frozenset({"--help", "-h", "--version", "-V"})  # options that make any command print and do nothing else


_PATHS = {"info": 1, "convert": 2}
"""Commands of `hilum.cli.scans` that many scripts call, and how many paths they take: with paths alone they start at
once, since the parser takes longer to load than numpy."""

_EVERY = (
    "Every command also takes --quiet (no notes and no progress), --verbose (a line for each scan), --log FILE (append "
    "every line to a file, with the time) and --debug (show where an unexpected error happened)."
)

_PURPOSE = "Chest CT scans in, training-ready and geometry-true data out."


def program(name: str = "") -> "App":
    """Make the parser of the command or group with this name; of all of them if there is none."""
    from cyclopts import App, Group  # late: it loads as slowly as numpy

    import_module("hilum.cli.options")  # the annotations of a command name it
    # A markup renderer would take longer than the rest of the start. Cyclopts would swallow Ctrl-C without a message.
    app = App(
        name="hilum", help=_PURPOSE, version=hilum.__version__, version_flags=("--version", "-V"),
        help_format="plaintext", group_commands=Group("Options", sort_key=len(TASKS)),
        suppress_keyboard_interrupt=False, help_epilogue=_EVERY,
    )  # fmt: skip
    every = [(title, command) for title, commands in TASKS.items() for command in commands]
    chosen = [one for one in every if one[1].name == name]
    groups = {title: Group(title, sort_key=rank) for rank, title in enumerate(TASKS)}
    for rank, (title, command) in enumerate(chosen or every):
        app.command(_parser(command, "hilum", rank, groups[title]))
    if not chosen:
        app.register_install_completion_command(help="Let bash, zsh or fish complete the words of hilum.")
    return app


def _parser(command: Command, before: str, rank: int, group: "Group | None" = None) -> "App":
    """Make the parser of a command, or of a group with its commands; `before` is what stands before it."""
    from cyclopts import App

    example = f"Example: {before} {command.name} {command.example}".rstrip()
    app = App(
        name=command.name, help=command.help or None, help_format="plaintext", help_epilogue=example, sort_key=rank,
        group=group,
    )  # fmt: skip
    for number, member in enumerate(command.members):
        app.command(_parser(member, f"{before} {command.name}", number))
    if not command.members:
        function = _function(command.function)
        function.__doc__ = join_lines(function.__doc__ or "")
        app.default(function)
    return app


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
    debug, quiet, verbose = (flag in words for flag in ("--debug", "--quiet", "--verbose"))
    words = [word for word in words if word not in {"--debug", "--quiet", "--verbose"}]
    words, log = _take_log(words)
    only_prints = not words or words[0] in PRINTING or not HELP.isdisjoint(words)
    with lenient_streams(stdout_required=only_prints):
        try:
            with printing(quiet=quiet, verbose=verbose, log=log):
                return _run(words, debug=debug)
        except OutputError as problem:
            print_error(str(problem))
            return REFUSED


def _take_log(words: list[str]) -> tuple[list[str], Path | None]:
    """Take ``--log FILE`` or ``--log=FILE`` out of the words, whichever command they are for."""
    for k, word in enumerate(words):
        if word == "--log" and k + 1 < len(words):
            return [*words[:k], *words[k + 2 :]], Path(words[k + 1])
        if word.startswith("--log="):
            return [*words[:k], *words[k + 1 :]], Path(word.removeprefix("--log="))
    return words, None


def start() -> NoReturn:
    """Run the command line as the whole of a process, and end the process.

    Python would take apart every module before it ends, a tenth of the time that a short command takes. What registered
    a function to run at the end still gets it; worker processes and their threads end as Python ends them.
    """
    status = main()
    if "multiprocessing" in sys.modules or status >= INTERRUPTED:
        sys.exit(status)
    atexit._run_exitfuncs()  # noqa: SLF001 - Python has no other name for it
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _run(words: list[str], *, debug: bool) -> int:
    """Run one command and print an error as one line."""
    try:
        with raise_on_signals():
            status = _call(words)
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


def _call(words: list[str]) -> int | None:
    """Parse the words and call the command that they name."""
    name, *rest = words or [""]
    if name in _PATHS:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads would start and end without any work
        # Each voxel is used once. Huge pages are slow to get where a virtual machine has returned its free memory.
        os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
        gc.set_threshold(100_000)  # imports make many objects and no garbage
    if _PATHS.get(name) == len(rest) and all(rest) and not any(word.startswith("-") for word in rest):
        done: int | None = _function(f"scans:{name}")(*map(Path, rest))
        return done
    from cyclopts import CycloptsError

    try:
        status: int | None = program(name)(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as problem:
        print_error(f"{problem}; see '{' '.join(('hilum', *(problem.command_chain or ()), '--help'))}'")
        return USAGE
    return status


def _function(command: str) -> FunctionType:
    """Import the function of a command."""
    module, _, name = command.partition(":")
    function: FunctionType = getattr(import_module(f"hilum.cli.{module}"), name)
    return function
