"""termbackup audit-log: the entries that the verbs write."""

import json

from conftest import PASSWORD
from shell_fixture import shell  # noqa: F401


def test_operations_are_in_the_audit_log(shell, small, tmp_path):
    shell.profile("docs", small)
    shell.run("run", "docs")
    shell.run("verify", "latest", "-p", "docs")
    shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out")
    shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", password=b"wrong", status=77)
    entries = [json.loads(line) for line in shell.run("audit-log", "--json").stdout.splitlines()]
    assert [(entry["operation"], entry["status"]) for entry in entries] == [
        ("init", "success"), ("backup", "success"), ("verify", "success"), ("restore", "success"), ("restore", "failure")]
    assert entries[1]["details"]["backup_id"] == shell.ids("docs")[0] and entries[1]["details"]["file_count"] == 3
    assert len(shell.run("audit-log", "-n1", "-o", "restore", "--profile=docs").stdout.splitlines()) == 1
    log = (shell.home / "audit.log").read_text()
    assert small not in log and PASSWORD.decode() not in log
