"""What a store can forge. It knows the recipient, which is public, and controls its ledger; it has no password, no identity
and no signing key."""

import hashlib
import io
import json
import os
import pty
import shlex
import shutil
import struct
import subprocess
import tarfile

import pytest
from conftest import COST, FAST, PASSWORD, PATIENCE, crypto, gz, put, require, shown_on
from tbkref import age, frames, tbk6
from test_termbackup6_store import dash  # noqa: F401, a fixture

ONE = age.Identity(bytes(range(32)))
CONTENT = b"#!/bin/sh\necho forged\n"


def claimed(backup_id, content=CONTENT, **members):
    """A manifest of TermBackup 6, whose increments have ids that cannot be verified."""
    return {
        "version": "1.0", "os_name": "Linux", "architecture": "x86_64", "created_at": "2026-02-01T00:00:00+00:00",
        "backup_mode": "incremental", "parent_backup_id": None, "backup_id": backup_id,
        "files": [{"relative_path": "script.sh", "size": len(content), "sha256": hashlib.sha256(content).hexdigest(),
                   "permissions": 0o100755, "modified_at": 1.0}], **members}


def tar(manifest, content=CONTENT):
    """A tar with the manifest, and the manifest's offset and length in it."""
    out = io.BytesIO()
    text = json.dumps(manifest).encode()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as made:
        for name, data in (("script.sh", content), ("manifest.json", text)):
            at = made.offset
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            made.addfile(member, io.BytesIO(data))
    return out.getvalue(), at, len(text)


def forge(manifest, seal, size=None):
    """An archive with the manifest, padded to `size` bytes if given."""
    data, at, length = tar(manifest)
    more = 0
    while True:
        archive = seal(frames.payload(data + bytes(more), at, length))
        if size is None or len(archive) == size:
            return archive
        assert more + size - len(archive) >= 0
        more += size - len(archive)


def to_one(payload):
    return frames.seal_age(payload, ONE)


def under_password(payload):
    return frames.seal3(payload, PASSWORD)


@pytest.fixture
def identity(tmp_path):
    put(tmp_path / "identity", ONE.text.encode() + b"\n", 0o600)
    return tmp_path / "identity"


class Ledger:
    """A store's directory, controlled by an attacker."""

    def __init__(self, path):
        self.path = path

    def read(self):
        return json.loads((self.path / "metadata.json").read_text())

    def write(self, change):
        """Writes a valid successor of the ledger, without a signature."""
        ledger = self.read()
        before = json.dumps(ledger, sort_keys=True, separators=(",", ":"))
        ledger["history"].append(hashlib.sha256(before.encode()).hexdigest())
        ledger["sequence"] += 1
        change(ledger)
        put(self.path / "metadata.json", json.dumps(ledger).encode())


# A signed ledger, and other content than it names


@pytest.fixture
def signed(dash, tmp_path):  # noqa: F811
    """A profile with a recipient and a signed ledger, in a store that has replaced the last archive by a forged one."""
    source = tmp_path / "source"
    put(source / "script.sh", b"#!/bin/sh\necho ours\n")
    put(source / "data", os.urandom(40_000))
    dash.profile("p", source, "--recipient", ONE.recipient)
    dash.run("generate-key", "--enable", "--no-password", password=None)
    dash.run("run", "p", password=None)
    put(source / "later", b"later\n")
    dash.run("run", "p", password=None)
    store = Ledger(dash.home / "store")
    entry = store.read()["backups"][-1]
    forged = forge(claimed(entry["id"], created_at=entry["created_at"]), to_one, entry["size"])
    put(store.path / "backups" / entry["filename"], forged)
    return dash, store, entry


@pytest.mark.parametrize("lost", [False, True], ids=["with its manifest", "without"])
def test_a_manifest_whose_id_proves_nothing_is_not_believed_in_an_age_file(signed, identity, tmp_path, lost):
    dash, store, entry = signed  # noqa: F811
    if lost:
        (store.path / "manifests" / entry["manifest"]["filename"]).unlink()
    reading = ["-p", "p", "--no-input", "-i", identity]
    for words in (["cat", "latest", "script.sh"], ["restore", "latest", "script.sh", "--to", tmp_path / "out"]):
        done = dash.run(*words, *reading, password=None, status=65)
        assert b"forged" not in done.stdout and not (tmp_path / "out").exists()
    dash.run("verify", "latest", *reading, password=None, status=1)
    if not lost:
        return
    for words, status in ((["ls", "latest"], 65), (["diff"], 65), (["find", "script.sh"], 3)):
        done = dash.run(*words, *reading, password=None, status=status)
        assert b"%d B" % len(CONTENT) not in done.stdout and entry["id"][:12].encode() not in done.stdout
    # Nor is it in the cache for the next search.
    again = dash.run("find", "script.sh", *reading, password=None, status=3)
    assert entry["id"][:12].encode() not in again.stdout


OPENING = [["--list"], ["--manifest"], ["--verify"], ["--cat", "script.sh"], ["-C"], [], ["--verify", "--each"]]


@pytest.mark.parametrize("mode", ["incremental", "full"])
@pytest.mark.parametrize("seal", [to_one, under_password])
def test_termbackup_6_made_no_archives_of_suite_3_and_none_of_age(tbk, tmp_path, identity, seal, mode):
    manifest = claimed("ab" * 32, backup_mode=mode)
    if mode == "full":
        manifest["backup_id"] = tbk6.mf.backup_id({**manifest, "backup_id": None})
    put(tmp_path / "archive", forge(manifest, seal))
    options = ["-i", identity] if seal is to_one else []
    for words in OPENING:
        if words == ["-C"]:
            words = ["-C", tmp_path / "out"]
        done = tbk.run("tbk-open", *options, *words, tmp_path / "archive", status=1 if "--each" in words else 65)
        assert b"forged" not in done.out and not (tmp_path / "out").exists()
        if words and "--each" not in words:
            tbk.run("tbk-open", *options, *words, input=(tmp_path / "archive").read_bytes(), status=65)
    for words in (["reseal"], ["manifest"]):
        given = ["--old-password-file", tbk.scratch / "old"] if words == ["reseal"] and not options else []
        put(tbk.scratch / "old", PASSWORD)
        done = tbk.run("tbk-seal", *words, *FAST, *options, *given, input=(tmp_path / "archive").read_bytes(), status=65)


def test_what_termbackup_6_made_stays_in_suite_1(tbk, tmp_path, identity):
    for mode in ("full", "incremental"):
        manifest = claimed("ab" * 32, backup_mode=mode)
        if mode == "full":
            manifest["backup_id"] = tbk6.mf.backup_id({**manifest, "backup_id": None})
        archive = crypto.seal_tbk2(gz.compress(tar(manifest)[0]), PASSWORD, **COST)
        put(tbk.scratch / "old", PASSWORD)
        old = ["--old-password-file", tbk.scratch / "old"]
        for options in (["--suite", "3", *FAST], ["-r", ONE.recipient]):
            done = tbk.run("tbk-seal", "reseal", *old, *options, input=archive, status=78,
                           password=None if "-r" in options else PASSWORD)
            assert b"suite 1" in done.err
        tbk.run("tbk-seal", "reseal", *old, *FAST, input=archive)
        assert tbk.run("tbk-open", "--cat", "script.sh", input=archive).out == CONTENT
        tbk.run("tbk-seal", "manifest", *FAST, input=archive, status=78 if mode == "incremental" else 0)


def test_an_id_that_was_not_computed_again_agrees_with_no_manifest(tbk, tmp_path, small):
    put(tmp_path / "manifest", tbk.manifest(small))
    wanted = tbk.run("tbk-manifest", "id", tmp_path / "manifest").lines[0]
    archive = crypto.seal_tbk2(gz.compress(tar(claimed(wanted))[0]), PASSWORD, **COST)
    tbk.run("tbk-open", "--verify", input=archive)
    for words in (["--verify"], ["-C", tmp_path / "out"]):
        tbk.run("tbk-open", *words, "--against", tmp_path / "manifest", input=archive, status=65)
    assert not (tmp_path / "out").exists()


# An unsigned ledger, and age files renamed


@pytest.mark.parametrize("said", [{"suite": 3, "archive_version": 2}, {"archive_version": 2}])
def test_an_age_file_is_one_whatever_it_is_called(dash, tmp_path, identity, small, said):  # noqa: F811
    dash.profile("p", small, "--recipient", ONE.recipient)
    dash.run("run", "p", password=None)
    tbk, store = dash.tbk, Ledger(dash.home / "store")
    put(tmp_path / "theirs" / "script.sh", CONTENT)
    listed = tbk.manifest(tmp_path / "theirs")
    archive = tbk.run("tbk-seal", "-r", ONE.recipient, "--receipt", tmp_path / "receipt", "--manifest-out", tmp_path / "sealed",
                      input=listed, password=None).out
    receipt, sealed = json.loads((tmp_path / "receipt").read_bytes()), (tmp_path / "sealed").read_bytes()
    short = receipt["id"][:12]
    put(store.path / "backups" / f"backup_{short}.tbk", archive)
    put(store.path / "manifests" / f"manifest_{short}.tbk", sealed)

    def add(ledger):
        entry = {**ledger["backups"][-1], **{key: receipt[key] for key in ("id", "created_at", "file_count", "size", "sha256")},
                 "filename": f"backup_{short}.tbk",
                 "manifest": {"filename": f"manifest_{short}.tbk", "sha256": hashlib.sha256(sealed).hexdigest(), "size": len(sealed)}}
        entry.pop("suite", None)
        ledger["backups"].append({**entry, **said})

    store.write(add)
    reading = ["-p", "p", "--no-input", "-i", identity]
    wanted = [["restore", "latest", "--to", tmp_path / "out"], ["restore", "latest", "script.sh", "--to", tmp_path / "out"],
              ["cat", "latest", "script.sh"], ["ls", "latest"], ["verify", "latest"]]
    for words in wanted:
        done = dash.run(*words, *reading, status=77)
        assert b"--unsigned" in done.stderr and b"script.sh" not in done.stdout and CONTENT not in done.stdout
        # Even with --unsigned: the archive is not what the entry says.
        done = dash.run(*words, *reading, "--unsigned", status=1 if words[0] == "verify" else 65)
        assert b"script.sh" not in done.stdout and CONTENT not in done.stdout
    assert not (tmp_path / "out").exists()
    dash.run("find", "script.sh", *reading, status=77)
    dash.run("diff", *reading, status=77)


def test_an_age_file_is_refused_where_nothing_vouches_for_it(tbk, tmp_path, identity, small):
    archive = tbk.run("tbk-seal", "-r", ONE.recipient, input=tbk.manifest(small), password=None).out
    put(tmp_path / "archive", archive)
    for words in OPENING[:4]:
        done = tbk.run("tbk-open", "--no-age", "-i", identity, *words, tmp_path / "archive", status=77)
        assert done.out == b"" and b"recipient" in done.err
    tbk.run("tbk-open", "--no-age", "--raw", "-i", identity, tmp_path / "archive", status=64)
    ours = tbk.run("tbk-seal", *FAST, "--suite", "3", input=tbk.manifest(small)).out
    tbk.run("tbk-open", "--no-age", "--verify", input=ours)


# Costs that an unsigned ledger can impose on a run


def test_a_last_manifest_that_costs_more_than_ours_is_not_opened(dash, small):  # noqa: F811
    dash.profile("p", small, "--mode", "incremental")
    dash.run("run", "p")
    put(os.path.join(small, "later"), b"later\n")
    store = Ledger(dash.home / "store")
    entry = store.read()["backups"][-1]
    manifest = store.path / "manifests" / entry["manifest"]["filename"]
    data = bytearray(manifest.read_bytes())
    data[6:13] = struct.pack(">IHB", 1 << 20, 1, 1)
    put(manifest, bytes(data))
    store.write(lambda ledger: ledger["backups"][-1]["manifest"].update(sha256=hashlib.sha256(data).hexdigest()))
    shutil.rmtree(dash.home / "cache")
    done = dash.run("run", "p", "--json", "--no-input")
    assert json.loads(done.stdout)["mode"] == "full"
    assert len(store.read()["backups"]) == 2


def test_a_last_manifest_under_a_passphrase_of_age_is_not_opened(dash, small):  # noqa: F811
    dash.profile("p", small, "--mode", "incremental")
    dash.run("run", "p")
    put(os.path.join(small, "later"), b"later\n")
    store = Ledger(dash.home / "store")
    entry = store.read()["backups"][-1]
    manifest = store.path / "manifests" / entry["manifest"]["filename"]
    stanzas = [age.Passphrase(b"any").wrap(bytes(16), bytes(16), 10)]
    data = age.header(bytes(16), stanzas).replace(b" 10\n", b" 20\n") + age.payload(bytes(16), b"nothing", bytes(16))
    put(manifest, data)
    store.write(lambda ledger: ledger["backups"][-1]["manifest"].update(sha256=hashlib.sha256(data).hexdigest(), size=len(data)))
    shutil.rmtree(dash.home / "cache")
    assert json.loads(dash.run("run", "p", "--json", "--no-input").stdout)["mode"] == "full"


# Content of a ledger and of a journal


def test_a_group_of_a_ledger_holds_no_more_than_a_ledger_does(tbk, store_with_one):
    ledger = store_with_one.read()
    group = next(iter(ledger["groups"]))
    ledger["groups"][group]["z"] = [0] * (3 << 20)
    put(store_with_one.path / "metadata.json", json.dumps(ledger).encode())
    assert b"too long" in tbk.run("tbk-pull", store_with_one.path, "--list", status=65).err


def test_a_journal_of_a_store_is_read_as_far_as_one_of_ours_goes(tbk, tmp_path, store_with_one):
    journal = store_with_one.path / ".tbk-journal"
    left = store_with_one.path / "backups" / "left.tbk"
    for junk in (b"x" * (100 << 20), b"backups/none.tbk\n" * (6 << 20)):
        put(left)
        put(journal, b"backups/left.tbk\n" + junk)
        archive = tbk.run("tbk-seal", "stream", "more", *FAST, "--receipt", tmp_path / "receipt", "--overwrite", "always",
                          input=os.urandom(8)).out
        tbk.run("tbk-push", store_with_one.path, "--receipt", tmp_path / "receipt", input=archive)
        assert not left.exists() and not journal.exists()


@pytest.fixture
def store_with_one(dash, small):  # noqa: F811
    dash.profile("p", small)
    dash.run("run", "p")
    return Ledger(dash.home / "store")


# Files in the home


@pytest.mark.parametrize("what", ["fifo", "garbage"])
def test_an_index_that_cannot_be_read_is_none(dash, small, what):  # noqa: F811
    dash.profile("p", small)
    dash.run("run", "p")
    before = dash.run("find", "*", "-p", "p").stdout
    index = next((dash.home / "cache").glob("*/versions"))
    index.unlink()
    if what == "fifo":
        os.mkfifo(index)
    else:
        put(index, b"garbage\n")
    assert dash.run("find", "*", "-p", "p").stdout == before
    assert what == "fifo" or index.is_file()


def test_a_fifo_in_the_place_of_a_file_of_the_home_hangs_nothing(dash, small):  # noqa: F811
    dash.profile("p", small)
    dash.run("run", "p")
    lock = dash.home / "state" / "run-p.lock"
    lock.unlink()
    os.mkfifo(lock)
    assert b"not a regular file" in dash.run("run", "p", status=73).stderr
    lock.unlink()
    for seen in [path for path in (dash.home / "state").rglob("*.json") if path.is_file()]:
        seen.unlink()
        os.mkfifo(seen)
        dash.run("list", "p")
        assert seen.exists()
        seen.unlink()
        dash.run("list", "p")


def test_root_leaves_no_file_of_its_own_in_the_home_of_another(dash, small):  # noqa: F811
    if os.geteuid() != 0:
        pytest.skip("needs root")
    dash.profile("p", small)
    dash.run("run", "p")
    for folder in [dash.home, *(path for path in dash.home.rglob("*"))]:
        os.chown(folder, 12345, 12345, follow_symlinks=False)
    shutil.rmtree(dash.home / "cache")
    dash.run("find", "*", "-p", "p")
    made = list((dash.home / "cache").rglob("*"))
    assert made and {path.lstat().st_uid for path in made} == {12345}


# Identities that can be read only once


def test_an_identity_from_a_pipe_opens_all_that_a_verb_reads(dash, small, tmp_path):  # noqa: F811
    require("bash")
    dash.profile("p", small, "--recipient", ONE.recipient)
    dash.run("run", "p", password=None)
    put(os.path.join(small, "later"), b"later\n")
    dash.run("run", "p", password=None)
    text = tmp_path / "text"
    put(text, ONE.text.encode() + b"\n", 0o600)

    def piped(verb, *words, given=text, status=0, **more):
        words = " ".join(shlex.quote(str(word)) for word in dash.command(verb, *words))
        done = subprocess.run(["bash", "-c", f"{words} -p p --no-input --unsigned -i <(cat {shlex.quote(str(given))})"],
                              env={**dash.environment_with(None, {}), **more}, capture_output=True, timeout=PATIENCE,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == status, done
        return done

    assert b"later" in piped("diff", "latest~1", "latest", status=1).stdout
    assert piped("cat", "latest", "later").stdout == b"later\n"
    piped("verify", "--all")
    piped("restore", "latest", "--to", tmp_path / "out")
    assert (tmp_path / "out" / "later").read_bytes() == b"later\n"
    # One from a descriptor, and one encrypted with a passphrase.
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 3<' + shlex.quote(str(text)), "sh", *dash.command(
            "diff", "latest~1", "latest", "-p", "p", "--unsigned", "--no-input", "-i", "/dev/fd/3")],
        env=dash.environment_with(None, {}), capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    assert done.returncode == 1, done
    assert b"no identity" in piped("diff", given="/dev/null", status=65).stderr


def test_recipients_from_a_pipe_are_read_once(dash, small, tmp_path):  # noqa: F811
    require("bash")
    dash.profile("p", small)
    put(tmp_path / "to", ONE.recipient.encode() + b"\n")
    for verb, words in (("run", ["p"]), ("package", [small, "-o", tmp_path / "package"])):
        command = " ".join(shlex.quote(str(word)) for word in dash.command(verb, *words))
        done = subprocess.run(["bash", "-c", f"{command} --no-input -R <(cat {shlex.quote(str(tmp_path / 'to'))})"],
                              env=dash.environment_with(None, {}), capture_output=True, timeout=PATIENCE,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done
    assert age.read((tmp_path / "package").read_bytes(), ONE)


# Profiles from elsewhere


def test_recipients_of_a_stranger_are_not_taken_over_unseen(tbk, tmp_path, small):
    tbk.run("tbk-config", "init")
    profile = {"name": "x", "source_dir": str(small), "repo": str(tmp_path / "store"), "recipients": [ONE.recipient],
               "exclude_from": "/etc/left-out", "exclude_larger_than": "1K"}
    put(tmp_path / "p.json", json.dumps(profile).encode())
    done = tbk.run("tbk-config", "profile", "import", tmp_path / "p.json", status=78)
    assert ONE.recipient.encode() in done.err and b"--trust" in done.err
    done = tbk.run("tbk-config", "profile", "import", "--quiet", tmp_path / "p.json", "--trust")
    for field in (b"recipients", b"exclude_from", b"exclude_larger_than"):
        assert b"warning: " in done.err and field in done.err
    # Now the recipient is known here.
    tbk.run("tbk-config", "profile", "import", tmp_path / "p.json", "--name", "y")


def test_a_ledger_moves_no_cursor(tbk, tmp_path, store_with_one):
    store_with_one.write(lambda ledger: ledger.update(repository="here\x7f\x9b31m\u202e"))
    put(store_with_one.path / "metadata.json", json.dumps(store_with_one.read(), ensure_ascii=False).encode())
    raw = tbk.run("tbk-pull", store_with_one.path, "--ledger").out
    assert raw == (store_with_one.path / "metadata.json").read_bytes()
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(str(tbk.path("tbk-pull")), ["tbk-pull", str(store_with_one.path), "--ledger"], tbk.environment)
    shown = b"".join(shown_on(terminal))
    assert os.waitpid(process, 0)[1] == 0
    os.close(terminal)
    assert b"\\u009b31m" in shown and all(byte in b"\r\n\t" or 0x20 <= byte < 0x7f for byte in shown)


@pytest.mark.parametrize("kind", ["--list", "--find"])
def test_a_sealed_manifest_of_any_size_is_not_read(tbk, tmp_path, kind):
    script = tmp_path / "serve"
    put(script, b"#!/bin/sh\nread -r line; echo 'ok 1'; read -r line; echo 'ok 99999999999'; exec cat /dev/zero\n", 0o755)
    put(tmp_path / "list", "\t".join(["ab" * 32, "2026-01-01T00:00:00+00:00", "1", "1", "full", "-", "no", "backup_a.tbk", "-",
                                      "cd" * 32]).encode() + b"\n")
    words = ["--from", "ab" * 32, "--list"] if kind == "--list" else ["--find=x", "--expect", tmp_path / "list"]
    done = tbk.run("tbk-open", *words, "--", script, status=None)
    assert done.status in (3, 65, 69, 75) and done.out == b""
