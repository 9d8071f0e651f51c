"""Stores of TermBackup 6 with the verbs: a user continues with the same profile, store and password."""

import hashlib
import json
import shutil

import pytest
from conftest import COST, FAST, PASSWORD, crypto, gz, put, require
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from github_fixture import github, github_server  # noqa: F401, fixtures
from shell_fixture import Shell
from tbkref import tbk6
from test_signed_ledger import sign_ledger

NEW = b"another password altogether"


class OldStore:
    """A directory with a full backup and two increments, and a profile as TermBackup 6 left it."""

    def __init__(self, shell, scratch, address=None):
        self.shell = shell
        self.source = scratch / "old source"
        self.path = scratch / "old store"
        self.files = {}
        self.entries = []
        self.states = []
        put(self.source / "plain", b"plain\n")
        put(self.source / "d" / "inside", b"inside\n")
        manifest, listing = tbk6.build(self.source, created_at="2026-02-01T00:00:00+00:00")
        self.add(manifest, version=1)
        put(self.source / "plain", b"changed\n")
        put(self.source / "new", b"new\n")
        second, listing = tbk6.build(self.source, manifest["backup_id"], listing, "2026-02-02T00:00:00+00:00")
        self.add(second)
        put(self.source / "d" / "inside", b"changed too\n")
        third, _ = tbk6.build(self.source, second["backup_id"], listing, "2026-02-03T00:00:00+00:00")
        self.add(third)
        self.ids = [entry["id"] for entry in self.entries]
        self.write()
        shell.run("init")
        self.profile = shell.home / "profiles" / "o.json"
        self.profile.write_text(json.dumps({
            "name": "o", "source_dir": str(self.source), "repo": address or str(self.path),
            "backup_mode": "incremental", "max_backups": None, "retention_days": None, "exclude_patterns": [],
            "webhook_url": None}))
        self.profile.chmod(0o600)

    def add(self, manifest, version=2):
        payload = gz.compress(tbk6.write(manifest, self.source))
        if version == 1:
            data = crypto.seal_tbk1(payload, PASSWORD, 1000)
        else:
            data = crypto.seal_tbk2(payload, PASSWORD, **COST, kdf=2, suite=2)
        name = f"backup_{manifest['backup_id'][:12]}.tbk"
        self.files[f"backups/{name}"] = data
        self.entries.append({
            "id": manifest["backup_id"], "filename": name, "sha256": hashlib.sha256(data).hexdigest(), "commit_sha": "",
            "size": len(data), "created_at": manifest["created_at"], "file_count": len(manifest["files"]),
            "verified": False, "verified_at": None, "archive_version": version, "signature": None})
        self.states.append({path.relative_to(self.source).as_posix(): path.read_bytes()
                            for path in self.source.rglob("*") if path.is_file()})

    def write(self):
        ledger = {"tool_version": "6.0.0", "repository": "me/old", "created_at": "2026-02-01T00:00:00+00:00",
                  "backups": self.entries}
        self.files["metadata.json"] = json.dumps(ledger).encode()
        for name, data in self.files.items():
            put(self.path / name, data)

    def change(self, *numbers, **members):
        """Changes the ledger's entries of these backups."""
        for number in numbers:
            self.entries[number].update(members)
        self.write()

    def ledger(self):
        return json.loads((self.path / "metadata.json").read_text())

    def restored(self, number, tmp_path, *options, **more):
        target = tmp_path / f"restored {number}"
        done = self.shell.run("restore", self.ids[number], "-p", "o", "--to", target, *options, **more)
        found = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
        shutil.rmtree(target)
        return done, found


@pytest.fixture
def dash(tbk, tmp_path):
    require("dash")
    return Shell(tbk, tmp_path, ["dash"])


@pytest.fixture
def old(dash, tmp_path):
    return OldStore(dash, tmp_path)


# All verbs


def test_a_user_of_termbackup_6_goes_on_and_keeps_all_backups(old, tmp_path):
    shell = old.shell
    short = [id[:12] for id in old.ids]
    assert shell.ids("o") == short
    put(old.source / "later", b"later\n")
    # A dry run writes nothing; a password other than that of the backups is refused.
    before = old.ledger()
    shell.run("run", "o", "--dry-run")
    assert b"not the password" in shell.run("run", "o", password=NEW, status=77).stderr
    assert old.ledger() == before
    shell.run("run", "o")
    shell.run("run", "o", "--full")
    assert shell.ids("o")[:3] == short and len(shell.ids("o")) == 5
    told = json.loads(shell.run("status", "--json").stdout)["profiles"][0]["summary"]
    assert told["backup_count"] == 5
    for number in range(3):
        assert old.restored(number, tmp_path)[1] == old.states[number]
    assert b"5 of 5 backups verified" in shell.run("verify", "--all", "-p", "o").stdout
    moved = json.loads(shell.run("migrate", "--archives", "o", "--json").stdout)
    assert moved["migrated_count"] == 1
    assert {entry["archive_version"] for entry in old.ledger()["backups"]} == {2}
    put(tmp_path / "new password", NEW)
    told = json.loads(shell.run("rotate-key", "o", "--new-password-file", tmp_path / "new password", "--json").stdout)
    assert (told["rotated_count"], told["already_count"]) == (5, 0)
    assert old.restored(2, tmp_path, password=NEW)[1] == old.states[2]
    # Backups of TermBackup 6 are removed by the same rule as the others.
    shown = shell.run("prune", "o", "--keep-last", "1", "--yes").stdout
    assert b"Removed 4 of 5" in shown and len(shell.ids("o")) == 1


def test_on_github_the_same_holds(dash, tmp_path, github):  # noqa: F811
    old = OldStore(dash, tmp_path, github.address)
    dash.environment.update(github.environment)
    github.remake(files=old.files)
    dash.run("run", "o")
    assert dash.ids("o")[:3] == [id[:12] for id in old.ids] and len(dash.ids("o")) == 4
    assert old.restored(2, tmp_path)[1] == old.states[2]


def test_the_backups_in_no_group_are_those_of_the_profiles_that_had_none(old, small):
    shell = old.shell
    shell.run("profile", "create", "fresh", "--source", small, "--repo", old.path)
    empty = shell.run("list", "fresh")
    assert empty.stdout == b"" and b"has 3 backups in no group" in empty.stderr
    assert b"'termbackup profile edit fresh --ungrouped'" in empty.stderr
    entries = old.entries[:]
    del old.entries[1:]
    old.write()
    assert b"has 1 backup in no group" in shell.run("list", "fresh").stderr
    old.entries[:] = entries
    old.write()
    shell.run("run", "fresh", password=NEW)
    assert len(shell.ids("fresh")) == 1 and shell.ids("o") == [id[:12] for id in old.ids]
    # As the message suggests.
    shell.run("profile", "edit", "fresh", "--ungrouped")
    assert len(shell.ids("fresh")) == 4
    shell.run("profile", "edit", "fresh", "--unset", "ungrouped")
    assert len(shell.ids("fresh")) == 1
    # If the store has other groups, the message names those instead.
    shell.run("profile", "delete", "fresh")
    shell.run("profile", "create", "third", "--source", small, "--repo", old.path)
    said = shell.run("list", "third").stderr
    assert b"has 1 backup of a group" in said and b"list --store" in said and b"--ungrouped" not in said


def test_a_profile_of_termbackup_6_that_is_imported_finds_its_backups(old, tmp_path):
    shell = old.shell
    shutil.copy(old.profile, tmp_path / "exported.json")
    shell.run("profile", "delete", "o")
    shell.run("profile", "import", tmp_path / "exported.json")
    assert shell.ids("o") == [id[:12] for id in old.ids]


# Increments


def test_an_increment_is_laid_over_what_it_was_made_over(old, tmp_path):
    for number in range(3):
        done, found = old.restored(number, tmp_path)
        assert found == old.states[number]
        assert (b"did not record deletions" in done.stderr) == (number > 0)
    preview = old.shell.run("restore", old.ids[2], "-p", "o", "--to", tmp_path / "none", "--dry-run").stdout
    assert b"create\td/inside" in preview.splitlines()


def test_a_broken_chain_is_told_by_verify_and_restore(old, tmp_path):
    (old.path / "backups" / old.entries[1]["filename"]).unlink()
    report = json.loads(old.shell.run("verify", "--all", "-p", "o", "--json", status=1).stdout)
    assert [entry["id"] for entry in report["failures"]] == old.ids[1:] and report["checked_count"] == 3
    reasons = {entry["reason"] for entry in report["failures"]}
    assert "missing from the store" in reasons
    assert all(reason.startswith("depends on ") for reason in reasons - {"missing from the store"})
    old.shell.run("restore", old.ids[2], "-p", "o", "--to", tmp_path / "out", status=66)
    assert not (tmp_path / "out").exists()


def test_diff_compares_trees_and_not_lists_of_changes(old):
    lines = old.shell.run("diff", old.ids[0], old.ids[2], "-p", "o", status=1).stdout.decode().splitlines()
    assert sorted(lines) == ["added\tnew", "modified\td/inside", "modified\tplain"]
    assert old.shell.run("diff", old.ids[2], old.ids[2], "-p", "o").stdout == b""


def test_ls_cat_and_find_see_the_tree_and_not_the_changes(old):
    shell = old.shell
    for identity, state in zip(old.ids, old.states):
        listed = shell.run("ls", identity, "-R", "-p", "o").stdout.decode().splitlines()
        assert set(listed) == set(state)
        for name, content in state.items():
            assert shell.run("cat", identity, name, "-p", "o").stdout == content
    found = [json.loads(line) for line in shell.run("find", "plain", "-p", "o", "--json").stdout.splitlines()]
    assert sorted(entry["backups"] for entry in found) == sorted([old.ids[:1], old.ids[1:]])


def test_consolidate_refuses_with_a_way_out(old):
    assert b"run --full" in old.shell.run("consolidate", "o", old.ids[2], status=64).stderr


# Signatures of its archives, with an unsigned ledger


def test_restore_holds_the_archive_against_its_signature(old, tmp_path):
    shell = old.shell
    shell.run("generate-key")
    done, _ = old.restored(2, tmp_path, "--json")
    assert json.loads(done.stdout)["signature"] == "none" and json.loads(done.stdout)["ledger"] == "unsigned"
    assert b"the ledger is not signed" in done.stderr
    for entry in old.entries:
        done = shell.tbk.run("tbk-sign", "sign", "--key", shell.home / "signing_key.pem", "--password-file",
                             shell.tbk.password_file, input=old.files[f"backups/{entry['filename']}"])
        entry["signature"] = done.out.hex()
    old.write()
    assert json.loads(old.restored(2, tmp_path, "--json")[0].stdout)["signature"] == "holds"
    # The signature of the backup that it is based on.
    old.change(1, signature="00" * 64)
    refused = shell.run("restore", old.ids[2], "-p", "o", "--to", tmp_path / "out", status=65)
    assert b"signature" in refused.stderr and old.ids[1][:12].encode() in refused.stderr
    assert b"--unvouched" in refused.stderr and not (tmp_path / "out").exists()
    assert old.restored(0, tmp_path)[1] == old.states[0]
    # As the rotate-key of TermBackup 6 leaves them all.
    old.change(2, signature="00" * 64)
    done, found = old.restored(2, tmp_path, "--unvouched", "--json")
    assert found == old.states[2] and json.loads(done.stdout)["signature"] == "none"
    assert done.stderr.count(b"only the password vouches") == 2


def test_archives_are_compared_with_their_signatures_before_they_are_sent(old, tmp_path):
    old.shell.run("generate-key")
    for entry in old.entries[1:]:
        done = old.shell.tbk.run("tbk-sign", "sign", "--key", old.shell.home / "signing_key.pem", "--password-file",
                                 old.shell.tbk.password_file, input=old.files[f"backups/{entry['filename']}"])
        entry["signature"] = done.out.hex()
    old.write()
    run, worth = old.shell.tbk.run, tmp_path / "worth"

    def pulled(number, *options, **more):
        worth.unlink(missing_ok=True)
        done = run("tbk-pull", old.path, old.ids[number], "--signatures-out", worth, *options, **more)
        return done, worth.read_text()

    def opened(number, *options, **more):
        worth.unlink(missing_ok=True)
        done = run("tbk-open", "--from", old.ids[number], "--verify", "--", old.shell.tbk.path("tbk-pull"), "--serve",
                   "--signatures-out", worth, *options, "-q", old.path, **more)
        return done, worth.read_text()

    assert [pulled(number)[1] for number in range(3)] == ["none\n", "holds\n", "holds\n"]
    # The weakest result in the chain: the first archive is not signed.
    assert [opened(number)[1] for number in range(3)] == ["none\n"] * 3
    old.change(1, signature="00" * 64)
    done, word = pulled(1, status=65)
    assert (done.out, word) == (b"", "fails\n") and b"--unvouched" in done.err
    done, word = pulled(1, "--unvouched")
    assert (done.out, word) == (old.files[f"backups/{old.entries[1]['filename']}"], "none\n")
    assert b"only the password vouches" in done.err
    # Without the chain, a backup based on it is not affected: its own signature is valid.
    assert pulled(2)[1] == "holds\n"
    done, word = opened(2, status=65)
    assert word == "fails\n" and old.ids[1].encode() in done.err and b"--unvouched" in done.err
    assert opened(2, "--unvouched")[1] == "none\n"
    # --partial leaves out only lost or damaged archives.
    serve = ["--", old.shell.tbk.path("tbk-pull"), "--serve", "--signatures-out", worth, "-q", old.path]
    run("tbk-open", "--from", old.ids[2], "--partial", "--verify", *serve, status=65)
    put(old.path / "backups" / old.entries[1]["filename"], b"damaged")
    assert old.ids[1].encode() in run("tbk-open", "--from", old.ids[2], "--partial", "--verify", *serve, status=3).err
    assert old.shell.run("restore", old.ids[2], "-p", "o", "--to", tmp_path / "part", "--partial", status=3)
    old.write()
    (old.shell.home / "signing_key.pub").unlink()
    shutil.rmtree(old.shell.home / "trusted_keys", ignore_errors=True)
    assert pulled(2)[1] == "unchecked\n"
    for wrong in (["--list"], ["--each"], ["--manifest", "latest"], ["--signature", "latest"]):
        run("tbk-pull", old.path, *wrong, "--signatures-out", worth, status=64)


# Leftovers of its interrupted rotate-key


def rename(old, number):
    """Renames an archive as TermBackup 6's rotate-key leaves it if it is killed after sealing it again."""
    name = old.entries[number]["filename"]
    whole = (old.path / "backups" / name).read_bytes()
    put(old.path / "backups" / f"new_{name}", whole)
    (old.path / "backups" / name).unlink()
    return whole


def test_an_archive_under_another_name_is_taken_only_on_request(old, tmp_path):
    whole = rename(old, 2)
    pull = ["tbk-pull", old.path, old.ids[2]]
    for more in ([], ["-o", tmp_path / "out"]):
        refused = old.shell.tbk.run(*pull, *more, status=69)
        assert b"new_backup_" in refused.err and b"--unvouched" in refused.err
        assert refused.out == b"" and not (tmp_path / "out").exists()
    taken = old.shell.tbk.run(*pull, "--unvouched")
    assert taken.out == whole and b"does not vouch" in taken.err
    done, _ = old.restored(0, tmp_path)
    assert b"vouch" not in done.stderr
    target = tmp_path / "restored 2"
    refused = old.shell.run("restore", old.ids[2], "-p", "o", "--to", target, status=69)
    assert b"--unvouched" in refused.stderr and not target.exists()
    done, found = old.restored(2, tmp_path, "--unvouched")
    assert found == old.states[2] and b"does not vouch" in done.stderr
    # Under another password: the ledger has neither their sizes nor their hashes.
    for number, archive in ((2, whole), (1, rename(old, 1)), (0, rename(old, 0))):
        name = f"new_{old.entries[number]['filename']}"
        put(old.path / "backups" / name, old.shell.tbk.run(
            "tbk-seal", "reseal", "--suite", "1", *FAST, "--old-password-file", put(tmp_path / "old password", PASSWORD),
            input=archive, password=NEW).out)
    done, found = old.restored(2, tmp_path, "--unvouched", password=NEW)
    assert found == old.states[2] and done.stderr.count(b"does not vouch") == 3


def test_a_signed_ledger_is_not_gone_around(old, tmp_path):
    rename(old, 2)
    key = Ed25519PrivateKey.generate()
    ledger = {**old.ledger(), "store_id": "0f" * 16, "sequence": 1, "history": []}
    put(old.path / "metadata.json", json.dumps(sign_ledger(ledger, key)).encode())
    public = put(tmp_path / "k.pub", key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    pull = ["tbk-pull", old.path, old.ids[2]]
    run = old.shell.tbk.run
    assert b"does not vouch" in run(*pull, "--verify-key", public, status=69).err
    # Nor if no one can check the signature, nor on request.
    for more in ([], ["--unvouched"]):
        refused = run(*pull, *more, status=69)
        assert refused.out == b"" and b"is signed" in refused.err and b"--unvouched" not in refused.err
    put(old.shell.home / "trusted_keys" / "k.pub", (tmp_path / "k.pub").read_bytes())
    for more in ([], ["--unvouched"], ["--require-signature"]):
        assert run(*pull, *more, status=69).out == b""
    for more in (["--verify-key", public], ["--require-signature"]):
        run(*pull, "--unvouched", *more, status=64)
    old.shell.run("restore", old.ids[2], "-p", "o", "--to", tmp_path / "to", "--unvouched", status=69)
    old.shell.run("restore", old.ids[2], "-p", "o", "--to", tmp_path / "to", "--unvouched", "--require-signature", status=64)
    assert not (tmp_path / "to").exists()
    assert old.restored(1, tmp_path)[1] == old.states[1]


def test_a_profile_without_a_source_yet_says_so(old, tmp_path):
    kept = json.loads(old.profile.read_text())
    kept.update(source_dir="<SET_SOURCE_DIR>", max_backups=0, retention_days=-1, webhook_url="")
    old.profile.write_text(json.dumps(kept))
    said = old.shell.run("run", "o", status=78).stderr
    assert b"has no source directory yet" in said and b"profile edit o --source DIR" in said
    assert b"--to DIR" in old.shell.run("restore", "latest", "-p", "o", status=64, cwd=tmp_path).stderr
    assert old.restored(1, tmp_path)[1] == old.states[1]
    assert b"o: the source directory is not set" in old.shell.run("doctor", status=1).stdout
    old.shell.run("profile", "edit", "o", "--source", old.source)
    old.shell.run("run", "o")


def test_patterns_go_on_to_mean_what_they_meant(old, tmp_path):
    kept = json.loads(old.profile.read_text())
    del kept["exclude_patterns"]
    kept["excludes"] = ["build/", "!build/keep", ""]
    old.profile.write_text(json.dumps(kept))
    put(old.source / "build" / "keep", b"kept by TermBackup 6\n")
    put(old.source / "build" / "other", b"left out\n")
    put(old.source / ".git" / "config", b"left out\n")
    assert b"has no effect" not in old.shell.run("run", "o").stderr
    old.shell.run("restore", "latest", "-p", "o", "--to", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "build").iterdir()) == ["keep"]
    assert not (tmp_path / "out" / ".git").exists()
    # With git's rules, a notice is printed wherever the profile is read.
    for verb in ["edit", "o", "--unset", "exclude_rules"], ["validate"]:
        assert b"the pattern '!build/keep' has no effect" in old.shell.run("profile", *verb).stderr
    assert b"the pattern '!build/keep' has no effect below 'build'" in old.shell.run("run", "o").stderr
