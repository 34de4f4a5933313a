"""Files in and out: one module a format, each the only place that knows it."""
