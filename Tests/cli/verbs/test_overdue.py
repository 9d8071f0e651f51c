"""Overdue backups: which commands report them, and when they do not."""

import datetime
import json
import re

import pytest
from conftest import PASSWORD, put
from prometheus_client.parser import text_string_to_metric_families
from shell_fixture import shell  # noqa: F401
from test_prune import DAY, age
from test_schedule import cron, enable, secret, systemd  # noqa: F401


def make_older(shell, days):
    """Makes the last backup older, as if no run had followed, and deletes what this machine remembers of it."""
    age(shell, days)
    for log in shell.home.glob("audit.log*"):
        log.unlink()


def test_an_age_that_the_profile_does_not_allow_is_an_alarm(shell, small):
    shell.profile("docs", small, "--max-age", "2d")
    assert b"OVERDUE" in shell.run("status", status=1).stdout
    shell.run("run", "docs")
    for verb in "status", "doctor":
        assert b"OVERDUE" not in shell.run(verb).stdout
    make_older(shell, 40)
    assert b"  OVERDUE   the last one is 40 days old, and 2 days are allowed\n" in shell.run("status", status=1).stdout
    told, = json.loads(shell.run("status", "--json", status=1).stdout)["profiles"]
    assert told["overdue"] and told["next_run_at"] is None
    assert b"OVERDUE" in shell.run("doctor", status=1).stdout
    assert b"OVERDUE" not in shell.run("status", "--max-age", "60d").stdout
    # A run with nothing to store counts.
    shell.run("run", "docs")
    assert b"OVERDUE" not in shell.run("status").stdout
    shell.run("profile", "edit", "docs", "--unset", "max_age")
    make_older(shell, 40)
    shell.run("status")


@pytest.mark.parametrize("word", ["2", "0d", "-1d", "2y", "d", "1.5d", "1234567d"])
def test_an_age_is_a_number_and_a_unit(shell, small, word):
    shell.profile("docs", small)
    for command in ["status"], ["profile", "edit", "docs"]:
        assert b"max-age" in shell.run(*command, f"--max-age={word}", status=64).stderr


def test_cron_that_did_not_run_is_an_alarm(shell, cron, small):
    shell.profile("docs", small)
    enable(shell, "docs", "--password-file", secret(shell))
    # No run was due yet.
    assert b"OVERDUE" not in shell.run("status").stdout
    scheduled, = map(json.loads, shell.run("schedule-status", "--json").stdout.splitlines())
    assert scheduled["overdue"] is None and scheduled["next_run_at"]
    shell.run("run", "docs")
    make_older(shell, 40)
    put(shell.home / "state" / "schedule-docs.since", (datetime.datetime.now(datetime.UTC) - 40 * DAY).isoformat().encode(), 0o600)
    for verb in "status", "schedule-status", "doctor":
        assert b"OVERDUE" in shell.run(verb, status=1).stdout
    scheduled, = map(json.loads, shell.run("schedule-status", "--json", status=1).stdout.splitlines())
    assert scheduled["next_run_at"] and scheduled["overdue"]
    assert b"OVERDUE: docs: a backup was due " in shell.run("schedule-status", status=1).stdout
    cron.run(cron.lines()[0][5])
    for verb in "status", "schedule-status":
        assert b"OVERDUE" not in shell.run(verb).stdout


# For Prometheus


def metrics(text):
    """The samples by name, as read by Prometheus's own client; each family has a type and a help text, once."""
    families = list(text_string_to_metric_families(text.decode()))
    assert text.endswith(b"\n") and len({family.name for family in families}) == len(families)
    for family in families:
        assert family.type == "gauge" and family.documentation and family.samples
        assert text.count(f"# TYPE {family.name} gauge\n".encode()) == text.count(f"# HELP {family.name} ".encode()) == 1
        # What Prometheus's linter requires of gauges.
        assert re.fullmatch(r"termbackup(_[a-z]+)+", family.name) and not family.name.endswith(("_total", "_count", "_info"))
    return {(sample.name.removeprefix("termbackup_"), sample.labels["profile"]): sample.value
            for family in families for sample in family.samples}


def test_prometheus_is_told_what_status_says(shell, cron, small, tmp_path):
    shell.profile("docs", small)
    shell.profile("new", small, "--max-age", "1h")
    shell.run("run", "docs")
    enable(shell, "docs", "--password-file", secret(shell))
    found = metrics(shell.run("status", "--prometheus", status=1).stdout)
    told, _ = json.loads(shell.run("status", "--json", status=1).stdout)["profiles"]

    def moment(text):
        return int(datetime.datetime.fromisoformat(text).timestamp())

    for name, value in {
        "overdue": 0, "store_reachable": 1, "backups": 1, "verified_backups": 0, "lost_backups": 0,
        "store_size_bytes": told["summary"]["size"], "last_backup_size_bytes": told["summary"]["last_size"],
        "last_backup_files": told["summary"]["last_file_count"], "last_backup_verified": 0, "last_run_success": 1,
        "last_backup_timestamp_seconds": moment(told["summary"]["last_created_at"]),
        "last_run_timestamp_seconds": moment(told["last_run"]["timestamp"]),
        "next_run_timestamp_seconds": moment(told["next_run_at"]),
    }.items():
        assert found.pop((name, "docs")) == value, name
    assert found == {("overdue", "new"): 1, ("store_reachable", "new"): 1, ("backups", "new"): 0, ("verified_backups", "new"): 0,
                     ("lost_backups", "new"): 0, ("store_size_bytes", "new"): 0}
    # The sizes of an unreachable store are unknown, and a failed run is reported.
    (shell.home / "store").rename(shell.home / "away")
    shell.run("run", "docs", status=69)
    out = tmp_path / "textfile" / "termbackup.prom"
    put(out, b"old")
    assert shell.run("status", "-p", "docs", "--prometheus", "-o", out).stdout == b""
    found = metrics(out.read_bytes())
    assert found["store_reachable", "docs"] == found["last_run_success", "docs"] == 0 and ("backups", "docs") not in found
    assert out.stat().st_mode & 0o777 == 0o644 and [entry.name for entry in out.parent.iterdir()] == [out.name]


def test_a_report_has_one_form(shell):
    shell.run("init")
    assert shell.run("status", "--prometheus").stdout == b""
    for wrong in ["--json", "--prometheus"], ["-o", "x"]:
        assert b"--prometheus" in shell.run("status", *wrong, status=64).stderr


# Doctor


def said(shell, check, word, **options):
    found = json.loads(shell.run("doctor", "--json", **options).stdout)["checks"]
    return [entry["result"] for entry in found if entry["check"] == check and word in entry["message"]]


def test_doctor_notes_what_days_without_looking_cost(shell, cron, small, tmp_path):
    shell.profile("docs", small)
    shell.run("run", "docs")
    notes = [("schedule", "automatically"), ("stores", "never verified"), ("stores", "on the disk of what it backs up")]
    assert [said(shell, *note) for note in notes] == [["note"]] * 3
    shell.run("verify", "latest", "-p", "docs")
    enable(shell, "docs", "--password-file", secret(shell))
    assert [said(shell, *note) for note in notes] == [[], [], ["note"]]
    assert said(shell, "schedule", "the next backup is due at") == ["ok"]
    assert said(shell, "signing", "only known copy") == []
    shell.run("generate-key", "--enable")
    shell.run("run", "docs", "--adopt")
    assert said(shell, "signing", "only known copy") == ["note"]
    (shell.home / "store").rename(shell.home / "away")
    assert cron.run(cron.lines()[0][5]).returncode == 69
    assert said(shell, "schedule", "ended with status 69", status=1) == ["warn"]


@pytest.mark.parametrize("way", ["option", "environment", "cron", "systemd"])
def test_doctor_warns_of_a_secret_that_others_can_read(shell, request, way, small, tmp_path):
    place = tmp_path / "100% $mine's \"own\"" / "word"
    put(place, PASSWORD, 0o600)
    shell.profile("docs", small)
    options = {"password": None}
    arguments = []
    if way == "option":
        arguments = ["--password-file", place]
    elif way == "environment":
        options["env"] = {"TERMBACKUP_PASSWORD_FILE": str(place)}
    else:
        request.getfixturevalue(way)
        enable(shell, "docs", "--password-file", place, *(["--systemd"] if way == "systemd" else []))

    def found():
        checks = json.loads(shell.run("doctor", "--json", *arguments, **options).stdout)["checks"]
        return [entry["result"] for entry in checks if "others can read the secret" in entry["message"]]

    assert found() == []
    place.chmod(0o640)
    assert found() == ["warn"]
