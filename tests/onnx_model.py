"""A tiny ONNX file, written byte by byte: protobuf needs no more than numbers with tags and strings with lengths.

The fields are those of onnx.proto: a model holds a graph, a graph holds nodes, constants, inputs and outputs.
"""

from __future__ import annotations

import numpy as np

FLOAT, INT64 = 1, 7


def varint(number):
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def field(tag, value):
    """One field: an int, or bytes, or text."""
    if isinstance(value, int):
        return varint(tag << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(tag << 3 | 2) + varint(len(value)) + value


def tensor(name, array):
    array = np.asarray(array, "<f4")
    return b"".join(field(1, n) for n in array.shape) + field(2, FLOAT) + field(8, name) + field(9, array.tobytes())


def node(kind, inputs, output):
    return b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, kind)


def value(name, shape, kind):
    dims = b"".join(field(1, field(1, n) if isinstance(n, int) else field(2, n)) for n in shape)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, dims)))


def model(nodes, constants, *, inputs=(("x", ("n", 1, 256, 256)),), kinds=(FLOAT, FLOAT)):
    graph = b"".join(field(1, one) for one in nodes) + field(2, "tiny")
    graph += b"".join(field(5, tensor(name, array)) for name, array in constants.items())
    graph += b"".join(field(11, value(name, shape, kinds[0])) for name, shape in inputs) + field(
        12, value("y", (), kinds[1])
    )
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))


def threshold_model(*, columns=256, shape=("n", 1, 256, 256)):
    """Lung where the input lies within 0.06 of 0.1 (HU -959 to -764); right in the first half of the columns."""
    first = np.arange(columns) < columns // 2
    aside = np.where(np.stack([np.zeros(columns), ~first, first]), -1e3, 0.0).reshape(1, 3, 1, columns)
    constants = {
        "middle": [0.1],
        "weight": np.array([0.0, -1.0, -1.0]).reshape(3, 1, 1, 1),
        "bias": [0.0, 0.06, 0.06],
        "aside": aside,
    }
    nodes = [
        node("Sub", ["x", "middle"], "off"),
        node("Abs", ["off"], "far"),
        node("Conv", ["far", "weight", "bias"], "scores"),
        node("Add", ["scores", "aside"], "y"),
    ]
    return model(nodes, constants, inputs=(("x", shape),))
