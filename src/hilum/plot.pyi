# The functions of hilum.plot: one for each module of hilum.pictures that draws.
from hilum.pictures.compare import compare as compare
from hilum.pictures.froc import froc as froc
from hilum.pictures.histogram import histogram as histogram
from hilum.pictures.montage import montage as montage
from hilum.pictures.nodules import nodules as nodules
from hilum.pictures.overview import overview as overview
from hilum.pictures.steps import steps as steps
from hilum.pictures.surface import surface as surface
from hilum.pictures.window import window as window
