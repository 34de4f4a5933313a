"""One offline HTML page of a finished run.

`gather` reads the run's folder, `risk` sorts its scans, `charts` draws distributions, `text` makes text from files safe
to show, and `page` writes all of it to one file with the style and script in ``static``.
"""
