"""Volume files in and out, one module a format; `formats` is the table of them."""
