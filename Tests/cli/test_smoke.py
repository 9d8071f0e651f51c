"""Every command and every verb once, in a few seconds: what `make check` runs. What they do is tested elsewhere."""

import pytest
from conftest import BIN, REPOSITORY

VERBS = sorted(script.name.removeprefix("termbackup-") for script in (REPOSITORY / "bin").glob("termbackup-*")
               if not script.name.startswith("termbackup-sh-"))
NAMES = sorted(path.name for path in BIN.iterdir()) if BIN.is_dir() else []


@pytest.mark.parametrize("words", [*([name] for name in NAMES), *(["termbackup", verb] for verb in VERBS)], ids=" ".join)
def test_each_tells_its_version_and_its_usage(words, tbk):
    assert tbk.run(*words, "--version").out
    assert b"usage: " in tbk.run(*words, "--help").out.lower()
