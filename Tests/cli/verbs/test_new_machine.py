"""A lost machine: only the store and the password are left, perhaps also a saved profile and the keys."""

import json
import shutil

import pytest
from conftest import Commands, put, require, snapshot
from github_fixture import NUMBERS, TOKEN, github_server  # noqa: F401
from shell_fixture import Shell
from test_rotate_key import wrapped
from test_signed_ledger import fingerprint


def dash(scratch):
    require("dash")
    return Shell(Commands(scratch), scratch, ["dash"])


class Kept:
    """What is left: a store with two backups of notes and one of mail, a saved profile, and keys."""

    def __init__(self, shell, top, store, *before):
        self.store, self.notes, self.saved = store, top / "notes", top / "saved"
        shell.run("init", "--repo", store)
        for verb in before:
            shell.run(*verb)
        for name in ("notes", "mail"):
            put(top / name / "file", name.encode())
            shell.run("profile", "create", name, "--source", top / name, "--mode", "incremental")
            shell.run("run", name)
        put(self.notes / "more", b"more\n")
        shell.run("run", "notes")
        self.saved.mkdir()
        shell.run("profile", "export", "notes", self.saved / "notes.json")
        self.groups = {name: json.loads((shell.home / "profiles" / f"{name}.json").read_text())["group"]
                       for name in ("notes", "mail")}
        self.ids = shell.ids("notes")
        self.before = snapshot(self.notes)
        for key in shell.home.glob("signing_key.*"):
            shutil.copy(key, self.saved)


class Lost:
    """A new machine with an empty home, and a copy of what is left of the old one."""

    def __init__(self, shell, kept, top, store=None):
        self.shell, self.tbk, self.notes, self.saved = shell, shell.tbk, top / "notes", top / "saved"
        self.ids, self.groups, self.before = kept.ids, kept.groups, kept.before
        self.store = store or shutil.copytree(kept.store, top / "disk")
        shutil.copytree(kept.saved, self.saved)
        profile = json.loads((self.saved / "notes.json").read_text())
        profile.update(source_dir=str(self.notes), repo=str(self.store))
        (self.saved / "notes.json").write_text(json.dumps(profile))
        self.shell.run("init", "--repo", self.store)

    def ids_of(self, group):
        listed = self.shell.run("list", "--store", self.store, "--group", group).stdout
        return [line.split()[0] for line in listed.decode().splitlines()[1:-1]]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    top = tmp_path_factory.mktemp("old machine")
    (top / "disk").mkdir()
    return Kept(dash(top), top, top / "disk")


@pytest.fixture(scope="module")
def kept_signed(tmp_path_factory):
    top = tmp_path_factory.mktemp("old machine")
    (top / "disk").mkdir()
    return Kept(dash(top), top, top / "disk", ["generate-key", "--enable"])


@pytest.fixture
def lost(kept, tmp_path):
    return Lost(dash(tmp_path), kept, tmp_path)


def go_on(lost):
    """Lists the backups in the store, restores a tree, and makes further backups of it."""
    run = lost.shell.run
    table = [line.split() for line in run("list", "--store", lost.store).stdout.decode().splitlines()]
    assert table[0][0] == "GROUP" and table[0][-1] == "PROFILE"
    assert [(row[0], row[1], row[-1]) for row in table[1:]] == [
        (lost.groups["notes"], "2", "-"), (lost.groups["mail"], "1", "-")]
    group = lost.groups["notes"]
    assert lost.ids_of(group) == lost.ids
    run("restore", "latest", "--store", lost.store, "--group", group, "--to", lost.notes)
    back = snapshot(lost.notes)
    assert [back[name] for name in (b"file", b"more")] == [lost.before[name] for name in (b"file", b"more")]
    run("profile", "create", "notes", "--source", lost.notes, "--mode", "incremental", "--group", group)
    assert lost.shell.ids("notes") == lost.ids
    put(lost.notes / "new", b"new\n")
    made = json.loads(run("run", "notes", "--json").stdout)
    assert (made["mode"], made["added_count"], len(lost.shell.ids("notes"))) == ("incremental", 1, 3)
    assert run("list", "--store", lost.store).stdout.split(b"\n")[1].endswith(b"notes")


def test_the_store_and_the_password_are_enough(lost):
    go_on(lost)


def test_so_they_are_under_busybox(kept, tbk, tmp_path):
    require("busybox")
    go_on(Lost(Shell(tbk, tmp_path, ["busybox", "sh"]), kept, tmp_path))


def test_so_they_are_with_github(tmp_path, github_server):  # noqa: F811
    name = f"me/lost-{next(NUMBERS)}"
    github_server.token(TOKEN, login="me")
    github_server.make_repository(name)
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old, new = dash(tmp_path / "old"), dash(tmp_path / "new")
    for shell in (old, new):
        shell.environment.update(TERMBACKUP_GITHUB_API=github_server.api, TERMBACKUP_TOKEN=TOKEN)
    go_on(Lost(new, Kept(old, tmp_path / "old", name), tmp_path / "new", name))


def test_a_saved_profile_finds_its_backups(lost):
    lost.shell.run("profile", "import", lost.saved / "notes.json")
    assert lost.shell.ids("notes") == lost.ids
    lost.shell.run("restore", "latest", "-p", "notes")
    assert snapshot(lost.notes).keys() == lost.before.keys()


def test_a_profile_made_anew_is_told_of_the_others(lost, tmp_path):
    run = lost.shell.run
    lost.notes.mkdir()
    run("profile", "create", "notes", "--source", lost.notes)
    for verb, status in ((["list", "notes"], 0), (["restore", "latest", "-p", "notes"], 69),
                         (["restore", lost.ids[0], "-p", "notes"], 69), (["verify", "--all", "-p", "notes"], 69)):
        said = run(*verb, status=status).stderr
        assert b"the store has 3 backups of groups that no profile here has" in said, verb
        assert b"--group GROUP" in said and f"list --store {lost.store}'".encode() in said
    for verb in ("status", "doctor"):
        done = run(verb, "-p", "notes")
        assert b"has 3 backups of groups" in done.stdout + done.stderr
    # A profile takes over one of them, which then belongs to that profile only.
    assert b"previous backups stay" in run("profile", "edit", "notes", "--group", lost.groups["notes"]).stderr
    assert lost.shell.ids("notes") == lost.ids
    run("profile", "create", "mail", "--source", lost.notes)
    assert b"the store has 1 backup of a group" in run("list", "mail").stderr
    run("profile", "edit", "mail", "--group", lost.groups["mail"])
    run("profile", "create", "third", "--source", lost.notes)
    assert run("list", "third").stderr.endswith(b"no backups yet: make one with 'termbackup run third'\n")
    assert b"has no backups\n" in run("restore", "latest", "-p", "third", status=69).stderr
    # Whether there are others cannot be determined.
    run("profile", "delete", "mail")
    lost.shell.lib = wrapped(tmp_path, 'case " $* " in *" --group "*) ;; *) exit 69 ;; esac', ["tbk-pull"])
    assert run("list", "third").stderr.endswith(b"no backups yet: make one with 'termbackup run third'\n")


def test_a_group_belongs_to_one_profile(lost):
    lost.notes.mkdir()
    group = lost.groups["notes"]
    lost.shell.run("profile", "create", "notes", "--source", lost.notes, "--group", group)
    made = ["--source", lost.notes, "--group", group]
    assert b"that of the profile 'notes'" in lost.shell.run("profile", "create", "again", *made, status=64).stderr
    lost.shell.run("profile", "create", "again", "--source", lost.notes)
    lost.shell.run("profile", "edit", "again", "--group", group, status=64)
    lost.shell.run("profile", "edit", "again", "--group", "a/b", status=64)


def test_what_a_store_is_asked_for_has_to_be_clear(lost, tmp_path):
    run, store, to = lost.shell.run, ["--store", lost.store], ["--to", tmp_path / "out"]
    assert b"several groups" in run("restore", "latest", *store, *to, status=64).stderr
    assert b"does not have backup 0000" in run("restore", "0000", *store, *to, status=69).stderr
    assert b"the backups of" in run("restore", lost.ids[0], *store, *to, status=77, password=b"wrong").stderr
    for arguments in (["restore", "latest", *store], ["restore", "latest", "-p", "notes", *store, *to],
                      ["restore", "latest", "--group", "g", *to], ["list"], ["list", "notes", *store],
                      ["list", "--group", "g"], ["list", "--store", "https://github.com/ada/backups"]):
        run(*arguments, status=64)
    run("list", *store, "--group", "0" * 32, status=69)
    assert b"ungrouped" in run("restore", "latest", *store, *to, "--group", "-", status=69).stderr
    assert not (tmp_path / "out").exists()
    done = json.loads(run("restore", lost.ids[0][:8], *store, *to, "--json").stdout)
    assert done["profile"] is None and done["file_count"] == 1 and (tmp_path / "out" / "file").read_bytes() == b"notes"
    assert len(run("list", *store, "--json").stdout.splitlines()) == 3


# Keys


@pytest.fixture
def signed(kept_signed, tmp_path):
    """Like lost, with a ledger signed by the old machine; its keys are in `saved`. Notes are restored."""
    made = Lost(dash(tmp_path), kept_signed, tmp_path)
    put(made.notes / "new", b"new\n")
    made.shell.run("profile", "import", made.saved / "notes.json")
    return made


def test_the_keys_of_the_old_machine_sign_on(signed):
    shell = signed.shell
    refused = shell.run("run", "notes", status=77).stderr
    assert refused.index(b"trusted_keys") < refused.index(b"generate-key --enable")
    for name in ("signing_key.pem", "signing_key.pub"):
        shutil.copy(signed.saved / name, shell.home / name)
    shell.tbk.run("tbk-config", "set", "signing_enabled", "true")
    shell.run("run", "notes")
    shell.run("list", "notes", "--require-signature")


def test_its_public_key_and_a_new_one_do_as_well(signed):
    shell = signed.shell
    (shell.home / "trusted_keys").mkdir(exist_ok=True)
    shutil.copy(signed.saved / "signing_key.pub", shell.home / "trusted_keys" / "old machine ")
    shell.run("generate-key", "--enable")
    shell.run("run", "notes")
    assert shell.run("verify", "--all", "-p", "notes", "--require-signature").stdout.count(b"  signed\n") == 3


def test_a_store_whose_keys_are_lost_is_taken_over_by_name_alone(signed, tmp_path):
    shell, store, run = signed.shell, signed.store, signed.tbk.run
    old = fingerprint(signed.saved / "signing_key.pub")
    shell.run("generate-key", "--enable")
    new = fingerprint(shell.home / "signing_key.pub")
    for arguments in (["list", "notes", "--accept-store-state"], ["run", "notes"]):
        said = shell.run(*arguments, status=65).stderr
        assert old.encode() in said and b"LOST KEYS" in said
    key = ["--sign-key", shell.home / "signing_key.pem", "--key-password-file", signed.tbk.password_file]
    before = snapshot(store)
    for named, status in ((new, 65), ("0" * 64, 65), ("latest", 64)):
        run("tbk-store", "take-over", store, named, *key, status=status)
    run("tbk-store", "take-over", store, old, status=64)
    run("tbk-store", "take-over", store, old, *key, "--require-signature", status=64)
    assert snapshot(store) == before
    taken = run("tbk-store", "take-over", store, old, *key)
    assert [line.split("\t")[0] for line in taken.lines][0][:12] == signed.ids[0] and len(taken.lines) == 3
    entries = json.loads((store / "metadata.json").read_text())["backups"]
    assert {(entry["signature"], entry["verified"]) for entry in entries} == {(None, False)}
    assert b"nothing to take over" in run("tbk-store", "take-over", store, old, *key, status=64).err
    shell.run("run", "notes")
    shell.run("list", "notes", "--require-signature")
    assert b"3 of 3 backups verified" in shell.run("verify", "--all", "-p", "notes", "--require-signature").stdout


def test_a_ledger_that_another_key_signed_meanwhile_is_not_taken_over(signed, tmp_path):
    """It was signed by an attacker with access to the store; this machine knows it signed by a trusted key."""
    shell, store, run = signed.shell, signed.store, signed.tbk.run
    run("tbk-pull", store, "--list", "--verify-key", signed.saved / "signing_key.pub")
    there = tmp_path / "attacker"
    key = [tmp_path / "k.pem", tmp_path / "k.pub"]
    run("tbk-sign", "keygen", "--no-password", "--private", key[0], "--public", key[1])
    run("tbk-store", "take-over", store, fingerprint(signed.saved / "signing_key.pub"), "--sign-key", key[0],
        env={"TERMBACKUP_HOME": str(there)})
    shell.run("generate-key", "--enable")
    mine = ["--sign-key", shell.home / "signing_key.pem", "--key-password-file", signed.tbk.password_file]
    refused = run("tbk-store", "take-over", store, fingerprint(key[1]), *mine, status=65)
    assert fingerprint(signed.saved / "signing_key.pub").encode() in refused.err
    run("tbk-store", "take-over", store, fingerprint(key[1]), *mine, "--accept-store-state")
