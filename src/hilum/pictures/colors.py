"""Colors and line styles of all figures, for color-blind eyes and gray prints (Okabe and Ito 2008).

Lungs, airways and nodules have the colors of the report and of `hilum view`, label maps those of
`hilum.ops.labels.overlay`. The colors of both lungs are equally bright, so an outline also has a line style.
"""

from typing import Literal

from hilum.ops.labels.overlay import HEX_COLORS
from hilum.scan import AIRWAYS, LEFT_LUNG, RIGHT_LUNG

BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY_BLUE, YELLOW = "#cc79a7", "#56b4e9", "#f0e442"
ALL = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY_BLUE, YELLOW)

NODULE = YELLOW
SPHERE = PURPLE  # the sphere of a nodule whose mask is drawn too
MARK = VERMILION  # a dot on a white chart
LABELS = {RIGHT_LUNG: SKY_BLUE, LEFT_LUNG: ORANGE, AIRWAYS: GREEN}  # colors of the labels of a lung mask

Dashes = Literal["solid"] | tuple[float, tuple[float, ...]]

_DASHES: tuple[Dashes, ...] = ("solid", (0.0, (4.0, 1.5)), (0.0, (1.0, 1.0)), (0.0, (5.0, 1.5, 1.0, 1.5)))


def dashes(color: str) -> Dashes:
    """Give the line style of a color, as matplotlib takes it: solid for right lung and nodule, dashed for the left."""
    known = {LABELS[LEFT_LUNG]: 1, LABELS[AIRWAYS]: 2, SPHERE: 2}
    known |= {label: number % len(_DASHES) for number, label in enumerate(HEX_COLORS)}
    return _DASHES[known.get(color, 0)]
