"""Surfaces: closed, of the right size, at the right position, and the same in every file."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum._kernels.raster import draw_triangles
from hilum.errors import InputError, OutputError, UnsupportedError
from hilum.geometry import Geometry
from hilum.io.meshes import write_meshes
from hilum.ops.surfaces import Mesh, marching_cubes, surfaces
from hilum.phantom import make_phantom
from hilum.pictures.surface import part_color, surface
from hilum.scan import Nodule, Scan
from hilum.volume import Mask, Volume

OBLIQUE = tuple(map(tuple, np.linalg.qr(np.array([[0.1, 0.2, 1.0], [0.3, 1.0, -0.2], [1.0, -0.3, 0.1]]).T)[0].T))


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(seed=3, shape=(100, 128, 128), spacing=(3.0, 3.0, 3.0))


@pytest.fixture(scope="module")
def parts(phantom):
    return surfaces(replace(phantom.scan, lungs=phantom.lungs), kind="lungs", cell_mm=3.0)


def open_edges(faces):
    """Count the directed edges without their reverse: 0 in a closed, oriented surface."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    there, back = {}, {}
    for a, b in edges.tolist():
        there[a, b] = there.get((a, b), 0) + 1
        back[b, a] = back.get((b, a), 0) + 1
    return sum(back.get(edge) != count for edge, count in there.items())


def signed_ml(triangles):
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    return float((a * np.cross(b, c)).sum() / 6000)


def ball(direction=None, spacing=(1.0, 0.8, 0.9), radius=14.0, center=(20.0, -30.0, 400.0)):
    shape = (48, 56, 52)
    at = Geometry(shape, spacing, (0.0, 0.0, 0.0), direction or Geometry(shape, spacing).direction)
    shift = np.array(center) - at.center
    grid = replace(at, origin=tuple(shift.tolist()))
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    distance = np.linalg.norm(grid.index_to_world(index) - center, axis=-1)
    return Volume((radius - distance).astype(np.float32), grid)


@pytest.mark.parametrize("direction", [None, OBLIQUE, ((0, 0, -1), (0, 1, 0), (1, 0, 0))])
def test_a_ball_on_any_grid_is_a_closed_ball_with_its_front_outside(direction):
    mesh = marching_cubes(ball(direction), 0.0, outside=-100)
    offsets = mesh.vertices - (20.0, -30.0, 400.0)
    assert np.abs(np.linalg.norm(offsets, axis=1) - 14.0).max() < 0.05
    assert open_edges(mesh.faces) == 0
    assert mesh.volume_ml == pytest.approx(4 / 3 * np.pi * 14**3 / 1000, rel=0.01)
    outward = offsets / np.linalg.norm(offsets, axis=1, keepdims=True)
    assert (mesh.normals * outward).sum(axis=1).min() > 0.97


def test_reversed_triangles_are_noticed():
    mesh = marching_cubes(ball(), 0.0, outside=-100)
    assert Mesh("", mesh.vertices, mesh.faces[:, ::-1]).volume_ml < 0
    assert open_edges(mesh.faces[1:]) > 0


def test_a_body_that_the_volume_cuts_is_closed_too():
    whole = ball()
    cut = whole.crop((0, 0, 0), (24, 56, 52))
    assert open_edges(marching_cubes(cut, 0.0, outside=-100).faces) == 0


def test_lungs_and_nodules_have_the_volume_and_position_of_their_voxels(phantom, parts):
    by_name = {mesh.name: mesh for mesh in parts}
    assert list(by_name) == ["right lung", "left lung", *(f"nodule {k + 1}" for k in range(len(phantom.scan.nodules)))]
    for label, name in ((1, "right lung"), (2, "left lung")):
        mesh = by_name[name]
        assert open_edges(mesh.faces) == 0
        assert mesh.volume_ml == pytest.approx(phantom.lungs.volume_ml(label), rel=0.02)
        voxels = phantom.lungs.geometry.index_to_world(np.argwhere(phantom.lungs.array == label))
        assert np.abs(mesh.vertices.min(axis=0) - voxels.min(axis=0)).max() < 3.0
        assert np.abs(mesh.vertices.max(axis=0) - voxels.max(axis=0)).max() < 3.0
    for k, nodule in enumerate(phantom.scan.nodules, 1):
        mesh = by_name[f"nodule {k}"]
        assert mesh.volume_ml == pytest.approx(np.pi / 6 * nodule.diameter_mm**3 / 1000, rel=0.02)
        assert np.abs(mesh.vertices.mean(axis=0) - nodule.center).max() < 0.05 * nodule.diameter_mm


def test_the_table_is_no_bone_and_the_skeleton_is_above_its_threshold(phantom):
    (mesh,) = surfaces(phantom.scan, kind="skeleton", threshold_hu=250.0, cell_mm=3.0)
    assert open_edges(mesh.faces) == 0
    inside = phantom.scan.ct.geometry.world_to_index(mesh.vertices - 0.5 * mesh.normals)
    at = np.clip(np.rint(inside), 0, np.array(phantom.scan.ct.shape) - 1).astype(int)
    assert np.median(phantom.scan.ct.array[tuple(at.T)]) > 200
    plate = phantom.scan.ct.array.copy()
    plate[:, -4:-2] = 1500  # as broad as the scan, behind the patient
    (again,) = surfaces(replace(phantom.scan, ct=Volume(plate, phantom.scan.ct.geometry)), kind="skeleton",
                        threshold_hu=250.0, cell_mm=3.0)  # fmt: skip
    assert again.volume_ml == pytest.approx(mesh.volume_ml, rel=0.02)


def test_what_has_no_surface_is_refused(phantom):
    scan = replace(phantom.scan, lungs=None)
    for wrong, told in (
        ({"kind": "skin"}, "expected skeleton or lungs"),
        ({"kind": "lungs"}, "no lung mask"),
        ({"kind": "skeleton", "threshold_hu": 5000.0}, "nothing in the body is above"),
        ({"kind": "skeleton", "cell_mm": 0.0}, "cell_mm"),
    ):
        with pytest.raises(InputError, match=told):
            surfaces(scan, **wrong)
    empty = Mask(np.zeros(scan.ct.shape, np.uint8), scan.ct.geometry)
    with pytest.raises(InputError, match="empty"):
        surfaces(Scan("", scan.ct, lungs=empty))


def read_stl(data):
    count = struct.unpack_from("<I", data, 80)[0]
    assert len(data) == 84 + 50 * count
    assert not data.startswith(b"solid")
    rows = [struct.unpack_from("<12fH", data, 84 + 50 * k) for k in range(count)]
    table = np.array(rows)
    return table[:, 3:12].reshape(-1, 3, 3), table[:, :3]


def read_ply(data):
    head, body = data.split(b"end_header\n", 1)
    lines = head.decode().splitlines()
    counts = {line.split()[1]: int(line.split()[2]) for line in lines if line.startswith("element")}
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    vertices = [struct.unpack_from("<3f4B", body, 16 * k) for k in range(counts["vertex"])]
    start = 16 * counts["vertex"]
    faces = [struct.unpack_from("<B3i", body, start + 13 * k) for k in range(counts["face"])]
    assert len(body) == start + 13 * counts["face"]
    assert all(face[0] == 3 for face in faces)
    table = np.array(vertices)
    return table[:, :3][np.array(faces)[:, 1:]], table[:, 3:]


def read_glb(data):
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON"
    told = json.loads(data[20 : 20 + size])
    blob_size, kind = struct.unpack_from("<I4s", data, 20 + size)
    assert (kind, size % 4, blob_size % 4) == (b"BIN\0", 0, 0)
    blob = data[28 + size :]
    assert len(blob) == blob_size == told["buffers"][0]["byteLength"]

    def values(number):
        accessor = told["accessors"][number]
        view = told["bufferViews"][accessor["bufferView"]]
        width = {"VEC3": 3, "SCALAR": 1}[accessor["type"]]
        kind = {5126: "<f4", 5125: "<u4"}[accessor["componentType"]]
        flat = np.frombuffer(blob, kind, accessor["count"] * width, view["byteOffset"])
        assert flat.nbytes == view["byteLength"]
        return flat.reshape(-1, width) if width > 1 else flat

    out = {}
    for node in told["nodes"]:
        if "mesh" in node:
            (piece,) = told["meshes"][node["mesh"]]["primitives"]
            places = values(piece["attributes"]["POSITION"])
            limits = told["accessors"][piece["attributes"]["POSITION"]]
            assert places.min(axis=0).tolist() == limits["min"]
            out[node["name"]] = (places, values(piece["attributes"]["NORMAL"]), values(piece["indices"]).reshape(-1, 3))
    return told, out


def test_another_reader_finds_the_same_triangles_in_each_file(parts, tmp_path):
    colored = [(mesh, part_color(mesh)) for mesh in parts]
    for suffix in (".stl", ".ply", ".glb"):
        write_meshes(colored, tmp_path / f"a{suffix}")
    expected = np.concatenate([mesh.vertices[mesh.faces] for mesh in parts]).astype(np.float32)
    volume = sum(mesh.volume_ml for mesh in parts)

    triangles, normals = read_stl((tmp_path / "a.stl").read_bytes())
    assert np.array_equal(triangles.astype(np.float32), expected)
    across = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    large = np.linalg.norm(across, axis=1) > 0.05
    assert ((across * normals).sum(axis=1) / np.linalg.norm(across, axis=1))[large].min() > 0.99
    assert signed_ml(triangles) == pytest.approx(volume, rel=1e-3)

    triangles, colors = read_ply((tmp_path / "a.ply").read_bytes())
    assert np.array_equal(triangles.astype(np.float32), expected)
    assert colors[0].tolist() == [86, 180, 233, 102]

    told, found = read_glb((tmp_path / "a.glb").read_bytes())
    for mesh in parts:
        places, normals, faces = found[mesh.name]
        assert np.array_equal(places, mesh.vertices.astype(np.float32))
        assert np.array_equal(faces, mesh.faces)
        assert np.allclose(normals, mesh.normals, atol=1e-6)
    root = told["nodes"][told["scenes"][0]["nodes"][0]]
    matrix = np.array(root["matrix"]).reshape(4, 4).T
    # glTF: meters, +Y up, +Z to the front, so +X is the patient's left.
    for world, gltf in (((1000, 0, 0), (1, 0, 0)), ((0, -1000, 0), (0, 0, 1)), ((0, 0, 1000), (0, 1, 0))):
        assert np.allclose(matrix @ [*world, 1], [*gltf, 1])
    assert sorted(root["children"]) == list(range(len(parts)))


def test_a_mesh_that_cannot_be_written_leaves_nothing(parts, tmp_path):
    with pytest.raises(UnsupportedError, match=r"\.stl \.ply \.glb"):
        write_meshes([(parts[0], (1, 1, 1, 1))], tmp_path / "a.obj")
    with pytest.raises(OutputError, match="no triangles"):
        write_meshes([(Mesh("", np.empty((0, 3)), np.empty((0, 3), np.int64)), (1, 1, 1, 1))], tmp_path / "a.stl")
    with pytest.raises(OutputError):
        write_meshes([(parts[0], (1, 1, 1, 1))], tmp_path / "no" / "a.stl")
    assert not list(tmp_path.iterdir())


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_each_pixel_shows_the_nearest_triangle(seed):
    random = np.random.default_rng(seed)
    points = random.uniform([-4, -4, 0], [24, 18, 9], (12, 3))
    normals, faces = random.normal(size=(12, 3)), random.integers(0, 12, (7, 3))
    depth, seen = draw_triangles(points, normals, faces, (14, 20))
    y, x = (axis.ravel() for axis in np.indices((14, 20)))
    best, shown = np.full(y.size, np.inf), np.zeros((y.size, 3))
    for face in faces:
        corners = points[face]
        system = np.vstack([corners[:, :2].T, np.ones(3)])
        if abs(np.linalg.det(system)) < 1e-9:
            continue
        weights = np.linalg.solve(system, np.stack([x, y, np.ones(y.size)])).T
        nearer = (weights.min(axis=1) >= 1e-9) & (weights @ corners[:, 2] < best)
        best[nearer], shown[nearer] = (weights @ corners[:, 2])[nearer], (weights @ normals[face])[nearer]
    assert depth.ravel() == pytest.approx(best)
    assert np.allclose(seen.reshape(-1, 3), shown)


def test_the_head_is_on_top_and_the_right_lung_on_the_left():
    """Draw two balls: one at the right and the head, one at the left and the feet."""
    grid = Geometry((80, 80, 80), (2.0, 2.0, 2.0), (-79.0, -79.0, -79.0))
    index = np.stack(np.meshgrid(*[np.arange(80)] * 3, indexing="ij"), -1)
    world = grid.index_to_world(index)
    labels = np.zeros(grid.shape, np.uint8)
    labels[np.linalg.norm(world - (-40, 0, 40), axis=-1) < 25] = 1
    labels[np.linalg.norm(world - (40, 0, -40), axis=-1) < 25] = 2
    scan = Scan("", Volume(np.full(grid.shape, -900, np.int16), grid), lungs=Mask(labels, grid),
                nodules=(Nodule((-40.0, 0.0, 40.0), 12.0),))  # fmt: skip
    figure = surface(scan, turns_deg=(0.0, 180.0))
    front, back = (panel.images[0].get_array() for panel in figure.axes)
    colored = [np.argwhere(picture.min(axis=2) < 0.9) for picture in (front, back)]
    blue = [np.argwhere(picture[..., 2] > picture[..., 0] + 0.15) for picture in (front, back)]
    assert blue[0][:, 0].mean() < front.shape[0] * 0.4
    assert blue[0][:, 1].mean() < front.shape[1] * 0.4  # the patient's right, seen from the front
    assert blue[1][:, 1].mean() > back.shape[1] * 0.6  # and from the back
    assert abs(colored[0].mean(axis=0) - np.array(front.shape[:2]) / 2).max() < 3
    without = surface(replace(scan, nodules=()), turns_deg=(0.0, 180.0)).axes[0].images[0].get_array()
    inside = np.argwhere(np.abs(front - without).max(axis=2) > 0.05)  # the nodule shines through the lung
    width = front.shape[1] / (figure.axes[0].get_xlim()[1] - figure.axes[0].get_xlim()[0])
    assert np.ptp(inside[:, 1]) / width == pytest.approx(12.0, abs=1.5)
