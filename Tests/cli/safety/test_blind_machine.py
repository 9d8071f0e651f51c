"""A machine that makes backups without a secret: neither its files nor its processes contain anything that opens one."""

import base64
import json
import os
import pathlib
import pty
import re
import shutil
import subprocess
import time

import pytest
from conftest import BIN, PASSWORD, PATIENCE, put, require, snapshot
from needs import absent
from shell_fixture import Shell
from tbkref import age
from test_rotate_key import COMMANDS, wrapped

BECH32 = re.compile(rb"AGE-SECRET-KEY-1[0-9A-Z]{58}", re.IGNORECASE)
PEM = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END")
HEX = re.compile(rb"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])")
BASE64 = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{43}=?(?![A-Za-z0-9+/_=-])")


def decoded(text):
    """The 32 bytes of an identity in bech32."""
    values = [age.ALPHABET.index(char) for char in text.decode().lower().rpartition("1")[2][:-6]]
    bits = "".join(f"{value:05b}" for value in values)
    return bytes(int(bits[at:at + 8], 2) for at in range(0, 256, 8))


def keys_in(data):
    """Everything that may be a key of 32 bytes, in the usual encodings of keys."""
    found = set()
    for text in BECH32.findall(data):
        try:
            found.add(decoded(text))
        except ValueError:
            pass
    for text in PEM.findall(data):
        try:
            found.add(base64.b64decode(b"".join(text.split()))[-32:])
        except ValueError:
            pass
    found.update(bytes.fromhex(text.decode()) for text in HEX.findall(data))
    for text in BASE64.findall(data):
        found.add(base64.urlsafe_b64decode(text.rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_") + b"="))
    return {key for key in found if len(key) == 32}


def opened(keys, sealed):
    """The pairs of a key and a file that it opens."""
    found = []
    for key in keys:
        identity = age.Identity(key)
        for path in sealed:
            try:
                age.read(path.read_bytes(), identity)
            except ValueError:
                continue
            found.append((key, path))
    return found


def in_files(home):
    data = []
    for path in home.rglob("*"):
        if home / "store" not in path.parents and path.is_file():
            data.append(path.read_bytes())
    return b"\n".join(data)


def memory(process):
    """The process's memory as root can read it; these programs disable core dumps."""
    data = []
    try:
        with open(f"/proc/{process}/mem", "rb", 0) as file:
            for line in pathlib.Path(f"/proc/{process}/maps").read_text().splitlines():
                first, last = (int(number, 16) for number in line.split()[0].split("-"))
                if line.split()[1].startswith("r") and "[v" not in line:
                    try:
                        file.seek(first)
                        data.append(file.read(last - first))
                    except (OSError, ValueError):
                        pass
    except PermissionError:
        absent("the right to read the memory of processes")
    except (FileNotFoundError, ProcessLookupError):
        pass  # The process has ended.
    return b"\n".join(data)


def of_session(session):
    """The processes of a session by number, each with its arguments and environment."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                found[int(folder.name)] = (folder / "cmdline").read_bytes() + b"\0"
                found[int(folder.name)] += (folder / "environ").read_bytes()
        except PermissionError:
            # The process is not dumpable; its environment is also in its memory, for those who may read that.
            pass
        except (OSError, ValueError):
            pass
    return found


@pytest.fixture
def machine(tbk, tmp_path):
    """A profile `docs` whose identity is in the store, with two backups."""
    shell = Shell(tbk, tmp_path, ["dash"])
    source = tmp_path / "source"
    put(source / "large", os.urandom(8 << 20))
    shell.profile("docs", source, "--mode", "incremental")
    shell.run("generate-identity", "docs")
    for number in range(2):
        put(source / f"{number}", b"%d" % number)
        shell.run("run", "docs", "--no-input", password=None)
    return shell


def sealed_in(shell):
    return [path for folder in ("backups", "manifests") for path in (shell.home / "store" / folder).iterdir()]


def theirs(shell):
    """The identity that the password opens."""
    file, = (shell.home / "store" / "keys").iterdir()
    return decoded(BECH32.search(age.read(file.read_bytes(), age.Passphrase(PASSWORD)))[0])


def test_nothing_in_the_files_opens_a_backup(machine):
    keys = keys_in(in_files(machine.home))
    # Among them the machine's own identity, the signing key, ids and hashes.
    assert len(keys) > 5 and opened(keys, sealed_in(machine)) == []
    assert PASSWORD not in in_files(machine.home)
    # Proves that the search finds an identity.
    real = theirs(machine)
    for text in (age.Identity(real).text.encode(), real.hex().encode(), base64.b64encode(real),
                 b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(b"x" * 16 + real) + b"\n-----END PRIVATE KEY-----\n"):
        put(machine.home / "cache" / "planted", b"key: " + text + b"\n")
        assert {key for key, _ in opened(keys_in(in_files(machine.home)), sealed_in(machine))} == {real}


def test_nothing_in_the_processes_of_a_run_opens_a_backup(machine, tmp_path):
    """tbk-seal has sealed half of the archive, and tbk-push has read part of it."""
    if os.geteuid() != 0:
        absent("root, who reads the memory of other processes")
    put(tmp_path / "source" / "large", os.urandom(8 << 20))
    machine.lib = wrapped(tmp_path, f"""
        if test "$1" = tbk-push; then
            shift
            {{
                head -c 300000
                : >'{tmp_path}/reached'
                until test -e '{tmp_path}/go'; do sleep 0.1; done
                cat
            }} | '{BIN}/tbk-push' "$@"
            exit
        fi""", COMMANDS)
    process = subprocess.Popen(machine.command("run", "docs", "--full", "--no-input"), env=machine.environment_with(None, {}),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "reached").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        # Lets both go as far as they can.
        time.sleep(0.5)
        processes = of_session(process.pid)
        names = b"\n".join(processes.values())
        assert b"tbk-seal\0" in names and b"tbk-push\0" in names
        seen = names + b"\n" + b"\n".join(memory(number) for number in processes) + in_files(machine.home)
    finally:
        put(tmp_path / "go", b"")
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    sealed = sealed_in(machine)
    assert len(sealed) == 6
    # Proves that the search covers data that must be in memory.
    (recipient,) = json.loads(machine.run("profile", "show", "docs", "--json", password=None).stdout)["recipients"]
    assert recipient.encode() in seen
    assert PASSWORD not in seen
    keys = keys_in(seen)
    assert len(keys) > 5 and opened(keys, sealed) == []


# Archives planted by an attacker


@pytest.fixture
def fresh(machine, tmp_path):
    """A machine for restores: it trusts the key of the first one, and has not seen the store."""
    other = Shell(machine.tbk, tmp_path, ["dash"])
    other.home = tmp_path / "fresh"
    other.environment["TERMBACKUP_HOME"] = str(other.home)
    other.run("init")
    put(other.home / "trusted_keys" / "first.pub", (machine.home / "signing_key.pub").read_bytes())
    return other


def planted(machine, tmp_path):
    """An attacker who knows the recipient makes a store with a backup for it, in the same group. Returns the directory."""
    (recipient,) = json.loads(machine.run("profile", "show", "docs", "--json", password=None).stdout)["recipients"]
    (group,) = json.loads((machine.home / "store" / "metadata.json").read_bytes())["groups"]
    attacker = Shell(machine.tbk, tmp_path, ["dash"])
    attacker.home = tmp_path / "attacker"
    attacker.environment["TERMBACKUP_HOME"] = str(attacker.home)
    put(tmp_path / "evil" / "run-me", b"evil")
    attacker.run("init")
    attacker.run("profile", "create", "docs", "--source", tmp_path / "evil", "--recipient", recipient, password=None)
    profile = json.loads((attacker.home / "profiles" / "docs.json").read_text())
    put(attacker.home / "profiles" / "docs.json", json.dumps({**profile, "group": group}).encode(), 0o600)
    attacker.run("generate-key", "--enable", "--no-password", password=None)
    attacker.run("run", "docs", "--no-input", password=None)
    return attacker.home / "store"


def test_an_archive_that_lies_in_the_store_is_no_backup(machine, fresh, tmp_path):
    store = machine.home / "store"
    evil = planted(machine, tmp_path)
    entry, = json.loads((evil / "metadata.json").read_bytes())["backups"]
    shutil.copy(evil / "backups" / entry["filename"], store / "backups")
    fresh.run("restore", entry["id"], "--store", store, "--to", tmp_path / "out", status=69)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed by another"])
def test_a_store_that_was_put_in_the_place_of_another_is_refused(machine, fresh, tmp_path, signed):
    """Its ledger names what was planted. Tried on a machine that has seen no store, and on the one that made the backups."""
    store, evil = machine.home / "store", planted(machine, tmp_path)
    if not signed:
        text = json.loads((evil / "metadata.json").read_bytes())
        del text["ledger_signature"]
        (evil / "metadata.json").write_text(json.dumps(text))
    # The sealed identity is in its usual place.
    keys, groups = list((store / "keys").iterdir()), json.loads((store / "metadata.json").read_bytes())["groups"]
    (evil / "keys").mkdir(exist_ok=True)
    for path in keys:
        shutil.copy(path, evil / "keys")
    if not signed:
        text["groups"] = groups
        (evil / "metadata.json").write_text(json.dumps(text))
    store.rename(tmp_path / "stolen")
    shutil.copytree(evil, store)
    real = tmp_path / "identity"
    put(real, age.Identity(theirs_of(tmp_path / "stolen")).text.encode() + b"\n", 0o600)
    said = fresh.run("restore", "latest", "--store", store, "--to", tmp_path / "out", "-i", real, status=65 if signed else 77).stderr
    machine.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", status=65)
    assert not (tmp_path / "out").exists()
    if signed:
        assert b"trusted_keys" in said
        return
    assert b"no trusted key has signed" in said and b"--unsigned" in said
    # It does open, as it is sealed to the recipient: only the ledger shows that it is forged.
    fresh.run("restore", "latest", "--store", store, "--to", tmp_path / "out", "-i", real, "--unsigned")
    assert (tmp_path / "out" / "run-me").read_bytes() == b"evil"


def theirs_of(store):
    file, = (store / "keys").iterdir()
    return decoded(BECH32.search(age.read(file.read_bytes(), age.Passphrase(PASSWORD)))[0])


def test_one_that_is_put_into_the_ledger_without_the_key_is_refused(machine, fresh, tmp_path):
    store, evil = machine.home / "store", planted(machine, tmp_path)
    entry, = json.loads((evil / "metadata.json").read_bytes())["backups"]
    for folder, name in (("backups", entry["filename"]), ("manifests", entry["manifest"]["filename"])):
        shutil.copy(evil / folder / name, store / folder)
    ledger = json.loads((store / "metadata.json").read_bytes())
    ledger["backups"].append(entry)
    (store / "metadata.json").write_text(json.dumps(ledger))
    for shell, words in ((machine, ["-p", "docs"]), (fresh, ["--store", store])):
        shell.run("restore", "latest", *words, "--to", tmp_path / "out", status=65)
    del ledger["ledger_signature"]
    (store / "metadata.json").write_text(json.dumps(ledger))
    machine.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", status=65)
    assert b"no trusted key has signed" in fresh.run("restore", "latest", "--store", store, "--to", tmp_path / "out", status=77).stderr
    assert not (tmp_path / "out").exists()


# With stock tools


def typed(answers, *command):
    """Runs a program with prompts on a terminal; returns its standard output, which is a file."""
    process, terminal = pty.fork()
    if process == 0:
        os.execvp(command[0], list(map(str, command)))
    shown = b""
    while True:
        try:
            data = os.read(terminal, 1000)
        except OSError:
            break
        if not data:
            break
        shown += data
        if answers and answers[0][0] in shown.lower():
            os.write(terminal, answers.pop(0)[1] + b"\n")
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, shown


def test_stock_age_opens_the_identity_file_and_the_archive(machine, tmp_path):
    require("age", "zstd", "tar")
    file, = (machine.home / "store" / "keys").iterdir()
    entry = json.loads((machine.home / "store" / "metadata.json").read_bytes())["backups"][0]
    archive = machine.home / "store" / "backups" / entry["filename"]
    typed([(b"passphrase", PASSWORD)], "age", "-d", "-o", tmp_path / "identity", file)
    assert decoded(BECH32.search((tmp_path / "identity").read_bytes())[0]) == theirs(machine)
    # Or with the encrypted identity file itself.
    typed([(b"passphrase", PASSWORD)], "age", "-d", "-i", file, "-o", tmp_path / "payload", archive)
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "--zstd", "-xf", tmp_path / "payload", "-C", tmp_path / "out", "--exclude=manifest.json"], check=True,
                   capture_output=True)
    machine.run("restore", entry["id"], "-p", "docs", "--to", tmp_path / "ours", "--setuid")
    assert snapshot(tmp_path / "out").keys() == snapshot(tmp_path / "ours").keys()
