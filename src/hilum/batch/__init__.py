"""Run many scans: load, preprocess and store each one, and record the result in the ledger."""

from hilum.batch.convert import convert_run
from hilum.batch.identity import input_fingerprint
from hilum.batch.limits import Limits, limits_of
from hilum.batch.run import process, run
from hilum.batch.task import run_one
from hilum.datasets.naming import name_scans
from hilum.datasets.survey import Survey, index, survey

__all__ = [
    "Limits",
    "Survey",
    "convert_run",
    "index",
    "input_fingerprint",
    "limits_of",
    "name_scans",
    "process",
    "run",
    "run_one",
    "survey",
]
