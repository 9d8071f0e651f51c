"""What an attacker with write access to a store may do to it, and what the verbs detect (termbackup-stores(7)).

Each change is made to a store in a directory and one on the stand-in for GitHub, with a signed and with an unsigned
ledger, and is seen by the machine that made the backups and by one that has never seen the store.
"""

import copy
import hashlib
import json
import os
import shutil
import subprocess

import pytest
from conftest import PASSWORD, Commands, put, require, snapshot
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from github_fixture import TOKEN, github_server  # noqa: F401, fixture
from shell_fixture import Shell
from test_signed_ledger import sign_ledger

LEDGER = "metadata.json"


def ledger_hash(ledger):
    """tbk(5): the hash with which the history of the next ledger ends."""
    rest = {key: value for key, value in ledger.items() if key != "ledger_signature"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()


class Store:
    """Files in a directory, or on a branch of a repository."""

    def __init__(self, scratch, server=None, name=None):
        self.scratch = scratch
        self.name = name
        if server is None:
            self.address = str(scratch / "store")
            os.mkdir(self.address)
            self.git_dir = None
        else:
            self.git_dir = server.make_repository(name)
            self.address = f"github:{name}"
        self.kept = None

    def git(self, *arguments, **options):
        return subprocess.run(
            ["git", "-c", "user.name=somebody", "-c", "user.email=somebody@example.org", *arguments], check=True,
            capture_output=True, **options).stdout

    def read(self, path):
        if self.git_dir is None:
            with open(os.path.join(self.address, path), "rb") as file:
                return file.read()
        return self.git("-C", str(self.git_dir), "show", f"main:{path}")

    def write(self, files):
        """Writes these bytes to each path, or removes it if they are None."""
        top = self.address
        if self.git_dir is not None:
            top = str(self.scratch / "clone")
            shutil.rmtree(top, ignore_errors=True)
            self.git("clone", "-q", "--branch", "main", str(self.git_dir), top)
        for path, data in files.items():
            target = os.path.join(top, path)
            if os.path.lexists(target):
                os.unlink(target)
            if data is not None:
                put(target, data)
        if self.git_dir is not None:
            self.git("-C", top, "add", "-A")
            self.git("-C", top, "commit", "-q", "-m", "nothing to see here")
            self.git("-C", top, "push", "-q", "origin", "HEAD:main")

    def keep(self):
        """Saves the current files for `restore`."""
        self.kept = self.scratch / "kept"
        if self.git_dir is None:
            shutil.copytree(self.address, self.kept)
        else:
            self.kept = self.git("-C", str(self.git_dir), "rev-parse", "main").decode().strip()

    def restore(self):
        if self.git_dir is None:
            shutil.rmtree(self.address)
            shutil.copytree(self.kept, self.address)
        else:
            self.git("-C", str(self.git_dir), "update-ref", "refs/heads/main", self.kept)

    def state(self):
        if self.git_dir is None:
            return snapshot(self.address)
        return self.git("-C", str(self.git_dir), "rev-parse", "main")


class World:
    """A profile p with three backups, and the store's ledger after each of them."""

    def __init__(self, scratch, server, kind, signed, name):
        self.signed = signed
        commands = Commands(scratch)
        self.shell = Shell(commands, scratch, ["dash"])
        self.home = self.shell.home
        self.store = Store(scratch, server if kind == "github" else None, name)
        if kind == "github":
            self.shell.environment.update(TERMBACKUP_GITHUB_API=server.api, TERMBACKUP_TOKEN=TOKEN)
        self.source = scratch / "source"
        put(self.source / "file", b"first\n")
        self.shell.run("init")
        if signed:
            self.shell.run("generate-key", "--enable")
        self.shell.run("profile", "create", "p", "--source", self.source, "--repo", self.store.address)
        self.ledgers = []
        for content in (b"first\n", b"second\n", b"third\n"):
            put(self.source / "file", content)
            self.shell.run("run", "p")
            self.ledgers.append(self.store.read(LEDGER))
        self.ids = [entry["id"] for entry in self.ledger()["backups"]]
        self.store.keep()
        shutil.copytree(self.home, scratch / "home kept")
        self.kept = scratch / "home kept"
        self.other = scratch / "other home"

    def reset(self):
        self.store.restore()
        shutil.rmtree(self.home)
        shutil.copytree(self.kept, self.home)

    def newcomer(self):
        """The environment of a machine with the same profile and keys that has never seen the store."""
        shutil.rmtree(self.other, ignore_errors=True)
        shutil.copytree(self.kept, self.other)
        for name in ("state", "cache"):
            shutil.rmtree(self.other / name)
        return {"TERMBACKUP_HOME": str(self.other)}

    def ledger(self):
        return json.loads(self.store.read(LEDGER))

    def archive(self, number):
        entry = json.loads(self.ledgers[-1])["backups"][number]
        return f"backups/{entry['filename']}"

    def successor(self, change, signed_by=None):
        """The next ledger as an attacker who knows the format would write it; signed only if a key is given."""
        old = self.ledger()
        new = copy.deepcopy(old)
        change(new["backups"])
        new["sequence"] += 1
        new["history"] = (new["history"] + [ledger_hash(old)])[-512:]
        if signed_by is not None:
            new = sign_ledger({key: value for key, value in new.items() if key != "ledger_signature"}, signed_by)
        return json.dumps(new).encode()


@pytest.fixture(scope="module", params=["directory", "github"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def worlds():
    """The worlds by kind and signing: each is made once, whatever the order of the tests."""
    return {}


@pytest.fixture(params=[False, True], ids=["unsigned", "signed"])
def world(request, kind, worlds, github_server, tmp_path_factory):  # noqa: F811
    require("dash", "git")
    if (kind, request.param) not in worlds:
        worlds[kind, request.param] = World(
            tmp_path_factory.mktemp("world"), github_server, kind, request.param, f"me/world{int(request.param)}")
    found = worlds[kind, request.param]
    found.reset()
    return found


# The ledger

ROLLED_BACK = b"was rolled back: its ledger has sequence"
SPLIT = b"split"
FORGED = b"is not valid"
EXCHANGED = b"and is the store"
UNSIGNED = b"was signed, and is not now"
STRANGER = b"not trusted"


def edited(change):
    """The last ledger with only its entries changed."""
    def files(world):
        ledger = world.ledger()
        change(ledger["backups"])
        return json.dumps(ledger).encode()
    return files


def stripped(world):
    ledger = world.ledger()
    ledger.pop("ledger_signature", None)
    return json.dumps(ledger).encode()


def place(entries):
    """The first and the last entry with their archives swapped."""
    for key in ("filename", "sha256", "size"):
        entries[0][key], entries[2][key] = entries[2][key], entries[0][key]


def repeat(entries):
    entries[2].update(filename=entries[0]["filename"], sha256=entries[0]["sha256"], size=entries[0]["size"])


def of_another_store(world):
    """A ledger of another repository, valid in itself."""
    ledger = world.ledger()
    ledger.update(store_id="0f" * 16)
    if world.signed:
        ledger = sign_ledger(ledger, Ed25519PrivateKey.generate())
    return json.dumps(ledger).encode()


# What to write; the message if the store was seen before, unsigned and signed; and the message if it was not.
LEDGERS = {
    "an older one": (lambda world: world.ledgers[1], ROLLED_BACK, ROLLED_BACK, None, None),
    "the first one": (lambda world: world.ledgers[0], ROLLED_BACK, ROLLED_BACK, None, None),
    "an entry removed": (edited(lambda entries: entries.pop(1)), SPLIT, FORGED, None, FORGED),
    "the last entry removed": (edited(lambda entries: entries.pop()), SPLIT, FORGED, None, FORGED),
    "entries reordered": (edited(lambda entries: entries.reverse()), SPLIT, FORGED, None, FORGED),
    "an entry replaced": (edited(place), SPLIT, FORGED, None, FORGED),
    "one archive in two entries": (edited(repeat), *[b"appears twice"] * 4),
    "an entry removed, as the next ledger": (
        lambda world: world.successor(lambda entries: entries.pop()), None, FORGED, None, FORGED),
    "an entry removed, signed by a stranger": (
        lambda world: world.successor(lambda entries: entries.pop(), Ed25519PrivateKey.generate()),
        None, STRANGER, None, STRANGER),
    "that of another store": (of_another_store, EXCHANGED, STRANGER, None, STRANGER),
    "without its signature": (stripped, None, UNSIGNED, None, None),
}


@pytest.mark.parametrize("tampering", LEDGERS)
def test_a_ledger_that_was_tampered_with(tampering, world):
    make, plain, signed, plain_newcomer, signed_newcomer = LEDGERS[tampering]
    known, fresh = (signed, signed_newcomer) if world.signed else (plain, plain_newcomer)
    world.store.write({LEDGER: make(world)})
    before = world.store.state()
    for words, env in ((known, {}), (fresh, world.newcomer())):
        result = world.shell.run("list", "p", env=env, status=65 if words else 0)
        if words:
            assert words in result.stderr and result.stdout == b""
        elif env and world.signed and tampering == "without its signature":
            assert b"the ledger is not signed" in result.stderr
            world.shell.run("list", "p", "--require-signature", env=env, status=65)
    assert world.store.state() == before


@pytest.mark.parametrize("tampering", ["an older one", "an entry removed"])
def test_no_verb_goes_on_over_it(tampering, world, tmp_path):
    make, plain, signed, _, _ = LEDGERS[tampering]
    words = signed if world.signed else plain
    world.store.write({LEDGER: make(world)})
    before = world.store.state()
    put(world.source / "file", b"fourth\n")
    for arguments in (["restore", "latest", "-p", "p", "--to", tmp_path / "out"], ["verify", "--all", "-p", "p"],
                      ["verify", "--sample", "1", "-p", "p"], ["diff", "latest", world.ids[0], "-p", "p"],
                      ["run", "p"], ["run", "p", "--dry-run"], ["prune", "p", "--keep-last", "1", "--yes"],
                      ["consolidate", "p", "latest"]):
        result = world.shell.run(*arguments, status=65)
        assert words in result.stderr and result.stdout == b"", arguments
    error = json.loads(world.shell.run("verify", "--all", "-p", "p", "--json", status=65).stderr)["error"]
    assert error["type"] == "IntegrityError" and words.decode() in error["message"]
    assert world.store.state() == before and not (tmp_path / "out").exists()


def test_what_went_back_is_accepted_when_told(world, tmp_path):
    world.store.write({LEDGER: world.ledgers[1]})
    refused = world.shell.run("list", "p", status=65)
    assert b"--accept-store-state" in refused.stderr and b"termbackup list" in refused.stderr
    shown = world.shell.run("list", "p", "--accept-store-state").stdout.decode().splitlines()
    assert [line.split()[0] for line in shown[1:-1]] == [id[:12] for id in world.ids[:2]]
    # From then on this state is the known one.
    put(world.source / "file", b"after it\n")
    world.shell.run("run", "p")
    world.shell.run("verify", "latest", "-p", "p", *(["--require-signature"] if world.signed else []))
    world.shell.run("restore", "latest", "-p", "p", "--to", tmp_path / "out")
    assert (tmp_path / "out" / "file").read_bytes() == b"after it\n"
    world.store.write({LEDGER: world.ledgers[1]})
    assert ROLLED_BACK in world.shell.run("list", "p", status=65).stderr


@pytest.mark.parametrize("verb", ["verify", "restore"])
def test_the_verbs_that_read_accept_it_too(verb, world, tmp_path):
    world.store.write({LEDGER: world.ledgers[1]})
    more = ["--to", tmp_path / "out"] if verb == "restore" else []
    world.shell.run(verb, "latest", "-p", "p", *more, status=65)
    world.shell.run(verb, "latest", "-p", "p", *more, "--accept-store-state")
    world.shell.run("list", "p")


def test_a_forgery_is_not_accepted(world):
    if not world.signed:
        world.store.write({LEDGER: of_another_store(world)})
        world.shell.run("list", "p", "--accept-store-state")
        return
    for tampering, words in (("an entry removed", FORGED), ("that of another store", STRANGER)):
        world.store.restore()
        world.store.write({LEDGER: LEDGERS[tampering][0](world)})
        assert words in world.shell.run("list", "p", "--accept-store-state", status=65).stderr


# The archives


def judged(world, number, env=None):
    """The reason that verify gives for one backup, which must be the only failure."""
    report = json.loads(world.shell.run("verify", "--all", "-p", "p", "--json", "--no-mark", env=env, status=1).stdout)
    assert report["checked_count"] == 3 and [entry["id"] for entry in report["failures"]] == [world.ids[number]]
    return report["failures"][0]["reason"]


def refused(world, number, tmp_path, status, env=None):
    """The message of a restore that must fail."""
    target = tmp_path / "out"
    said = world.shell.run("restore", world.ids[number], "-p", "p", "--to", target, env=env, status=status)
    assert not target.exists()
    return said.stderr


@pytest.mark.parametrize("change", ["swapped", "cut short", "longer", "one bit"])
def test_an_archive_that_was_exchanged_or_damaged(change, world, tmp_path):
    data = world.store.read(world.archive(1))
    data = {"swapped": world.store.read(world.archive(0)), "cut short": data[:-1], "longer": data + b"\0",
            "one bit": data[:200] + bytes([data[200] ^ 1]) + data[201:]}[change]
    world.store.write({world.archive(1): data})
    for env in ({}, world.newcomer()):
        assert judged(world, 1, env) == "corrupt or incomplete"
        assert world.archive(1).encode() in refused(world, 1, tmp_path, 65, env)


def test_an_archive_that_is_gone(world, tmp_path):
    world.store.write({world.archive(1): None})
    assert judged(world, 1) == "missing from the store"
    refused(world, 1, tmp_path, 66)


def with_hash(data):
    """Changes the second backup's entry to describe `data`."""
    def change(entries):
        entries[1].update(sha256=hashlib.sha256(data).hexdigest(), size=len(data), signature=None)
    return change


@pytest.mark.parametrize("whose", ["another backup", "another password"])
def test_an_archive_exchanged_together_with_its_hash(whose, world, tmp_path):
    """With a signed ledger the signature detects it; otherwise the manifest inside, or the tag."""
    if whose == "another backup":
        data, reason, status = world.store.read(world.archive(0)), "does not match its entry in the ledger", 65
    else:
        data = world.shell.tbk.seal(world.source, password=b"somebody else's")
        reason, status = "altered, or sealed with another password", 77
    world.store.write({world.archive(1): data, LEDGER: world.successor(with_hash(data))})
    if world.signed:
        for env in ({}, world.newcomer()):
            assert FORGED in world.shell.run("verify", "--all", "-p", "p", env=env, status=65).stderr
            assert FORGED in refused(world, 1, tmp_path, 65, env)
        return
    for env in ({}, world.newcomer()):
        assert judged(world, 1, env) == reason
        said = refused(world, 1, tmp_path, status, env)
        assert whose != "another backup" or world.ids[1].encode() in said


def test_an_increment_whose_entry_names_too_little(world, tmp_path):
    world.shell.run("profile", "edit", "p", "--mode", "incremental")
    # The tree as at the last backup: another test may have changed it.
    put(world.source / "file", b"third\n")
    put(world.source / "another", b"another\n")
    world.shell.run("run", "p")
    increment = world.ledger()["backups"][-1]
    assert increment["depends_on"]
    world.store.write({LEDGER: world.successor(lambda entries: entries[-1].update(depends_on=[]))})
    arguments = ["restore", increment["id"], "-p", "p", "--to", tmp_path / "out"]
    if world.signed:
        assert FORGED in world.shell.run("verify", "--all", "-p", "p", status=65).stderr
        assert FORGED in world.shell.run(*arguments, status=65).stderr
        return
    report = json.loads(world.shell.run("verify", "--all", "-p", "p", "--json", "--no-mark", status=1).stdout)
    assert report["checked_count"] == 4 and [entry["id"] for entry in report["failures"]] == [increment["id"]]
    assert report["failures"][0]["reason"] == "does not match its entry in the ledger"
    assert b"FAILED" in world.shell.run("verify", "--all", "-p", "p", "--no-mark", status=1).stdout
    said = world.shell.run(*arguments, status=65).stderr
    # The message must not advise what does not help here.
    assert b"altered" in said and b"tbk-pull" not in said and not (tmp_path / "out").exists()


def test_the_signature_of_an_archive_where_the_ledger_has_none(world, tmp_path):
    world.shell.run("generate-key", status=73 if world.signed else 0)
    if world.signed:
        done = world.shell.run("restore", "latest", "-p", "p", "--to", tmp_path / "out", "--json")
        assert [json.loads(done.stdout)[name] for name in ("ledger", "signature")] == ["verified", "ledger"]
        return
    world.store.write({LEDGER: world.successor(lambda entries: entries[1].update(signature="00" * 64))})
    assert judged(world, 1) == "the signature of its archive is not valid"
    assert b"signature of the archive" in refused(world, 1, tmp_path, 65)
    done = world.shell.run("restore", "latest", "-p", "p", "--to", tmp_path / "out", "--json")
    assert [json.loads(done.stdout)[name] for name in ("ledger", "signature")] == ["unsigned", "none"]
    assert b"the ledger is not signed" in done.stderr


def test_a_sealed_manifest_that_was_exchanged(world):
    entries = world.ledger()["backups"]
    first, second = (f"manifests/{entries[number]['manifest']['filename']}" for number in (0, 1))
    world.store.write({second: world.store.read(first)})
    # The archive contains the right manifest.
    result = world.shell.run("diff", world.ids[0], world.ids[1], "-p", "p", status=1)
    assert second.encode() in result.stderr and result.stdout == b"modified\tfile\n"


def test_a_password_check_that_was_exchanged_lets_no_other_password_in(world):
    group = world.ledger()["backups"][0]["group"]
    forged = world.shell.tbk.run("tbk-seal", "stream", "check", input=b"TermBackup password check\n",
                                 password=b"somebody else's").out
    world.store.write({f"checks/{group}.tbk": forged})
    before = world.store.state()
    put(world.source / "file", b"fourth\n")
    for password in (PASSWORD, b"mistyped"):
        assert b"does not have the SHA-256" in world.shell.run("run", "p", password=password, status=65).stderr
    assert world.store.state() == before
