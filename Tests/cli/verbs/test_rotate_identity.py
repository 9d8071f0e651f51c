"""termbackup rotate-key for backups that are sealed to an identity: a new one for further backups, with --full for the
stored ones as well; and what other machines of the group do afterwards."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from conftest import BIN, PASSWORD, put, snapshot, some
from github_fixture import github, github_server  # noqa: F401
from shell_fixture import Shell, shell  # noqa: F401
from tbkref import age
from test_rotate_github import Machine
from test_rotate_key import COMMANDS, NEW, ends_by_itself, wrapped

CLI = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture
def new(tmp_path):
    put(tmp_path / "new password", NEW + b"\n", 0o600)
    return tmp_path / "new password"


def store_of(shell):  # noqa: F811
    return shell.home / "store"


def ledger(shell):  # noqa: F811
    return json.loads((store_of(shell) / "metadata.json").read_bytes())


def group_of(shell):  # noqa: F811
    ((name, group),) = ledger(shell)["groups"].items()
    return {"name": name, **group}


def identities(shell, password):  # noqa: F811
    """The identities in the store that a password opens, the newest first."""
    file = store_of(shell) / "keys" / group_of(shell)["identity"]["filename"]
    text = age.read(file.read_bytes(), age.Passphrase(password)).decode()
    return re.findall(r"^AGE-SECRET-KEY-1\w+$", text, re.MULTILINE)


def opens(tbk, key, path):
    """Whether an identity opens a file."""
    put(tbk.scratch / "identity", key.encode() + b"\n", 0o600)
    done = subprocess.run([BIN / "tbk-open", "--raw", "-i", tbk.scratch / "identity", path], env=tbk.environment, capture_output=True)
    assert done.returncode in (0, 77), done.stderr
    return done.returncode == 0


def opened_by(shell, *keys):  # noqa: F811
    """For each backup, which of the keys open its archive, and which open its manifest."""
    found = []
    for entry in ledger(shell)["backups"]:
        archive = store_of(shell) / "backups" / entry["filename"]
        manifest = store_of(shell) / "manifests" / entry["manifest"]["filename"]
        found.append(tuple(tuple(opens(shell.tbk, key, path) for key in keys) for path in (archive, manifest)))
    return found


def grown(shell, source, count, name="p"):  # noqa: F811
    """Makes this many backups of a growing tree, without a secret. Returns the tree's state at each."""
    was = []
    for _ in range(count):
        put(source / f"f{len(list(source.iterdir()))}", os.urandom(2000))
        put(source / "changes", os.urandom(30))
        shell.run("run", name, "--no-input", password=None)
        was.append(snapshot(source))
    return was


def blind(shell, source, count=3):  # noqa: F811
    source.mkdir()
    shell.profile("p", source, "--mode", "incremental")
    shell.run("generate-identity", "p")
    return grown(shell, source, count)


def check(shell, was, folder):  # noqa: F811
    """Checks that every backup is unchanged, and that only the new password opens it."""
    for entry, tree in zip(ledger(shell)["backups"], was, strict=True):
        shutil.rmtree(folder, ignore_errors=True)
        shell.run("restore", entry["id"], "-p", "p", "--to", folder, "--setuid", password=NEW)
        assert snapshot(folder) == tree
    shell.run("restore", "latest", "-p", "p", "--to", folder / "no", "--overwrite", "always", status=77)


def rotate(shell, *words, **options):  # noqa: F811
    return shell.run("rotate-key", "p", *words, **options)


OLD, BOTH = ((True, False),) * 2, ((False, True),) * 2


def test_a_full_rotation_leaves_nothing_to_the_old_identity(shell, new, tmp_path):  # noqa: F811
    was = blind(shell, tmp_path / "source")
    (old,) = identities(shell, PASSWORD)
    before = ledger(shell)["backups"]
    said = rotate(shell, "--full", "--new-password-file", new)
    assert said.stdout.startswith(b"Made a new identity for p, and sealed 3 backups again: ")
    second, first = identities(shell, NEW)
    assert first == old and opened_by(shell, old, second) == [BOTH] * 3
    for then, now in zip(before, ledger(shell)["backups"], strict=True):
        same = ("id", "created_at", "file_count", "mode", "depends_on", "group")
        assert {key: then[key] for key in same} == {key: now[key] for key in same}
        assert now["key_epoch"] == group_of(shell)["key_epoch"] == 1
        for folder, name in (("backups", then["filename"]), ("manifests", then["manifest"]["filename"])):
            assert not (store_of(shell) / folder / name).exists()
    check(shell, was, tmp_path / "out")
    # The next backup depends on none that its readers cannot open; increments follow.
    was += grown(shell, tmp_path / "source", 2)
    assert [entry["mode"] for entry in ledger(shell)["backups"]] == ["full", "incremental", "incremental", "full", "incremental"]
    assert opened_by(shell, old, second) == [BOTH] * 5
    check(shell, was, tmp_path / "out")
    assert b"5 of 5 backups verified" in shell.run("verify", "--all", "-p", "p", password=NEW).stdout
    # Repeating it changes nothing.
    stored = snapshot(store_of(shell))
    told = json.loads(rotate(shell, "--full", "--json", "--new-password-file", new).stdout)
    assert (told["rotated_count"], told["already_count"]) == (0, 5) and snapshot(store_of(shell)) == stored


def test_without_full_what_is_stored_stays_as_it_is(shell, new, tmp_path):  # noqa: F811
    blind(shell, tmp_path / "source", 2)
    (old,) = identities(shell, PASSWORD)
    before = ledger(shell)["backups"]
    said = rotate(shell, "--new-password-file", new)
    assert said.stdout == b"Made a new identity for p\n" and b"rotate-key --full p" in said.stderr
    assert ledger(shell)["backups"] == before
    assert opened_by(shell, old, identities(shell, NEW)[0]) == [OLD] * 2
    # Also later, with the two passwords that are then current.
    put(tmp_path / "third", b"third\n")
    rotate(shell, "--full", "--new-password-file", tmp_path / "third", password=NEW)
    third, second, first = identities(shell, b"third")
    assert first == old and opened_by(shell, first, second, third) == [((False, False, True),) * 2] * 2


def test_full_is_for_identities(shell, new, small):  # noqa: F811
    shell.profile("p", small)
    shell.run("run", "p")
    assert b"--full is for backups that are sealed to an identity" in rotate(
        shell, "--full", "--new-password-file", new, status=64).stderr


def test_a_full_rotation_takes_what_is_under_a_password_along(shell, new, tmp_path):  # noqa: F811
    source = tmp_path / "source"
    source.mkdir()
    shell.profile("p", source, "--mode", "incremental")
    shell.run("generate-key", "--enable", "--no-password", password=None)
    put(source / "first", b"first")
    shell.run("run", "p")
    was = [snapshot(source)]
    shell.run("generate-identity", "p")
    was += grown(shell, source, 2)
    told = json.loads(rotate(shell, "--full", "--json", "--new-password-file", new).stdout)
    assert told["rotated_count"] == 3
    check(shell, was, tmp_path / "out")


def test_what_is_sealed_to_others_alone_stays_and_is_named(shell, new, tmp_path):  # noqa: F811
    source = tmp_path / "source"
    source.mkdir()
    other = age.Identity(bytes(range(32)))
    shell.profile("p", source)
    shell.run("generate-identity", "p", "--recipient", other.recipient, password=None)
    grown(shell, source, 1)
    shell.run("profile", "edit", "p", "--no-recipients", password=None)
    shell.run("generate-identity", "p")
    grown(shell, source, 1)
    (old,) = identities(shell, PASSWORD)
    said = rotate(shell, "--full", "--new-password-file", new)
    first, second = ledger(shell)["backups"]
    assert first["id"][:12].encode() in said.stderr and b"identities are elsewhere" in said.stderr
    assert b"sealed 1 backup again" in said.stdout
    assert opened_by(shell, old, identities(shell, NEW)[0]) == [((False, False),) * 2, BOTH]


def test_recipients_of_others_stay(shell, new, tmp_path):  # noqa: F811
    blind(shell, tmp_path / "source", 1)
    other = age.Identity(bytes(range(32)))
    (mine,) = json.loads(shell.run("profile", "show", "p", "--json", password=None).stdout)["recipients"]
    shell.run("profile", "edit", "p", "--recipient", mine, "--recipient", other.recipient, password=None)
    rotate(shell, "--full", "--new-password-file", new)
    now = json.loads(shell.run("profile", "show", "p", "--json", password=None).stdout)["recipients"]
    assert mine not in now and len(now) == 2 and other.recipient in now
    assert opened_by(shell, identities(shell, NEW)[0], other.text) == [((True, True),) * 2]


@some(4)
def test_one_that_is_killed_anywhere_is_finished_by_the_same_command(tbk, new, tmp_path, stride):
    machine = Shell(tbk, tmp_path, ["dash"])
    was = blind(machine, tmp_path / "source", 2)
    (old,) = identities(machine, PASSWORD)
    recipients = json.loads(machine.run("profile", "show", "p", "--json", password=None).stdout)["recipients"]
    shutil.copytree(machine.home, tmp_path / "template", symlinks=True)
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
        fi""", [*COMMANDS, "tbk-config"])
    number, ended = 0, False
    seen = set()
    while not ended:
        number += stride if number else 1
        # The identity, and two archives.
        for when in ("KILL_BEFORE", "KILL_AFTER")[:2 if number <= 3 else 1]:
            ended = ends_by_itself(machine, counting, tmp_path, when, number, "rotate-key", "p", "--full", "--new-password-file", new)
            if ended:
                continue
            rotated = group_of(machine)["key_epoch"] == 1
            keys = identities(machine, NEW if rotated else PASSWORD)
            state = opened_by(machine, old, keys[0]) if rotated else [OLD] * 2
            assert set(state) <= {OLD, BOTH} and state == sorted(state), state
            seen.add((rotated, *(one == BOTH for one in state)))
            # A run in between, then the same command.
            rotate(machine, "--full", "--new-password-file", new)
            (second, first) = identities(machine, NEW)
            assert first == old and keys[0] in (first, second)
            assert opened_by(machine, first, second) == [BOTH] * 2
            (now,) = json.loads(machine.run("profile", "show", "p", "--json", password=None).stdout)["recipients"]
            assert now not in recipients
            check(machine, was, tmp_path / "out")
    assert number > 8 and {True, False} == {rotated for rotated, *_ in seen}


def test_a_run_between_a_kill_and_the_end_is_taken_along(tbk, new, tmp_path):
    """Killed when the new identity is in the store, but the profile still seals to the old one."""
    machine = Shell(tbk, tmp_path, ["dash"])
    was = blind(machine, tmp_path / "source", 1)
    (old,) = identities(machine, PASSWORD)
    shutil.copytree(machine.home, tmp_path / "template", symlinks=True)
    killing = wrapped(tmp_path, f"""
        if test "$1 $2" = 'tbk-store identity' && test "$KILL_AFTER" -eq 1; then
            shift
            '{BIN}/tbk-store' "$@"
            kill -9 0
        fi""")
    assert not ends_by_itself(machine, killing, tmp_path, "KILL_AFTER", 1, "rotate-key", "p", "--full", "--new-password-file", new)
    was += grown(machine, tmp_path / "source", 1)
    assert opened_by(machine, old, identities(machine, NEW)[0]) == [OLD] * 2
    rotate(machine, "--full", "--new-password-file", new)
    assert opened_by(machine, old, identities(machine, NEW)[0]) == [BOTH] * 2
    was += grown(machine, tmp_path / "source", 1)
    assert opened_by(machine, old, identities(machine, NEW)[0]) == [BOTH] * 3
    check(machine, was, tmp_path / "out")


def test_in_a_store_behind_a_helper(shell, new, tmp_path):  # noqa: F811
    (tmp_path / "root").mkdir()
    (tmp_path / "programs").mkdir()
    shutil.copy(CLI / "store_helper.py", tmp_path / "programs" / "tbk-store-ref")
    (tmp_path / "programs" / "tbk-store-ref").chmod(0o755)
    shell.environment["PATH"] = f"{tmp_path}/programs:{shell.environment['PATH']}"
    source = tmp_path / "source"
    source.mkdir()
    shell.profile("p", source, "--mode", "incremental", "--repo", f"ref:{tmp_path}/root")
    shell.run("generate-identity", "p")
    was = grown(shell, source, 2)
    rotate(shell, "--full", "--new-password-file", new)
    data = json.loads((tmp_path / "root" / "metadata.json").read_bytes())
    (group,) = data["groups"].values()
    text = age.read((tmp_path / "root" / "keys" / group["identity"]["filename"]).read_bytes(), age.Passphrase(NEW)).decode()
    second, first = re.findall(r"^AGE-SECRET-KEY-1\w+$", text, re.MULTILINE)
    for entry, tree in zip(data["backups"], was, strict=True):
        archive = tmp_path / "root" / "backups" / entry["filename"]
        assert opens(shell.tbk, second, archive) and not opens(shell.tbk, first, archive)
        shell.run("restore", entry["id"], "-p", "p", "--to", tmp_path / entry["id"], "--setuid", password=NEW)
        assert snapshot(tmp_path / entry["id"]) == tree


@some(3)
def test_on_github_one_that_is_killed_at_a_write_is_finished_by_the_same_command(github, tmp_path, stride):  # noqa: F811
    machine = Machine(github, tmp_path)
    machine.run("generate-identity", "p")
    machine.backup()
    machine.backup()
    keys = []

    def key():
        """The newest identity, opened with the password in `new`, or else the one in `old`."""
        (group,) = machine.ledger()["groups"].values()
        file = github.server.git(github.name, "cat-file", "blob", f"HEAD:keys/{group['identity']['filename']}")
        for word in (machine.new, machine.old):
            try:
                return re.findall(r"^AGE-SECRET-KEY-1\w+$", age.read(file, age.Passphrase(word.read_bytes())).decode(), re.MULTILINE)
            except Exception:
                continue
        raise AssertionError("neither password opens the identities")

    def opened(keys):
        for number, entry in enumerate(machine.ledger()["backups"]):
            for name in (f"backups/{entry['filename']}", f"manifests/{entry['manifest']['filename']}"):
                put(tmp_path / "stored", github.server.git(github.name, "cat-file", "blob", f"HEAD:{name}"))
                yield number, [opens(github.commands, one, tmp_path / "stored") for one in keys]

    for number in range(0, 20, stride):
        machine.new.write_text(f"password {number + 1}")
        came = machine.killed({"method": "PATCH", "skip": number}, "rotate-key", "p", "--full", "--new-password-file", machine.new)
        # Each backup opens with one of the identities, its archive and its manifest with the same one.
        keys = key()
        found = list(opened(keys))
        assert all(sum(which) == 1 for _, which in found)
        assert all(one[1] == other[1] for one, other in zip(found[::2], found[1::2]))
        machine.run("rotate-key", "p", "--full", "--new-password-file", machine.new)
        os.replace(machine.new, machine.old)
        machine.new.write_text("nothing")
        assert all(which == [True] + [False] * (len(which) - 1) for _, which in opened(key()))
        if not came:
            break
    else:
        raise AssertionError("more requests than were thought of")
    assert number >= 3
    machine.check()


# Other machines of the group


@pytest.fixture
def second(shell, tmp_path):  # noqa: F811
    """Another home with the same profile, store and group, which uses the identity in the store."""
    was = blind(shell, tmp_path / "source", 1)
    other = Shell(shell.tbk, tmp_path, shell.interpreter)
    other.home = tmp_path / "second"
    other.environment["TERMBACKUP_HOME"] = str(other.home)
    other.run("init")
    put(other.home / "trusted_keys" / "first.pub", (shell.home / "signing_key.pub").read_bytes())
    other.run("profile", "create", "p", "--source", tmp_path / "source", "--mode", "incremental", "--repo", store_of(shell),
              "--group", group_of(shell)["name"])
    other.run("generate-identity", "p")
    put(shell.home / "trusted_keys" / "second.pub", (other.home / "signing_key.pub").read_bytes())
    other.was = was
    return other


def recipients(shell):  # noqa: F811
    return json.loads(shell.run("profile", "show", "p", "--json", password=None).stdout)["recipients"]


def test_a_second_machine_takes_the_identity_of_the_store(shell, second, tmp_path):  # noqa: F811
    assert recipients(second) == recipients(shell) and len(identities(shell, PASSWORD)) == 1
    assert grown(second, tmp_path / "source", 1)
    (old,) = identities(shell, PASSWORD)
    assert all(opens(shell.tbk, old, path) for path in (store_of(shell) / "backups").iterdir())
    second.run("restore", "latest", "-p", "p", "--to", tmp_path / "out", "--setuid")
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "source")


def test_a_machine_that_sees_another_identity_warns_at_each_run_until_it_takes_it_over(shell, second, new, tmp_path):  # noqa: F811
    grown(second, tmp_path / "source", 1)
    put(tmp_path / "source" / "more", b"1")
    assert b"warning" not in second.run("run", "p", "--no-input", password=None).stderr
    (old,) = identities(shell, PASSWORD)
    before = recipients(second)
    rotate(shell, "--new-password-file", new)
    for number in range(2):
        put(tmp_path / "source" / "more", b"2%d" % number)
        said = second.run("run", "p", "--no-input", password=None).stderr
        assert b"warning: another machine has changed the identity of 'p'" in said and b"generate-identity p" in said
        last = ledger(shell)["backups"][-1]
        assert opens(shell.tbk, old, store_of(shell) / "backups" / last["filename"])
    # Also with --json.
    done = second.run("run", "p", "--no-input", "--json", password=None)
    assert b"has changed the identity" in done.stderr and json.loads(done.stdout)["status"] == "unchanged"
    # The machine that rotated gets no warning.
    put(tmp_path / "source" / "more", b"3")
    assert b"warning" not in shell.run("run", "p", "--no-input", password=None).stderr
    second.run("generate-identity", "p", status=77)
    assert recipients(second) == before
    told = json.loads(second.run("generate-identity", "p", "--json", password=NEW).stdout)
    assert told["recipients"] == recipients(second) == recipients(shell) != before
    put(tmp_path / "source" / "more", b"4")
    done = second.run("run", "p", "--no-input", "--json", password=None)
    assert b"warning" not in done.stderr and json.loads(done.stdout)["mode"] == "full"
    last = ledger(shell)["backups"][-1]
    assert not opens(shell.tbk, old, store_of(shell) / "backups" / last["filename"])
    assert b"recipients already" in second.run("generate-identity", "p", password=NEW, status=73).stderr


def test_a_recipient_that_is_replaced_by_hand_ends_the_warning(shell, second, new, tmp_path):  # noqa: F811
    grown(second, tmp_path / "source", 1)
    rotate(shell, "--new-password-file", new)
    put(tmp_path / "source" / "more", b"1")
    assert b"has changed the identity" in second.run("run", "p", "--no-input", password=None).stderr
    second.run("profile", "edit", "p", "--recipient", recipients(shell)[0], password=None)
    put(tmp_path / "source" / "more", b"2")
    assert b"warning" not in second.run("run", "p", "--no-input", password=None).stderr
    # Notes about groups without a profile are removed.
    assert list((second.home / "state").glob("recipients-*"))
    second.run("profile", "delete", "p", password=None)
    second.run("clean", password=None)
    assert not list((second.home / "state").glob("recipients-*"))


def test_keys_that_are_put_back_after_a_rotation_are_noticed(shell, second, new, tmp_path):  # noqa: F811
    """Noticed by the machine that rotated, and by one that has only made backups since."""
    keys, text = store_of(shell) / "keys", (store_of(shell) / "metadata.json").read_bytes()
    before = {path.name: path.read_bytes() for path in keys.iterdir()}
    rotate(shell, "--new-password-file", new)
    put(tmp_path / "source" / "more", b"1")
    second.run("run", "p", "--no-input", password=None)
    for path in keys.iterdir():
        path.unlink()
    for name, content in before.items():
        put(keys / name, content)
    # The ledger names no object with the hashes of the old files.
    shell.run("restore", "latest", "-p", "p", "--to", tmp_path / "no", status=66)
    (store_of(shell) / "metadata.json").write_bytes(text)
    for machine in (shell, second):
        assert machine.run("run", "p", "--no-input", password=None, status=65).stderr
        machine.run("restore", "latest", "-p", "p", "--to", tmp_path / "no", status=65)
    assert not (tmp_path / "no").exists()
