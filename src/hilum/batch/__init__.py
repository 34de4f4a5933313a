"""Run many scans: load, preprocess and store each one, and record the result in the ledger."""

from hilum.batch.convert import convert_run as convert_run
from hilum.batch.corrections import find_corrections as find_corrections
from hilum.batch.identity import input_fingerprint as input_fingerprint
from hilum.batch.limits import Limits as Limits
from hilum.batch.limits import limits_of as limits_of
from hilum.batch.run import process as process
from hilum.batch.run import run as run
from hilum.batch.task import run_one as run_one
from hilum.datasets.naming import name_scans as name_scans
from hilum.datasets.survey import Survey as Survey
from hilum.datasets.survey import index as index
from hilum.datasets.survey import survey as survey
