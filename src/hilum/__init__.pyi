# The whole public interface on one page.
from hilum.errors import AnnotationError as AnnotationError
from hilum.errors import FormatError as FormatError
from hilum.errors import GeometryError as GeometryError
from hilum.errors import HilumError as HilumError
from hilum.errors import InputError as InputError
from hilum.errors import MissingInputError as MissingInputError
from hilum.errors import OutputError as OutputError
from hilum.errors import RecipeError as RecipeError
from hilum.errors import SeriesError as SeriesError
from hilum.errors import UnsupportedError as UnsupportedError
from hilum.geometry import Geometry as Geometry
from hilum.io import read as read
from hilum.io import write as write
from hilum.ops.intensity import WINDOW_PRESETS as WINDOW_PRESETS
from hilum.ops.intensity import apply_voi_lut as apply_voi_lut
from hilum.ops.intensity import normalize as normalize
from hilum.ops.intensity import window as window
from hilum.ops.intensity import zero_center as zero_center
from hilum.ops.lungs import segment_lungs as segment_lungs
from hilum.ops.morphology import dilate as dilate
from hilum.ops.nodules import mask_nodules as mask_nodules
from hilum.ops.reorient import reorient as reorient
from hilum.ops.resample import resample as resample
from hilum.ops.resample import resampled_geometry as resampled_geometry
from hilum.pipeline import preprocess as preprocess
from hilum.recipes import RECIPES as RECIPES
from hilum.recipes import Recipe as Recipe
from hilum.recipes import recipe as recipe
from hilum.scan import Nodule as Nodule
from hilum.scan import Note as Note
from hilum.scan import Scan as Scan
from hilum.scan import ScanRef as ScanRef
from hilum.volume import Mask as Mask
from hilum.volume import Volume as Volume

__version__: str
