"""Every command and every verb once, for `make check`. Each test is named after what it runs; the details are tested
elsewhere."""

import json
import os
import shutil
import signal

import pytest
from conftest import BIN, FAST, PATIENCE, VERBS, Commands, make_tree, put, require, snapshot
from github_fixture import NUMBERS, TOKEN, github_server  # noqa: F401
from keyring_fixture import session  # noqa: F401
from package_fixture import Mbu
from webhook_fixture import running

NAMES = sorted(path.name for path in BIN.iterdir()) if BIN.is_dir() else []


class Machine(Commands):
    """A home with a signing key and a profile with two backups; its source has changed since."""

    def __init__(self, scratch):
        super().__init__(scratch)
        self.environment["TERMBACKUP_PASSWORD_FILE"] = str(self.password_file)
        self.at = scratch
        self.source = make_tree(scratch / "source")
        self.store = scratch / "home" / ".termbackup" / "store"

    def verb(self, name, *arguments, **options):
        return self.run("termbackup", name, *map(str, arguments), **options).out

    def ids(self):
        return [line.split("\t")[0] for line in self.run("tbk-pull", self.store, "--list").lines]

    def until(self, word, *command):
        """Starts a command that runs until it is stopped, waits for a word in its output, and stops it."""
        process = self.start(*command)
        seen = b""
        while word not in seen:
            data = os.read(process.stdout.fileno(), 65536)
            assert data, process.communicate()
            seen += data
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, seen + out, err


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    top = tmp_path_factory.mktemp("smoke")
    (top / "machine").mkdir()
    machine = Machine(top / "machine")
    machine.verb("init")
    machine.verb("profile", "create", "docs", "--source", machine.source, "--mode", "incremental")
    machine.verb("generate-key", "--enable", "--no-password")
    machine.verb("run", "docs")
    put(os.path.join(machine.source, "second"), b"second\n")
    machine.verb("run", "docs")
    put(os.path.join(machine.source, "third"), b"third\n")
    shutil.copytree(top / "machine", top / "template", symlinks=True)
    return machine, top / "template"


@pytest.fixture
def machine(template):
    """The machine with its files as they were made, in the same place."""
    made, kept = template
    shutil.rmtree(made.at)
    shutil.copytree(kept, made.at, symlinks=True)
    return made


def test_each_has_one():
    """Every existing command and verb."""
    assert NAMES and VERBS
    wanted = {*NAMES, *(f"termbackup-{verb}" for verb in VERBS)}
    named = {name.removeprefix("test_") for name in globals() if name.startswith(("test_tbk_", "test_termbackup"))}
    assert named == {name.replace("-", "_") for name in wanted}


@pytest.mark.parametrize("words", [*([name] for name in NAMES), *(["termbackup", verb] for verb in VERBS)], ids=" ".join)
def test_each_tells_its_version_and_its_usage(words, tbk):
    assert tbk.run(*words, "--version").out
    assert b"usage: " in tbk.run(*words, "--help").out.lower()


# Commands


def test_tbk_manifest(machine):
    manifest = machine.manifest(machine.source)
    machine.run("tbk-manifest", "check", "-", machine.source, input=manifest)
    put(os.path.join(machine.source, "fourth"))
    machine.run("tbk-manifest", "check", "-", machine.source, input=manifest, status=1)


def test_tbk_seal(machine):
    archive = machine.run("tbk-seal", *FAST, "-C", machine.source, input=machine.manifest(machine.source)).out
    assert archive.startswith(b"TBK2")
    machine.open(archive, "--verify")


def test_tbk_open(machine):
    machine.extract(machine.seal(machine.source), machine.at / "out", "--setuid")
    assert snapshot(machine.at / "out") == snapshot(machine.source)
    machine.open(machine.seal(machine.source), "--verify", password=b"wrong", status=77)


def test_tbk_push(machine):
    (machine.at / "new").mkdir()
    pushed = machine.run("tbk-push", machine.at / "new", input=machine.seal(machine.source)).lines
    assert len(pushed) == 1


def test_tbk_store(machine):
    machine.run("tbk-store", "create", machine.at / "new")
    machine.run("tbk-push", machine.at / "new", input=machine.seal(machine.source))
    assert machine.run("tbk-store", "check", machine.at / "new", "--stored").out == b""


def test_tbk_pull(machine):
    first, second = machine.ids()
    assert machine.run("tbk-pull", machine.store, first).out.startswith(b"TBK2")
    put(machine.at / "chain", machine.run("tbk-pull", "--chain", machine.store, second).out)
    machine.run("tbk-open", "--chain", "--verify", machine.at / "chain")


def test_tbk_prune(machine):
    kept = machine.ids()
    assert b"remove" not in machine.run("tbk-prune", machine.store, "--keep-last", "1", "--dry-run").out
    assert machine.ids() == kept


def test_tbk_sign(machine):
    keys = ["--private", machine.at / "k", "--public", machine.at / "k.pub"]
    machine.run("tbk-sign", "keygen", "--no-password", *keys)
    archive = machine.seal(machine.source)
    put(machine.at / "signature", machine.run("tbk-sign", "sign", "--key", machine.at / "k", input=archive).out)
    verify = ["tbk-sign", "verify", "--key", machine.at / "k.pub", machine.at / "signature"]
    machine.run(*verify, input=archive)
    machine.run(*verify, input=archive + b"x", status=1)


def test_tbk_keygen(machine):
    recipient, = machine.run("tbk-keygen", "-o", machine.at / "identity").err.decode().split()[-1:]
    assert recipient.startswith("age1") and machine.run("tbk-keygen", "-y", machine.at / "identity").lines == [recipient]


def test_tbk_audit(machine):
    assert len(machine.run("tbk-audit", "show").lines) > 3
    machine.run("tbk-audit", "verify")


def test_tbk_config(machine):
    assert machine.run("tbk-config", "path").lines == [str(machine.home / ".termbackup")]
    machine.run("tbk-config", "set", "restore_dir", str(machine.at))
    assert machine.run("tbk-config", "get", "restore_dir").lines == [str(machine.at)]
    machine.run("tbk-config", "validate")


def test_tbk_watch(machine):
    done = machine.run("tbk-watch", "--initial", "--timeout", "0.01", machine.source, status=75)
    assert done.lines[0] == "unknown\t."


def test_tbk_token(machine, github_server):  # noqa: F811
    github_server.token(TOKEN, login="me")
    env = {"TERMBACKUP_GITHUB_API": github_server.api, "TERMBACKUP_TOKEN": TOKEN}
    assert b"me" in machine.run("tbk-token", env=env).out
    machine.run("tbk-token", env={**env, "TERMBACKUP_TOKEN": TOKEN[::-1]}, status=77)


def test_tbk_notify(machine):
    with running() as service:
        put(machine.at / "url", service.url.encode(), 0o600)
        put(machine.at / "report", json.dumps({"profile": "docs", "status": "success"}).encode())
        machine.run("tbk-notify", "--url-file", machine.at / "url", machine.at / "report")
        assert service.bodies[0]["profile"] == "docs"


def test_tbk_store_rclone(machine):
    require("rclone")
    put(machine.at / "rclone.conf")
    env = {"RCLONE_CONFIG": str(machine.at / "rclone.conf")}
    address = f"rclone::local:{machine.at}/remote"
    machine.run("tbk-store", "create", address, env=env)
    machine.run("tbk-push", address, input=machine.seal(machine.source), env=env)
    machine.open(machine.run("tbk-pull", address, "latest", env=env).out, "--verify")


def test_termbackup(machine):
    assert b"shell" in machine.verb("--version")
    assert b"usage: termbackup run " in machine.verb("help", "run", env={"PATH": machine.environment["PATH"], "MANPATH": "/none"}) \
        or shutil.which("man")
    machine.verb("no-such-verb", status=64)


# Verbs


def test_termbackup_init(machine):
    env = {"TERMBACKUP_HOME": str(machine.at / "other")}
    machine.verb("init", env=env)
    assert (machine.at / "other" / "config.json").exists()


def test_termbackup_profile(machine):
    assert b"docs" in machine.verb("profile", "list")
    machine.verb("profile", "edit", "docs", "--max-backups", "3")
    assert json.loads(machine.verb("profile", "show", "docs", "--json"))["max_backups"] == 3
    machine.verb("profile", "validate")


def test_termbackup_generate_key(machine):
    machine.verb("generate-key", "--no-password", status=73)
    before = machine.run("tbk-sign", "fingerprint", "--key", machine.home / ".termbackup" / "signing_key.pub").out
    machine.verb("generate-key", "--no-password", "--force")
    assert machine.run("tbk-sign", "fingerprint", "--key", machine.home / ".termbackup" / "signing_key.pub").out != before


def test_termbackup_generate_identity(machine):
    machine.verb("generate-identity", "docs")
    assert b"AGE-SECRET-KEY-1" in machine.verb("generate-identity", "docs", "--print")
    machine.verb("run", "docs")
    assert len(machine.ids()) == 3


def test_termbackup_run(machine):
    machine.verb("run", "docs")
    assert len(machine.ids()) == 3


def test_termbackup_list(machine):
    assert all(identity[:12].encode() in machine.verb("list", "docs") for identity in machine.ids())


def test_termbackup_restore(machine):
    os.unlink(os.path.join(machine.source, "third"))
    machine.verb("restore", "latest", "-p", "docs", "--to", machine.at / "out", "--setuid")
    assert {name for name in snapshot(machine.at / "out")} == {name for name in snapshot(machine.source)}


def test_termbackup_ls(machine):
    assert b"second\n" in machine.verb("ls", "latest", "-p", "docs")


def test_termbackup_find(machine):
    assert machine.verb("find", "second", "-p", "docs").split()[-1] == b"second"


def test_termbackup_cat(machine):
    assert machine.verb("cat", "latest", "second", "-p", "docs") == b"second\n"


def test_termbackup_verify(machine):
    machine.verb("verify", "--all", "-p", "docs")
    archive = next((machine.store / "backups").iterdir())
    put(archive, archive.read_bytes()[:-1] + b"?")
    machine.verb("verify", "--all", "-p", "docs", status=1)


def test_termbackup_diff(machine):
    assert b"second" in machine.verb("diff", *machine.ids(), "-p", "docs", status=1)


def test_termbackup_prune(machine):
    machine.verb("consolidate", "docs", "latest")
    machine.verb("prune", "docs", "--keep-last", "1", "--yes")
    assert len(machine.ids()) == 1


def test_termbackup_consolidate(machine):
    machine.verb("consolidate", "docs", "latest")
    machine.extract(machine.run("tbk-pull", machine.store, "latest").out, machine.at / "out")


def test_termbackup_rotate_key(machine):
    machine.verb("rotate-key", "docs", env={"TERMBACKUP_NEW_PASSWORD": "another"})
    machine.verb("verify", "--all", "-p", "docs", status=77)
    put(machine.password_file, b"another")
    machine.verb("verify", "--all", "-p", "docs")


def test_termbackup_package(machine):
    machine.verb("package", machine.source, "-o", machine.at / "package.tbk")
    machine.open((machine.at / "package.tbk").read_bytes(), "--verify")


def test_termbackup_unpack(machine):
    put(machine.at / "package.tbk", machine.seal(machine.source))
    machine.verb("unpack", machine.at / "package.tbk", "--to", machine.at / "out", "--setuid")
    assert snapshot(machine.at / "out") == snapshot(machine.source)


def test_termbackup_import_mbu(machine):
    old = Mbu(machine.at / "mbu")
    put(machine.at / "small" / "file", b"text\n")
    old.package(str(machine.at / "small"))
    machine.verb("import-mbu", old.config, "--reseal", "--packages", old.packaging)
    machine.verb("unpack", "small", "--to", machine.at / "out")
    assert (machine.at / "out" / "file").read_bytes() == b"text\n"


def test_termbackup_daemon(machine):
    status, _, _ = machine.until(b'"success"', "termbackup", "daemon", "docs", "-i", "60", "--json")
    assert status == 143 and len(machine.ids()) == 3


def test_termbackup_watch(machine):
    status, _, _ = machine.until(b'"success"', "termbackup", "watch", "docs", "--json")
    assert status == 143 and len(machine.ids()) == 3


@pytest.fixture
def timetable(machine):
    """A crontab(1) that keeps its table in a file."""
    table = machine.at / "table"
    put(machine.at / "tools" / "crontab", f"""#!/bin/sh
        case $1 in
        -l) cat '{table}' 2>/dev/null || {{ echo 'no crontab for ada' >&2; exit 1; }} ;;
        -r) rm '{table}' ;;
        *) cat "$1" >'{table}' ;;
        esac
        """.lstrip().encode(), 0o755)
    path = machine.environment["PATH"]
    machine.environment["PATH"] = f"{machine.at}/tools:{path}"
    yield table
    machine.environment["PATH"] = path


def test_termbackup_schedule_enable(machine, timetable):
    machine.verb("schedule-enable", "docs", "--password-file", machine.password_file)
    assert b"schedule-run" in timetable.read_bytes()


def test_termbackup_schedule_disable(machine, timetable):
    machine.verb("schedule-enable", "docs", "--password-file", machine.password_file)
    machine.verb("schedule-disable", "docs")
    assert not timetable.exists() or b"schedule-run" not in timetable.read_bytes()


def test_termbackup_schedule_status(machine, timetable):
    machine.verb("schedule-enable", "docs", "--password-file", machine.password_file)
    assert b"docs" in machine.verb("schedule-status")


def test_termbackup_schedule_run(machine):
    machine.verb("schedule-run", "docs")
    assert len(machine.ids()) == 3


def test_termbackup_status(machine):
    assert b"docs" in machine.verb("status")


def test_termbackup_doctor(machine):
    assert machine.verb("doctor", status={0, 1})


def test_termbackup_audit_log(machine):
    assert b"backup_id=" in machine.verb("audit-log")
    machine.verb("audit-log", "--verify")


def test_termbackup_clean(machine):
    left = put(machine.home / ".termbackup" / "tmp" / "run.999999999.0" / "x", b"x")
    machine.verb("clean")
    assert not os.path.exists(left)


def test_termbackup_migrate(machine):
    machine.verb("migrate")
    machine.verb("migrate", "--archives", "docs")


def test_termbackup_token_info(machine, github_server):  # noqa: F811
    github_server.token(TOKEN, login="me")
    env = {"TERMBACKUP_GITHUB_API": github_server.api, "TERMBACKUP_TOKEN": TOKEN}
    assert b"me" in machine.verb("token-info", env=env)


def test_termbackup_update_token(machine, github_server, session):  # noqa: F811
    github_server.token(TOKEN, login="me")
    env = {"TERMBACKUP_GITHUB_API": github_server.api, "TERMBACKUP_TOKEN": TOKEN, **session.address}
    machine.verb("update-token", env=env)
    assert session.token() == TOKEN.encode()
