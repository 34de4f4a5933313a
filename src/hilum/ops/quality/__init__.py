"""Measurements that tell whether a scan, its lung mask and its nodules are right."""
