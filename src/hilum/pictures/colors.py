"""The colors of all figures, which color-blind eyes can distinguish (Okabe and Ito 2008)."""

BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY_BLUE, YELLOW = "#cc79a7", "#56b4e9", "#f0e442"
ALL = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY_BLUE, YELLOW)

RIGHT_LUNG, LEFT_LUNG, AIRWAYS, NODULE = BLUE, ORANGE, GREEN, VERMILION

LABELS = {1: RIGHT_LUNG, 2: LEFT_LUNG, 3: AIRWAYS}
"""Colors of the labels of a lung mask."""
