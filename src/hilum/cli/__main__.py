"""The program as ``python -m hilum.cli``."""

from hilum.cli import start

start()
