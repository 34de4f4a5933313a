"""Volumes of other libraries: SimpleITK, ITK, nibabel, torch, MONAI and TorchIO, each imported when it is asked for.

The conventions, written once:

* hilum: arrays (z, y, x), world LPS mm; `Geometry.affine`.
* SimpleITK and ITK: arrays (z, y, x), world LPS mm, as hilum; but spacing and the columns of the direction matrix are
  in the order x, y, z.
* nibabel, MONAI, TorchIO: arrays (x, y, z), world RAS mm; `Geometry.affine_ras`. MONAI and TorchIO have a channel in
  front.
* torch: an array (z, y, x), and no place in the world.

Every conversion copies the voxels, except `hilum.Volume.to_nibabel`, whose image shows the read-only voxels of the
volume. The voxels keep their type. What a library has no type for, and an image that is no single volume of numbers, is
refused. The modules know arrays and geometries; the methods of `Conversions` make volumes of them.
"""
