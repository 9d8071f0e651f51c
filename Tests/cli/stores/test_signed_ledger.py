"""Signed ledgers: openssl verifies them, any change is detected; several machines; the verbs."""

import base64
import hashlib
import json
import os
import shutil

import pytest
from conftest import PASSWORD, put, require, snapshot
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from shell_fixture import Shell, on_terminal
from test_sign import openssl_verify, plain, sealed  # noqa: F401, fixtures

KEY_PASSWORD = b"the password of the key"


# The documented bytes, by an independent implementation


def signed_bytes(ledger):
    """tbk(5): the prefix, and the canonical JSON of everything except the signature."""
    rest = {key: value for key, value in ledger.items() if key != "ledger_signature"}
    return b"termbackup-ledger-v1\n" + json.dumps(rest, sort_keys=True, separators=(",", ":")).encode("ascii")


def fingerprint(public):
    lines = public.read_text().split("-----")
    return hashlib.sha256(base64.b64decode(lines[2])).hexdigest()


def sign_ledger(ledger, key):
    """The ledger, signed with a private key of the Python package cryptography."""
    raw = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    signature = {"key": hashlib.sha256(raw).hexdigest(), "signature": key.sign(signed_bytes(ledger)).hex()}
    return {**ledger, "ledger_signature": signature}


def tree(top, content):
    """A directory with one file."""
    put(top / "file", content)
    return top


class Signed:
    """A directory store with three backups and a ledger signed by one key."""

    def __init__(self, tbk, keys, tmp_path):
        self.tbk, self.keys = tbk, keys
        self.path = tmp_path / "store"
        self.path.mkdir()
        self.ledger = self.path / "metadata.json"
        self.archives = []
        self.number = 0
        for number in range(3):
            source = tree(tmp_path / f"source {number}", b"%d\n" % number)
            self.archives.append(tbk.seal(source))
            self.push(self.archives[-1], "--group", "g")

    def push(self, archive, *arguments, key=None, **options):
        key = self.keys.private if key is None else key
        return self.tbk.run("tbk-push", self.path, "--sign-key", key, *arguments, input=archive, **options)

    def machine(self, *trusted):
        """The environment of a machine that has never seen the store."""
        self.number += 1
        home = self.tbk.scratch / f"machine {self.number}"
        (home / "trusted_keys").mkdir(parents=True)
        for at, key in enumerate(trusted):
            shutil.copy(key, home / "trusted_keys" / f"{at}.pub")
        return {"env": {"TERMBACKUP_HOME": str(home)}}

    def read(self):
        return json.loads(self.ledger.read_text())

    def write(self, ledger):
        self.ledger.write_text(json.dumps(ledger))

    def pull(self, *arguments, **options):
        return self.tbk.run("tbk-pull", self.path, *arguments, **options)


@pytest.fixture
def signed(tbk, plain, tmp_path):  # noqa: F811
    return Signed(tbk, plain, tmp_path)


def test_openssl_verifies_the_ledger(signed, tmp_path):
    ledger = signed.read()
    given = ledger["ledger_signature"]
    assert sorted(given) == ["key", "signature"] and given["key"] == fingerprint(signed.keys.public)
    assert ledger["sequence"] == 3 and len(ledger["backups"]) == 3
    data = signed_bytes(ledger)
    assert openssl_verify(signed.keys.public, bytes.fromhex(given["signature"]), data, tmp_path)
    assert not openssl_verify(signed.keys.public, bytes.fromhex(given["signature"]), data + b" ", tmp_path)


def test_a_ledger_that_another_program_signed_is_verified(signed, tmp_path):
    key = serialization.load_pem_private_key(signed.keys.private.read_bytes(), None)
    ledger = signed.read()
    ledger["repository"] = "d\u00e9p\u00f4t \U0001f600"
    ledger["later"] = [1, -2, None, True, {"b": 1, "a": "\n\x7f\""}]
    signed.write(sign_ledger(ledger, key))
    there = signed.machine(signed.keys.public)
    out = tmp_path / "trust"
    signed.pull("--list", "--trust-out", out, **there)
    assert out.read_text() == f"verified\t{fingerprint(signed.keys.public)}\n"


def swap(ledger, *keys):
    one, other = ledger["backups"][:2]
    for key in keys:
        one[key], other[key] = other[key], one[key]


def added(ledger):
    ledger["backups"].append({**ledger["backups"][0], "id": "cd" * 32, "filename": "backup_cdcdcdcdcdcd.tbk"})


TAMPERINGS = {
    "added": added,
    "removed": lambda ledger: ledger["backups"].pop(0),
    "the last removed": lambda ledger: ledger["backups"].pop(),
    "reordered": lambda ledger: ledger["backups"].reverse(),
    "replaced": lambda ledger: swap(ledger, "filename", "sha256", "size"),
    "hash": lambda ledger: ledger["backups"][1].update(sha256="ab" * 32),
    "group": lambda ledger: ledger["backups"][1].update(group="g0"),
    "signature of an archive": lambda ledger: ledger["backups"][1].update(signature="ab" * 64),
    "sequence": lambda ledger: ledger.update(sequence=4),
    "history": lambda ledger: ledger.update(history=ledger["history"][1:]),
    "store": lambda ledger: ledger.update(store_id="0f" * 16),
    "another member": lambda ledger: ledger.update(later=1),
    "signature": lambda ledger: ledger["ledger_signature"].update(signature="ab" * 64),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_every_tampering_is_noticed(tampering, signed, tmp_path):
    ledger = signed.read()
    TAMPERINGS[tampering](ledger)
    assert ledger != signed.read()
    signed.write(ledger)
    before = snapshot(signed.path)
    there = signed.machine(signed.keys.public)
    out = tmp_path / "out"
    for arguments in (["--list"], ["--ledger"], ["latest", "-o", out], ["--signature", "latest", "-o", out]):
        result = signed.pull(*arguments, status=65, **there)
        assert b"is not valid" in result.err and result.out == b"" and not out.exists()
    assert b"is not valid" in signed.push(signed.archives[0], "--group", "new", status=65, **there).err
    prune = ["--sign-key", signed.keys.private, "--keep-last", "1"]
    assert b"is not valid" in signed.tbk.run("tbk-prune", signed.path, *prune, status=65, **there).err
    assert snapshot(signed.path) == before


def test_the_signature_of_another_store_is_noticed(signed, tbk, tmp_path):
    (tmp_path / "other").mkdir()
    other = Signed(tbk, signed.keys, tmp_path / "other")
    signed.write({**signed.read(), "ledger_signature": other.read()["ledger_signature"]})
    assert b"is not valid" in signed.pull("--list", status=65, **signed.machine(signed.keys.public)).err


# Keys


def test_without_a_key_a_notice_says_that_nothing_was_checked(signed, tmp_path):
    there = signed.machine()
    result = signed.pull("--list", **there)
    assert b"was not checked" in result.err and fingerprint(signed.keys.public).encode() in result.err
    assert len(result.lines) == 3
    assert signed.pull("--list", "-q", **there).err == b""
    out = tmp_path / "trust"
    assert signed.pull("--list", "--trust-out", out, **there).err == b""
    assert out.read_text() == f"unchecked\t{fingerprint(signed.keys.public)}\n"
    result = signed.pull("--list", "--require-signature", status=78, **there)
    assert b"no key to check it" in result.err and result.out == b""


def test_a_key_that_is_not_trusted_where_others_are_is_refused(signed, tbk, tmp_path):
    keys = [tmp_path / "other.pem", tmp_path / "other.pub"]
    tbk.run("tbk-sign", "keygen", "--no-password", "--private", keys[0], "--public", keys[1])
    for there, more in ((signed.machine(keys[1]), []), (signed.machine(), ["--verify-key", keys[1]])):
        result = signed.pull("--list", *more, status=65, **there)
        assert b"not trusted" in result.err and result.out == b""
    there = signed.machine()
    signed.pull("--list", "--verify-key", keys[1], "--verify-key", signed.keys.public, **there)
    # The key was trusted only for that command, but the machine remembers that the store is signed.
    ledger = signed.read()
    del ledger["ledger_signature"]
    signed.write(ledger)
    assert b"was signed, and is not now" in signed.pull("--list", status=65, **there).err


def test_a_missing_signature_is_noticed_where_one_is_required(signed):
    ledger = signed.read()
    del ledger["ledger_signature"]
    signed.write(ledger)
    there = signed.machine(signed.keys.public)
    for more in (["--require-signature"], ["--verify-key", signed.keys.public]):
        result = signed.pull("latest", *more, status=65, **there)
        assert b"is not signed" in result.err and result.out == b""
    assert len(signed.pull("--list", **there).lines) == 3


def test_an_empty_store_is_not_a_signed_one(tbk, plain, tmp_path):  # noqa: F811
    (tmp_path / "store").mkdir()
    given = ["--list", "--verify-key", plain.public]
    assert b"has no ledger" in tbk.run("tbk-pull", tmp_path / "store", *given, status=65).err


def test_a_store_that_was_seen_signed_stays_so_until_told(signed, tmp_path):
    ledger = signed.read()
    del ledger["ledger_signature"]
    signed.write(ledger)
    # The machine that wrote the ledger.
    result = signed.pull("--list", status=65)
    assert b"was signed, and is not now" in result.err and b"--accept-store-state" in result.err
    assert b"was signed" in signed.push(signed.archives[0], "--group", "x", status=65).err
    assert len(signed.pull("--list", "--accept-store-state").lines) == 3
    assert len(signed.pull("--list").lines) == 3


def test_garbage_among_the_trusted_keys_is_named(signed):
    there = signed.machine(signed.keys.public)
    put(os.path.join(there["env"]["TERMBACKUP_HOME"], "trusted_keys", "letter.pub"), b"not a key\n")
    result = signed.pull("--list", status=78, **there)
    assert b"letter.pub" in result.err and result.out == b""


def test_nothing_is_changed_without_a_key(signed):
    before = snapshot(signed.path)
    there = signed.machine(signed.keys.public)
    newest = signed.read()["backups"][-1]["id"]
    run = signed.tbk.run
    for command, arguments, data in (
            (["tbk-push"], ["--group", "new", "--new-group"], signed.tbk.seal(signed.path)),
            (["tbk-store", "remove"], [newest], None), (["tbk-prune"], ["--max-backups", "1"], None)):
        result = run(*command, signed.path, *arguments, input=data, status=77, **there)
        assert b"is signed" in result.err and b"--sign-key" in result.err
    assert snapshot(signed.path) == before


@pytest.mark.parametrize("command,arguments", [
    (["tbk-store", "clean"], []), (["tbk-store", "check"], []), (["tbk-prune"], ["--keep-last", "1", "-n"]),
    (["tbk-prune"], ["--next-mode", "--group", "g", "--max-backups", "3"])], ids=["clean", "check", "dry", "mode"])
def test_what_only_reads_requires_a_signature_without_a_key(signed, command, arguments):
    there = signed.machine(signed.keys.public)
    required = [*arguments, "--require-signature"]
    signed.tbk.run(*command, signed.path, *required, **there)
    signed.tbk.run("tbk-prune", signed.path, "--keep-last", "1", "--require-signature", status=64, **there)
    ledger = signed.read()
    del ledger["ledger_signature"]
    signed.write(ledger)
    there = signed.machine(signed.keys.public)
    assert b"is not signed" in signed.tbk.run(*command, signed.path, *required, status=65, **there).err


def test_a_home_that_cannot_be_looked_into_is_not_one_without_keys(signed):
    loop = signed.tbk.scratch / "loop"
    loop.symlink_to(loop)
    result = signed.pull("--list", status=None, env={"TERMBACKUP_HOME": str(loop)})
    assert result.status >= 64 and result.out == b"" and b"loop" in result.err


def test_the_keys_of_a_user_without_an_environment_are_those_of_the_home_in_passwd(signed, tbk, tmp_path):
    passwd = tmp_path / "passwd"
    passwd.write_text(f"root:x:{os.geteuid()}:{os.getegid()}::{tmp_path / 'user'}:/bin/sh\n")
    (tmp_path / "user" / ".termbackup").mkdir(parents=True)
    shutil.copy(signed.keys.public, tmp_path / "user" / ".termbackup" / "signing_key.pub")
    bare = {"env": {"HOME": "", "TERMBACKUP_HOME": ""}, "over": (passwd, "/etc/passwd")}
    signed.pull("--list", "--require-signature", **bare)
    assert (tmp_path / "user" / ".termbackup" / "state").is_dir()


def test_pruning_and_removing_keep_the_ledger_signed(signed, tmp_path):
    newest = signed.read()["backups"][-1]["id"]
    signed.tbk.run("tbk-store", "remove", signed.path, newest, "--sign-key", signed.keys.private)
    signed.tbk.run("tbk-prune", signed.path, "--sign-key", signed.keys.private, "--max-backups", "1")
    ledger = signed.read()
    assert ledger["sequence"] == 5
    given = bytes.fromhex(ledger["ledger_signature"]["signature"])
    assert openssl_verify(signed.keys.public, given, signed_bytes(ledger), tmp_path)


@pytest.mark.parametrize("arguments", [
    ["--require-signature"], ["--verify-key", "k.pub"], ["--key-password-file", "x"], ["--key-password-fd", "3"],
    ["--sign-key", "-"], ["--sign-key", "k", "--key-password-fd", "3", "--key-password-file", "x"],
    ["--sign-key", "k", "--create"]])
def test_contradictions_are_wrong_usage(arguments, signed):
    before = snapshot(signed.path)
    signed.tbk.run("tbk-push", signed.path, *arguments, input=signed.archives[0], status=64, **signed.machine())
    assert snapshot(signed.path) == before


def test_the_password_of_the_key_comes_from_every_place(tbk, sealed, tmp_path):  # noqa: F811
    store = tmp_path / "store"
    store.mkdir()
    file = tbk.password_file
    archive = tbk.seal(tree(tmp_path / "source", b"1"))

    def push(*arguments, **options):
        return tbk.run("tbk-push", store, "--sign-key", sealed.private, *arguments, input=archive, **options)

    before = snapshot(store)
    wrong = put(tmp_path / "wrong", b"wrong")
    assert b"password is wrong" in push("--key-password-file", wrong, status=77).err
    assert b"no password of the key" in push(status=64).err
    push("--key-password-fd", "0", status=64)
    assert snapshot(store) == before
    reading, writing = os.pipe()
    os.write(writing, PASSWORD + b"\n")
    os.close(writing)
    push("--key-password-fd", str(reading), pass_fds=[reading])
    os.close(reading)
    push("--key-password-file", file)
    push("--key-password-command", f"cat '{file}'")
    push(env={"TERMBACKUP_KEY_PASSWORD_FILE": str(file)})
    push(env={"TERMBACKUP_KEY_PASSWORD_COMMAND": f"cat '{file}'"})
    push(env={"TERMBACKUP_KEY_PASSWORD": PASSWORD.decode()})
    push("--key-password-file", file, env={"TERMBACKUP_KEY_PASSWORD": "wrong"})
    # The password of the backups is a different one.
    push(env={"TERMBACKUP_PASSWORD_FILE": str(file)}, status=64)


@pytest.mark.parametrize("encrypted", [False, True])
def test_the_key_files_of_termbackup_6_sign(encrypted, tbk, tmp_path):
    key = Ed25519PrivateKey.generate()
    hidden = serialization.BestAvailableEncryption(PASSWORD) if encrypted else serialization.NoEncryption()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    private = put(tmp_path / "signing_key.pem", key.private_bytes(*form, hidden))
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    # A public key in the directory of TermBackup 6 is trusted.
    put(tbk.home / ".termbackup" / "signing_key.pub", pem)
    store = tmp_path / "store"
    store.mkdir()
    archive = tbk.seal(tree(tmp_path / "source", b"1"))
    tbk.run("tbk-push", store, "--sign-key", private, "--key-password-file", tbk.password_file, input=archive)
    ledger = json.loads((store / "metadata.json").read_text())
    given = bytes.fromhex(ledger["ledger_signature"]["signature"])
    key.public_key().verify(given, signed_bytes(ledger))
    assert tbk.run("tbk-pull", store, "--list", "--require-signature").lines


def test_two_machines_write_in_turn(signed, tbk, tmp_path):
    private, public = tmp_path / "bob.pem", tmp_path / "bob.pub"
    tbk.run("tbk-sign", "keygen", "--no-password", "--private", private, "--public", public)
    ada, bob = signed.machine(public), signed.machine(signed.keys.public)
    for number in range(4):
        source = tree(tmp_path / f"turn {number}", b"%d" % number)
        if number % 2:
            signed.push(tbk.seal(source), **ada)
        else:
            signed.push(tbk.seal(source), key=private, **bob)
    reader = signed.machine(signed.keys.public, public)
    assert len(signed.pull("--list", "--require-signature", **reader).lines) == 7
    # A machine that trusts only the first key refuses a ledger signed by the second one.
    source = tree(tmp_path / "last", b"last")
    signed.push(tbk.seal(source), key=private, **bob)
    assert b"not trusted" in signed.pull("--list", status=65, **signed.machine(signed.keys.public)).err


# The signature of an archive


def test_the_signature_of_an_archive_comes_back(signed, tbk, tmp_path):
    archive = tbk.seal(tree(tmp_path / "more", b"more"))
    signature = tbk.run("tbk-sign", "sign", "--key", signed.keys.private, input=archive).out
    file = put(tmp_path / "signature", signature)
    entry = signed.push(archive, "--signature", file).lines[0].split("\t")
    out = tmp_path / "out"
    assert signed.pull("--signature", entry[0]).out == signature
    signed.pull("--signature", "latest", "-o", out)
    assert out.read_bytes() == signature
    assert signed.pull("--signature", "latest", "--hex").out == signature.hex().encode() + b"\n"
    fetched = signed.pull(entry[0]).out
    tbk.run("tbk-sign", "verify", "--key", signed.keys.public, out, input=fetched)
    tbk.run("tbk-sign", "verify", "--key", signed.keys.public, out, input=fetched[:-1] + b"x", status=1)
    result = signed.pull("--signature", signed.read()["backups"][0]["id"], status=69)
    assert result.out == b"" and b"is not signed" in result.err
    signed.pull("--hex", "--list", status=64)


# The verbs


@pytest.fixture(params=["dash", "busybox"])
def shell(request, tbk, tmp_path):
    require(request.param)
    shell = Shell(tbk, tmp_path, {"dash": ["dash"], "busybox": ["busybox", "sh"]}[request.param])
    put(tmp_path / "source" / "file", b"content\n")
    shell.source = tmp_path / "source"
    shell.profile("p", shell.source)
    return shell


def ledger_of(shell):
    return json.loads((shell.home / "store" / "metadata.json").read_text())


def check_ledger(shell):
    """Verifies the ledger and every archive without our programs."""
    key = serialization.load_pem_public_key((shell.home / "signing_key.pub").read_bytes())
    ledger = ledger_of(shell)
    key.verify(bytes.fromhex(ledger["ledger_signature"]["signature"]), signed_bytes(ledger))
    for entry in ledger["backups"]:
        archive = (shell.home / "store" / "backups" / entry["filename"]).read_bytes()
        key.verify(bytes.fromhex(entry["signature"]), archive)
    return ledger


def test_runs_are_signed_with_a_key_under_the_password_of_the_backups(shell):
    shown = shell.run("generate-key", "--enable").stdout.decode()
    public, private = shell.home / "signing_key.pub", shell.home / "signing_key.pem"
    assert fingerprint(public) in shown and private.stat().st_mode & 0o7777 == 0o600
    serialization.load_pem_private_key(private.read_bytes(), PASSWORD)
    report = json.loads(shell.run("run", "p", "--json").stdout)
    assert report["status"] == "success"
    # The password check was stored first, and its ledger is signed as well.
    assert check_ledger(shell)["sequence"] == 2
    put(shell.source / "more", b"more\n")
    shell.run("run", "p")
    assert len(check_ledger(shell)["backups"]) == 2
    listed = shell.run("list", "p", "--require-signature")
    assert b"signed by the trusted key " + fingerprint(public)[:12].encode() in listed.stderr
    verified = shell.run("verify", "--all", "-p", "p", "--require-signature")
    assert verified.stdout.count(b"  signed\n") == 2
    assert json.loads(shell.run("verify", "--all", "-p", "p", "--json").stdout)["signed_count"] == 2
    shell.run("restore", "latest", "-p", "p", "--to", shell.tbk.scratch / "back", "--require-signature")
    assert (shell.tbk.scratch / "back" / "more").read_bytes() == b"more\n"
    shell.run("prune", "p", "--max-backups", "1", "--yes")
    assert len(check_ledger(shell)["backups"]) == 1


def test_a_key_has_a_password_of_its_own(shell, tmp_path):
    file = os.fsdecode(put(tmp_path / "key password", KEY_PASSWORD))
    shell.run("generate-key", "--enable", "--key-password-file", file)
    serialization.load_pem_private_key((shell.home / "signing_key.pem").read_bytes(), KEY_PASSWORD)
    refused = shell.run("run", "p", status=77)
    assert b"does not open the key" in refused.stderr
    assert not (shell.home / "store" / "metadata.json").exists()
    assert b"not the password of the key" in shell.run("run", "p", status=77, env={"TERMBACKUP_KEY_PASSWORD": "no"}).stderr
    shell.run("run", "p", "--key-password-file", file)
    put(shell.source / "a", b"a")
    shell.run("run", "p", env={"TERMBACKUP_KEY_PASSWORD": KEY_PASSWORD.decode()})
    put(shell.source / "b", b"b")
    shell.run("run", "p", "--key-password-command", f"cat '{file}'")
    put(shell.source / "c", b"c")
    reading, writing = os.pipe()
    os.write(writing, KEY_PASSWORD)
    os.close(writing)
    shell.run("run", "p", "--key-password-fd", str(reading), pass_fds=[reading])
    os.close(reading)
    assert len(check_ledger(shell)["backups"]) == 4


def test_both_passwords_are_handed_on_and_no_child_can_read_them(shell, tmp_path):
    """A command that prints one password sees neither; the other password comes from the environment."""
    seen = tmp_path / "seen"
    command = tmp_path / "command"
    put(command, b'#!/bin/sh\nenv >>"%s"\nprintf %%s "$1"\n' % os.fsencode(seen), mode=0o755)
    shell.run("generate-key", "--enable", "--key-password-command", f"'{command}' key-words", password=None,
              env={"TERMBACKUP_PASSWORD": "backup-words"})
    shell.run("run", "p", "--key-password-command", f"'{command}' key-words", password=None,
              env={"TERMBACKUP_PASSWORD": "backup-words"})
    shell.run("verify", "latest", "-p", "p", "--password-command", f"'{command}' backup-words", password=None,
              env={"TERMBACKUP_KEY_PASSWORD": "key-words"})
    assert seen.read_bytes() and b"-words" not in seen.read_bytes()
    check_ledger(shell)


def test_a_key_that_is_there_stays_and_a_new_one_trusts_the_old(shell, tmp_path):
    shell.run("generate-key", "--enable")
    shell.run("run", "p")
    old = (shell.home / "signing_key.pub").read_bytes()
    assert b"--force" in shell.run("generate-key", status=73).stderr
    assert (shell.home / "signing_key.pub").read_bytes() == old
    shell.run("generate-key", "--force")
    new = (shell.home / "signing_key.pub").read_bytes()
    assert new != old and [file.read_bytes() for file in (shell.home / "trusted_keys").iterdir()] == [old]
    # The ledger signed by the old key is accepted, and the next one is signed by the new key.
    shell.run("list", "p", "--require-signature")
    put(shell.source / "more", b"more\n")
    shell.run("run", "p")
    assert ledger_of(shell)["ledger_signature"]["key"] == fingerprint(shell.home / "signing_key.pub")
    assert shell.run("verify", "--all", "-p", "p").stdout.count(b"  signed\n") == 2


def test_making_a_key_asks_for_its_password_twice_and_whether_to_sign(shell):
    shell.environment.pop("TERMBACKUP_PASSWORD_FILE", None)
    answers = [(b"Password of the key: ", KEY_PASSWORD), (b"Password of the key again: ", KEY_PASSWORD),
               (b"from now on? [y/N] ", b"y")]
    status, shown = on_terminal(shell, answers, "generate-key")
    assert status == 0 and KEY_PASSWORD not in shown
    serialization.load_pem_private_key((shell.home / "signing_key.pem").read_bytes(), KEY_PASSWORD)
    assert json.loads((shell.home / "config.json").read_text())["signing_enabled"] is True
    # A run asks for the password of the backup first, then for the key's if it is different.
    answers = [(b"Password: ", PASSWORD), (b"Password again: ", PASSWORD), (b"Password of the key: ", KEY_PASSWORD)]
    status, shown = on_terminal(shell, answers, "run", "p")
    assert status == 0, shown
    check_ledger(shell)


def test_without_being_told_nothing_is_signed(shell):
    made = json.loads(shell.run("generate-key", "--json").stdout)
    assert made["signing_enabled"] is False and made["fingerprint"] == fingerprint(shell.home / "signing_key.pub")
    shell.run("run", "p")
    assert "ledger_signature" not in ledger_of(shell) and ledger_of(shell)["backups"][0]["signature"] is None
    assert b"the ledger is not signed" in shell.run("list", "p").stderr
    refused = shell.run("list", "p", "--require-signature", status=65)
    assert b"is not signed" in refused.stderr and refused.stdout == b""
    target = shell.tbk.scratch / "back"
    shell.run("restore", "latest", "-p", "p", "--to", target, "--require-signature", status=65)
    assert not target.exists()


def test_what_signing_lacks_is_told_before_anything_is_stored(shell):
    shell.tbk.run("tbk-config", "set", "signing_enabled", "true")
    refused = shell.run("run", "p", status=78)
    assert b"generate-key" in refused.stderr and not (shell.home / "store" / "metadata.json").exists()
    shell.run("generate-key")
    shell.run("run", "p")
    put(shell.source / "second", b"second\n")
    shell.run("run", "p")
    before = snapshot(shell.home / "store")
    shell.tbk.run("tbk-config", "set", "signing_enabled", "false")
    put(shell.source / "more", b"more\n")
    for verb, more in (("run", []), ("prune", ["--keep-last", "1", "--yes"])):
        refused = shell.run(verb, "p", *more, status=77)
        assert b"is signed" in refused.stderr
    assert snapshot(shell.home / "store") == before


def test_a_ledger_that_was_altered_is_refused_by_every_verb(shell):
    shell.run("generate-key", "--enable")
    shell.run("run", "p")
    ledger = ledger_of(shell)
    ledger["backups"][0]["file_count"] = 7
    (shell.home / "store" / "metadata.json").write_text(json.dumps(ledger))
    target = shell.tbk.scratch / "back"
    for arguments in (["list", "p"], ["verify", "latest", "-p", "p"], ["restore", "latest", "-p", "p", "--to", target],
                      ["run", "p"], ["prune", "p", "--keep-last", "1", "--yes"]):
        assert b"is not valid" in shell.run(*arguments, status=65).stderr
    assert not target.exists()


def test_an_archive_whose_signature_does_not_hold_is_told(shell):
    """Changed by someone who can sign ledgers: the ledger is valid, the signature of the archive is not."""
    shell.run("generate-key", "--enable")
    shell.run("run", "p")
    key = serialization.load_pem_private_key((shell.home / "signing_key.pem").read_bytes(), PASSWORD)
    ledger = ledger_of(shell)
    ledger["backups"][0]["signature"] = Ed25519PrivateKey.generate().sign(b"something").hex()
    (shell.home / "store" / "metadata.json").write_text(json.dumps(sign_ledger(ledger, key)))
    shutil.rmtree(shell.home / "state")
    shown = shell.run("verify", "latest", "-p", "p", status=1)
    assert b"FAILED" in shown.stdout and b"the signature of its archive is not valid" in shown.stdout
    report = json.loads(shell.run("verify", "--all", "-p", "p", "--json", status=1).stdout)
    assert report["signed_count"] == 0 and "signature" in report["failures"][0]["reason"]


def test_a_machine_without_the_key_says_that_it_did_not_check(shell):
    shell.run("generate-key", "--enable")
    shell.run("run", "p")
    (shell.home / "signing_key.pub").unlink()
    assert b"was not checked" in shell.run("list", "p").stderr
    assert shell.run("list", "-q", "p").stderr == b""
    verified = shell.run("verify", "latest", "-p", "p")
    assert b"signature not checked" in verified.stdout and b"was not checked" in verified.stderr
    assert b"no key to check it" in shell.run("verify", "latest", "-p", "p", "--require-signature", status=78).stderr


# First contact


def strip(path):
    """The ledger without its signature and its last backup."""
    ledger = json.loads(path.read_text())
    del ledger["ledger_signature"], ledger["backups"][-1]
    path.write_text(json.dumps(ledger))


def test_a_stripped_ledger_is_neither_built_on_nor_signed(signed):
    strip(signed.ledger)
    before = snapshot(signed.path)
    newest = signed.read()["backups"][-1]["id"]
    key = ["--sign-key", signed.keys.private]
    for command in (["tbk-push", signed.path, "--group", "g"], ["tbk-store", "remove", signed.path, newest]):
        result = signed.tbk.run(*command, *key, input=signed.archives[2], status=65, **signed.machine())
        assert b"is not signed" in result.err and b"tbk-store adopt" in result.err
    # Nor by a machine without a key that trusts another machine's.
    there = signed.machine(signed.keys.public)
    result = signed.tbk.run("tbk-push", signed.path, input=signed.archives[2], status=65, **there)
    assert b"is not signed" in result.err and snapshot(signed.path) == before
    signed.tbk.run("tbk-prune", signed.path, "--keep-last", "1", status=65, **there)
    assert snapshot(signed.path) == before and len(signed.pull("--list", **there).lines) == 2
    adopt = ["tbk-store", "adopt", signed.path]
    for more in ([], ["--require-signature"], [*key, "--require-signature"]):
        signed.tbk.run(*adopt, *more, status=64)
    assert len(signed.tbk.run(*adopt, *key, **signed.machine()).lines) == 2
    assert len(signed.pull("--list", "--require-signature", **there).lines) == 2


def test_signing_that_is_turned_on_later_needs_one_word(shell):
    shell.run("run", "p")
    shell.run("generate-key", "--enable")
    put(shell.source / "more", b"more\n")
    before = snapshot(shell.home / "store")
    refused = shell.run("run", "p", status=65)
    assert b"is not signed" in refused.stderr and b"termbackup run p --adopt" in refused.stderr
    assert snapshot(shell.home / "store") == before
    shell.run("run", "p", "--adopt")
    put(shell.source / "again", b"again\n")
    shell.run("run", "p")
    assert len(shell.run("list", "p", "--require-signature").stdout.splitlines()) == 5
    shell.run("run", "p", "--adopt")


def test_adopting_needs_a_key(shell):
    shell.run("run", "p")
    assert b"signing is off" in shell.run("run", "p", "--adopt", status=64).stderr
    shell.run("run", "p", "--adopt", "--dry-run", status=64)
