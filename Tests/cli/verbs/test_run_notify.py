"""What a profile's webhook and ping URL receive about a run; and a run does not depend on them."""

import json
import os
import shutil
import signal
import stat
import subprocess
import time

import jsonschema
import pytest
from conftest import PASSWORD, PATIENCE, put
from shell_fixture import on_terminal, shell  # noqa: F401
from test_prune import failing_prune, replace_program
from test_rotate_key import wrapped
from webhook_fixture import GENERIC, SECRET, running


@pytest.fixture
def webhook():
    with running() as service:
        yield service


@pytest.fixture
def pings():
    with running() as service:
        yield service


@pytest.fixture
def told(shell, tbk, small, webhook, pings):
    """A profile `docs` with both URLs."""
    shell.run("init")
    for name, service in (("hook", webhook), ("ping", pings)):
        put(tbk.scratch / name, service.url.encode() + b"\n")
    shell.run("profile", "create", "docs", "--source", small, "--webhook-url-file", tbk.scratch / "hook",
              "--ping-url-file", tbk.scratch / "ping")
    return shell


def run(shell, *arguments, **options):
    done = shell.run("run", *arguments, "docs", **options)
    assert SECRET.encode() not in done.stdout + done.stderr
    return done


def kinds(pings):
    return [path.rpartition("/")[2] if path.rpartition("/")[2] != SECRET else "success" for path in pings.paths]


def test_a_backup_is_told_of(told, webhook, pings, small):
    done = json.loads(run(told, "--json").stdout)
    body, = webhook.bodies
    jsonschema.validate(body, GENERIC)
    assert (body["status"], body["profile"], body["backup_id"]) == ("success", "docs", done["id"])
    assert (body["file_count"], body["archive_size"], body["mode"]) == (done["file_count"], done["size"], "full")
    assert body["duration_seconds"] >= 0 and body["error"] is None and body["warning"] is None
    assert small not in json.dumps(body) and str(told.home) not in json.dumps(body)
    assert kinds(pings) == ["start", "success"]
    assert done["id"][:12].encode() in pings.requests[1][3]


def test_a_run_that_changes_nothing_is_a_sign_of_life_and_no_message(told, webhook, pings):
    told.run("profile", "edit", "docs", "--mode", "incremental")
    run(told)
    assert b"Nothing has changed" in run(told).stdout
    assert len(webhook.requests) == 1
    assert kinds(pings) == ["start", "success"] * 2


def test_a_dry_run_tells_nobody(told, webhook, pings):
    run(told, "--dry-run")
    assert webhook.requests == pings.requests == []


@pytest.mark.parametrize("fault,status,kind,message", [
    ("source", 66, "BackupError", "source missing"), ("store", 69, "StoreError", "store unavailable"),
    ("password", 77, "CryptoError", "incorrect password or altered data")])
def test_a_failure_is_told_of_without_a_path(told, webhook, pings, small, fault, status, kind, message):
    run(told)
    if fault == "source":
        shutil.rmtree(small)
    elif fault == "store":
        shutil.rmtree(told.home / "store")
    run(told, status=status, password=b"another" if fault == "password" else PASSWORD)
    body = webhook.bodies[-1]
    jsonschema.validate(body, GENERIC)
    assert (body["status"], body["error"]) == ("failure", {"type": kind, "message": message})
    assert "/" not in json.dumps({key: value for key, value in body.items() if key != "timestamp"})
    assert kinds(pings)[-1] == "fail"
    assert len(webhook.requests) == 2


def test_a_failure_has_no_reason_that_its_status_alone_suggests(told, webhook, tmp_path):
    run(told)
    told.run("run", "docs", "--password-file", tmp_path / "gone", status=66)
    assert webhook.bodies[-1]["error"]["message"] == "input missing"
    put(tmp_path / "word", PASSWORD)
    told.run("generate-key", "--enable", "--key-password-file", tmp_path / "word")
    run(told, "--key-password-file", tmp_path / "word", status=65)
    assert webhook.bodies[-1]["error"]["message"] == "data is corrupt, incomplete or not signed as it should be"
    entries = map(json.loads, (told.home / "audit.log").read_text().splitlines())
    errors = [entry["details"]["error"] for entry in entries if entry["status"] == "failure"]
    assert errors == [body["error"]["message"] for body in webhook.bodies[-2:]]


def test_patterns_that_cannot_be_read_are_told_of_and_noted(told, webhook, pings, tmp_path):
    patterns = tmp_path / "patterns"
    put(patterns, b"*.o\n")
    told.run("profile", "edit", "docs", "--exclude-from", patterns)
    run(told)
    os.unlink(patterns)
    assert b"exclude_from: " in run(told, status=66).stderr
    assert webhook.bodies[-1]["status"] == "failure" and kinds(pings)[-2:] == ["start", "fail"]
    line = json.loads((told.home / "audit.log").read_text().splitlines()[-1])
    assert (line["operation"], line["status"], line["details"]["error"]) == ("backup", "failure", "input missing")
    assert len(told.ids("docs")) == 1


def test_a_part_that_cannot_be_read_is_told_of(told, webhook, pings, small, monkeypatch):
    os.mkfifo(os.path.join(small, "pipe"))
    put(os.path.join(small, "vanishing"), b"x")
    # A stand-in for a stage that exits with 3: root can read every file.
    put(told.tbk.scratch / "more" / "tbk-manifest", b"""#!/bin/sh
        TERMBACKUP_STAGE= "$REAL/tbk-manifest" "$@" || exit
        echo 3 >"$TERMBACKUP_STAGE"
        exit 3
        """, 0o755)
    suite = told.tbk.scratch / "suite"
    shutil.copytree(told.lib.parent.parent, suite, symlinks=True)
    (suite / "bin" / "tbk-manifest").unlink()
    shutil.copy(told.tbk.scratch / "more" / "tbk-manifest", suite / "bin" / "tbk-manifest")
    real = told.lib.parent.parent / "bin"
    told.lib = suite / "lib" / "termbackup"
    run(told, status=3, env={"REAL": str(real)})
    assert webhook.bodies[0]["status"] == "partial" and kinds(pings) == ["start", "fail"]
    told.run("profile", "edit", "docs", "--mode", "incremental")
    found = json.loads(run(told, "--json", status=3, env={"REAL": str(real)}).stdout)
    last = json.loads((told.home / "audit.log").read_text().splitlines()[-1])
    assert (found["status"], found["id"], last["status"], last["details"]["unchanged"]) == ("partial", None, "partial", True)


def test_a_prune_that_fails_is_told_of_with_its_backup(told, webhook, small):
    told.run("profile", "edit", "docs", "--max-backups", "1")
    run(told)
    put(os.path.join(small, "more"), b"more")
    replace_program(told, told.tbk.scratch, "tbk-push", failing_prune(told.lib / "tbk-net"))
    run(told)
    body = webhook.bodies[-1]
    assert (body["status"], body["warning"]) == ("success", "old backups were not removed: busy")


@pytest.mark.parametrize("answer", ["404", "redirect", "away"])
def test_no_run_depends_on_being_told(told, webhook, pings, answer):
    webhook.answers = pings.answers = [
        (404, {}, b"") if answer == "404" else (302, {"Location": "/x"}, b"")]
    if answer == "away":
        put(told.tbk.scratch / "hook", b"http://127.0.0.1:1/" + SECRET.encode())
        told.run("profile", "edit", "docs", "--webhook-url-file", told.tbk.scratch / "hook")
    done = run(told, "--json")
    assert json.loads(done.stdout)["status"] == "success"
    assert b"warning: the webhook was not notified: " in done.stderr and b"warning: the ping was not sent: " in done.stderr
    assert b"error" not in done.stderr
    shutil.rmtree(told.home / "store")
    run(told, status=69)


def test_an_interrupted_run_tells_so(told, webhook, pings, small, tmp_path):
    run(told)
    command = told.command("run", "--password-command", "sh -c 'touch \"$STARTED\"; sleep 60'", "docs")
    started = tmp_path / "started"
    process = subprocess.Popen(command, env={**told.environment_with(None, None), "STARTED": str(started)},
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True)
    while not started.exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert webhook.bodies[-1]["error"]["message"] == "interrupted" and kinds(pings)[-1] == "fail"


@pytest.mark.parametrize("command", ["tbk-push", "tbk-notify"])
def test_a_signal_after_the_backup_is_stored_ends_what_follows_alone(told, command, tmp_path):
    told.run("profile", "edit", "docs", "--unset", "ping_url", "--max-backups", "1")
    # By the time it removes old backups, it has printed the new entry.
    before = f"shift; TERMBACKUP_STAGE= '{told.lib}/tbk-net' tbk-push \"$@\" | head -n 1" if command == "tbk-push" else ""
    told.lib = wrapped(tmp_path, f"""
        {before}
        kill -TERM "$(ls "$TERMBACKUP_HOME/tmp" | sed -n 's/^run[.]\\([0-9]*\\)[.].*/\\1/p')"
        trap 'kill $!; exit 143' TERM
        sleep 200 &
        wait""", [command])
    done = run(told, "--json")
    assert json.loads(done.stdout)["status"] == "success" and b"interrupted" in done.stderr
    entry, = told.run("audit-log", "--json", "-o", "backup").stdout.splitlines()
    assert json.loads(entry)["status"] == "success"
    assert list((told.home / "tmp").iterdir()) == []


def test_another_run_going_on_is_no_news(told, webhook, pings):
    run(told)
    import fcntl
    with open(told.home / "state" / "run-docs.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run(told, status=75)
    assert len(webhook.requests) == 1 and kinds(pings) == ["start", "success"]


def test_children_do_not_see_the_urls(told, webhook, tmp_path):
    seen = tmp_path / "seen"
    probe = put(tmp_path / "probe", b'#!/bin/sh\n{ env; cat /proc/[0-9]*/cmdline; } >>"$SEEN" 2>/dev/null\ncat "$GIVEN"\n', 0o755)
    given = put(tmp_path / "given", PASSWORD)
    run(told, "--password-command", os.fsdecode(probe), password=None,
        env={"SEEN": str(seen), "GIVEN": os.fsdecode(given), "TERMBACKUP_WEBHOOK_URL": "https://example.org/" + SECRET})
    assert b"SEEN=" in seen.read_bytes() and SECRET.encode() not in seen.read_bytes()


# The profile


def test_the_urls_are_masked_and_stay_at_home(told, webhook, tmp_path):
    shown = told.run("profile", "show", "docs").stdout + told.run("profile", "show", "docs", "--json").stdout
    shown += told.run("profile", "list", "--json").stdout
    assert SECRET.encode() not in shown and b"http://127.0.0.1" in shown
    told.run("profile", "export", "docs", tmp_path / "out.json")
    exported = json.loads((tmp_path / "out.json").read_text())
    assert "webhook_url" not in exported and "ping_url" not in exported
    revealed = json.loads(told.run("profile", "show", "docs", "--json", "--reveal").stdout)
    assert revealed["webhook_url"] == webhook.url
    assert stat.S_IMODE((told.home / "profiles" / "docs.json").stat().st_mode) == 0o600
    told.run("profile", "edit", "docs", "--unset", "webhook_url", "--unset", "ping_url")
    run(told)
    assert webhook.requests == []


def test_the_urls_can_be_asked_for(shell, small):
    shell.profile("docs", small)
    for field in ("webhook", "ping"):
        status, shown = on_terminal(shell, [(b" URL: ", b"https://example.org/" + SECRET.encode())],
                                    "profile", "edit", "docs", f"--ask-{field}-url")
        assert status == 0 and SECRET.encode() not in shown
        assert SECRET in json.loads((shell.home / "profiles" / "docs.json").read_text())[f"{field}_url"]


@pytest.mark.parametrize("url", ["http://example.org/" + SECRET, "ftp://example.org/" + SECRET, SECRET, "", "https://a b/" + SECRET])
def test_an_address_that_cannot_be_used_is_not_taken(shell, small, tmp_path, url):
    shell.profile("docs", small)
    put(tmp_path / "url", url.encode())
    for option in ("--webhook-url-file", "--ping-url-file"):
        refused = shell.run("profile", "edit", "docs", option, tmp_path / "url", status=64).stderr
        assert option.encode() in refused and SECRET.encode() not in refused


def test_a_url_as_an_argument_works_with_a_notice(shell, small):
    shell.profile("docs", small)
    assert b"--webhook-url-file" in shell.run("profile", "edit", "docs", "--webhook-url", "https://example.org/x").stderr
    shell.run("profile", "edit", "docs", "--webhook-url", "https://example.org/x", "--ask-webhook-url", status=64)
