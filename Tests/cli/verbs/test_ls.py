"""termbackup ls: the files in a backup."""

import json
import os

from browsing_fixture import backed_up, shell  # noqa: F401
from conftest import snapshot
from github_fixture import github, github_server  # noqa: F401, fixtures


def test_each_directory_of_a_backup_is_listed(shell, backed_up):
    top = os.fsencode(backed_up)
    for folder in (b"", b"d", b"d/e"):
        wanted = {(folder + b"/" + name).lstrip(b"/") for name in os.listdir(os.path.join(top, folder))}
        at = [os.fsdecode(folder)] if folder else []
        assert set(shell.run("ls", "latest", *at, "-0").stdout.split(b"\0")[:-1]) == wanted
    every = shell.run("ls", "latest", "-R", "-0").stdout.split(b"\0")[:-1]
    assert set(every) == set(snapshot(backed_up)) - {b""}
    lines = shell.run("ls", "latest~1", "d", "-p", "p").stdout.decode().splitlines()
    assert lines == ["d/e", "d/it's", "d/one", '"d/two words"'] or "d/later" not in lines and len(lines) == 4
    objects = [json.loads(line) for line in shell.run("ls", "latest", "d/later", "--json").stdout.splitlines()]
    assert [(entry["relative_path"], entry["size"], entry["type"]) for entry in objects] == [("d/later", 6, "file")]
    assert b"-rw" in shell.run("ls", "latest", "-l").stdout
    assert shell.run("ls", "--at", "0s", "d/e").stdout == b"d/e/deep\n"
