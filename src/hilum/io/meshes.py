"""Meshes as binary STL, PLY and GLB, with vertices in LPS millimetres.

STL has no names or colors: it is one list of triangles. PLY gives each vertex the color of its part. GLB has a node for
each part. The matrix of its scene converts LPS mm to glTF's meters with +Y up and +Z to the front, so that a viewer
shows the head on top; the stored vertices stay in LPS mm.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum.errors import OutputError, UnsupportedError
from hilum.io.atomic import atomic_path

if TYPE_CHECKING:
    from hilum.ops.surfaces import Mesh  # late: it loads kernels

    Color = tuple[float, float, float, float]
    Part = tuple[Mesh, Color]

_UP_IN_METERS = (0.001, 0.0, 0.0, 0.0, 0.0, 0.0, -0.001, 0.0, 0.0, 0.001, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
"""Column by column: (x, y, z) LPS mm to (x, z, -y) / 1000 (glTF 2.0, section 3.4, Coordinate System and Units)."""

_FLOAT, _UINT, _VERTICES, _FACES = 5126, 5125, 34962, 34963
"""The codes of glTF 2.0 for component types and buffer targets."""


def check_mesh_output(path: Path) -> str:
    """Check that a path names a mesh format that can be written, before any work is done for it.

    Returns
    -------
    str
        Its suffix, a key of `MESH_WRITERS`.

    Raises
    ------
    UnsupportedError
        If hilum writes no mesh format with this suffix.
    """
    if (suffix := path.suffix.lower()) not in MESH_WRITERS:
        what = f"cannot write a mesh as {suffix or 'a file without suffix'}"
        raise UnsupportedError(what, where=path, do=f"use {' '.join(MESH_WRITERS)}")
    return suffix


def write_meshes(parts: Sequence[Part], path: str | Path) -> None:
    """Write meshes into one file, which appears only when it is complete.

    Parameters
    ----------
    parts : sequence of (Mesh, (red, green, blue, opacity) from 0 to 1)
        The surfaces, each with its color.
    path : str or Path
        Ends in ``.stl``, ``.ply`` or ``.glb``.

    Raises
    ------
    UnsupportedError
        If the suffix is another one.
    OutputError
        If the file cannot be written, or there are no triangles.
    """
    path = Path(path)
    pack = MESH_WRITERS[check_mesh_output(path)]
    if not any(len(mesh.faces) for mesh, _ in parts):
        raise OutputError("the meshes have no triangles", where=path)
    with atomic_path(path) as temporary:
        temporary.write_bytes(pack(parts))


def pack_stl(parts: Sequence[Part]) -> bytes:
    """Pack meshes as binary STL.

    Parameters
    ----------
    parts : sequence of (Mesh, color)
        The surfaces; the format has no colors.

    Returns
    -------
    bytes
        80 bytes of text, the number of triangles, and 50 bytes for each.
    """
    corners = np.concatenate([mesh.vertices[mesh.faces] for mesh, _ in parts])
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
    records = np.zeros(len(corners), np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("unused", "<u2")]))
    records["normal"] = normals / np.where(lengths > 0, lengths, 1.0)
    records["corners"] = corners
    # The first bytes must not be "solid", which marks a text file.
    return b"hilum, LPS mm".ljust(80) + struct.pack("<I", len(records)) + records.tobytes()


def pack_ply(parts: Sequence[Part]) -> bytes:
    """Pack meshes as binary PLY, each vertex in the color of its part.

    Parameters
    ----------
    parts : sequence of (Mesh, color)
        The surfaces, each with its color.
    """
    vertex = np.dtype([("position", "<f4", 3), ("color", "u1", 4)])
    firsts = np.cumsum([0, *(len(mesh.vertices) for mesh, _ in parts)])
    vertices = np.zeros(firsts[-1], vertex)
    vertices["position"] = np.concatenate([mesh.vertices for mesh, _ in parts])
    vertices["color"] = np.repeat(np.rint(np.array([color for _, color in parts]) * 255), np.diff(firsts), axis=0)
    corners = np.concatenate([mesh.faces + first for (mesh, _), first in zip(parts, firsts, strict=False)])
    faces = np.zeros(len(corners), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    faces["count"], faces["corners"] = 3, corners
    head = ["ply", "format binary_little_endian 1.0", "comment hilum, LPS mm", f"element vertex {len(vertices)}"]
    head += [f"property float {name}" for name in "xyz"]
    head += [f"property uchar {name}" for name in ("red", "green", "blue", "alpha")]
    head += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header\n"]
    return "\n".join(head).encode() + vertices.tobytes() + faces.tobytes()


def pack_glb(parts: Sequence[Part]) -> bytes:
    """Pack meshes as binary glTF 2.0, a node and a material for each.

    Parameters
    ----------
    parts : sequence of (Mesh, color)
        The surfaces, each with its color.
    """
    blob = bytearray()
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []

    def add(array: Any, target: int, **properties: Any) -> int:
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": array.nbytes, "target": target})
        blob.extend(array.tobytes())  # every item is four bytes long, so that views stay aligned
        count = array.size if array.ndim == 1 else len(array)
        accessors.append({"bufferView": len(views) - 1, "count": count, **properties})
        return len(accessors) - 1

    nodes, meshes, materials = [], [], []
    for number, (mesh, color) in enumerate(parts):
        positions, normals = mesh.vertices.astype("<f4"), mesh.normals.astype("<f4")
        limits = {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}
        position = add(positions, _VERTICES, componentType=_FLOAT, type="VEC3", **limits)
        normal = add(normals, _VERTICES, componentType=_FLOAT, type="VEC3")
        attributes = {"POSITION": position, "NORMAL": normal}
        indices = add(mesh.faces.astype("<u4").ravel(), _FACES, componentType=_UINT, type="SCALAR")
        meshes.append({"primitives": [{"attributes": attributes, "indices": indices, "material": number}]})
        nodes.append({"name": mesh.name, "mesh": number})
        linear = [*(c**2.2 for c in color[:3]), color[3]]
        material = {"baseColorFactor": linear, "metallicFactor": 0, "roughnessFactor": 0.7}
        transparency = {"alphaMode": "BLEND"} if color[3] < 1 else {}
        materials.append({"name": mesh.name, "pbrMetallicRoughness": material, **transparency})
    root = {"name": "LPS mm", "matrix": _UP_IN_METERS, "children": list(range(len(nodes)))}
    scene = {
        "asset": {"version": "2.0", "generator": "hilum"},
        "scene": 0,
        "scenes": [{"nodes": [len(nodes)]}],
        "nodes": [*nodes, root],
        "meshes": meshes,
        "materials": materials,
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(blob)}],
    }
    text = json.dumps(scene, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(blob), 0x004E4942) + bytes(blob)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


MESH_WRITERS: dict[str, Callable[[Sequence[Part]], bytes]] = {".stl": pack_stl, ".ply": pack_ply, ".glb": pack_glb}
"""The function that packs a mesh, by the suffix of its path."""
