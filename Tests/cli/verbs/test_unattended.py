"""termbackup daemon and watch: unattended operation."""

import contextlib
import fcntl
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time

import pytest
from conftest import BIN, PASSWORD, PATIENCE, put
from shell_fixture import shell  # noqa: F401
from test_rotate_key import wrapped


class Loop:
    """A verb that runs until it is stopped; its output is read as it appears."""

    def __init__(self, shell, verb, *arguments, password=PASSWORD, env=None):
        self.shell = shell
        self.process = subprocess.Popen(
            shell.command(verb, *arguments), env=shell.environment_with(password, env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        self.lines = queue.Queue()
        self.said = []
        self.readers = [threading.Thread(target=self.read, args=(stream,), daemon=True)
                        for stream in (self.process.stdout, self.process.stderr)]
        for reader in self.readers:
            reader.start()

    def read(self, stream):
        for line in stream:
            self.lines.put(line.decode())
        self.lines.put(None)

    def until(self, word):
        """All lines up to one that contains the word."""
        seen = []
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            line = self.lines.get(timeout=PATIENCE)
            if line is None:
                continue
            seen.append(line)
            self.said.append(line)
            if word in line:
                return seen
        pytest.fail(f"no {word!r}: {self.said}")

    def end(self, number=signal.SIGTERM):
        """Sends the signal to the shell alone; returns its status and all output."""
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        for reader in self.readers:
            reader.join(PATIENCE)
        while not self.lines.empty():
            if (line := self.lines.get()) is not None:
                self.said.append(line)
        return status, "".join(self.said)


@pytest.fixture
def loop(shell):
    running = []

    def start(*arguments, **options):
        running.append(Loop(shell, *arguments, **options))
        return running[-1]
    yield start
    for each in running:
        if each.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.process.pid, signal.SIGKILL)
        each.process.wait()


def processes_of(loop):
    """The processes in its session."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.getsid(int(name)) == loop.process.pid:
                    found.append(int(name))
    return found


def idle(loop):
    """Waits until no run or package is in progress."""
    deadline = time.monotonic() + PATIENCE
    while any(b"/verbs/run" in command(number) or b"/verbs/package" in command(number) for number in processes_of(loop)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.2)


def command(number):
    try:
        with open(f"/proc/{number}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def gone(loop):
    """Whether all its processes end within the time limit."""
    deadline = time.monotonic() + PATIENCE
    while processes_of(loop) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not processes_of(loop)


@contextlib.contextmanager
def away(shell):
    """The store is missing during the block."""
    (shell.home / "store").rename(shell.home / "gone")
    yield
    (shell.home / "gone").rename(shell.home / "store")


# The daemon


def test_the_daemon_runs_now_and_at_every_interval(shell, small, loop):
    shell.profile("docs", small, "--mode", "incremental")
    daemon = loop("daemon", "docs", "-i", "1s")
    daemon.until("Backed up docs")
    daemon.until("Nothing has changed")
    put(os.path.join(small, "more"), b"more\n")
    daemon.until("1 new")
    status, said = daemon.end()
    assert status == 143 and gone(daemon)
    assert "failures   0" in said and "Ended after" in said
    assert len(shell.ids("docs")) == 2 and list((shell.home / "tmp").iterdir()) == []


@pytest.mark.parametrize("number", ["HUP", "INT", "TERM"])
def test_a_signal_while_the_result_is_said_does_not_make_it_a_failure(shell, small, tmp_path, number):
    shell.profile("docs", small)
    shell.lib = wrapped(tmp_path, f'test "$2" != report || kill -{number} "$PPID"', ["tbk-sh"])
    assert json.loads(shell.run("run", "docs", "--json").stdout)["status"] == "success"
    assert json.loads(shell.run("package", small, "--to", tmp_path, "--json").stdout)["status"] == "success"


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_daemon_while_it_waits(shell, small, loop, number, status):
    shell.profile("docs", small)
    daemon = loop("daemon", "docs", "--json")
    made = json.loads(daemon.until('"mode"')[-1])
    assert (made["profile"], made["status"]) == ("docs", "success")
    idle(daemon)
    ended, said = daemon.end(number)
    assert ended == status and gone(daemon)
    summary = json.loads(said.splitlines()[-1])
    assert {key: summary[key] for key in ("profile", "run_count", "success_count", "failure_count")} == {
        "profile": "docs", "run_count": 1, "success_count": 1, "failure_count": 0}
    assert list((shell.home / "tmp").iterdir()) == []


def test_a_signal_ends_the_run_of_the_daemon_too(shell, tmp_path, loop):
    source = tmp_path / "source"
    source.mkdir()
    with open(source / "endless", "wb") as file:
        file.truncate(1 << 36)
    shell.profile("big", str(source))
    daemon = loop("daemon", "big")
    deadline = time.monotonic() + PATIENCE
    while not any(file.read_text().startswith("pid ") for file in (shell.home / "tmp").glob("run.*/seal.status")):
        assert daemon.process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    status, said = daemon.end()
    assert status == 143 and gone(daemon)
    assert list((shell.home / "tmp").iterdir()) == [] and shell.run("list", "big").stdout == b""
    assert "Ended after" in said


def test_three_failures_in_a_row_are_warned_of(shell, small, loop):
    shell.profile("docs", small)
    shell.run("run", "docs")
    daemon = loop("daemon", "docs", "-i", "1s", "--json")
    daemon.until('"mode"')
    with away(shell):
        warned = daemon.until("4 runs in a row have failed")
        assert sum("in a row have failed" in line for line in warned) == 2
        assert any("3 runs in a row" in line for line in warned)
        # Each gives the reason, as JSON.
        assert any('"error"' in line and '"status":69' in line for line in warned)
    daemon.until("a run has succeeded after")
    status, said = daemon.end()
    summary = json.loads([line for line in said.splitlines() if '"run_count"' in line][-1])
    assert summary["failure_count"] >= 4 and summary["success_count"] >= 2
    assert summary["run_count"] == summary["failure_count"] + summary["success_count"]


def test_a_wrong_password_ends_the_daemon_before_it_begins(shell, small):
    shell.profile("docs", small)
    shell.run("run", "docs")
    assert b"not the password" in shell.run("daemon", "docs", password=b"mistyped", status=77).stderr
    assert b"no password" in shell.run("daemon", "docs", "--no-input", password=None, status=64).stderr


def test_one_daemon_and_one_watch_a_profile(shell, small, loop):
    shell.profile("docs", small)
    daemon = loop("daemon", "docs")
    daemon.until("time")
    said = subprocess.run(shell.command("daemon", "docs"), env=shell.environment_with(PASSWORD, None), capture_output=True)
    assert said.returncode == 75 and b"another daemon of 'docs'" in said.stderr
    watching = loop("watch", "docs")
    watching.until("time")
    said = subprocess.run(shell.command("watch", "docs"), env=shell.environment_with(PASSWORD, None), capture_output=True)
    assert said.returncode == 75 and b"another watch of 'docs'" in said.stderr
    # A lock is released with its process, however that ends.
    os.killpg(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait()
    again = loop("daemon", "docs")
    again.until("time")


def test_a_run_of_somebody_else_is_made_way_for(shell, small, loop):
    shell.profile("docs", small)
    shell.run("run", "docs")
    with open(shell.home / "state" / "run-docs.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        daemon = loop("daemon", "docs", "-i", "1s")
        daemon.until("another run of 'docs' is in progress")
        daemon.until("another run of 'docs' is in progress")
    daemon.until("Backed up docs")
    _, said = daemon.end()
    assert "failures   0" in said


def set_aside(verb):
    """Moves the script to another directory: a verb is found by its name."""
    real = verb.parents[1] / "real" / verb.name
    real.parent.mkdir()
    return verb.rename(real)


def test_no_child_of_a_loop_sees_the_password(shell, small, tmp_path, loop):
    layout = tmp_path / "layout"
    shutil.copytree(BIN.parent / "lib", layout / "lib", symlinks=True)
    (layout / "bin").mkdir()
    seen = tmp_path / "seen"
    for command in ("tbk-config", "tbk-audit", "tbk-manifest", "tbk-seal", "tbk-open", "tbk-push", "tbk-pull", "tbk-store", "tbk-watch"):
        put(layout / "bin" / command, f'#!/bin/sh\n{{ printf "%s\\n" "{command} $*"; env; }} >>"{seen}"\n'
            f'exec "{BIN}/{command}" "$@"\n'.encode(), 0o755)
    (layout / "lib" / "termbackup" / "tbk-sh").unlink()
    put(layout / "lib" / "termbackup" / "tbk-sh", f'#!/bin/sh\n{{ printf "%s\\n" "tbk-sh $*"; env; }} >>"{seen}"\n'
        f'exec "{BIN.parent}/lib/termbackup/tbk-sh" "$@"\n'.encode(), 0o755)
    run = layout / "lib" / "termbackup" / "verbs" / "run"
    real = set_aside(run)
    put(run, f'#!/bin/sh\n{{ printf "%s\\n" "run $*"; env; }} >>"{seen}"\nexec sh "{real}" "$@"\n'.encode(), 0o755)
    shell.lib = layout / "lib" / "termbackup"
    shell.profile("docs", small, "--mode", "incremental")
    for verb in ("daemon", "watch"):
        running = loop(verb, "docs", password=None, env={"TERMBACKUP_PASSWORD": "s3cret word"})
        running.until("Backed up docs" if verb == "daemon" else "Nothing has changed")
        running.end()
    text = seen.read_text()
    assert "tbk-seal" in text and "tbk-watch" in text and "run docs" in text and "s3cret" not in text


# The watch


def test_the_watch_backs_up_what_changes(shell, small, loop):
    shell.profile("docs", small, "--mode", "incremental", "--exclude", "*.tmp")
    watching = loop("watch", "docs", "--debounce", "0.2")
    watching.until("Backed up docs")
    put(os.path.join(small, "scratch.tmp"), b"x")
    put(os.path.join(small, "more"), b"more\n")
    assert any("changes: 1" in line for line in watching.until("1 new"))
    os.unlink(os.path.join(small, "more"))
    watching.until("1 deleted")
    idle(watching)
    status, said = watching.end()
    assert status == 143 and gone(watching) and "runs       3" in said and "failures   0" in said
    assert list((shell.home / "tmp").iterdir()) == []


def test_a_home_and_a_store_below_do_not_keep_the_watch_busy(shell, tmp_path, loop):
    source = shell.home.parent
    shell.profile("all", source, "--mode", "incremental")
    watching = loop("watch", "all", "--debounce", "0.2")
    watching.until("Backed up all")
    put(source / "new", b"x")
    watching.until("1 new")
    time.sleep(1)
    idle(watching)
    assert "runs       2" in watching.end()[1]


def test_what_changes_during_a_run_makes_one_run_more(shell, small, loop, tmp_path):
    layout = tmp_path / "layout"
    shutil.copytree(BIN.parent, layout, symlinks=True)
    run = layout / "lib" / "termbackup" / "verbs" / "run"
    real = set_aside(run)
    slow = tmp_path / "slow"
    put(run, f'#!/bin/sh\nprintf "begin\\n" >>"{slow}"\nwhile test -e "{slow}.hold"; do sleep 0.1; done\n'
        f'exec sh "{real}" "$@"\n'.encode(), 0o755)
    shell.lib = layout / "lib" / "termbackup"
    shell.profile("docs", small, "--mode", "incremental")
    watching = loop("watch", "docs", "--debounce", "0.1")
    watching.until("Backed up docs")
    put(f"{slow}.hold")
    put(os.path.join(small, "one"), b"x")
    deadline = time.monotonic() + PATIENCE
    while slow.read_text().count("begin") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for name in ("two", "three", "four"):
        put(os.path.join(small, name), b"x")
        time.sleep(0.5)
    os.unlink(f"{slow}.hold")
    watching.until("4 new")
    watching.until("Nothing has changed")
    _, said = watching.end()
    assert slow.read_text().count("begin") == 3, said


def test_a_directory_without_a_profile_becomes_a_package(shell, small, loop, tmp_path):
    shell.run("init")
    # The packages are written to the watched directory itself.
    shell.tbk.run("tbk-config", "set", "package_dir", small)
    watching = loop("watch", small, "--debounce", "0.2")
    watching.until("Packaged small")
    put(os.path.join(small, "more"), b"more\n")
    watching.until("Packaged small")
    time.sleep(1)
    idle(watching)
    status, said = watching.end()
    assert status == 143 and "runs       2" in said and "failures   0" in said and gone(watching), said
    listed = shell.tbk.run("tbk-open", "--list", os.path.join(small, "small.tbk")).lines
    assert "more" in listed and not any(name.endswith(".tbk") for name in listed)


def test_a_failure_is_tried_again_after_the_next_change(shell, small, loop):
    shell.profile("docs", small, "--mode", "incremental")
    watching = loop("watch", "docs", "--debounce", "0.1")
    watching.until("Backed up docs")
    with away(shell):
        put(os.path.join(small, "one"), b"x")
        watching.until("trying again after the next change, or in 1 min")
        put(os.path.join(small, "two"), b"x")
        watching.until("trying again after the next change, or in 2 min")
    put(os.path.join(small, "three"), b"x")
    watching.until("3 new")
    status, said = watching.end()
    assert status == 143 and "failures   2" in said and gone(watching)


def test_a_failure_is_tried_again_after_a_while(shell, small, loop, tmp_path):
    shell.profile("docs", small)
    shell.run("run", "docs")
    # A pause of one second instead of one minute.
    shell.lib = wrapped(tmp_path, 'test "$2" != repeat || { shift 2; set -- tbk-sh repeat --pause 1 "$@"; }', ["tbk-sh"])
    with away(shell):
        watching = loop("watch", "docs")
        watching.until("trying again")
    watching.until("Backed up docs")
    watching.end()


def test_the_watch_ends_with_its_directory(shell, small, loop, tmp_path):
    """Immediately, although it waits a minute before the next attempt."""
    shell.profile("docs", small)
    with away(shell):
        watching = loop("watch", "docs")
        watching.until("trying again")
        os.rename(small, tmp_path / "elsewhere")
        watching.until("was removed, moved or unmounted")
        assert watching.process.wait(45) == 66 and gone(watching)
    assert b"does not exist" in shell.run("watch", "docs", status=66).stderr


def test_loops_refuse_wrong_usage(shell, small):
    shell.profile("docs", small)
    for interval in ("0", "-1", "x", "1.5", "1w", "9999999"):
        assert b"-i <every>" in shell.run("daemon", "docs", "-i", interval, status=64).stderr
    for seconds in ("x", "1.", "-1"):
        assert b"--debounce" in shell.run("watch", "docs", "--debounce", seconds, status=64).stderr
    shell.profile("music", small)
    for verb in ("daemon", "watch"):
        shell.run(verb, status=64)
        shell.run(verb, "docs", "docs", status=64)
        shell.run(verb, "nothing", status=78)
