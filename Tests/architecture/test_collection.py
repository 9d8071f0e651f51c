"""The tests themselves."""

import os
import pathlib
import re
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
COLLECTED = ["architecture", "github", "cli", "packaging"]


def names(seed):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--collect-only", *COLLECTED], cwd=TESTS,
        env={**{key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}, "PYTHONHASHSEED": seed},
        capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_every_process_collects_the_same_tests():
    """Else the processes that share them could not agree: a name may hold no time, random bytes or order of a set."""
    first = names("1")
    assert first == names("2") and len(first) > 1000


def test_what_ci_runs_leaves_nothing_out():
    """What `make test` leaves out is what `make soak` runs, and .ci/run runs both."""
    makefile = (TESTS.parent / "Makefile").read_text()
    assert re.findall(r"-m (\S+|'[^']*') \$\(PYTHON_TESTS\)", makefile) == ["'not soak'", "soak"]
    assert set(re.search(r"^PYTHON_TESTS = (.*)", makefile, re.MULTILINE)[1].split()) == {f"Tests/{name}" for name in COLLECTED}
    lines = (TESTS.parent / ".ci" / "run").read_text().splitlines()
    assert lines[-2:] == ["make test", "exec make soak"] and "export CI=true" in "\n".join(lines)
