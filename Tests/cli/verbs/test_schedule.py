"""Timetables: the real crontab(1) with a separate spool, timers checked by systemd, and the password that they need."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest
from conftest import BIN, PASSWORD, PATIENCE, absent, put, require
from github_fixture import TOKEN, github_server  # noqa: F401
from keyring_fixture import session  # noqa: F401
from shell_fixture import on_terminal, shell  # noqa: F401

SPOOL = "/var/spool/cron/crontabs"
OTHERS = b"# mine\nMAILTO=ada\n\n@reboot  true \t\n7 7 7 7 *  echo 100\\% of 'it'\n"


@pytest.fixture
def cron(shell, tmp_path):
    """The real crontab(1), with a spool of this test only."""
    require("crontab", "unshare", "mount")
    real = shutil.which("crontab")
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o1730)
    tools = tmp_path / "cron tools"
    put(tools / "crontab", f'#!/bin/sh\nexec unshare -m sh -c \'mount --bind "$0" {SPOOL} && exec {real} "$@"\' \'{spool}\' "$@"\n'.encode(),
        0o755)
    if os.geteuid() != 0 or subprocess.run([tools / "crontab", "-l"], capture_output=True).stderr.count(b"no crontab") != 1:
        absent("a spool of crontabs for a test")
    shell.environment["PATH"] = f"{tools}:{shell.environment['PATH']}"
    return Cron(shell, tools / "crontab")


class Cron:
    def __init__(self, shell, program):
        self.shell = shell
        self.program = program

    def text(self):
        return subprocess.run([self.program, "-l"], capture_output=True).stdout

    def set(self, text):
        subprocess.run([self.program, "-"], input=text, check=True, capture_output=True)

    def lines(self):
        """The commands of the blocks, with the fields before them."""
        found = re.findall(rb"^# BEGIN termbackup .*\n(.*)\n# END termbackup ", self.text(), re.MULTILINE)
        return [line.split(b" ", 5) for line in found]

    def run(self, line, **more):
        """Runs a command as cron does: % becomes a line feed, unless there is a backslash before it."""
        command, escaped = b"", False
        rest = b""
        for index, byte in enumerate(line):
            byte = bytes([byte])
            if escaped:
                command = command[:-1] + byte if byte == b"%" else command + byte
                escaped = False
                continue
            escaped = byte == b"\\"
            if byte == b"%":
                rest = line[index + 1:]
                break
            command += byte
        return subprocess.run(
            ["/bin/sh", "-c", command], input=rest.replace(b"%", b"\n"), capture_output=True, cwd=self.shell.environment["HOME"],
            env={"HOME": self.shell.environment["HOME"], "LOGNAME": "ada", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin", **more})


@pytest.fixture
def systemd(shell, tmp_path):
    """A systemctl that reports no running manager; the units are checked with the real systemd-analyze."""
    calls = tmp_path / "calls"
    put(tmp_path / "systemd tools" / "systemctl", f'#!/bin/sh\nprintf "%s\\n" "$*" >>"{calls}"\ntest -e "{calls}.up"\n'.encode(), 0o755)
    shell.environment["PATH"] = f"{tmp_path}/systemd tools:{shell.environment['PATH']}"
    shell.units = pathlib.Path(shell.environment["HOME"]) / ".config" / "systemd" / "user"
    shell.calls = calls
    return shell


def secret(shell, name="a password"):
    path = shell.tbk.scratch / name
    path.write_bytes(PASSWORD + b"\n")
    path.chmod(0o600)
    return path


def enable(shell, *arguments, **options):
    options.setdefault("password", None)
    return shell.run("schedule-enable", *arguments, **options)


def names(shell):
    return [json.loads(line)["name"] for line in shell.run("profile", "list", "--json", password=None).stdout.splitlines()]


def status(shell, *arguments):
    return [json.loads(line) for line in shell.run("schedule-status", "--json", *arguments, password=None).stdout.splitlines()]


# cron


def test_the_line_in_the_crontab_makes_a_backup(shell, cron, small):
    shell.profile("docs", small)
    said = enable(shell, "docs", "--schedule", "30 2 * * mon-fri", "--password-file", secret(shell)).stdout
    assert b"Scheduled docs by cron: 30 2 * * 1-5" in said
    (line,) = cron.lines()
    assert line[:5] == [b"30", b"2", b"*", b"*", b"1-5"]
    done = cron.run(line[5])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(shell.ids("docs")) == 1
    log = shell.home / "state" / "schedule-docs.log"
    assert re.match(r"== \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ status 0 after .*\nBacked up docs", log.read_text())
    assert log.stat().st_mode & 0o777 == 0o600
    (found,) = status(shell)
    assert (found["profile"], found["backend"], found["schedule"], found["last_status"]) == ("docs", "cron", "30 2 * * 1-5", 0)
    assert found["last_run_at"] in log.read_text()
    # A failed run prints an error, which cron mails.
    (shell.home / "store").rename(shell.home / "gone")
    done = cron.run(line[5])
    assert done.returncode == 69 and b"does not exist" in done.stderr
    assert status(shell, "docs")[0]["last_status"] == 69


def test_every_other_line_stays_as_it_is(shell, cron, small):
    password = secret(shell)
    shell.profile("docs", small)
    shell.run("profile", "create", "docs-2", "--source", small)
    cron.set(OTHERS)
    before = cron.text()
    assert before == OTHERS
    enable(shell, "docs", "--password-file", password)
    once = cron.text()
    assert once.startswith(OTHERS) and len(cron.lines()) == 1
    enable(shell, "docs", "--password-file", password)
    assert cron.text() == once
    enable(shell, "docs-2", "--password-file", password, "--schedule", "@hourly")
    cron.set(cron.text() + b"5 5 5 5 * echo last\n")
    both = cron.text()
    # A new time for the first one leaves all lines in their places.
    enable(shell, "docs", "--password-file", password, "--schedule", "1 1 * * *")
    assert cron.text() == both.replace(b"0 2 * * * '/usr", b"1 1 * * * '/usr")
    assert [found["profile"] for found in status(shell)] == ["docs", "docs-2"]
    shell.run("schedule-disable", "docs")
    shell.run("schedule-disable", "docs-2")
    assert cron.text() == OTHERS + b"5 5 5 5 * echo last\n"
    assert b"was not scheduled" in shell.run("schedule-disable", "docs").stderr
    assert status(shell) == [] and shell.run("schedule-status").stdout == b""


@pytest.mark.parametrize("trouble", ["denied", "cut"])
def test_a_crontab_that_cannot_be_read_whole_stays_as_it_is(trouble, shell, small, tmp_path):
    """busybox's crontab(1) without permission to read its file, and one that fails half-way."""
    shell.profile("docs", small)
    tools = tmp_path / "tools"
    put(tools / "crontab", f"#!/bin/sh\ntest \"$1\" != -l || exec cat '{tmp_path}/tab'\n"
        f"echo \"$*\" >>'{tmp_path}/written'; cat >'{tmp_path}/tab'\n".encode(), 0o755)
    put(tmp_path / "tab", OTHERS)
    shell.environment["PATH"] = f"{tools}:{shell.environment['PATH']}"
    enable(shell, "docs", "--password-file", secret(shell))
    before = (tmp_path / "tab").read_bytes()
    assert before.startswith(OTHERS) and len(before) > len(OTHERS)
    (tmp_path / "written").unlink()
    refusal = {"denied": "echo \"crontab: can't open 'ada': Permission denied\" >&2; exit 1",
               "cut": f"head -c 10 '{tmp_path}/tab'; exit 1"}[trouble]
    put(tools / "crontab", (tools / "crontab").read_bytes().replace(f"exec cat '{tmp_path}/tab'".encode(), f"{{ {refusal}; }}".encode()))
    refused = shell.run("schedule-disable", "docs", password=None, status=69)
    assert b"cannot read the crontab" in refused.stderr and (b"Permission denied" in refused.stderr) == (trouble == "denied")
    assert (tmp_path / "tab").read_bytes() == before and not (tmp_path / "written").exists()


def test_a_crontab_of_ours_alone_goes_as_it_came(shell, cron, small):
    shell.profile("docs", small)
    enable(shell, "docs", "--password-file", secret(shell))
    shell.run("schedule-disable", "docs")
    assert cron.text() == b""


def test_a_block_without_an_end_is_left_to_a_person(shell, cron, small):
    shell.profile("docs", small)
    enable(shell, "docs", "--password-file", secret(shell))
    broken = re.sub(rb"# END termbackup.*\n", b"", cron.text()) + OTHERS
    cron.set(broken)
    assert b"has no end" in shell.run("schedule-disable", "docs", status=78).stderr
    assert b"has no end" in enable(shell, "docs", "--password-file", secret(shell), status=78).stderr
    assert cron.text() == broken


def test_blocks_of_another_home_are_not_ours(shell, cron, small, tmp_path):
    shell.profile("docs", small)
    enable(shell, "docs", "--password-file", secret(shell))
    ours = cron.text()
    other = str(tmp_path / "other home")
    shell.run("init", env={"TERMBACKUP_HOME": other})
    shell.run("profile", "create", "docs", "--source", small, env={"TERMBACKUP_HOME": other})
    enable(shell, "docs", "--password-file", secret(shell), env={"TERMBACKUP_HOME": other})
    assert len(cron.lines()) == 2 and len(status(shell)) == 1
    shell.run("schedule-disable", "docs", env={"TERMBACKUP_HOME": other})
    assert cron.text() == ours


@pytest.mark.parametrize("name", ["with spaces", "100% sure", "it's", 'a "quote" $HOME `id`', "caf\u00e9;#&|", "%%h", "back\\slash"])
def test_paths_are_what_they_are(shell, systemd, cron, small, tmp_path, name):
    home = tmp_path / name / ".termbackup"
    home.parent.mkdir()
    shell.home = home
    shell.environment["TERMBACKUP_HOME"] = str(home)
    shell.profile("docs", small)
    file = home.parent / name
    file.write_bytes(PASSWORD)
    enable(shell, "docs", "--password-file", file)
    ((*_, line),) = cron.lines()
    assert cron.run(line).returncode == 0
    assert status(shell)[0]["last_status"] == 0
    enable(shell, "docs", "--password-command", f"cat {quoted(file)}", "--systemd")
    assert cron.lines() == []
    (unit,) = shell.units.glob("termbackup-docs*.service")
    words = exec_start(unit)
    put(os.path.join(small, "more"), b"x")
    subprocess.run(words, check=True, env={"PATH": "/usr/bin:/bin", "HOME": shell.environment["HOME"]})
    assert len(shell.ids("docs")) == 2


def quoted(path):
    return "'" + str(path).replace("'", "'\\''") + "'"


def exec_start(unit):
    """The words of ExecStart=, parsed as in systemd.service(5)."""
    line = re.search(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)[1]
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
    assert " ".join(f'"{word}"' for word in words) == line
    return [re.sub(r"\\(.)", r"\1", word).replace("%%", "%").replace("$$", "$") for word in words]


def test_what_cron_reads_in_two_ways_is_refused(shell, cron, small):
    shell.profile("docs", small)
    said = enable(shell, "docs", "--password-command", f"printf '%s' '{PASSWORD.decode()}' '\\\\'", status=64)
    assert cron.text() == b""
    said = enable(shell, "docs", "--password-command", "cat '" + str(secret(shell)) + "\n'", status=64)
    assert b"line feed" in said.stderr and cron.text() == b""


@pytest.mark.parametrize("wrong, why", [
    ("60 * * * *", "'60' is not a valid minute"), ("* 24 * * *", "'24' is not a valid hour"), ("* * 0 * *", "'0' is not a valid day of the month"),
    ("* * * 13 *", "'13' is not a valid month"), ("* * * * 8", "'8' is not a valid day of the week"), ("* * * *", "five fields"),
    ("* * * * * *", "five fields"), ("", "needs a value"), ("@reboot", "@reboot"), ("0 0 30 2 *", "no month has that day"),
    ("5-1 * * * *", "ends before it begins"), ("*/0 * * * *", "not a step"), ("1,,2 * * * *", "not a valid minute"),
    ("0 2 * * *\n* * * * * evil", "one line"), ("0 2 * * * evil", "five fields"), ("* * * * %", "not a valid day of the week")])
def test_a_schedule_that_is_none_is_refused(shell, small, wrong, why):
    shell.profile("docs", small)
    assert why.encode() in enable(shell, "docs", "--schedule", wrong, status=64).stderr


@pytest.mark.parametrize("text, cron_text, calendars", [
    ("@weekly", "0 0 * * 0", ["Sun *-*-* 00:00:00"]),
    ("*/20 8-10 * JAN-feb Mon-Fri", "*/20 8-10 * 1-2 1-5", ["Mon,Tue,Wed,Thu,Fri *-01,02-* 08,09,10:00,20,40:00"]),
    ("0 0 1,15 * 7", "0 0 1,15 * 7", ["Sun *-*-* 00:00:00", "*-*-01,15 00:00:00"]),
    ("30 3 29 2 *", "30 3 29 2 *", ["*-02-29 03:30:00"]),
    ("0 12 */10 * *", "0 12 */10 * *", ["*-*-01,11,21,31 12:00:00"]),
    # cron(8) runs on a day that fits either field, unless one begins with a star; a range of all days does not.
    ("0 0 1-31 * 1", "0 0 1-31 * 1", ["*-*-* 00:00:00"]), ("5 0 1 * 0-7", "5 0 1 * 0-7", ["*-*-* 00:05:00"]),
    ("0 0 1-31/1 6 0-6", "0 0 1-31/1 6 0-6", ["*-06-* 00:00:00"]), ("0 0 1-31 * *", "0 0 1-31 * *", ["*-*-* 00:00:00"]),
    ("0 0 */2 * 0-7", "0 0 */2 * 0-7", ["*-*-01,03,05,07,09,11,13,15,17,19,21,23,25,27,29,31 00:00:00"]),
    ("0 0 * * 1-7/2", "0 0 * * 1-7/2", ["Sun,Mon,Wed,Fri *-*-* 00:00:00"]),
    ("daily", "0 0 * * *", ["*-*-* 00:00:00"]), ("Hourly", "0 * * * *", ["*-*-* *:00:00"])])
def test_a_schedule_becomes_a_calendar(shell, systemd, cron, small, text, cron_text, calendars):
    require("systemd-analyze")
    shell.profile("docs", small)
    enable(shell, "docs", "--password-file", secret(shell), "--schedule", text)
    assert b" ".join(cron.lines()[0][:5]).decode() == cron_text
    enable(shell, "docs", "--password-file", secret(shell), "--schedule", text, "--systemd")
    found = re.findall(r"^OnCalendar=(.*)$", (shell.units / "termbackup-docs.timer").read_text(), re.MULTILINE)
    assert found == calendars
    for calendar in found:
        said = subprocess.run(["systemd-analyze", "calendar", calendar], check=True, capture_output=True).stdout
        assert b"Next elapse" in said


# systemd


def test_units_are_what_systemd_takes(shell, systemd, small, tmp_path):
    require("systemd-analyze")
    shell.profile("docs", small)
    said = enable(shell, "docs", "--password-file", secret(shell), "--systemd")
    assert b"Scheduled docs by systemd" in said.stdout and b"next login" in said.stderr
    units = [shell.units / f"termbackup-docs.{kind}" for kind in ("service", "timer")]
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    done = subprocess.run(["systemd-analyze", "--user", "verify", *units], capture_output=True,
                          env={**shell.environment, "XDG_RUNTIME_DIR": str(run)})
    if b"Failed to initialize manager" in done.stderr:
        absent("a system on which systemd-analyze verifies")
    assert (done.returncode, done.stderr) == (0, b"")
    wanted = shell.units / "timers.target.wants" / "termbackup-docs.timer"
    assert wanted.resolve() == units[1].resolve()
    (found,) = status(shell)
    assert (found["backend"], found["schedule"]) == ("systemd", "0 2 * * *")
    shell.run("schedule-disable", "docs")
    assert not any(path.exists() or path.is_symlink() for path in (*units, wanted)) and status(shell) == []


def test_a_running_systemd_is_told(shell, systemd, small):
    shell.profile("docs", small)
    put(f"{shell.calls}.up")
    assert b"login" not in enable(shell, "docs", "--password-file", secret(shell), "--systemd").stderr
    shell.run("schedule-disable", "docs")
    assert shell.calls.read_text().splitlines() == [
        "--user daemon-reload", "--user restart termbackup-docs.timer", "--user stop termbackup-docs.timer",
        "--user daemon-reload"]


def test_a_schedule_goes_with_its_profile_to_another_name(shell, systemd, cron, small):
    shell.profile("docs", small)
    enable(shell, "docs", "--schedule", "30 2 * * *", "--password-file", secret(shell))
    done = cron.run(cron.lines()[0][5])
    assert done.returncode == 0, done.stderr
    log = (shell.home / "state" / "schedule-docs.log").read_text()
    said = shell.run("profile", "rename", "docs", "letters", password=None).stderr
    assert b"its schedule continues as that of 'letters'" in said
    (found,) = status(shell)
    assert (found["profile"], found["schedule"], found["last_status"]) == ("letters", "30 2 * * *", 0)
    assert (shell.home / "state" / "schedule-letters.log").read_text() == log
    assert not list((shell.home / "state").glob("schedule-docs*"))
    put(os.path.join(small, "more"), b"more")
    done = cron.run(cron.lines()[0][5])
    assert done.returncode == 0, done.stderr
    assert len(shell.ids("letters")) == 2
    # The same for the units of systemd.
    enable(shell, "letters", "--schedule", "30 3 * * *", "--password-file", secret(shell), "--systemd")
    shell.run("profile", "rename", "letters", "notes", password=None)
    assert sorted(path.name for path in shell.units.glob("*.*") if path.is_file()) == \
        ["termbackup-notes.service", "termbackup-notes.timer"]
    start = exec_start(shell.units / "termbackup-notes.service")
    assert start[-2:] == ["--", "notes"]
    (found,) = status(shell)
    assert (found["profile"], found["backend"], found["schedule"]) == ("notes", "systemd", "30 3 * * *")


def test_a_schedule_goes_when_its_profile_is_deleted(shell, systemd, cron, small):
    for name in ("docs", "notes", "other"):
        shell.run("profile", "create", name, "--source", small) if name != "docs" else shell.profile(name, small)
        shell.run("run", "-q", name)
    enable(shell, "docs", "--password-file", secret(shell))
    enable(shell, "notes", "--password-file", secret(shell), "--systemd")
    enable(shell, "other", "--password-file", secret(shell))
    caches = set(os.listdir(shell.home / "cache"))
    for name in ("docs", "notes"):
        group = json.loads((shell.home / "profiles" / f"{name}.json").read_text())["group"]
        assert b"its schedule is removed" in shell.run("profile", "delete", name, password=None).stderr
        caches -= {group}
    assert [entry["profile"] for entry in status(shell)] == ["other"] and set(os.listdir(shell.home / "cache")) == caches
    # Deleted without our command: doctor names what is left.
    (shell.home / "profiles" / "other.json").unlink()
    found = json.loads(shell.run("doctor", "--json", status=0).stdout)["checks"]
    assert any("other" in entry["message"] and "schedule-disable other" in entry["hint"] for entry in found if entry["check"] == "schedule")
    assert b"no profile" in shell.run("profile", "delete", "other", password=None, status=78).stderr


def test_a_schedule_that_was_changed_by_hand_keeps_its_name(shell, cron, small):
    shell.profile("docs", small)
    enable(shell, "docs", "--password-file", secret(shell))
    cron.set(cron.text().replace(b"'--' 'docs'", b"'--' 'docs' >/dev/null"))
    said = shell.run("profile", "rename", "docs", "letters", password=None, status=78).stderr
    assert b"changed by hand" in said and b"schedule-disable docs" in said
    shell.run("schedule-disable", "docs")
    shell.run("profile", "rename", "docs", "letters", password=None)
    assert names(shell) == ["letters"]


def test_timers_of_two_homes_stand_side_by_side(shell, systemd, small, tmp_path):
    shell.profile("docs", small)
    enable(shell, "docs", "--password-file", secret(shell), "--systemd")
    other = {"TERMBACKUP_HOME": str(tmp_path / "other")}
    shell.run("init", env=other)
    shell.run("profile", "create", "docs", "--source", small, env=other)
    assert b"was not scheduled" in shell.run("schedule-disable", "docs", env=other).stderr
    enable(shell, "docs", "--password-file", secret(shell), "--systemd", "--schedule", "5 5 * * *", env=other)
    enable(shell, "docs", "--password-file", secret(shell), "--systemd", "--schedule", "6 6 * * *", env=other)
    schedules = [[entry["schedule"] for entry in map(json.loads, shell.run("schedule-status", "--json", env=env).stdout.splitlines())]
                 for env in ({}, other)]
    assert schedules == [["0 2 * * *"], ["6 6 * * *"]] and len(list(shell.units.glob("*.timer"))) == 2
    shell.run("schedule-disable", "docs", env=other)
    assert len(status(shell)) == 1 and len(list(shell.units.glob("*.*"))) == 3


def test_a_timer_under_the_name_of_before_is_found_and_replaced(shell, systemd, small, tmp_path):
    other = {"TERMBACKUP_HOME": str(tmp_path / "other")}
    shell.run("init", env=other)
    shell.run("profile", "create", "docs", "--source", small, env=other)
    for kind, schedule in (("service", ""), ("timer", "# schedule 1 1 * * *\n")):
        put(shell.units / f"termbackup-docs.{kind}", f"# termbackup docs {tmp_path}/other\n{schedule}[Unit]\n".encode())
    (found,) = shell.run("schedule-status", "--json", env=other).stdout.splitlines()
    assert json.loads(found)["schedule"] == "1 1 * * *"
    # The default home must not take over its unit names, and uses others.
    shell.profile("docs", small)
    enable(shell, "docs", "--password-file", secret(shell), "--systemd")
    enable(shell, "docs", "--password-file", secret(shell), "--systemd", "--schedule", "2 2 * * *", env=other)
    assert not (shell.units / "termbackup-docs.timer").exists()
    assert len(list(shell.units.glob("*.timer"))) == len(list(shell.units.glob("*.service"))) == 2


# What must be proved before scheduling


def test_nothing_is_scheduled_without_the_right_password(shell, cron, small, tmp_path):
    shell.profile("docs", small)
    shell.run("run", "docs")
    assert b"no password" in enable(shell, "docs", status=64).stderr
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"mistyped")
    assert b"not the password" in enable(shell, "docs", "--password-file", wrong, status=77).stderr
    enable(shell, "docs", "--password-file", tmp_path / "nothing", status=66)
    # A command that only the PATH of this shell has.
    put(tmp_path / "own" / "my-password", b"#!/bin/sh\ncat '" + str(secret(shell)).encode() + b"'\n", 0o755)
    path = {"PATH": f"{tmp_path}/own:{shell.environment['PATH']}"}
    assert b"whole paths" in enable(shell, "docs", "--password-command", "my-password", env=path, status=66).stderr
    # A password in this environment is not available to cron.
    enable(shell, "docs", env={"TERMBACKUP_PASSWORD": PASSWORD.decode()}, status=64)
    assert cron.text() == b"" and status(shell) == []
    enable(shell, "docs", "--password-command", f"{tmp_path}/own/my-password")
    (shell.home / "store").rename(shell.home / "gone")
    enable(shell, "docs", "--password-file", secret(shell), status=69)


@pytest.mark.parametrize("kind", ["password", "key-password", "token"])
def test_a_secret_from_a_pipe_is_not_scheduled(shell, cron, small, tmp_path, kind):
    shell.profile("docs", small)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/stdin")
    with open(secret(shell), "rb") as file:
        other = [] if kind == "password" else ["--password-file", secret(shell)]
        for place in ("/dev/stdin", f"/dev/fd/{file.fileno()}", f"/proc/self/fd/{file.fileno()}", tmp_path / "fifo", tmp_path / "link"):
            refused = enable(shell, "docs", *other, f"--{kind}-file", place, status=64, stdin=file, pass_fds=[file.fileno()])
            assert b"no regular file" in refused.stderr
    assert cron.text() == b""


def test_what_is_open_now_is_not_open_then(shell, cron, small):
    shell.profile("docs", small)
    # A separate shell opens it there: the descriptor's number may be in use here.
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 7<"$0"', str(secret(shell)), *shell.command("schedule-enable", "docs", "--password-command", "cat /dev/fd/7")],
        env=shell.environment, capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    assert done.returncode == 78 and b"nothing is scheduled" in done.stderr, done
    assert cron.text() == b""


def test_what_the_environment_says_now_is_scheduled(shell, cron, small):
    shell.profile("docs", small)
    enable(shell, "docs", env={"TERMBACKUP_PASSWORD_FILE": secret(shell).name}, cwd=shell.tbk.scratch)
    ((*_, line),) = cron.lines()
    assert b"'--password-file' '" + str(secret(shell)).encode() + b"'" in line
    assert cron.run(line).returncode == 0


def test_what_is_given_goes_before_what_the_environment_says(shell, cron, small):
    shell.profile("docs", small)
    command = f"cat '{secret(shell)}'"
    given = [word for kind in ("password", "key-password", "token") for word in (f"--{kind}-command", command)]
    other = {f"TERMBACKUP_{kind}_FILE": "/another/file" for kind in ("PASSWORD", "KEY_PASSWORD", "TOKEN")}
    enable(shell, "docs", *given, env=other)
    ((*_, line),) = cron.lines()
    assert b"/another/file" not in line
    for kind in (b"password", b"key-password", b"token"):
        assert b"'--%s-command'" % kind in line


def test_the_password_in_the_keyring_is_enough(shell, cron, small, session):
    shell.profile("docs", small)
    shell.run("run", "docs")
    env = session.environment_of(shell)
    wrong = {**env, "TERMBACKUP_PASSWORD": "mistyped"}
    assert b"not the password" in enable(shell, "docs", "--store-password", env=wrong, status=77).stderr
    assert session.kept(shell.home, "profile:docs") == b""
    said = enable(shell, "docs", "--store-password", env={**env, "TERMBACKUP_PASSWORD": PASSWORD.decode()})
    assert PASSWORD not in said.stdout + said.stderr and PASSWORD not in cron.text()
    assert session.kept(shell.home, "profile:docs") == PASSWORD
    # The job needs nothing of this session but the bus.
    ((*_, line),) = cron.lines()
    put(os.path.join(small, "more"), b"x")
    done = cron.run(line)
    assert (done.returncode, done.stderr) == (0, b"")
    # Every other verb finds it, too.
    shell.run("verify", "latest", "-p", "docs", "--no-input", password=None, env=env)
    # A locked keyring fails, and the error says why.
    session.lock()
    done = cron.run(line)
    assert done.returncode == 64 and b"the keyring returned no password: it is locked" in done.stderr
    assert b"nothing is scheduled" in enable(shell, "docs", env=env, status=64).stderr


def test_the_password_is_asked_for_once_and_forgotten_when_told(shell, cron, small, session):
    shell.profile("docs", small)
    shell.run("run", "docs")
    shell.environment.update(session.address)
    ended, shown = on_terminal(shell, [(b"Password: ", PASSWORD)], "schedule-enable", "docs", "--store-password")
    assert ended == 0 and shown.count(b"Password") == 1 and PASSWORD not in shown, shown
    assert len(cron.lines()) == 1
    shell.run("schedule-disable", "docs", "--forget-password")
    assert b"had no password" in shell.run("schedule-disable", "docs", "--forget-password").stderr
    assert session.kept(shell.home, "profile:docs") == b"" and cron.text() == b""
    # As earlier versions stored it, for all homes.
    session.tool("store", "--label=x", "service", "termbackup", "profile", "docs", input=PASSWORD)
    shell.run("verify", "latest", "-p", "docs", "--no-input", password=None)
    shell.run("schedule-disable", "docs", "--forget-password")
    assert session.tool("lookup", "service", "termbackup", "profile", "docs").stdout == b""
    session.tool("store", "--label=x", "service", "termbackup", "profile", "docs", input=PASSWORD)
    session.lock()
    assert b"locked" in shell.run("schedule-disable", "docs", "--forget-password", "--no-input", status=69).stderr


def test_passwords_of_profiles_and_the_token_do_not_mix(shell, small, session):
    session.store(b"ghp_" + b"k" * 36)
    env = session.environment_of(shell)
    shell.profile("one", small)
    shell.run("profile", "create", "two", "--source", small)
    require("crontab")
    for name, word in (("one", "first word"), ("two", "second \\ \"word\" \u00e9")):
        shell.run("schedule-enable", name, "--store-password", "--systemd", password=None,
                  env={**env, "TERMBACKUP_PASSWORD": word, "PATH": f"{no_crontab(shell)}:{shell.environment['PATH']}"})
        shell.run("run", name, password=None, env=env)
        shell.run("verify", "latest", "-p", name, password=word.encode())
    assert session.token() == b"ghp_" + b"k" * 36


def test_a_password_goes_with_its_profile_to_another_name(shell, cron, small, session):
    shell.profile("docs", small)
    shell.environment.update(session.address)
    enable(shell, "docs", "--store-password", password=PASSWORD)
    assert b"password in the keyring is now that of 'letters'" in shell.run("profile", "rename", "docs", "letters", password=None).stderr
    assert session.kept(shell.home, "profile:docs") == b"" and session.kept(shell.home, "profile:letters") == PASSWORD
    done = cron.run(cron.lines()[0][5])
    assert done.returncode == 0, done.stderr
    # If the keyring does not respond, both names stay, and the next attempt completes the rename.
    session.stop()
    said = shell.run("profile", "rename", "letters", "notes", password=None, status=75,
                     env={"TERMBACKUP_KEYRING_TIMEOUT": "1"}).stderr
    assert b"did not answer" in said and b"both names work" in said
    assert names(shell) == ["letters", "notes"]
    session.go_on()
    shell.run("profile", "rename", "letters", "notes", password=None)
    assert names(shell) == ["notes"]
    assert session.kept(shell.home, "profile:notes") == PASSWORD


def test_passwords_of_two_homes_do_not_mix(shell, small, session, tmp_path):
    env = {**session.environment_of(shell), "PATH": f"{no_crontab(shell)}:{session.environment_of(shell)['PATH']}"}
    homes = [{**env, "TERMBACKUP_HOME": str(tmp_path / name)} for name in ("a", "b")]
    for home in homes:
        shell.run("init", env=home)
        shell.run("profile", "create", "docs", "--source", small, env=home)
        shell.run("schedule-enable", "docs", "--store-password", "--systemd", password=None,
                  env={**home, "TERMBACKUP_PASSWORD": home["TERMBACKUP_HOME"]})
    for home in homes:
        shell.run("run", "docs", "--no-input", password=None, env=home)
        shell.run("verify", "latest", "-p", "docs", password=home["TERMBACKUP_HOME"].encode(), env=env | home)
    shell.run("schedule-disable", "docs", "--forget-password", env=homes[0])
    assert (session.kept(tmp_path / "a", "profile:docs"), session.kept(tmp_path / "b", "profile:docs")) == (
        b"", os.fsencode(tmp_path / "b"))


def no_crontab(shell):
    """A crontab(1) that reports no crontab."""
    return os.path.dirname(os.fsdecode(put(shell.tbk.scratch / "none" / "crontab", b"#!/bin/sh\necho 'no crontab for ada' >&2\nexit 1\n", 0o755)))


def test_a_store_on_github_needs_its_token_there_too(shell, cron, small, github_server, tmp_path):
    github_server.make_repository("me/timetable-" + shell.interpreter[0])
    api = {"TERMBACKUP_GITHUB_API": github_server.api}
    shell.profile("docs", small, "--repo", "me/timetable-" + shell.interpreter[0])
    file = secret(shell)
    # A token in this environment is not available to cron.
    said = enable(shell, "docs", "--password-file", file, env={**api, "GITHUB_TOKEN": TOKEN}, status=77)
    assert b"nothing is scheduled" in said.stderr and cron.text() == b""
    token = put(tmp_path / "token", TOKEN.encode(), 0o600)
    enable(shell, "docs", "--password-file", file, "--token-file", os.fsdecode(token), env=api)
    ((*_, line),) = cron.lines()
    assert TOKEN.encode() not in line
    done = cron.run(line)
    assert (done.returncode, done.stderr) == (0, b"")


def test_without_a_keyring_it_says_what_else_there_is(shell, small):
    shell.profile("docs", small)
    env = {"TERMBACKUP_PASSWORD": "word", "DBUS_SESSION_BUS_ADDRESS": "", "XDG_RUNTIME_DIR": "/nonexistent"}
    said = enable(shell, "docs", "--store-password", env=env, status=69).stderr
    assert b"no keyring" in said and b"--password-file" in said and b"word'" not in said


# The log


def test_the_log_does_not_grow_for_ever(shell, small):
    shell.profile("docs", small, "--mode", "incremental")
    log = shell.home / "state" / "schedule-docs.log"
    file = secret(shell)
    shell.run("schedule-run", "docs", "--password-file", file, password=None)
    with log.open("a") as more:
        for number in range(4000):
            more.write(f"== 2026-01-01T00:00:00Z status 0 after {number} s\n" + "x" * 60 + "\n")
    shell.run("schedule-run", "docs", "--password-file", file, password=None)
    text = log.read_text()
    assert len(text) < 140_000 and text.startswith("== 2026-01-01") and "Nothing has changed" in text[-200:]


def test_a_run_with_much_to_say_keeps_its_end(shell, tmp_path, unreadable_tree=None):
    require("setpriv")
    source = tmp_path / "source"
    put(source / "file", b"x")
    shell.profile("docs", source)
    layout = tmp_path / "layout"
    shutil.copytree(BIN.parent, layout, symlinks=True)
    put(layout / "lib" / "termbackup" / "verbs" / "run",
        b'#!/bin/sh\nn=0\nwhile test $n -lt 20000; do echo "line $n of what it says"; n=$((n + 1)); done\nexit 3\n', 0o755)
    shell.lib = layout / "lib" / "termbackup"
    done = shell.run("schedule-run", "docs", "--password-file", secret(shell), password=None, status=3)
    assert b"line 0 of" in done.stderr
    text = (shell.home / "state" / "schedule-docs.log").read_text()
    assert len(text) < 66_000 and " status 3 after " in text and text.endswith("line 19999 of what it says\n")


def test_a_run_that_is_interrupted_is_in_the_log(shell, small, tmp_path):
    started = tmp_path / "started"
    script = put(tmp_path / "give", f"#!/bin/sh\n: >'{started}'\nexec sleep 600\n".encode(), 0o755)
    shell.profile("docs", small)
    process = subprocess.Popen(shell.command("schedule-run", "docs", "--password-command", os.fsdecode(script)),
                               env=shell.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not started.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert " status 143 after " in (shell.home / "state" / "schedule-docs.log").read_text()


def test_a_check_makes_no_backup(shell, small):
    shell.profile("docs", small)
    said = shell.run("schedule-run", "docs", "--check", "--password-file", secret(shell), password=None)
    assert b"no backups yet" in said.stderr and shell.ids("docs") == []
    assert not (shell.home / "state" / "schedule-docs.log").exists()
    shell.run("run", "docs")
    shell.run("schedule-run", "docs", "--check", "-q", "--password-file", secret(shell), password=None)
    assert len(shell.ids("docs")) == 1


@pytest.mark.parametrize("name", ["PASSWORD", "PASSWORD_FILE", "PASSWORD_COMMAND"])
def test_a_run_has_what_its_check_had(shell, small, name):
    """The passwords in the environment, also those of the signing key."""
    shell.profile("docs", small)
    key = secret(shell, "key")
    key.write_bytes(b"of the key\n")
    shell.run("generate-key", "--enable", "--key-password-file", key, password=None)

    def given(word, file):
        return {"PASSWORD": word, "PASSWORD_FILE": str(file), "PASSWORD_COMMAND": f"cat '{file}'"}[name]
    env = {f"TERMBACKUP_{name}": given(PASSWORD.decode(), secret(shell)), f"TERMBACKUP_KEY_{name}": given("of the key", key)}
    for arguments in (["--check"], [], ["--json"]):
        shell.run("schedule-run", "docs", *arguments, password=None, env=env)
    assert len(shell.ids("docs")) == 2


def test_status_tells_when_a_profile_is_backed_up(shell, cron, small):
    shell.profile("docs", small)
    shell.run("run", "docs")
    assert b"schedule" not in shell.run("status").stdout
    enable(shell, "docs", "--schedule", "5 4 * * 0", "--password-file", secret(shell))
    assert re.search(rb"^  schedule +5 4 \* \* 0, by cron$", shell.run("status").stdout, re.MULTILINE)
    told = json.loads(shell.run("status", "--json").stdout)["profiles"][0]
    assert told["schedules"] == [{"backend": "cron", "schedule": "5 4 * * 0"}]
