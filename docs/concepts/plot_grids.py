"""
Grids
=====

x
"""

import hilum
print(hilum.__version__)
