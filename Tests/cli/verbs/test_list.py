"""termbackup list: the backups, and the changes between them."""

import json
import os

from shell_fixture import shell  # noqa: F401
from test_prune import age
from test_run import runs  # noqa: F401


def listed(shell, *arguments):
    lines = shell.run("list", *arguments).stdout.decode().splitlines()
    return [line.split() for line in lines[1:-1]], lines[-1]


def test_a_list_can_be_short_and_says_what_changed(shell, small):
    shell.profile("docs", small)
    runs(shell, small, 3)
    os.unlink(os.path.join(small, "new 0"))
    os.unlink(os.path.join(small, "new 1"))
    shell.run("run", "docs")
    ids = [json.loads(line)["id"] for line in shell.run("list", "--json").stdout.splitlines()]
    rows, total = listed(shell)
    assert [row[4] for row in rows] == ["-", "+1", "+1", "-2"] and total.startswith("4 backups, ")
    rows, total = listed(shell, "-n", "2")
    # The first row, too, is compared with the backup before it.
    assert [row[0] for row in rows] == [name[:12] for name in ids[2:]] and rows[0][4] == "+1"
    assert total.startswith("2 of 4 backups, ")
    assert [json.loads(line)["id"] for line in shell.run("list", "--json", "--limit=1").stdout.splitlines()] == ids[3:]
    age(shell, 10)
    shell.run("run", "--full", "docs")
    assert len(listed(shell, "--since", "9d")[0]) == 1 and len(listed(shell, "--since", "11d")[0]) == 5
    assert len(shell.run("list", "--since", "9d", "--json").stdout.splitlines()) == 1
    assert b"No backups since then" in shell.run("list", "--since", "0s").stdout
    for wrong in ["-n", "0"], ["-n", "x"], ["--since", "soon"], ["--store", shell.home / "store", "-n", "1"]:
        shell.run("list", *wrong, status=64)
