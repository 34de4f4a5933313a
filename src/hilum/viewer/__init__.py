"""Show a scan or a finished run in the browser: a server for one person on this machine, and the page that it serves.

``python3 dev.py page`` builds the page from `viewer/web` into the folder ``page`` next to this file.
"""
