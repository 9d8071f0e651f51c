"""The tests themselves."""

import pathlib
import re

TESTS = pathlib.Path(__file__).resolve().parents[1]
COLLECTED = ["architecture", "github", "cli", "packaging"]


def test_what_ci_runs_leaves_nothing_out():
    """`make test` omits only what `make soak` runs, and .ci/run runs both."""
    makefile = (TESTS.parent / "Makefile").read_text()
    assert re.findall(r"-m (\S+|'[^']*') \$\(PYTHON_TESTS\)", makefile) == ["'not soak'", "soak"]
    assert set(re.search(r"^PYTHON_TESTS = (.*)", makefile, re.MULTILINE)[1].split()) == {f"Tests/{name}" for name in COLLECTED}
    lines = (TESTS.parent / ".ci" / "run").read_text().splitlines()
    assert lines[-2:] == ["make test", "exec make soak"] and "export CI=true" in "\n".join(lines)
