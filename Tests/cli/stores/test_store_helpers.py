"""Stores with helpers: how tbk-push and the others behave when the helper fails.

store_helper.py is the helper, with a real compare-and-swap; rclone is tested separately.
"""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest
from conftest import PATIENCE, SECRETS, put, reference_archive, require, some
from shell_fixture import shell  # noqa: F401
from test_github_store import archive

CLI = pathlib.Path(__file__).resolve().parents[1]
QUICK = ["--max-wait", "0"]


class Place:
    """A directory behind the helper, and archives to store there."""

    def __init__(self, tbk, tmp_path, archives):
        self.tbk = tbk
        tbk.path("tbk-push")
        self.root = tmp_path / "root"
        self.root.mkdir()
        self.address = f"ref:{self.root}"
        programs = tmp_path / "programs"
        programs.mkdir()
        shutil.copy(CLI / "store_helper.py", programs / "tbk-store-ref")
        (programs / "tbk-store-ref").chmod(0o755)
        tbk.environment["PATH"] = f"{programs}:{tbk.environment['PATH']}"
        self.archives = archives

    def push(self, at=0, *arguments, **options):
        return self.tbk.run("tbk-push", self.address, *arguments, input=self.archives[at], **options)

    def pull(self, *arguments, **options):
        return self.tbk.run("tbk-pull", self.address, *arguments, **options)

    def ids(self):
        return [line.split("\t")[0] for line in self.pull("--list").lines]

    def log(self):
        return pathlib.Path(f"{self.root}.log").read_text().splitlines()

    def processes(self):
        """Running helpers of this place."""
        found = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if str(self.root).encode() in (process / "cmdline").read_bytes() and b"tbk-store" in (
                        process / "cmdline").read_bytes():
                    found.append(process.name)
            except OSError:
                pass
        return found

    def alone(self):
        """Checks that no helper outlives the command that started it."""
        deadline = time.monotonic() + PATIENCE
        while self.processes():
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.05)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    tree = tmp_path_factory.mktemp("archives")
    made = []
    for at in range(3):
        put(tree / "plain", b"plain\n")
        put(tree / "more", b"%d" % at)
        made.append(reference_archive(tree)[0])
    return made


@pytest.fixture
def place(tbk, tmp_path, archives):
    return Place(tbk, tmp_path, archives)


# Storing and reading


def test_backups_go_in_and_come_out(place):
    first = place.push(0).lines[0].split("\t")[0]
    second = place.push(1).lines[0].split("\t")[0]
    assert place.ids() == [first, second]
    assert place.pull("latest").out == place.archives[1]
    assert place.pull(first[:9]).out == place.archives[0]
    place.push(0)
    assert place.ids() == [first, second]
    place.tbk.run("tbk-prune", place.address, "--keep-last", "1")
    assert place.ids() == [second]
    assert sorted(os.listdir(place.root / "backups")) == [f"backup_{second[:12]}.tbk"]
    place.alone()


def test_of_a_file_no_copy_is_made(place, tmp_path):
    """An archive from a pipe is spooled until it is stored; a file need not be."""
    nowhere = {"TMPDIR": str(tmp_path / "nowhere")}
    put(tmp_path / "archive", place.archives[0])
    with open(tmp_path / "archive", "rb") as file:
        place.tbk.run("tbk-push", place.address, stdin=file, env=nowhere)
    assert place.pull("latest").out == place.archives[0]
    place.push(1, env=nowhere, status=73)
    put(tmp_path / "cut", place.archives[2][:-1])
    with open(tmp_path / "cut", "rb") as file:
        place.tbk.run("tbk-push", place.address, stdin=file, env=nowhere, status=65)
    assert len(place.ids()) == 1


def test_the_store_is_a_directory_like_any_other(place):
    """Objects and ledger have the same names as in a directory store."""
    place.push(0)
    direct = place.tbk.run("tbk-pull", str(place.root), "latest", env={"TERMBACKUP_HOME": str(place.tbk.scratch / "other")})
    assert direct.out == place.archives[0]


def test_every_object_comes_before_the_ledger_that_names_it(place):
    place.push(0)
    requests = [line.split()[0] for line in place.log()]
    assert requests.index("put") < requests.index("swap")
    assert not any(word == "put" for word in requests[requests.index("swap"):])


def test_a_helper_sees_no_secret_and_no_descriptor(place):
    with open(place.tbk.password_file) as secret:
        place.push(0, "-q", "--token-fd", str(secret.fileno()), pass_fds=[secret.fileno()],
                   env={**SECRETS, "HELPER_FAULT": "environment@hello", "RCLONE_CONFIG": "/kept"})
    seen = pathlib.Path(f"{place.root}.environment").read_bytes()
    for name, value in SECRETS.items():
        assert name.encode() + b"=" not in seen and value.encode() not in seen, name
    assert b"RCLONE_CONFIG=/kept" in seen and b"PATH=" in seen
    # Its standard streams, the log, and the descriptors that the listing itself uses.
    descriptors = seen.split(b"descriptors ")[1].split()
    assert {b"0", b"1", b"2"} <= set(descriptors) and len(descriptors) <= 7


@pytest.mark.parametrize("path", ["", ".", "bin", "::./bin"])
def test_a_helper_is_looked_for_in_absolute_entries_alone(place, tmp_path, path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tbk-store-near").write_text("#!/bin/sh\ntouch run\n")
    (tmp_path / "bin" / "tbk-store-near").chmod(0o755)
    shutil.copy(tmp_path / "bin" / "tbk-store-near", tmp_path / "tbk-store-near")
    done = place.tbk.run("tbk-pull", "near:x", "--list", status=69, cwd=tmp_path, env={"PATH": path})
    assert b"'near:x' needs the program tbk-store-near" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("address,status", [("x:", 64), ("new\nline:x", 69), ("x:new\nline", 64), ("none-such:x", 69)])
def test_what_is_no_address_is_refused(place, address, status):
    done = place.tbk.run("tbk-pull", address, "--list", status=status)
    assert b"\n" not in done.err.split(b"error: ")[1].split(b"\n")[0]


# A helper at fault

STATUSES = {
    "die": 75, "kill": 75, "status65": 65, "status69": 69, "status77": 77, "status78": 78, "status3": 75, "half": 65,
    "nonsense": 65, "control": 65, "empty": 65, "bare": 65, "endless": 65, "waits": 65, "error": 69, "denied": 77, "full": 74, "again": 75,
    "busy": 75, "hang": 75,
}


STEPS = ["hello", "get", "stat", "put", "swap"]


# Each fault at one step, rotating; at all steps in `make soak`.
@pytest.mark.parametrize("fault, step", [
    pytest.param(fault, step, marks=[pytest.mark.soak] if at % len(STEPS) != number else [])
    for at, fault in enumerate(sorted(STATUSES)) for number, step in enumerate(STEPS)])
def test_a_push_past_a_fault_lists_nothing_half(place, fault, step):
    first = place.push(0).lines[0].split("\t")[0]
    status = STATUSES[fault]
    if step == "hello":
        status = {"die": 69, "kill": 69, "status3": 69, "busy": 65}.get(fault, status)
    done = place.push(1, *QUICK, status=status, env={"HELPER_FAULT": f"{fault}@{step}"})
    assert b"error: " in done.err and b"\x1b" not in done.err and b"\x07" not in done.err
    place.alone()
    assert place.ids() == [first]
    assert place.pull(first).out == place.archives[0]
    # Its leftovers do not block the next push.
    place.push(1)
    assert len(place.ids()) == 2
    assert place.pull("latest").out == place.archives[1]


@pytest.mark.parametrize("fault", ["die-after", "kill-after", "nonsense-after"])
def test_an_answer_that_is_lost_is_made_up_for_by_another_push(place, fault):
    place.push(0)
    place.push(1, status={65, 75}, env={"HELPER_FAULT": f"{fault}@swap"})
    assert len(place.ids()) == 2
    assert b"the store has this backup already" in place.push(1).err
    assert len(place.ids()) == 2


def test_half_an_archive_stands_in_nobodys_way(place):
    place.push(0)
    for _ in range(3):
        place.push(1, *QUICK, status=75, env={"HELPER_FAULT": "torn@put"})
    place.push(1)
    assert len(place.ids()) == 2 and place.pull("latest").out == place.archives[1]


def test_a_listing_without_end_is_ended(place):
    place.push(0)
    done = place.tbk.run("tbk-store", "clean", place.address, status=65, env={"HELPER_FAULT": "flood@list"})
    assert b"too many objects" in done.err
    place.alone()


@pytest.mark.parametrize("fault", ["number", "huge", "zeros", "minus", "more", "version", "short", "long", "altered"])
@pytest.mark.parametrize("number", [1, 2])
def test_lies_about_bytes_are_found_out(place, fault, number):
    """Of the ledger first, then of an archive."""
    place.push(0)
    done = place.pull("latest", *QUICK, status=None, env={"HELPER_FAULT": f"{fault}@get.{number}"})
    if (fault, number) == ("long", 2):
        # The archive is the last request: what follows it is never read.
        assert (done.status, done.out) == (0, place.archives[0])
    else:
        assert done.status in (65, 75) and done.out != place.archives[0], done.err
    place.alone()


def test_more_bytes_than_were_announced_never_pass_for_an_answer(place):
    place.push(0)
    done = place.push(1, *QUICK, status=65, env={"HELPER_FAULT": "long@get.1"})
    assert b"tbk-store-ref" in done.err
    assert len(place.ids()) == 1


def test_standard_error_is_passed_on_with_a_name_and_no_control_characters(place):
    done = place.push(0, "-q", env={"HELPER_FAULT": "noisy@put"})
    lines = done.err.decode().splitlines()
    assert lines[0] == "tbk-push: tbk-store-ref: line 0 ?]0;title?"
    assert len(lines) == 1001 and "\x1b" not in done.err.decode()


def test_a_helper_may_say_that_it_is_at_work(place):
    for step in ("put", "swap", "get", "hello"):
        place.push(0, env={"HELPER_FAULT": f"chatty@{step}"})
    assert len(place.ids()) == 1


@pytest.mark.parametrize("step", ["put", "swap", "get"])
def test_what_may_be_better_later_is_asked_again(place, step):
    place.push(0, env={"HELPER_FAULT": f"again-once@{step}"})
    assert len(place.ids()) == 1
    assert place.pull("latest").out == place.archives[0]


def test_names_that_are_paths_are_nobodys(place):
    place.push(0)
    done = place.tbk.run("tbk-store", "clean", place.address, env={"HELPER_FAULT": "paths@list"})
    assert b"passwd" not in done.out + done.err
    assert not any("passwd" in line or "-rf" in line for line in place.log())


def test_leftovers_go_when_they_are_old(place):
    place.push(0)
    place.push(1, *QUICK, status=75, env={"HELPER_FAULT": "die@swap"})
    assert len(os.listdir(place.root / "backups")) == 2
    assert place.tbk.run("tbk-store", "clean", place.address).out == b""
    for path in (place.root / "backups").iterdir():
        os.utime(path, (1, 1))
    assert b"backups/backup_" in place.tbk.run("tbk-store", "clean", place.address).out
    assert len(os.listdir(place.root / "backups")) == 1
    assert place.pull("latest").out == place.archives[0]


# A slow helper


@pytest.mark.parametrize("fault,arguments", [
    ("drip@get", ["tbk-pull", "--list"]), ("drip@get.2", ["tbk-pull", "latest"]),
    ("trickle@list", ["tbk-store", "clean"]), ("sip@put", ["tbk-push"])])
def test_a_helper_that_moves_a_byte_now_and_then_is_given_up(place, fault, arguments):
    place.push(0)
    at = 2 if arguments[0] == "tbk-store" else 1
    done = place.tbk.run(*arguments[:at], place.address, *arguments[at:], "--max-wait", "0", input=archive(1, 1 << 20), status=75,
                         env={"HELPER_FAULT": fault})
    assert b"asked to '" in done.err and (b"too slow" in done.err or b"did nothing" in done.err)
    place.alone()
    assert place.pull("latest").out == place.archives[0]


def test_a_helper_that_is_slow_is_waited_for(place):
    place.push(0)
    data = archive(2, 60_000)
    place.tbk.run("tbk-push", place.address, input=data)
    assert place.pull("latest", "--max-wait", "5", env={"HELPER_FAULT": "slow@get.2"}).out == data


# A full store


def test_what_removes_needs_no_room(place):
    ids = [place.push(at).lines[0].split("\t")[0] for at in range(3)]
    assert (place.root / "journal" / "reserve").stat().st_size >= 32 << 10
    for command in (["tbk-prune", place.address, "--keep-last", "2"], ["tbk-store", "remove", place.address, ids[1]]):
        before = len(place.log())
        place.tbk.run(*command, env={"HELPER_FAULT": "full@swap.1"})
        requests = [line.split()[:2] for line in place.log()[before:]]
        # The reserve is removed, and restored when there is room again.
        assert requests.index(["remove", "journal/reserve"]) < max(
            at for at, request in enumerate(requests) if request[0] == "swap")
        assert requests[-1] == ["put", "journal/reserve"]
    assert place.ids() == ids[2:]
    place.tbk.run("tbk-push", place.address, input=archive(9), status=74, env={"HELPER_FAULT": "full@swap"})
    assert (place.root / "journal" / "reserve").exists()


def test_leftovers_of_a_place_that_is_full_go(place):
    place.push(0)
    left = place.root / "backups" / "backup_0123456789ab.tbk"
    put(left, b"x")
    os.utime(left, (1, 1))
    assert b"backup_0123456789ab" in place.tbk.run("tbk-store", "clean", place.address,
                                                   env={"HELPER_FAULT": "full@put"}).out
    assert not left.exists() and (place.root / "journal" / "reserve").exists()


# A new store


def test_a_first_push_that_was_killed_is_no_store_that_lost_its_ledger(place):
    place.push(0, *QUICK, status=75, env={"HELPER_FAULT": "die@swap"})
    assert len(os.listdir(place.root / "backups")) == 1
    assert len(set(os.listdir(place.root / "journal")) - {"reserve"}) == 1
    place.push(1)
    assert len(place.ids()) == 1
    assert place.pull("latest").out == place.archives[1]


def test_a_store_that_lost_its_ledger_gets_no_new_one(place):
    place.push(0)
    (place.root / "metadata.json").unlink()
    shutil.rmtree(place.tbk.home / ".termbackup")
    done = place.push(1, status=65)
    assert b"holds backups/backup_" in done.err and b"has no metadata.json" in done.err
    assert not (place.root / "metadata.json").exists()


def test_a_helper_that_makes_no_stores_says_so(place):
    done = place.tbk.run("tbk-store", "create", place.address, status=73)
    assert b"tbk-store-ref cannot create stores" in done.err


def test_addresses_are_in_messages(place):
    place.push(0)
    done = place.pull("abcd", status=69)
    assert place.address.encode() in done.err
    report = json.loads(place.pull("abcd", "--json", status=69).err)
    assert place.address in report["error"]["message"] and report["error"]["type"] == "StoreError"


# Two writers


@pytest.mark.parametrize("swapping", ["swap-atomic", "swap-locked"])
def test_writers_at_once_lose_no_entry(place, small, swapping):
    archives = []
    for at in range(6):
        put(os.path.join(small, "more"), b"writer %d" % at)
        archives.append(reference_archive(small)[0])
    running = []
    for one in archives:
        process = place.tbk.start("tbk-push", place.address, stdin=subprocess.PIPE, env={"HELPER_SWAP": swapping})
        process.stdin.write(one)
        process.stdin.close()
        process.stdin = None
        running.append(process)
    for process in running:
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
    assert len(place.ids()) == len(archives)
    for identity in place.ids():
        assert place.pull(identity).out in archives
    place.alone()


@pytest.mark.parametrize("swapping", ["swap-locked", "swap-checked"])
def test_a_ledger_that_was_written_over_is_written_again(place, swapping):
    """With a helper that cannot compare and swap atomically, the ledger is read again after the swap."""
    place.push(0)
    done = place.push(1, env={"HELPER_FAULT": "lost@swap", "HELPER_SWAP": swapping})
    assert len(place.ids()) == 2
    assert (b"cannot keep two simultaneous writers apart" in done.err) == (swapping == "swap-checked")
    puts = [line for line in place.log() if line.startswith("put backups/")]
    assert len(puts) == 2, "nothing is sent again"


def test_a_race_that_does_not_end_is_75(place):
    place.push(0)
    started = time.monotonic()
    done = place.push(1, "--max-wait", "1", status=75, env={"HELPER_FAULT": "busy@swap"})
    assert b"has been locked by another writer" in done.err and time.monotonic() - started < PATIENCE


# Signals


def wait_for(place, word, number=1):
    deadline = time.monotonic() + PATIENCE
    while True:
        if os.path.exists(f"{place.root}.log") and sum(line.startswith(word) for line in place.log()) >= number:
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


SIGNALS = [signal.SIGKILL, signal.SIGINT, signal.SIGTERM]


# At each step one signal; all of them in `make soak`.
@pytest.mark.parametrize("step, number", [
    pytest.param(step, number, marks=[pytest.mark.soak] if at % len(SIGNALS) != other else [])
    for at, step in enumerate(["hello", "get", "stat backups", "put", "swap", "remove"])
    for other, number in enumerate(SIGNALS)])
def test_a_push_that_is_ended_loses_nothing_and_leaves_no_helper(place, number, step):
    first = place.push(0).lines[0].split("\t")[0]
    pathlib.Path(f"{place.root}.log").unlink()
    when = "2" if step == "stat backups" else "1"
    command = ["tbk-store", "replace", place.address, first] if step == "remove" else ["tbk-push", place.address]
    process = place.tbk.start(*command, stdin=subprocess.PIPE,
                              env={"HELPER_FAULT": f"hang@{step.split()[0]}.{when}"})
    process.stdin.write(place.archives[1])
    process.stdin.close()
    process.stdin = None
    wait_for(place, step)
    process.send_signal(number)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    place.alone()
    assert place.tbk.leftovers() == []
    assert place.ids() == [first]
    assert place.pull(first).out == place.archives[1 if step == "remove" else 0]
    place.push(2)
    assert len(place.ids()) == 2


def test_a_reader_that_goes_away_ends_the_helper(place, small):
    put(os.path.join(small, "large"), os.urandom(3_000_000))
    large = reference_archive(small)[0]
    place.tbk.run("tbk-push", place.address, input=large)
    process = place.tbk.start("tbk-pull", place.address, "latest")
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(PATIENCE) in (-signal.SIGPIPE, 141)
    assert process.stderr.read() == b""
    process.stderr.close()
    place.alone()


# Profiles


def test_a_profile_keeps_its_backups_behind_a_helper(shell, place, small, tmp_path):
    shell.environment["PATH"] = place.tbk.environment["PATH"]
    shell.profile("docs", small, "--repo", place.address)
    shell.run("run", "docs")
    put(os.path.join(small, "plain"), b"changed\n")
    shell.run("run", "docs")
    assert len(shell.ids("docs")) == 2
    shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "again")
    assert (tmp_path / "again" / "plain").read_bytes() == b"changed\n"
    shell.run("verify", "latest", "-p", "docs")
    shell.run("prune", "docs", "--keep-last", "1", "--force" if b"--force" in shell.run("prune", "--help").stdout else "-q")
    assert len(shell.ids("docs")) == 1
    assert place.address.encode() in shell.run("profile", "show", "docs").stdout


def test_a_profile_from_elsewhere_runs_no_helper_without_trust(shell, place, small, tmp_path):
    shell.profile("docs", small, "--repo", place.address)
    exported = tmp_path / "docs.json"
    shell.run("profile", "export", "docs", exported)
    shell.run("profile", "delete", "docs")
    done = shell.run("profile", "import", exported, status=78)
    assert b"runs the program tbk-store-ref" in done.stderr and b"--trust" in done.stderr
    shell.run("profile", "import", exported, "--trust")


# rclone


@pytest.fixture
def remote(tbk, tmp_path, place):
    require("rclone")
    place.root = tmp_path / "cloud"
    place.root.mkdir()
    place.address = f"rclone::local:{place.root}"
    tbk.path("tbk-store-rclone")
    config = tmp_path / "rclone.conf"
    config.write_text(f"[disk]\ntype = local\n[cloud]\ntype = alias\nremote = disk:{place.root}\n")
    tbk.environment["RCLONE_CONFIG"] = str(config)
    return place


def test_rclone_keeps_backups(remote):
    first = remote.push(0).lines[0].split("\t")[0]
    second = remote.push(1).lines[0].split("\t")[0]
    assert remote.ids() == [first, second]
    assert remote.pull("latest").out == remote.archives[1]
    remote.tbk.run("tbk-prune", remote.address, "--keep-last", "1")
    assert remote.ids() == [second]
    # The store contains nothing else except the reserve for removals on a full disk; the machine has no leftovers.
    files = sorted(str(path.relative_to(remote.root)) for path in remote.root.rglob("*") if path.is_file())
    assert files == [f"backups/backup_{second[:12]}.tbk", "journal/reserve", "metadata.json"]
    assert remote.tbk.leftovers() == []
    remote.alone()


@pytest.mark.parametrize("address", ["rclone:cloud:", "rclone:disk:{root}", "rclone:{root}", "rclone::alias,remote='{root}':"])
def test_a_remote_may_be_written_as_rclone_takes_it(remote, address):
    remote.push(0)
    remote.address = address.format(root=remote.root)
    assert remote.pull("latest").out == remote.archives[0]


def test_a_store_at_a_remote_is_made_when_it_is_asked_for(remote):
    remote.address += "/not/there"
    done = remote.push(0, status=69)
    assert b"tbk-store create" in done.err
    remote.tbk.run("tbk-store", "create", remote.address)
    remote.push(0)
    assert remote.pull("latest").out == remote.archives[0]
    remote.tbk.run("tbk-store", "create", remote.address, status=73)


@pytest.mark.parametrize("address,status", [("rclone:none:x", 69), ("rclone:x", 78), ("rclone:-x:y", 78)])
def test_what_rclone_does_not_know_is_named(remote, address, status):
    done = remote.tbk.run("tbk-pull", address, "--list", status=status)
    assert b"tbk-store-rclone" in done.err or b"rclone: " in done.err


def test_large_archives_go_to_a_remote_in_one_stream(remote, small):
    put(os.path.join(small, "large"), os.urandom(9_000_000))
    large = reference_archive(small)[0]
    remote.tbk.run("tbk-push", remote.address, input=large)
    assert remote.pull("latest").out == large


def test_writers_at_once_lose_no_entry_at_a_remote(remote, small):
    running = []
    for one in remote.archives:
        process = remote.tbk.start("tbk-push", remote.address, stdin=subprocess.PIPE)
        process.stdin.write(one)
        process.stdin.close()
        process.stdin = None
        running.append(process)
    for process in running:
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
    assert len(remote.ids()) == len(remote.archives)
    assert not [name for name in os.listdir(remote.root) if name.startswith(("tbk-lock", "metadata.json."))]


def test_a_lock_of_a_writer_that_died_is_removed_when_it_is_old(remote):
    remote.push(0)
    lock = remote.root / "tbk-lock-0123456789abcdef"
    lock.write_text("lock\n")
    remote.push(1, "--max-wait", "1", status=75)
    os.utime(lock, (time.time() - 1000,) * 2)
    remote.push(1)
    assert not lock.exists() and len(remote.ids()) == 2


def test_a_ledger_whose_writing_was_cut_short_is_there_all_the_same(remote):
    """The complete new ledger is in the file beside it; the ledger's own file is torn or missing."""
    remote.push(0)
    old = (remote.root / "metadata.json").read_bytes()
    remote.push(1)
    new = (remote.root / "metadata.json").read_bytes()
    beside = remote.root / f"metadata.json.next-{hashlib.sha256(new).hexdigest()}"
    ids = remote.ids()
    for torn in (b"", new[:100], old, None):
        beside.write_bytes(new)
        (remote.root / "metadata.json").unlink(missing_ok=True)
        if torn is not None:
            (remote.root / "metadata.json").write_bytes(torn)
        assert remote.ids() == ids
    # The file beside it is torn: the ledger itself is used.
    (remote.root / "metadata.json").write_bytes(new)
    beside.write_bytes(new[:50])
    assert remote.ids() == ids
    remote.push(2)
    assert len(remote.ids()) == 3
    assert [path.name for path in remote.root.glob("metadata.json*")] == ["metadata.json"]


STUB = """#!/bin/sh
# Counts the calls of rclone, and ends the helper's whole group after one of them.
count=$(($(cat "$COUNTER" 2>/dev/null || echo 0) + 1))
echo "$count" >"$COUNTER"
"$RCLONE" "$@"
status=$?
test "$count" != "$KILL_AT" || kill -9 0
exit "$status"
"""


@some(12)
def test_a_helper_killed_after_any_call_of_rclone_loses_nothing(remote, tmp_path, stride):
    first = remote.push(0).lines[0].split("\t")[0]
    template = tmp_path / "template"
    shutil.copytree(remote.root, template)
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    (stubs / "rclone").write_text(STUB)
    (stubs / "rclone").chmod(0o755)
    counter = tmp_path / "counter"
    path = remote.tbk.environment["PATH"]
    for at in range(3, 40, stride) if stride > 1 else range(1, 40):
        counter.unlink(missing_ok=True)
        shutil.rmtree(remote.root)
        shutil.copytree(template, remote.root)
        remote.tbk.environment["TERMBACKUP_HOME"] = str(tmp_path / f"home {at}")
        done = remote.push(1, *QUICK, status={0, 69, 75}, env={
            "PATH": f"{stubs}:{path}", "COUNTER": str(counter), "RCLONE": shutil.which("rclone"), "KILL_AT": str(at)})
        if done.status == 0 and int(counter.read_text()) < at:
            assert at > 10
            return
        remote.alone()
        for lock in remote.root.glob("tbk-lock-*"):
            os.utime(lock, (time.time() - 1000,) * 2)
        # Whenever it was killed: earlier backups are still there, and the next push succeeds.
        assert remote.ids()[0] == first and len(remote.ids()) in (1, 2)
        second = remote.push(1).lines[0].split("\t")[0]
        assert remote.ids() == [first, second]
        assert remote.pull(first).out == remote.archives[0]
        assert remote.pull(second).out == remote.archives[1]
    pytest.fail("it never came to the end")


def test_a_profile_keeps_its_backups_with_rclone(shell, remote, small, tmp_path):
    shell.environment["RCLONE_CONFIG"] = remote.tbk.environment["RCLONE_CONFIG"]
    shell.profile("docs", small, "--repo", "rclone:cloud:")
    shell.run("run", "docs")
    assert len(shell.ids("docs")) == 1
    shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "again")
    assert (tmp_path / "again" / "plain").read_bytes() == b"plain\n"
    # As under cron: the helper is next to the commands, but not in PATH.
    put(os.path.join(small, "plain"), b"changed\n")
    shell.run("run", "docs", env={"PATH": "/usr/local/bin:/usr/bin:/bin"})
    assert len(shell.ids("docs")) == 2
