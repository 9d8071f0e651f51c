"""That the benchmark runs. What it measures is nobody's business here."""

import os
import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "Tests"))

from needs import absent  # noqa: E402

BIN = REPOSITORY / ".build" / "suite" / "bin"


@pytest.mark.soak
def test_the_benchmark_runs_and_cleans_up(tmp_path):
    for name in ("tbk-seal", "termbackup"):
        if not (BIN / name).exists():
            absent(name)
    done = subprocess.run([sys.executable, REPOSITORY / "Tests" / "bench" / "bench.py", "--smoke"], capture_output=True,
                          text=True, timeout=3000, env={**os.environ, "BENCH_DIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr[-3000:]
    for row in ("seal 4 MiB", "open 4 MiB", "memory of tbk-seal", "temporary disk", "memory of tbk-manifest, for each entry",
                "start-up of tbk-push", "run with nothing changed", "the installed suite"):
        assert f"| {row}" in done.stdout, row
    assert list(tmp_path.iterdir()) == []
