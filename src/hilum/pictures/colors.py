"""The colors of all figures, which color-blind eyes can distinguish (Okabe and Ito 2008).

Label maps have the colors of `hilum.ops.labels.overlay`.
"""

from hilum.scan import AIRWAYS, LEFT_LUNG, RIGHT_LUNG

BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY_BLUE, YELLOW = "#cc79a7", "#56b4e9", "#f0e442"
ALL = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY_BLUE, YELLOW)

NODULE = VERMILION
LABELS = {RIGHT_LUNG: BLUE, LEFT_LUNG: ORANGE, AIRWAYS: GREEN}  # colors of the labels of a lung mask
