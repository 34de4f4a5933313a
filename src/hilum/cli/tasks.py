"""The commands by task, each with an example: what `hilum --help` shows, in this order."""

from inspect import cleandoc
from itertools import pairwise
from typing import NamedTuple


class Command(NamedTuple):
    """A command, or a group of them.

    Parameters
    ----------
    function : str
        Its module in `hilum.cli`, imported when the command is used, and its function; of a group, only its name.
    example : str
        Arguments that work.
    help : str
        What a group is for; a command says it in its docstring.
    members : tuple of Command
        The commands of a group.
    """

    function: str
    example: str = ""
    help: str = ""
    members: tuple["Command", ...] = ()

    @property
    def name(self) -> str:
        """The word to type."""
        return self.function.rpartition(":")[2].strip("_")


PLOTS = (
    Command("plots:histogram", "SCAN --out histogram.png"),
    Command("plots:montage", "SCAN --out montage.png --plane coronal --lungs"),
    Command("plots:surface", "SCAN --out lungs.png --mesh lungs.stl"),
    Command("plots:steps", "SCAN --out steps.png"),
    Command("plots:nodules", "SCAN --annotations annotations.csv --out nodules.png"),
    Command("plots:window", "SCAN --out window.png"),
    Command("plots:compare", "SCAN --out compare.png"),
    Command("plots:overview", "SCAN --out overview.png"),
)

EXPORTS = (
    Command("exports:nnunet", "OUT --out nnUNet_raw"),
    Command("exports:nndetection", "OUT --out nnDetection"),
    Command("exports:monai", "OUT --out monai.json"),
    Command("exports:seg", "OUT --source SCANS --out SEG"),
    Command("exports:coco3d", "OUT --out coco.json"),
    Command("exports:csv", "OUT --out nodules.csv"),
)

RECIPES = (
    Command("recipes:list_"),
    Command("recipes:show", "luna16"),
    Command("recipes:check", "my-recipe.toml"),
)

TASKS = {
    "Prepare scans": (
        Command("runs:run", "SCANS --out OUT --recipe luna16 --annotations annotations.csv"),
        Command("scans:convert", "SCAN ct.nii.gz"),
        Command("scans:lungs", "SCAN lungs.nii.gz"),
        Command("scans:nodules", "SCAN annotations.csv nodules.nii.gz"),
        Command("runs:store", "OUT --format npy --out OUT-NPY"),
        Command("recipe", "show luna16", "List, show and check recipes.", RECIPES),
    ),
    "Look and check": (
        Command("scans:info", "SCANS"),
        Command("scans:view", "SCAN --labels tumor.nii.gz"),
        Command("runs:report", "OUT"),
        Command("runs:stats", "OUT"),
        Command("runs:verify", "OUT"),
        Command("plot", "montage SCAN --out montage.png", "Draw a picture of a scan.", PLOTS),
    ),
    "Train and score": (
        Command("folds:folds", "OUT --folds 5"),
        Command("exports:patches", "OUT --size 64 --out PATCHES"),
        Command("exports:slices", "OUT --out SLICES"),
        Command("export", "nnunet OUT --out nnUNet_raw", "Write a finished output in the format of another program.",
                EXPORTS),
        Command("scores:froc", "detections.csv annotations.csv"),
        Command("scores:score", "PREDICTIONS labelsTs --tolerance-mm 1 --out scores.csv"),
    ),
    "Try": (Command("runs:demo"),),
}  # fmt: skip
"""What a person wants to do, and the commands for it."""


def join_lines(text: str) -> str:
    """Join the lines of each paragraph of a docstring: the terminal breaks them where it ends."""
    lines = cleandoc(text).splitlines()
    joined = lines[:1]
    for before, line in pairwise(lines):
        indents = {len(one) - len(one.lstrip()) for one in (before, line)}
        apart = not before.strip() or not line.strip() or len(indents) > 1 or {"-"} in (set(before), set(line))
        joined[-1:] = [joined[-1], line] if apart else [f"{joined[-1]} {line.strip()}"]
    return "\n".join(joined)
