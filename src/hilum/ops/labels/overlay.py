"""What everything that draws label maps shares: their colors, and the grid of the picture."""

from collections.abc import Mapping

from hilum.geometry import Geometry
from hilum.ops.labels.placing import place_label_map
from hilum.scan import LabelMap

COLORS = (
    (140, 255, 159), (102, 102, 255), (255, 79, 163), (166, 166, 91),
    (102, 153, 255), (166, 99, 66), (92, 230, 92), (255, 255, 140),
)  # fmt: skip
"""Red, green and blue of labels: color-blind eyes can tell them from one another and from lungs and nodules."""

HEX_COLORS = tuple(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in COLORS)


def number_colors(values: Mapping[str, Mapping[str, int]]) -> dict[str, dict[int, int]]:
    """Give each label of a scan a color.

    Parameters
    ----------
    values : mapping of str to mapping of str to int
        The values of each label map, by its name.

    Returns
    -------
    dict of str to dict of int to int
        By name and value an index into `COLORS`. Colors repeat if there are more labels. They do not depend on the
        order of the label maps.

    Examples
    --------
    >>> number_colors({"tumor": {"tumor": 1}, "lobes": {"upper": 2, "lower": 1}})
    {'lobes': {1: 0, 2: 1}, 'tumor': {1: 2}}
    """
    labels = [(name, value) for name in sorted(values) for value in sorted(values[name].values())]
    numbered: dict[str, dict[int, int]] = {name: {} for name in sorted(values)}
    for number, (name, value) in enumerate(labels):
        numbered[name][value] = number % len(COLORS)
    return numbered


def on_grid(label_maps: Mapping[str, LabelMap], geometry: Geometry) -> dict[str, LabelMap]:
    """Bring label maps to the grid of the volume over which they are drawn."""
    return {
        name: one if one.mask.geometry.isclose(geometry) else place_label_map(one, geometry).label_map
        for name, one in label_maps.items()
    }
