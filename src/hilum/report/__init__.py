"""One offline HTML page of a finished run.

`gather` reads the run's folder, `risk` says which scans want a look first, `charts` draws distributions, `text` makes
what comes from files safe to show, `page` puts all of it into one file with what lies in ``static``.
"""

from hilum.report.page import Report, write_report

__all__ = ["Report", "write_report"]
