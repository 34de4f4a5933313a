"""A phantom chest with known truth: its anatomy, its voxels, and its files."""

from hilum.phantom.chest import make_phantom as make_phantom
from hilum.phantom.options import PhantomOptions as PhantomOptions
