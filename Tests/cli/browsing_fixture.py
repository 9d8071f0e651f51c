"""A backup to browse."""

import os
import random

import pytest
from conftest import put, require
from github_fixture import github, github_server  # noqa: F401, fixtures
from shell_fixture import Shell


@pytest.fixture
def shell(tbk, tmp_path):
    require("dash")
    return Shell(tbk, tmp_path, ["dash"])


NAMES = ["plain", "d/one", "d/two words", "d/e/deep", "d/it's", "$(date)", "-rf", "*", "[a]", "b\\c", "new\nline", "\xe4\xff"]


def make_tree(top):
    for name in NAMES:
        put(os.path.join(os.fsencode(top), name.encode("latin-1")), name.encode("latin-1") * 3)
    put(top / "large", random.Random(2).randbytes(3 << 20))
    return top


@pytest.fixture(params=["1", "3"])
def backed_up(request, shell, tmp_path):
    """A profile p in each suite, with an increment."""
    source = make_tree(tmp_path / "source")
    shell.profile("p", source, "--mode", "incremental", "--cipher-suite", request.param)
    shell.run("run", "p")
    put(source / "d" / "later", b"later\n")
    shell.run("run", "p")
    return source
