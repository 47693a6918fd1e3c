"""Peak resident memory, each figure from a process of its own.

Standard library only: a child may count the pages that its parent held when it was started, so
whoever starts children must still be small, without PyTorch.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AT_ONCE = 2  # memory does not depend on how long the others make a child wait


def peak_rss_mb() -> float:
    """Most memory this process has held so far, in MB (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6  # else in KiB


def measure(jobs: Sequence[str], options: Sequence[str] = ()) -> dict[str, dict[str, float]]:
    """What `benchmarks.speed --child JOB` prints for every job: its peak and import memory, MB."""

    def child(job: str) -> dict[str, float]:
        command = [sys.executable, "-m", "benchmarks.speed", "--child", job, *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{job} failed: {done.stderr[-1000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(jobs, pool.map(child, jobs), strict=True))
