"""termbackup rotate-key: every backup under a new password, and none of them lost."""

import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess

import pytest
from conftest import BIN, FAST, PASSWORD, PATIENCE, crypto, gz, mf, put, snapshot, some, tars
from keyring_fixture import session  # noqa: F401
from shell_fixture import LIB, Shell, on_terminal, shell  # noqa: F401

NEW = b"another horse"
COMMANDS = ["tbk-seal", "tbk-open", "tbk-pull", "tbk-push", "tbk-store"]


@pytest.fixture
def new(tmp_path):
    path = tmp_path / "new password"
    path.write_bytes(NEW + b"\n")
    return path


def store_of(home):
    return home / "store"


def ledger(home):
    return json.loads((store_of(home) / "metadata.json").read_bytes())["backups"]


def opens(path, password):
    try:
        crypto.open_archive(path.read_bytes(), password)
        return True
    except Exception:
        return False


def passwords_of(home):
    """{id: (archive, manifest)}: the password that opens each."""
    def which(path):
        return next((name for name, word in (("old", PASSWORD), ("new", NEW)) if opens(path, word)), None)

    found = {}
    for entry in ledger(home):
        archive = store_of(home) / "backups" / entry["filename"]
        manifest = entry.get("manifest")
        found[entry["id"]] = (which(archive), which(store_of(home) / "manifests" / manifest["filename"]) if manifest else None)
    return found


def check_of(home):
    check, = (store_of(home) / "checks").iterdir()
    return "old" if opens(check, PASSWORD) else "new" if opens(check, NEW) else None


def backups(shell, source, count, name="p"):
    """A profile with one full backup and increments based on it. Returns the tree's state at each."""
    os.makedirs(source, exist_ok=True)
    shell.profile(name, source, "--mode", "incremental")
    was = []
    for number in range(count):
        put(source / f"f{number}", f"content {number}\n".encode() * 100)
        put(source / "changes", str(number).encode())
        shell.run("run", name)
        was.append(snapshot(source))
    return was


def check_restored(shell, name, was, folder):
    """Every backup restores unchanged under the new password, and under no other."""
    ids = [entry["id"] for entry in ledger(shell.home)]
    for id, tree in zip(ids, was, strict=True):
        shell.run("restore", id, "-p", name, "--to", folder / id, password=NEW)
        assert snapshot(folder / id) == tree
    shell.run("restore", "latest", "-p", name, "--to", folder / "not", status=77)
    assert set(passwords_of(shell.home).values()) == {("new", "new")} and check_of(shell.home) == "new"


def rotate(shell, *arguments, **options):
    return shell.run("rotate-key", "p", *arguments, **options)


def test_every_backup_comes_back_under_the_new_password_alone(shell, new, tmp_path):
    was = backups(shell, tmp_path / "source", 3)
    before = ledger(shell.home)
    said = rotate(shell, "--new-password-file", new)
    assert said.stdout.startswith(b"Put 3 backups of p under the new password: ")
    assert PASSWORD not in said.stdout + said.stderr and NEW not in said.stdout + said.stderr
    check_restored(shell, "p", was, tmp_path / "restored")
    for old, now in zip(before, ledger(shell.home), strict=True):
        same = ("id", "created_at", "file_count", "mode", "depends_on", "group")
        assert {key: old[key] for key in same} == {key: now[key] for key in same}
        assert old["sha256"] != now["sha256"] and now["key_epoch"] == 1
        assert not (store_of(shell.home) / "backups" / old["filename"]).exists()
        assert not (store_of(shell.home) / "manifests" / old["manifest"]["filename"]).exists()
    entries = [json.loads(line) for line in (shell.home / "audit.log").read_text().splitlines()]
    done = [entry for entry in entries if entry["operation"] == "rotate-key"]
    assert len(done) == 4 and {entry["status"] for entry in done} == {"success"}
    assert done[-1]["details"]["backup_count"] == 3
    # The next backup uses the new password, and is based on the existing ones.
    put(tmp_path / "source" / "later", b"x")
    shell.run("run", "p", status=77)
    assert b"incremental" in shell.run("run", "p", password=NEW).stdout
    shell.run("verify", "--all", "-p", "p", password=NEW)


def test_a_second_rotation_and_back(shell, new, tmp_path):
    was = backups(shell, tmp_path / "source", 2)
    rotate(shell, "--new-password-file", new)
    old = tmp_path / "old again"
    old.write_bytes(PASSWORD)
    rotate(shell, "--new-password-file", old, password=NEW)
    assert set(passwords_of(shell.home).values()) == {("old", "old")} and check_of(shell.home) == "old"
    assert [entry["key_epoch"] for entry in ledger(shell.home)] == [2, 2]
    for entry, tree in zip(ledger(shell.home), was):
        shell.run("restore", entry["id"], "-p", "p", "--to", tmp_path / entry["id"])
        assert snapshot(tmp_path / entry["id"]) == tree


def test_json_and_what_is_done_already(shell, new, tmp_path):
    backups(shell, tmp_path / "source", 2)
    told = json.loads(rotate(shell, "--json", "--new-password-file", new).stdout)
    assert (told["profile"], told["status"], told["rotated_count"], told["already_count"], told["whole"]) == ("p", "rotated", 2, 0, True)
    before = snapshot(store_of(shell.home))
    told = json.loads(rotate(shell, "--json", "--new-password-file", new).stdout)
    assert (told["rotated_count"], told["already_count"]) == (0, 2) and snapshot(store_of(shell.home)) == before


def test_other_profiles_of_the_store_are_left_alone(shell, new, small, tmp_path):
    backups(shell, tmp_path / "source", 1)
    shell.run("profile", "create", "other", "--source", small)
    shell.run("run", "other")
    rotate(shell, "--new-password-file", new)
    assert sorted(passwords_of(shell.home).values()) == [("new", "new"), ("old", "old")]
    shell.run("verify", "latest", "-p", "other")


def test_a_profile_that_never_ran_has_nothing_to_rotate_nor_takes_that_of_others(shell, new, small, tmp_path):
    backups(shell, tmp_path / "source", 1)
    shell.run("profile", "create", "fresh", "--source", small)
    shell.run("rotate-key", "fresh", "--new-password-file", new, status=69)
    assert set(passwords_of(shell.home).values()) == {("old", "old")}


def test_wrong_passwords_change_nothing(shell, new, tmp_path):
    backups(shell, tmp_path / "source", 2)
    before = snapshot(store_of(shell.home))
    for password in (b"wrong", NEW):
        rotate(shell, "--new-password-file", tmp_path / "third", password=password, status=66)
        put(tmp_path / "third", b"third\n")
        rotate(shell, "--new-password-file", tmp_path / "third", password=password, status=77)
        (tmp_path / "third").unlink()
    put(tmp_path / "same", PASSWORD)
    assert b"the new password is the old one" in rotate(shell, "--new-password-file", tmp_path / "same", status=64).stderr
    put(tmp_path / "empty", b"")
    rotate(shell, "--new-password-file", tmp_path / "empty", status=64)
    rotate(shell, status=64)
    rotate(shell, "--no-input", status=64)
    rotate(shell, "--new-password-file", new, "--new-password-command", "true", status=64)
    assert snapshot(store_of(shell.home)) == before


@pytest.mark.parametrize("way", ["fd", "command", "variable", "variable file", "variable command"])
def test_the_new_password_comes_from_where_passwords_come_from(way, shell, new, tmp_path):
    backups(shell, tmp_path / "source", 1)
    options, env, fds = [], {}, []
    if way == "fd":
        read, write = os.pipe()
        os.write(write, NEW + b"\n")
        os.close(write)
        options, fds = ["--new-password-fd", str(read)], [read]
    elif way == "command":
        options = [f"--new-password-command=cat '{new}'"]
    else:
        env = {"variable": {"TERMBACKUP_NEW_PASSWORD": NEW.decode()},
               "variable file": {"TERMBACKUP_NEW_PASSWORD_FILE": str(new)},
               "variable command": {"TERMBACKUP_NEW_PASSWORD_COMMAND": f"cat '{new}'"}}[way]
    rotate(shell, *options, env=env, pass_fds=fds)
    assert set(passwords_of(shell.home).values()) == {("new", "new")}


def test_both_passwords_are_asked_for_on_a_terminal(shell, tmp_path):
    backups(shell, tmp_path / "source", 1)
    word = PASSWORD
    status, shown = on_terminal(shell, [(b"Password: ", word), (b"New password: ", NEW), (b"New password again: ", NEW)],
                                "rotate-key", "p")
    assert status == 0 and set(passwords_of(shell.home).values()) == {("new", "new")}
    assert word not in shown and NEW not in shown


def wrapped(tmp_path, script, commands=COMMANDS):
    """The suite, with `script` run before each of the commands; it gets the command's name as $1, then the arguments."""
    root = tmp_path / "wrapped"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(BIN.parent / "lib", root / "lib", symlinks=True)
    (root / "bin").mkdir()
    for command in BIN.iterdir():
        if command.name in commands:
            # Records its process id, and its status if it exits here, as a command does.
            put(root / "bin" / command.name, "#!/bin/sh\n"
                """test -z "$TERMBACKUP_STAGE" || echo "pid $$" >"$TERMBACKUP_STAGE"\n"""
                """trap 'status=$?; test -z "$TERMBACKUP_STAGE" || echo $status >"$TERMBACKUP_STAGE"' EXIT\n"""
                f"set -- {command.name} \"$@\"\n{script}\nshift\n"
                f"exec '{command}' \"$@\"\n".encode(), 0o755)
        else:
            (root / "bin" / command.name).symlink_to(command)
    if "tbk-sh" in commands:
        place = root / "lib" / "termbackup" / "tbk-sh"
        place.unlink()
        put(place, f"#!/bin/sh\nset -- tbk-sh \"$@\"\n{script}\nshift\n"
            f"exec '{BIN.parent}/lib/termbackup/tbk-sh' \"$@\"\n".encode(), 0o755)
    return root / "lib" / "termbackup"


def test_neither_password_is_seen_by_others(shell, tmp_path):
    backups(shell, tmp_path / "source", 2)
    shell.lib = wrapped(tmp_path, f"{{ printf '%s\\n' \"$@\"; cat /proc/self/environ; }} >>'{tmp_path}/seen'")
    rotate(shell, password=None, env={"TERMBACKUP_PASSWORD": PASSWORD.decode(), "TERMBACKUP_NEW_PASSWORD": NEW.decode()})
    seen = (tmp_path / "seen").read_bytes()
    assert b"reseal" in seen and b"PATH=" in seen
    assert PASSWORD not in seen and NEW not in seen


def ends_by_itself(shell, lib, tmp_path, when, number, *command):
    """Runs a verb on a copy of the home in `template`, with commands that kill it at the command of this number, at
    KILL_BEFORE or KILL_AFTER. Returns whether it reached its end."""
    shutil.rmtree(shell.home)
    shutil.copytree(tmp_path / "template", shell.home, symlinks=True)
    shutil.rmtree(tmp_path / "count", ignore_errors=True)
    (tmp_path / "count").mkdir()
    ours, shell.lib = shell.lib, lib
    environment = {**shell.environment_with(PASSWORD, {}), "KILL_BEFORE": "0", "KILL_AFTER": "0", when: str(number)}
    done = subprocess.run(shell.command(*command), env=environment, capture_output=True, timeout=PATIENCE,
                          stdin=subprocess.DEVNULL, start_new_session=True)
    shell.lib = ours
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    for folder in (shell.home / "tmp").iterdir():
        shutil.rmtree(folder)
    return done.returncode == 0


@some(5)
def test_one_that_is_killed_anywhere_is_finished_by_the_next(tbk, new, tmp_path, stride):
    """At each command: before it starts and, if it writes to the store, after it has ended."""
    shell = Shell(tbk, tmp_path, ["dash"])
    was = backups(shell, tmp_path / "source", 2)
    shutil.copytree(shell.home, tmp_path / "template", symlinks=True)
    counting = wrapped(tmp_path, f"""
        at=1
        until mkdir '{tmp_path}/count/'$at 2>/dev/null; do at=$((at + 1)); done
        if test "$KILL_BEFORE" -eq "$at"; then kill -9 0; fi
        if test "$1" = tbk-store; then
            push=1
            until mkdir '{tmp_path}/count/push'$push 2>/dev/null; do push=$((push + 1)); done
            if test "$KILL_AFTER" -eq "$push"; then
                shift
                '{BIN}/tbk-store' "$@"
                kill -9 0
            fi
        fi""")
    seen = set()
    number = 3 - stride if stride > 1 else 0
    ended = False
    while not ended:
        number += stride
        # Two archives, and the check.
        for when in ("KILL_BEFORE", "KILL_AFTER")[:2 if number <= 3 else 1]:
            if ends_by_itself(shell, counting, tmp_path, when, number, "rotate-key", "p", "--new-password-file", new):
                assert when == "KILL_BEFORE"
                ended = True
                continue
            state = passwords_of(shell.home)
            # Archive and manifest together, older backups first, and the check last.
            assert all(archive == manifest and archive for archive, manifest in state.values()), state
            order = [archive for archive, _ in state.values()]
            assert order == sorted(order), order
            assert check_of(shell.home) == "old" or order == ["new", "new"]
            seen.add((*order, check_of(shell.home)))
            # A different new password does not lead to three passwords.
            if "new" in order and check_of(shell.home) == "old" and when == "KILL_AFTER":
                put(tmp_path / "third", b"third\n")
                rotate(shell, "--new-password-file", tmp_path / "third", status=77)
                assert passwords_of(shell.home) == state
            rotate(shell, "--new-password-file", new)
            assert set(passwords_of(shell.home).values()) == {("new", "new")} and check_of(shell.home) == "new"
            for entry, content in zip(ledger(shell.home), was, strict=True):
                shutil.rmtree(tmp_path / "restored", ignore_errors=True)
                shell.run("restore", entry["id"], "-p", "p", "--to", tmp_path / "restored", password=NEW)
                assert snapshot(tmp_path / "restored") == content
    assert number > 8
    states = {("old", "old", "old"), ("new", "old", "old"), ("new", "new", "old"), ("new", "new", "new")}
    assert seen == states if stride == 1 else seen <= states


def test_an_interruption_cleans_up(tbk, new, tmp_path):
    shell = Shell(tbk, tmp_path, ["dash"])
    backups(shell, tmp_path / "source", 2)
    shell.lib = wrapped(tmp_path, f"test \"$1\" != tbk-store || {{ touch '{tmp_path}/reached'; exec sleep 300; }}")
    process = subprocess.Popen(shell.command("rotate-key", "p", "--new-password-file", new),
                               env=shell.environment_with(PASSWORD, {}), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    while not (tmp_path / "reached").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert list((shell.home / "tmp").iterdir()) == []
    assert set(passwords_of(shell.home).values()) == {("old", "old")}


def test_a_backup_that_is_made_half_way_is_taken_along(tbk, new, tmp_path):
    shell = Shell(tbk, tmp_path, ["dash"])
    source = tmp_path / "source"
    was = backups(shell, source, 3)
    ours = shell.lib
    # Before the first archive is replaced, and before the second.
    shell.lib = wrapped(tmp_path, f"""
        case "$*" in "tbk-store replace"*)
            made='{tmp_path}/made.'$(ls '{tmp_path}' | grep -c made)
            if test ! -e '{tmp_path}/busy' && test ! -e '{tmp_path}/made.1'; then
                : >'{tmp_path}/busy'
                printf '%s' "$made" >'{source}/half-way'
                '{ours}/verbs/run' -q p --password-file '{tbk.password_file}' </dev/null >"$made" 2>&1 || echo failed >>"$made"
                rm -f '{tmp_path}/busy'
            fi ;;
        esac""")
    rotate(shell, "--new-password-file", new)
    shell.lib = ours
    for number in (0, 1):
        assert (tmp_path / f"made.{number}").read_text() == ""
    assert len(ledger(shell.home)) == 5
    assert set(passwords_of(shell.home).values()) == {("new", "new")} and check_of(shell.home) == "new"
    shell.run("verify", "--all", "-p", "p", password=NEW)
    first = ledger(shell.home)[0]["id"]
    shell.run("restore", first, "-p", "p", "--to", tmp_path / "first", password=NEW)
    assert snapshot(tmp_path / "first") == was[0]


def test_the_end_waits_for_a_run_that_is_going_on(tbk, new, tmp_path):
    shell = Shell(tbk, tmp_path, ["dash"])
    backups(shell, tmp_path / "source", 2)
    lock = open(shell.home / "state" / "run-p.lock", "ab")
    fcntl.flock(lock, fcntl.LOCK_EX)
    process = subprocess.Popen(shell.command("rotate-key", "p", "--new-password-file", new),
                               env=shell.environment_with(PASSWORD, {}), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    said = b""
    while b"waiting for a run" not in said:
        more = process.stderr.read1()
        assert more, said
        said += more
    assert sorted(passwords_of(shell.home).values()) == [("new", "new"), ("old", "old")] and check_of(shell.home) == "old"
    lock.close()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert set(passwords_of(shell.home).values()) == {("new", "new")} and check_of(shell.home) == "new"


def test_two_rotations_at_once_are_refused(shell, new, tmp_path):
    backups(shell, tmp_path / "source", 1)
    with open(shell.home / "state" / "rotate-p.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rotate(shell, "--new-password-file", new, status=75)
    assert set(passwords_of(shell.home).values()) == {("old", "old")}


def test_what_another_machine_adds_after_the_end_is_taken_along_by_the_next(shell, new, tmp_path):
    backups(shell, tmp_path / "source", 1)
    group = ledger(shell.home)[0]["group"]
    rotate(shell, "--new-password-file", new)
    shell.tbk.seal(tmp_path / "source", "--receipt", tmp_path / "receipt", "--manifest-out", tmp_path / "sealed",
                   "-o", tmp_path / "a.tbk")
    with open(tmp_path / "a.tbk", "rb") as archive:
        shell.tbk.run("tbk-push", store_of(shell.home), "--receipt", tmp_path / "receipt", "--sealed-manifest",
                      tmp_path / "sealed", "--group", group, stdin=archive)
    told = json.loads(rotate(shell, "--json", "--new-password-file", new).stdout)
    assert (told["rotated_count"], told["already_count"]) == (1, 1)
    assert set(passwords_of(shell.home).values()) == {("new", "new")} and check_of(shell.home) == "new"


def test_a_backup_that_is_pruned_meanwhile_is_passed_over(tbk, new, tmp_path):
    shell = Shell(tbk, tmp_path, ["dash"])
    backups(shell, tmp_path / "source", 1)
    shell.run("run", "p", "--full")
    first, second = [entry["id"] for entry in ledger(shell.home)]
    ours = shell.lib
    shell.lib = wrapped(tmp_path, f"""
        case "$*" in "tbk-store replace"*)
            test -e '{tmp_path}/removed' || '{BIN}/tbk-store' remove '{store_of(shell.home)}' {first} >'{tmp_path}/removed' ;;
        esac""")
    assert b"has been removed" in rotate(shell, "--new-password-file", new).stderr
    shell.lib = ours
    assert passwords_of(shell.home) == {second: ("new", "new")}


def test_what_another_machine_rotates_meanwhile_is_left_to_it(tbk, new, tmp_path):
    """Two rotations to two new passwords: no backup ends under a password that its owner does not know."""
    shell = Shell(tbk, tmp_path, ["dash"])
    backups(shell, tmp_path / "source", 1)
    shell.run("run", "p", "--full")
    first = ledger(shell.home)[0]["id"]
    put(tmp_path / "third", b"third\n")
    ours = shell.lib
    reseal = f"""'{BIN}/tbk-seal' reseal -q {" ".join(FAST)} --old-password-file '{tbk.password_file}' --password-file '{tmp_path}/third'"""
    shell.lib = wrapped(tmp_path, f"""
        case "$*" in "tbk-store replace"*)
            '{BIN}/tbk-pull' -q '{store_of(shell.home)}' --manifest {first} </dev/null | {reseal} >'{tmp_path}/sealed'
            '{BIN}/tbk-pull' -q '{store_of(shell.home)}' {first} </dev/null | {reseal} |
                '{BIN}/tbk-store' replace -q '{store_of(shell.home)}' {first} --rekeyed --sealed-manifest '{tmp_path}/sealed' >/dev/null ;;
        esac""")
    said = rotate(shell, "--new-password-file", new, status=75).stderr
    shell.lib = ours
    assert b"now has another archive" in said
    archive = store_of(shell.home) / "backups" / ledger(shell.home)[0]["filename"]
    assert opens(archive, b"third") and check_of(shell.home) == "old"
    assert list(passwords_of(shell.home).values())[1] == ("old", "old")


def test_where_signing_is_on_archives_and_ledger_are_signed_anew(shell, new, tmp_path):
    was = backups(shell, tmp_path / "source", 1)
    shell.run("generate-key", "--enable")
    put(tmp_path / "source" / "more", b"more")
    shell.run("run", "p", "--adopt")
    was.append(snapshot(tmp_path / "source"))
    assert [bool(entry["signature"]) for entry in ledger(shell.home)] == [False, True]
    said = rotate(shell, "--new-password-file", new).stderr
    assert b"the signing key keeps the old password" in said
    for entry in ledger(shell.home):
        put(tmp_path / "signature", bytes.fromhex(entry["signature"]))
        with open(store_of(shell.home) / "backups" / entry["filename"], "rb") as archive:
            shell.tbk.run("tbk-sign", "verify", "--key", shell.home / "signing_key.pub", tmp_path / "signature", stdin=archive)
    shell.run("restore", "latest", "-p", "p", "--to", tmp_path / "restored", "--require-signature", password=NEW)
    assert snapshot(tmp_path / "restored") == was[-1]


def test_the_keyring_gets_the_new_password_at_the_end(shell, new, session, tmp_path):
    backups(shell, tmp_path / "source", 1)
    item = ("service", "termbackup", "profile", "p")
    assert session.tool("store", "--label=x", *item, input=PASSWORD).returncode == 0
    env = {**session.environment_of(shell), "TERMBACKUP_NEW_PASSWORD_FILE": str(new)}
    rotate(shell, "--only", ledger(shell.home)[0]["id"], "--new-password-file", new, password=None, env=env)
    assert session.tool("lookup", *item).stdout == PASSWORD
    said = rotate(shell, password=None, env=env).stderr
    assert b"the keyring has the new password" in said
    # The item of this home; another home may need the one that an earlier version stored for all homes.
    assert session.kept(shell.home, "profile:p") == NEW
    shell.run("verify", "--all", "-p", "p", password=None, env=session.environment_of(shell))
    # Killed before this point, and run again: nothing is left to rotate, but the keyring has the old password.
    session.keep(PASSWORD, shell.home, "profile:p")
    rotate(shell, password=None, env=env)
    assert session.kept(shell.home, "profile:p") == NEW


def test_a_keyring_without_the_password_gets_none(shell, new, session, tmp_path):
    backups(shell, tmp_path / "source", 1)
    said = rotate(shell, "--new-password-file", new, env=session.environment_of(shell)).stderr
    assert b"keyring" not in said
    assert session.tool("search", "--all", "service", "termbackup").stdout == b""


def test_a_keyring_that_is_locked_is_told_of(shell, new, session, tmp_path):
    backups(shell, tmp_path / "source", 1)
    session.tool("store", "--label=x", "service", "termbackup", "profile", "p", input=PASSWORD)
    session.lock()
    said = rotate(shell, "--new-password-file", new, env=session.environment_of(shell)).stderr
    assert b"may still have the old password" in said
    assert set(passwords_of(shell.home).values()) == {("new", "new")}


def test_only_changes_one_backup_and_never_the_check(shell, new, tmp_path):
    was = backups(shell, tmp_path / "source", 3)
    first = ledger(shell.home)[0]["id"]
    shown = rotate(shell, "--only", first[:10], "--new-password-file", new, "--progress", "always").stderr
    assert b"sealing" in shown and b"fetching" not in shown
    assert list(passwords_of(shell.home).values()) == [("new", "new"), ("old", "old"), ("old", "old")]
    assert check_of(shell.home) == "old"
    told = json.loads(rotate(shell, "--only", first[:10], "--json", "--new-password-file", new).stdout)
    assert (told["rotated_count"], told["already_count"], told["whole"]) == (0, 1, False)
    rotate(shell, "--only", "0000", "--new-password-file", new, status=69)
    # A backup under a different password is rotated like the others.
    put(tmp_path / "third", b"third")
    rotate(shell, "--only", first, "--new-password-file", tmp_path / "third", password=NEW)
    rotate(shell, "--new-password-file", new, status=77)
    assert list(passwords_of(shell.home).values())[1:] == [("old", "old")] * 2
    rotate(shell, "--only", first, "--new-password-file", new, password=b"third")
    rotate(shell, "--new-password-file", new)
    check_restored(shell, "p", was, tmp_path / "restored")


def test_dry_run_changes_nothing(shell, new, tmp_path):
    backups(shell, tmp_path / "source", 2)
    first, second = [entry["id"][:12] for entry in ledger(shell.home)]
    rotate(shell, "--only", first, "--new-password-file", new)
    before = snapshot(store_of(shell.home))
    said = rotate(shell, "--dry-run", "--new-password-file", new).stdout.decode().splitlines()
    assert said == [f"done already    {first}", f"would rotate    {second}"]
    assert rotate(shell, "-n").stdout.decode().splitlines() == [f"other password  {first}", f"would rotate    {second}"]
    assert json.loads(rotate(shell, "-n", "--json").stdout)["would_rotate_count"] == 1
    rotate(shell, "-n", password=b"wrong", status=77)
    assert snapshot(store_of(shell.home)) == before


def push(tbk, home, archive, *arguments):
    path = tbk.scratch / "pushed.tbk"
    path.write_bytes(archive)
    with open(path, "rb") as source:
        tbk.run("tbk-push", store_of(home), *arguments, stdin=source)


def test_archives_without_a_sealed_manifest_and_tbk1(shell, new, small, tmp_path):
    """As TermBackup 6 left them: no sealed manifest, no check, and an older format."""
    shell.profile("p", small)
    shell.run("run", "p")
    group = ledger(shell.home)[0]["group"]
    shutil.rmtree(store_of(shell.home) / "checks")
    manifest = mf.with_id(mf.build(small))
    payload = gz.compress(tars.write(manifest, tars.content_of(small), "pax"), 1, 6)
    receipt = {"receipt": 1, "id": manifest["backup_id"], "created_at": manifest["created_at"], "mode": "full",
               "file_count": 3, "depends_on": [], "complete": True}
    put(tmp_path / "receipt", json.dumps(receipt).encode())
    push(shell.tbk, shell.home, crypto.seal_tbk1(payload, PASSWORD, iterations=1000), "--group", group, "--receipt",
         tmp_path / "receipt")
    assert ledger(shell.home)[1]["archive_version"] == 1
    assert f"would read      {manifest['backup_id'][:12]}" in rotate(shell, "-n").stdout.decode()
    rotate(shell, "--new-password-file", new, password=b"wrong", status=77)
    rotate(shell, "--new-password-file", new)
    assert list(passwords_of(shell.home).values()) == [("new", "new"), ("new", None)] and check_of(shell.home) == "new"
    assert ledger(shell.home)[1]["archive_version"] == 2
    shell.run("verify", "--all", "-p", "p", password=NEW)
    # Found to be rotated already, even without a sealed manifest.
    told = json.loads(rotate(shell, "--json", "--new-password-file", new).stdout)
    assert (told["rotated_count"], told["already_count"]) == (0, 2)
    put(tmp_path / "third", b"third")
    rotate(shell, "--new-password-file", tmp_path / "third", status=77)


def test_migrate_makes_tbk2_of_tbk1_and_leaves_the_rest(shell, small, tmp_path):
    shell.profile("p", small)
    shell.run("run", "p")
    group = ledger(shell.home)[0]["group"]
    assert b"No archive" in shell.run("migrate", "--archives", "p", password=None).stdout
    manifest = mf.with_id(mf.build(small))
    payload = gz.compress(tars.write(manifest, tars.content_of(small), "pax"), 1, 6)
    receipt = {"receipt": 1, "id": manifest["backup_id"], "created_at": manifest["created_at"], "mode": "full",
               "file_count": 3, "depends_on": [], "complete": True}
    put(tmp_path / "receipt", json.dumps(receipt).encode())
    push(shell.tbk, shell.home, crypto.seal_tbk1(payload, PASSWORD, iterations=1000), "--group", group, "--receipt",
         tmp_path / "receipt")
    kept, old = ledger(shell.home)
    shell.run("migrate", "--archives", "p", password=b"wrong", status=77)
    assert ledger(shell.home) == [kept, old]
    told = json.loads(shell.run("migrate", "--archives", "p", "--json").stdout)
    assert (told["profile"], told["migrated_count"]) == ("p", 1)
    same, now = ledger(shell.home)
    assert same == kept and now["id"] == old["id"] and (old["archive_version"], now["archive_version"]) == (1, 2)
    assert "key_epoch" not in now
    archive = store_of(shell.home) / "backups" / now["filename"]
    assert crypto.open_archive(archive.read_bytes(), PASSWORD)[1] == payload
    shell.run("verify", "--all", "-p", "p")


@pytest.mark.parametrize("arguments", [["--placement", "git"], ["--password-file", "x"], ["--max-wait", "3"],
                                       ["--archives", "p", "--force"], ["--archives", "../p"], ["--archives"]], ids=str)
def test_options_of_the_other_migration_are_refused(arguments, shell):
    shell.run("init")
    shell.run("migrate", *arguments, status=64)


def test_an_archive_that_is_another_backup_is_not_sealed_under_its_name(shell, new, small, tmp_path):
    shell.profile("p", small)
    shell.run("run", "p")
    put(pathlib.Path(small) / "more", b"more")
    shell.run("run", "p")
    path = store_of(shell.home) / "metadata.json"
    text = json.loads(path.read_bytes())
    one, two = text["backups"]
    for key in ("filename", "sha256", "size"):
        one[key], two[key] = two[key], one[key]
    for key in ("store_id", "sequence", "history", "groups"):
        text.pop(key)
    path.write_text(json.dumps(text))
    rotate(shell, "--new-password-file", new, status=65)
    assert set(passwords_of(shell.home).values()) == {("old", "old")} and check_of(shell.home) == "old"


def test_twelve_backups(tbk, new, tmp_path):
    shell = Shell(tbk, tmp_path, ["dash"])
    source = tmp_path / "source"
    backups(shell, source, 1)
    group = ledger(shell.home)[0]["group"]
    was = [snapshot(source)]
    previous = tmp_path / "previous.json"
    for number in range(1, 12):
        put(source / f"g{number}", os.urandom(2000))
        manifest = [] if number % 6 == 1 else ["--mode", "incremental", "--previous", previous]
        listed = tbk.manifest(source, *manifest)
        archive = tbk.run("tbk-seal", *FAST, "--receipt", tmp_path / "receipt", "--manifest-out", tmp_path / "sealed",
                          input=listed).out
        push(tbk, shell.home, archive, "--group", group, "--receipt", tmp_path / "receipt", "--sealed-manifest",
             tmp_path / "sealed")
        previous.write_bytes(tbk.open((tmp_path / "sealed").read_bytes(), "--manifest").out)
        was.append(snapshot(source))
    assert sum(entry["mode"] == "incremental" for entry in ledger(shell.home)) > 8
    rotate(shell, "--new-password-file", new)
    assert set(passwords_of(shell.home).values()) == {("new", "new")} and len(ledger(shell.home)) == 12
    shell.run("verify", "--all", "-p", "p", password=NEW)
    for number in (0, 5, 11):
        id = ledger(shell.home)[number]["id"]
        shell.run("restore", id, "-p", "p", "--to", tmp_path / id, password=NEW)
        assert snapshot(tmp_path / id) == was[number]


def test_an_old_check_that_is_put_back_lets_no_old_password_in(shell, new, tmp_path):
    backups(shell, tmp_path / "source", 2)
    check, = (store_of(shell.home) / "checks").iterdir()
    old = check.read_bytes()
    group = json.loads((store_of(shell.home) / "metadata.json").read_text())["groups"]
    (name, first), = group.items()
    assert first == {"key_epoch": 0, "check": {"filename": check.name, "sha256": hashlib.sha256(old).hexdigest()}}
    rotate(shell, "--new-password-file", new)
    now, = (store_of(shell.home) / "checks").iterdir()
    pinned = json.loads((store_of(shell.home) / "metadata.json").read_text())["groups"][name]
    digest = hashlib.sha256(now.read_bytes()).hexdigest()
    assert pinned == {"key_epoch": 1, "check": {"filename": now.name, "sha256": digest}}
    assert now.name == f"{name}-{digest[:8]}.tbk"
    put(now, old)
    put(check, old)
    put(tmp_path / "source" / "later", b"later")
    before = snapshot(store_of(shell.home))
    for password in (PASSWORD, NEW):
        refused = shell.run("run", "p", password=password, status=65)
        assert b"does not have the SHA-256" in refused.stderr
    assert snapshot(store_of(shell.home)) == before


def test_a_ledger_that_names_an_old_check_is_refused(shell, new, tmp_path):
    backups(shell, tmp_path / "source", 1)
    path = store_of(shell.home) / "metadata.json"
    first = json.loads(path.read_text())["groups"]
    rotate(shell, "--new-password-file", new)
    whole = json.loads(path.read_text())
    group, = first
    other = {group: {**whole["groups"][group], "check": first[group]["check"]}}
    for groups, words in ((first, b"was rolled back to key epoch 0"), (other, b"another password check"), ({}, b"no longer names")):
        rest = {key: value for key, value in whole.items() if key != "ledger_signature"}
        canonical = json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()
        put(path, json.dumps({**whole, "groups": groups, "sequence": whole["sequence"] + 1,
                              "history": [*whole["history"], hashlib.sha256(canonical).hexdigest()]}).encode())
        assert words in shell.run("run", "p", status=65).stderr


def test_another_machine_that_meets_a_new_password_needs_it_and_remembers_it(shell, new, tmp_path):
    """It has seen the store under the old password, and still has that one."""
    backups(shell, tmp_path / "source", 2)
    store, other = store_of(shell.home), tmp_path / "other"
    shutil.copytree(shell.home, other, ignore=shutil.ignore_patterns("store"))
    there = {"TERMBACKUP_HOME": str(other)}
    put(tmp_path / "source" / "later", b"later")
    first = (store / "metadata.json").read_bytes()
    rotate(shell, "--new-password-file", new)
    before = snapshot(store)
    shell.run("run", "p", env=there, status=77)
    assert snapshot(store) == before
    assert b"incremental" in shell.run("run", "p", password=NEW, env=there).stdout
    assert [entry["key_epoch"] for entry in ledger(shell.home)] == [1, 1, 1]
    # It now refuses the earlier state.
    put(store / "metadata.json", first)
    assert b" was rolled back" in shell.run("verify", "latest", "-p", "p", password=NEW, env=there, status=65).stderr


def test_a_store_of_before_gets_its_check_named(shell, tmp_path):
    backups(shell, tmp_path / "source", 1)
    path = store_of(shell.home) / "metadata.json"
    whole = json.loads(path.read_text())
    groups = whole.pop("groups")
    put(path, json.dumps(whole).encode())
    shutil.rmtree(shell.home / "state")
    put(tmp_path / "source" / "later", b"later")
    shell.run("run", "p", password=NEW, status=77)
    shell.run("run", "p")
    assert json.loads(path.read_text())["groups"] == groups
    shell.run("verify", "--all", "-p", "p")


def test_a_backup_under_the_password_of_before_is_not_stored(shell, new, tmp_path):
    backups(shell, tmp_path / "source", 1)
    group, pinned = json.loads((store_of(shell.home) / "metadata.json").read_text())["groups"].popitem()
    rotate(shell, "--new-password-file", new)
    archive = shell.tbk.seal(tmp_path / "source")
    given = ["--group", group, "--group-check", pinned["check"]["sha256"]]
    refused = shell.tbk.run("tbk-push", store_of(shell.home), *given, input=archive, status=75)
    assert b"another password check" in refused.err and len(ledger(shell.home)) == 1


def test_the_costs_that_a_check_asks_for_are_not_paid(shell, tmp_path):
    backups(shell, tmp_path / "source", 1)
    path = store_of(shell.home) / "metadata.json"
    whole = json.loads(path.read_text())
    check, = (store_of(shell.home) / "checks").iterdir()
    data = bytearray(check.read_bytes())
    data[6:13] = struct.pack(">IHB", 1 << 20, 1, 1)
    put(check, bytes(data))
    assert b"does not have the SHA-256" in shell.run("run", "p", status=65).stderr
    # Nor if no ledger vouches for a check.
    del whole["groups"]
    put(path, json.dumps(whole).encode())
    shutil.rmtree(shell.home / "state")
    assert b"above the limit" in shell.run("run", "p", status=65).stderr
