"""A Dask cluster that runs in processes of its own, as somebody else would have started it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

CLUSTER = """
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        print(cluster.scheduler_address, flush=True)
        input()
"""


@contextmanager
def running_cluster(environment: dict[str, str]):  # noqa: ANN201 - a context manager of an address
    """A Dask cluster with two worker processes, as somebody else would have started it."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "cluster.py")
        script.write_text(CLUSTER)
        started = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True, env={**os.environ, **environment}, cwd=folder)  # fmt: skip
        try:
            yield started.stdout.readline().strip()
        finally:
            started.communicate("\n")
