"""Runs `ray_cluster.py` in a process of its own, and again where Ray ended that process.

Ray ends a process, with status 1 and without a word, when the machine that it belongs to is gone; and a machine on a
computer too busy to answer is taken for gone. The tests' own failures are never run again.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

TESTS = Path(__file__).with_name("ray_cluster.py")


@pytest.mark.slow(minutes=2)
def test_work_on_a_cluster_of_two_machines():
    pytest.importorskip("ray", reason='needs pip install "ray>=2.40"')
    for _ in range(3):
        # Short, because the paths of sockets must be; not Ray's own, where the address of a cluster in use lies.
        folder = tempfile.mkdtemp(prefix="ray")
        try:
            run = subprocess.run(
                [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", str(TESTS)],
                env=os.environ | {"RAY_TMPDIR": folder, "PYTHONFAULTHANDLER": "1"},
                capture_output=True,
                text=True,
            )
            if re.search(r"^\d+ \w+.* in [\d.]+s", run.stdout, re.M):
                break
            logs = sorted(Path(folder).glob("ray/session_2*/logs/*raylet*.out"))
            last = "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in logs)
            warnings.warn(f"Ray ended the process: {run.stdout[-500:]}\n{run.stderr[-1500:]}\n{last}", stacklevel=1)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    assert run.returncode == 0, run.stdout + run.stderr
