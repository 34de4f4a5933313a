"""Measure whether a scan, its lung mask and its nodules are plausible."""
