"""Rotation and pruning on GitHub: killed while a write request is pending, and then finished."""

import json
import os
import signal
import time

import pytest
from conftest import PATIENCE, crypto, put, snapshot, some
from github_fixture import github, github_server  # noqa: F401


class Machine:
    """A home with an incremental profile `p` on the repository, and the current password."""

    def __init__(self, store, folder, *fields):
        self.store = store
        self.tree = folder / "tree"
        self.tree.mkdir()
        self.old, self.new, self.out = folder / "old", folder / "new", folder / "out"
        self.old.write_text("password 0")
        self.copies = {}
        self.run("init", "--no-input")
        self.run("profile", "create", "p", "--source", self.tree, "--repo", store.name, "--mode", "incremental", *fields)

    def environment(self):
        return {**self.store.environment, "TERMBACKUP_PASSWORD_FILE": str(self.old)}

    def run(self, *arguments, status=0):
        return self.store.commands.run("termbackup", *arguments, status=status, env=self.environment())

    def backup(self, *options):
        put(self.tree / f"file{len(self.copies)}", os.urandom(3000))
        self.run("run", "p", "--no-prune", *options)
        self.copies[self.ids()[-1]] = snapshot(self.tree)

    def ledger(self):
        return json.loads(self.store.git("show", "HEAD:metadata.json"))

    def ids(self):
        return [entry["id"] for entry in self.ledger()["backups"]]

    def killed(self, fault, *arguments):
        """Runs a verb, and kills it with its children once `fault` holds a request. Returns whether one was held."""
        self.store.clear_log()
        self.store.fault(path="", hang=10 * PATIENCE, times=-1, **fault)
        process = self.store.commands.start("termbackup", *arguments, env=self.environment())
        # A held request is in the log, but gets no response.
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            if sum(request["method"] == fault["method"] for request in self.store.log()) > fault["skip"]:
                break
            time.sleep(0.05)
        killed = process.poll() is None
        if killed:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        self.store.clear_faults()
        return killed

    def check(self):
        """Checks that every backup in the ledger is unchanged."""
        self.store.check()
        for number, identity in enumerate(self.ids()):
            out = self.out / f"{number}-{time.monotonic_ns()}"
            self.run("restore", identity, "-p", "p", "--to", out)
            assert snapshot(out) == self.copies[identity]


def opens_with(store, name, words):
    data = store.server.git(store.name, "cat-file", "blob", f"HEAD:{name}")
    for number, word in enumerate(words):
        try:
            crypto.open_archive(data, word)
            return number
        except Exception:
            continue
    raise AssertionError(f"{name} opens with neither password")


@some(3)
@pytest.mark.parametrize("method,count", [("POST", 1), ("PATCH", 2)])
def test_a_rotation_that_is_killed_at_a_write_is_finished_by_the_next(github, tmp_path, method, count, stride):
    machine = Machine(github, tmp_path)
    for _ in range(count):
        machine.backup()
    for number in range(0, 12, stride):
        machine.new.write_text(f"password {number + 1}")
        came = machine.killed({"method": method, "skip": number}, "rotate-key", "p", "--new-password-file", machine.new)
        words = [machine.old.read_bytes(), machine.new.read_bytes()]
        for entry in machine.ledger()["backups"]:
            archive = opens_with(github, f"backups/{entry['filename']}", words)
            assert archive == opens_with(github, f"manifests/{entry['manifest']['filename']}", words)
            assert came or archive == 1
        machine.run("rotate-key", "p", "--new-password-file", machine.new)
        os.replace(machine.new, machine.old)
        machine.run("verify", "--all", "-p", "p")
        if not came:
            break
    else:
        raise AssertionError("more requests than were thought of")
    assert number >= 3
    machine.check()


@some(3)
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_prune_that_is_killed_at_a_write_is_finished_by_the_next(github, tmp_path, method, stride):
    machine = Machine(github, tmp_path, "--placement", "release")
    machine.backup()
    for number in range(0, 12, stride):
        machine.backup("--full")
        machine.backup()
        before = machine.ids()
        came = machine.killed({"method": method, "skip": number}, "prune", "p", "--keep-last", "2", "--yes")
        # The last backup needs the one before it: those of earlier rounds are removed.
        assert machine.ids() in (before, before[-2:])
        machine.run("verify", "--all", "-p", "p")
        machine.run("prune", "p", "--keep-last", "2", "--yes")
        assert machine.ids() == before[-2:]
        if not came:
            break
    else:
        raise AssertionError("more requests than were thought of")
    assert number >= 1
    machine.check()


def test_a_rotation_of_assets_leaves_no_old_one(github, tmp_path):
    machine = Machine(github, tmp_path, "--placement", "release")
    for _ in range(3):
        machine.backup()
    before = {asset["name"] for asset in github.state()["assets"]}
    machine.new.write_text("another")
    machine.run("rotate-key", "p", "--new-password-file", machine.new)
    os.replace(machine.new, machine.old)
    after = {asset["name"] for asset in github.state()["assets"]}
    assert len(before) == len(after) == 3 and not before & after
    machine.check()


def test_a_signed_store_is_signed_at_every_step_of_a_rotation(github, tmp_path):
    machine = Machine(github, tmp_path)
    machine.run("generate-key", "--enable")
    machine.backup()
    machine.backup()
    signed = [entry["signature"] for entry in machine.ledger()["backups"]]
    machine.new.write_text("another")
    machine.run("rotate-key", "p", "--new-password-file", machine.new, "--key-password-file", machine.old)
    for commit in github.git("rev-list", "HEAD", "--", "metadata.json").split()[:5]:
        assert json.loads(github.git("show", f"{commit}:metadata.json"))["ledger_signature"]
    again = [entry["signature"] for entry in machine.ledger()["backups"]]
    assert all(again) and all(signed) and not set(again) & set(signed)
    os.replace(machine.new, machine.old)
    machine.run("verify", "--all", "-p", "p", "--require-signature")
    machine.check()
