"""The program as ``python -m hilum.cli``."""

import sys

from hilum.cli import main

sys.exit(main())
