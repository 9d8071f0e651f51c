"""Recipients of profiles, of config.json and of the verbs: backups that need no password, and identities that open them."""

import json
import os
import shutil
import subprocess

import pytest
from conftest import put, require, snapshot, without
from tbkref import age
from test_consolidate import entries, shell  # noqa: F401

ONE = age.Identity(bytes(range(32)))
TWO = age.Identity(bytes(range(1, 33)))


def file(path, text):
    put(path, text.encode() + b"\n", 0o600)
    return str(path)


@pytest.fixture
def keys(tmp_path):
    return [file(tmp_path / name, identity.text) for name, identity in (("one", ONE), ("two", TWO))]


def grow(source, number):
    put(os.path.join(source, f"file{number}"), b"%d\n" % number * 500)


def run(shell, *words, password=None):
    return json.loads(shell.run("run", "p", "--json", "--no-input", *words, password=password).stdout)


def archives(shell):
    ledger = json.loads((shell.home / "store" / "metadata.json").read_bytes())
    return [(entry["filename"], (shell.home / "store" / "backups" / entry["filename"]).read_bytes()) for entry in ledger["backups"]]


def test_a_profile_with_recipients_needs_no_password(shell, small, tmp_path, keys):  # noqa: F811
    shell.profile("p", small, "--mode", "incremental", "--recipient", ONE.recipient)
    shell.run("generate-key", "--enable", "--no-password", password=None)
    assert run(shell)["mode"] == "full"
    grow(small, 1)
    # Without the cached manifest, this machine cannot read the last backup.
    shutil.rmtree(shell.home / "cache")
    assert run(shell)["mode"] == "full"
    grow(small, 2)
    assert run(shell)["mode"] == "incremental"
    middle = snapshot(small)
    assert run(shell, "-i", keys[0])["status"] == "unchanged"
    grow(small, 3)
    # A recipient who could not open the last backup is added.
    shell.run("profile", "edit", "p", "--recipient", ONE.recipient, "--recipient", TWO.recipient)
    assert run(shell, "-i", keys[0])["mode"] == "full"
    grow(small, 4)
    assert run(shell, "-i", keys[1])["mode"] == "incremental"
    for name, archive in archives(shell):
        assert name.endswith(".age") and age.read(archive, ONE)
    assert not (shell.home / "store" / "checks").exists()
    ids = [entry["id"] for entry in entries(shell)]
    reading = ["-p", "p", "--no-input"]
    shell.run("restore", ids[2], *reading, "--to", tmp_path / "out", "--setuid", "-i", keys[0], password=None)
    assert snapshot(tmp_path / "out") == middle
    shell.run("restore", "latest", *reading, "--to", tmp_path / "all", "--setuid", "-i", keys[1], password=None)
    assert snapshot(tmp_path / "all") == snapshot(small)
    assert b"identity" in shell.run("restore", "latest", *reading, "--to", tmp_path / "no", password=None, status=64).stderr
    shell.run("restore", ids[2], *reading, "--to", tmp_path / "no", "-i", keys[1], password=None, status=77)
    assert not (tmp_path / "no").exists()
    assert b"file4" in shell.run("diff", ids[3], ids[4], *reading, "-i", keys[0], password=None, status=1).stdout
    report = json.loads(shell.run("verify", "--all", *reading, "--json", "-i", keys[0], password=None).stdout)
    assert report["checked_count"] == 5 and report["failures"] == []
    # The sealed manifest that the store has lost is made again, for the same recipients.
    manifest = sorted((shell.home / "store" / "manifests").iterdir())[0]
    manifest.unlink()
    done = shell.run("verify", "--all", *reading, "-i", keys[0], password=None)
    made = list(manifest.parent.glob(manifest.stem + "*"))
    assert b"recreated" in done.stderr and made[0].read_bytes().startswith(b"age-encryption.org/v1\n")
    whole = json.loads(shell.run("consolidate", "p", "latest", "--json", "--no-input", "-i", keys[0], password=None).stdout)
    grow(small, 5)
    assert run(shell, "-i", keys[0])["mode"] == "incremental"
    assert entries(shell)[-1]["depends_on"] == [whole["id"]] or whole["id"] in entries(shell)[-1]["depends_on"]
    shell.run("prune", "p", "--keep-last", "1", "--yes", password=None)
    shell.run("restore", "latest", *reading, "--to", tmp_path / "last", "--setuid", "-i", keys[1], password=None)
    assert snapshot(tmp_path / "last") == snapshot(small)
    assert b"recipients" in shell.run("rotate-key", "p", password=None, status=64).stderr


def test_between_a_password_and_recipients_the_next_backup_is_full(shell, small, tmp_path, keys):  # noqa: F811
    shell.profile("p", small, "--mode", "incremental")
    shell.run("run", "p")
    shell.tbk.run("tbk-config", "set", "recipients", ONE.recipient)
    grow(small, 1)
    assert run(shell, "-i", keys[0])["mode"] == "full"
    shell.run("profile", "edit", "p", "--no-recipients")
    grow(small, 2)
    assert b"password" in shell.run("run", "p", "--no-input", password=b"wrong", status=77).stderr
    assert json.loads(shell.run("run", "p", "--json").stdout)["mode"] == "full"
    grow(small, 3)
    assert json.loads(shell.run("run", "p", "--json").stdout)["mode"] == "incremental"
    grow(small, 4)
    # For one run only, with recipients from a file.
    assert run(shell, "-R", file(tmp_path / "to", "# one\n" + ONE.recipient))["mode"] == "full"
    assert [name[-3:] for name, _ in archives(shell)] == ["tbk", "age", "tbk", "tbk", "age"]
    # Nothing is signed: anyone who knows the recipient could have made them.
    reading = ["latest", "-p", "p", "--to", tmp_path / "out", "--setuid", "-i", keys[0]]
    assert b"--unsigned" in shell.run("restore", *reading, status=77).stderr
    shell.run("restore", *reading, "--unsigned")
    assert snapshot(tmp_path / "out") == snapshot(small)
    shell.run("verify", "--all", "-p", "p", "--unsigned", "-i", keys[0])
    shutil.rmtree(tmp_path / "out")
    shell.run("restore", "latest~1", "-p", "p", "--to", tmp_path / "out")
    put(tmp_path / "new", b"another horse")
    shell.run("rotate-key", "p", "--new-password-file", tmp_path / "new")
    shell.run("restore", "latest~1", "-p", "p", "--to", tmp_path / "again", password=b"another horse")


def test_the_first_password_of_a_group_that_had_recipients(shell, small):  # noqa: F811
    shell.profile("p", small, "--recipient", ONE.recipient)
    run(shell)
    grow(small, 1)
    assert json.loads(shell.run("run", "p", "--json", "--suite", "3").stdout)["mode"] == "full"
    shell.run("verify", "latest", "-p", "p")
    shell.run("schedule-run", "p", "--check", password=None)


def test_what_is_no_recipient(shell, small, tmp_path):  # noqa: F811
    shell.run("init")
    for words in (["--recipient", "age1nonsense"], ["-R", file(tmp_path / "empty", "# none")],
                  ["--recipient", ONE.recipient, "--no-recipients"]):
        assert shell.run("profile", "create", "p", "--source", small, *words, status=65 if "-R" in words else 64).stdout == b""
    shell.run("profile", "create", "p", "--source", small)
    shell.run("run", "p", "-r", ONE.recipient, "--suite", "3", status=64)
    shell.run("run", "p", "-r", "age1nonsense", status=64)


def sealed_identity(shell, keys, tmp_path, password):
    """An identity file encrypted with a passphrase, in armor, as `age -p` writes it."""
    stanza = age.Passphrase(password).wrap(bytes(range(16)), bytes(16), 10)
    header = age.header(bytes(range(16)), [stanza])
    path = tmp_path / "sealed"
    put(path, age.armor(header + age.payload(bytes(range(16)), open(keys[0], "rb").read(), bytes(16))), 0o600)
    return str(path)


def test_a_package_to_recipients(shell, small, tmp_path, keys):  # noqa: F811
    packages = tmp_path / "packages"
    packages.mkdir()
    shell.run("init")
    shell.tbk.run("tbk-config", "set", "package_dir", str(packages))
    shell.run("package", small, "-r", ONE.recipient, "-R", file(tmp_path / "to", TWO.recipient), "--no-input", password=None)
    archive = (packages / "small.age").read_bytes()
    assert age.read(archive, ONE) == age.read(archive, TWO)
    assert not (shell.home / "package-check.tbk").exists()
    for at, key in enumerate(keys):
        shell.run("unpack", "small", "--to", tmp_path / f"out{at}", "--setuid", "--no-input", "-i", key, password=None)
        assert snapshot(tmp_path / f"out{at}") == snapshot(small)
    # The recipients of config.json, unless a suite is given.
    shell.tbk.run("tbk-config", "set", "recipients", ONE.recipient)
    shell.run("package", small, "-o", tmp_path / "configured", "--no-input", password=None)
    assert age.read((tmp_path / "configured").read_bytes(), ONE)
    shell.run("package", small, "--suite", "3")
    assert (packages / "small.tbk").read_bytes().startswith(b"TBK2")
    assert b"two packages" in shell.run("unpack", "small", "--to", tmp_path / "no", status=64).stderr
    shell.run("unpack", packages / "small.tbk", "--to", tmp_path / "again", "--setuid")
    assert snapshot(tmp_path / "again") == snapshot(small)
    for words in (["-r", ONE.recipient, "--suite", "3"], ["-r", ONE.recipient, "--new-password"], ["-r", "age1nonsense"],
                  ["-r", ONE.recipient, "--level", "0"]):
        shell.run("package", small, "-o", tmp_path / "none", *words, status=64)
    assert not (tmp_path / "none").exists() and not (tmp_path / "no").exists()


def test_a_package_to_recipients_opens_with_stock_tools(shell, small, tmp_path):  # noqa: F811
    require("age", "age-keygen", "zstd", "tar")
    subprocess.run(["age-keygen", "-o", tmp_path / "stock"], check=True, capture_output=True)
    recipient = subprocess.run(["age-keygen", "-y", tmp_path / "stock"], check=True, capture_output=True, text=True).stdout.strip()
    shell.run("init")
    shell.run("package", small, "-o", tmp_path / "x.age", "-r", recipient, "--no-input", password=None)
    (tmp_path / "out").mkdir()
    subprocess.run(f"age -d -i '{tmp_path}/stock' '{tmp_path}/x.age' | zstd -d | tar -C '{tmp_path}/out' -xp", shell=True, check=True)
    (tmp_path / "out" / "manifest.json").unlink()
    assert without(snapshot(tmp_path / "out"), "mtime") == without(snapshot(small), "mtime")


@pytest.mark.parametrize("way", ["file", "command", "descriptor", "pipe"])
def test_an_identity_under_a_password(way, shell, small, tmp_path, keys):  # noqa: F811
    sealed = sealed_identity(shell, keys, tmp_path, b"the identity's own")
    secret = put(tmp_path / "secret", b"the identity's own\n", 0o600)
    shell.profile("p", small, "--mode", "incremental", "--recipient", ONE.recipient)
    shell.run("generate-key", "--enable", "--no-password", password=None)
    run(shell)

    def given():
        """The options, and the keyword arguments for the descriptor."""
        if way == "file":
            return ["--identity-password-file", tmp_path / "secret"], {}
        if way == "command":
            return ["--identity-password-command", f"cat '{tmp_path}/secret'"], {}
        if way == "pipe":
            os.mkfifo(tmp_path / "fifo")
            subprocess.Popen(["sh", "-c", 'cat "$0" >"$1"', tmp_path / "secret", tmp_path / "fifo"])
            return ["--identity-password-file", tmp_path / "fifo"], {}
        return ["--identity-password-fd", "0"], {"stdin": open(tmp_path / "secret", "rb")}

    def with_identity(verb, *words, **options):
        more, opened = given()
        done = shell.run(verb, *words, "--no-input", "-i", sealed, *more, password=None, **opened, **options)
        if way == "pipe":
            os.unlink(tmp_path / "fifo")
        return done
    reading = ["latest", "-p", "p", "--setuid"]
    with_identity("restore", *reading, "--to", tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(small)
    before = entries(shell)[-1]["id"]
    grow(small, 1)
    assert json.loads(with_identity("run", "p", "--json").stdout)["mode"] == "incremental"
    assert b"file1" in with_identity("diff", before, "latest", "-p", "p", status=1).stdout
    with_identity("verify", "latest", "-p", "p")
    with_identity("consolidate", "p", "latest")
    with_identity("restore", *reading, "--to", tmp_path / "all")
    assert snapshot(tmp_path / "all") == snapshot(small)
    shell.run("package", small, "-o", tmp_path / "x.age", "-r", ONE.recipient, password=None)
    with_identity("unpack", tmp_path / "x.age", "--to", tmp_path / "unpacked", "--setuid")
    assert snapshot(tmp_path / "unpacked") == snapshot(small)
    # With a wrong password, and in combinations that are refused.
    put(tmp_path / "secret", b"wrong\n", 0o600)
    with_identity("restore", *reading, "--to", tmp_path / "no", status=77)
    assert not (tmp_path / "no").exists()
    shell.run("restore", *reading, "--to", tmp_path / "no", "--identity-password-file", secret, password=None, status=64)
    shell.run("restore", *reading, "--to", tmp_path / "no", "-i", sealed, "--identity-password-file", secret,
              "--identity-password-command", "true", password=None, status=64)
