"""The benchmark runs. Its results are not tested here."""

import os
import pathlib
import subprocess
import sys
from xml.etree import ElementTree

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
    for row in ("seal 4 MiB in", "open 4 MiB in", "size of 4 MiB", "memory of tbk-pull, age", "temporary disk of these, suite 3",
                "tbk-seal, suite 3 -12", "seal 4 MiB", "open 4 MiB", "memory of tbk-seal", "temporary disk", "memory of tbk-manifest, for each entry",
                "start-up of tbk-push", "run with nothing changed", "the installed suite"):
        assert f"| {row}" in done.stdout, row
    assert list(tmp_path.iterdir()) == []


def test_a_picture_has_every_point():
    sys.path.insert(0, str(REPOSITORY / "Tests" / "bench"))
    from picture import draw
    svg = draw("Speed & ratio", "x", "y", [("ours", [(1, 2, "-1"), (2, 1.5, "-3")]), ("theirs", [(3, 0.2, "<1>")])])
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    said = [text.text for text in root.iter(f"{space}text")]
    assert {"Speed & ratio", "x", "y", "ours", "theirs", "-1", "-3", "<1>"} <= set(said)
    assert len(list(root.iter(f"{space}circle"))) == 3 + 2 and len(list(root.iter(f"{space}polyline"))) == 1
    width, height = float(root.get("width")), float(root.get("height"))
    for circle in root.iter(f"{space}circle"):
        assert 0 < float(circle.get("cx")) < width and 0 < float(circle.get("cy")) < height
