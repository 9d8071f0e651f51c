"""examples/: each one is run, as far as this machine allows."""

import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile

import pytest
import yaml
from action_fixture import Runner, site  # noqa: F401
from conftest import BIN, PASSWORD, PATIENCE, REPOSITORY, absent, put, require, snapshot
from github_fixture import TOKEN, github, github_server  # noqa: F401
from shell_fixture import shell  # noqa: F401
from webhook_fixture import running

EXAMPLES = REPOSITORY / "examples"
TESTED = {"Makefile", "github-workflow.yml", "mail.sh", "ntfy.sh", "postgresql.sh", "swift", "systemd"}


def run(*command, status=0, **options):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, **options)
    assert status is None or done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def ids(tbk, store):
    return [line.split("\t")[0] for line in tbk.run("tbk-pull", store, "--list").lines]


def test_every_example_is_in_the_list_and_has_a_test():
    there = {path.name for path in EXAMPLES.iterdir()} - {"README.md"}
    listed = set(re.findall(r"\]\(([\w.-]+)\)", (EXAMPLES / "README.md").read_text()))
    assert there == listed == TESTED


# Makefile


@pytest.fixture
def project(tbk, tmp_path):
    require("make", "find")
    for name in ("tbk-seal", "tbk-push", "tbk-prune"):
        tbk.path(name)
    folder = tmp_path / "project"
    put(folder / "data" / "a file", b"first\n")
    put(folder / ".password", PASSWORD + b"\n", 0o600)
    shutil.copy(EXAMPLES / "Makefile", folder)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return folder, lambda *target, status=0: run("make", *target, cwd=folder, env={**environment, **tbk.environment},
                                                 status=status)


def test_make_backs_up_what_has_changed_and_restores_it(project, tbk):
    folder, make = project
    make("backup")
    assert len(ids(tbk, folder / "backups")) == 1
    assert "Nothing to be done" in make("backup").stdout
    put(folder / "data" / "sub" / "another", b"second\n")
    make("backup")
    assert len(ids(tbk, folder / "backups")) == 2
    make("restore")
    assert snapshot(folder / "restored") == snapshot(folder / "data")
    make("verify")
    make("prune")
    assert sorted(os.listdir(folder)) == sorted([".last-backup", ".password", "Makefile", "backups", "data", "restored"])


def test_make_without_a_password_or_a_store_says_so_and_tries_again(project, tbk):
    folder, make = project
    (folder / ".password").unlink()
    assert "put a password into" in make("backup", status=2).stderr
    put(folder / ".password", PASSWORD + b"\n", 0o600)
    put(folder / "backups" / "metadata.json", b"not a ledger")
    make("backup", status=2)
    assert not (folder / ".last-backup").exists()
    (folder / "backups" / "metadata.json").unlink()
    make("backup")
    assert len(ids(tbk, folder / "backups")) == 1


# Workflow


@pytest.mark.parametrize("kind", ["as it is", "directory"])
def test_workflow(kind, tbk, tmp_path, github, site):  # noqa: F811
    """Every step in order, with a release that the action downloads, against GitHub and against a directory."""
    require("curl")
    workflow = yaml.safe_load((EXAMPLES / "github-workflow.yml").read_text())
    # YAML parses "on" as true; GitHub's schema does, too.
    assert set(workflow) == {"name", True, "permissions", "concurrency", "jobs"}
    assert workflow["permissions"] == {"contents": "read"}
    job = workflow["jobs"]["backup"]
    environment = {**tbk.environment, "PATH": os.environ["PATH"], "GITHUB_SERVER_URL": site[0],
                   "TERMBACKUP_GITHUB_API": github.server.api}
    runner = Runner(tmp_path / "job", environment, {"BACKUP_PASSWORD": "pass word", "BACKUP_TOKEN": TOKEN})
    put(runner.workspace / "src" / "main.c", b"int main(void) { return 0; }\n")
    put(runner.workspace / "node_modules" / "big", b"x" * 1000)
    if kind == "directory":
        job["env"]["STORE"] = str(tmp_path / "store")
        (tmp_path / "store").mkdir()
    else:
        github.server.make_repository("me/backups")
    try:
        done = runner.run_job(job)
    finally:
        if kind != "directory":
            github.server.delete_repository("me/backups")
    assert done.status == 0, done.log
    assert re.fullmatch(r"Backup [0-9a-f]{64} has 1 files in \d+ bytes, and can be restored\.\n",
                        runner.summary.read_text())
    assert (runner.temporary / "restored" / "src" / "main.c").exists()
    assert not (runner.temporary / "restored" / "node_modules" / "big").exists()
    for secret in ("pass word", TOKEN):
        assert secret not in done.log


# systemd


SERVICE = EXAMPLES / "systemd" / "termbackup@.service"


def test_systemd_has_no_complaint(tmp_path):
    require("systemd-analyze")
    for unit in SERVICE.parent.iterdir():
        text = unit.read_text()
        # systemd-analyze requires the command to exist; here it is in another place.
        (tmp_path / unit.name).write_text(text.replace("=termbackup ", f"={BIN / 'termbackup'} "))
    if not (BIN / "termbackup").exists():
        absent("termbackup")
    done = run("systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir())), status=None)
    if "Failed to initialize manager" in done.stderr or "not been booted" in done.stderr:
        absent("a machine where systemd-analyze verify works")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.fixture
def installed(tmp_path):
    """A root directory in which the service is installed by its own instructions."""
    root = tmp_path / "root"
    (root / "etc" / "systemd" / "system").mkdir(parents=True)
    steps = re.findall(r"^#   ((?:install|cp|systemctl) .*?)(?: {3,}.*)?$", SERVICE.read_text(), re.MULTILINE)
    assert [step.split()[0] for step in steps] == ["install", "install", "cp", "systemctl"]
    if not shutil.which("systemctl"):
        steps.pop()
    for step in steps:
        step = step.replace(" /etc/", f" {root}/etc/").replace("systemctl enable --now", f"systemctl --root={root} enable")
        done = subprocess.run(["sh", "-c", step], cwd=SERVICE.parent, input=PASSWORD.decode() + "\n", text=True,
                              capture_output=True, timeout=PATIENCE)
        assert done.returncode == 0, f"{step}: {done.stderr}"
    return root


def test_the_service_is_installed_by_its_own_instructions(installed):
    require("systemctl")
    wants = installed / "etc" / "systemd" / "system" / "timers.target.wants"
    assert os.readlink(wants / "termbackup@notes.timer").endswith("/etc/systemd/system/termbackup@.timer")
    folder = installed / "etc" / "termbackup"
    assert (folder.stat().st_mode & 0o777, (folder / "notes.password").stat().st_mode & 0o777) == (0o700, 0o600)


def test_the_service_runs_with_the_credential_that_systemd_hands_it(tbk, tmp_path, installed):
    """Its command and its environment, with %i and %d filled in as by systemd."""
    settings = dict(re.findall(r"^(LoadCredential|Environment|ExecStart)=(.*)$", SERVICE.read_text(), re.MULTILINE))
    credential, source = settings["LoadCredential"].split(":")
    kept = (installed / source.replace("%i", "notes").lstrip("/")).read_bytes()
    put(tmp_path / "credentials" / credential, kept, 0o400)
    put(tmp_path / "notes" / "today", b"buy milk\n")
    tbk.run("termbackup", "init", "--no-input")
    tbk.run("termbackup", "profile", "create", "notes", "--source", tmp_path / "notes")
    given = dict(pair.split("=", 1) for pair in settings["Environment"].split())
    assert given.pop("TERMBACKUP_HOME") == "/root/.termbackup"
    given = {name: value.replace("%d", str(tmp_path / "credentials")) for name, value in given.items()}
    command, *arguments = settings["ExecStart"].replace("%i", "notes").split()
    assert command == "termbackup"
    tbk.run("termbackup", *arguments, env={**given, "PATH": "/usr/bin:/bin"})
    store = pathlib.Path(tbk.environment["TERMBACKUP_HOME"]) / "store"
    archive = tbk.run("tbk-pull", store, "latest").out
    assert tbk.open(archive, "--cat", "today").out == b"buy milk\n"


def test_the_trial_restore_runs_with_the_credential_that_systemd_hands_it(tbk, tmp_path):
    """On a machine that makes its backups without a secret; the password is supplied for this."""
    text = (SERVICE.parent / "termbackup-trial@.service").read_text()
    settings = dict(re.findall(r"^(LoadCredential|Environment|ExecStart)=(.*)$", text, re.MULTILINE))
    put(tmp_path / "credentials" / settings["LoadCredential"].split(":")[0], PASSWORD, 0o400)
    put(tmp_path / "notes" / "today", b"buy milk\n")
    tbk.run("termbackup", "init", "--no-input")
    tbk.run("termbackup", "profile", "create", "notes", "--source", tmp_path / "notes")
    given = dict(pair.split("=", 1) for pair in settings["Environment"].split())
    assert given.pop("TERMBACKUP_HOME") == "/root/.termbackup"
    given = {name: value.replace("%d", str(tmp_path / "credentials")) for name, value in given.items()}
    tbk.run("termbackup", "generate-identity", "notes", env=given)
    tbk.run("termbackup", "run", "notes", "--no-input")
    command, *arguments = settings["ExecStart"].replace("%i", "notes").replace("%%", "%").split()
    assert command == "termbackup"
    said = tbk.run("termbackup", *arguments, env={**given, "PATH": "/usr/bin:/bin"})
    assert b"restored and compared 1 file, 9 B" in said.out
    damaged, = (pathlib.Path(tbk.environment["TERMBACKUP_HOME"]) / "store" / "backups").iterdir()
    damaged.write_bytes(damaged.read_bytes()[:-10] + bytes(10))
    tbk.run("termbackup", *arguments, env={**given, "PATH": "/usr/bin:/bin"}, status=1)


# PostgreSQL


@pytest.fixture(scope="module")
def postgresql():
    """Starts a server that listens on a socket in a temporary directory; returns its clients' environment."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    programs = found[-1].parent if found else None
    if programs is None and shutil.which("initdb"):
        programs = pathlib.Path(shutil.which("initdb")).resolve().parent
    if programs is None or not (programs / "pg_dump").exists():
        absent("PostgreSQL")
    # The server refuses to run as root, and the path of a socket must be short.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tbk-pg-"))
    owner, become = pwd.getpwuid(os.geteuid()).pw_name, []
    if os.geteuid() == 0:
        require("setpriv")
        owner = "nobody"
        nobody = pwd.getpwnam(owner)
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        become = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8", "PGHOST": str(folder),
                   "PGUSER": owner, "PGPORT": "5432"}

    def server(*command, **options):
        return run(*become, *map(str, command), env=environment, cwd=folder, **options)
    try:
        server(programs / "initdb", "--auth=trust", "--no-sync", "-D", folder / "data")
        # -l: otherwise the server keeps this process's standard output open.
        server(programs / "pg_ctl", "-w", "-s", "-D", folder / "data", "-l", folder / "log", "start",
               "-o", f"-k {folder} -c listen_addresses= -c fsync=off")
        try:
            yield environment
        finally:
            server(programs / "pg_ctl", "-w", "-s", "-m", "immediate", "-D", folder / "data", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_postgresql(postgresql, tbk, tmp_path):
    """If a dump fails, even half-way, nothing is stored."""
    store = tmp_path / "store"
    store.mkdir()
    environment = {**tbk.environment, **postgresql, "HOME": tbk.environment["HOME"],
                   "TERMBACKUP_PASSWORD_FILE": str(tbk.password_file), "PATH": f"{BIN}:{postgresql['PATH']}"}

    def script(*arguments, status=0, **more):
        return run("sh", EXAMPLES / "postgresql.sh", *arguments, status=status, env={**environment, **more})

    def sql(text, database="postgres"):
        return run("psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", text, env=environment).stdout
    for database in ("mail", "again"):
        run("createdb", database, env=environment)
    sql("CREATE TABLE letters (id int PRIMARY KEY, text text); "
        "INSERT INTO letters SELECT n, repeat('x', n) FROM generate_series(1, 5000) n", "mail")
    script("backup", "mail", store)
    # An existing table is not overwritten, and nothing changes.
    assert "already exists" in script("restore", "mail", store, status=1).stderr
    script("backup", "again", store)
    assert len(ids(tbk, store)) == 2
    # The dump of one database is restored into another.
    text = (EXAMPLES / "postgresql.sh").read_text()
    other = tmp_path / "other.sh"
    other.write_text(text.replace('--dbname="$database"', "--dbname=again"))
    run("sh", other, "restore", "mail", store, env=environment)
    assert sql("SELECT count(*), sum(length(text)) FROM letters", "again") == sql(
        "SELECT count(*), sum(length(text)) FROM letters", "mail") == "5000|12502500\n"

    assert script("backup", "absent", store, status=None).returncode == 65
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    (stubs / "pg_dump").write_text('#!/bin/sh\n"$(PATH=${PATH#*:} command -v pg_dump)" "$@"\nexit 1\n')
    (stubs / "pg_dump").chmod(0o755)
    half = script("backup", "mail", store, status=None, PATH=f"{stubs}:{environment['PATH']}")
    assert half.returncode == 65 and "pg_dump' failed" in half.stderr
    assert len(ids(tbk, store)) == 2
    # With a wrong password the database does not change.
    sql("DROP TABLE letters", "again")
    wrong = tmp_path / "wrong"
    wrong.write_text("not the password\n")
    run("sh", other, "restore", "mail", store, env={**environment, "TERMBACKUP_PASSWORD_FILE": str(wrong)}, status=1)
    assert sql("SELECT count(*) FROM pg_tables WHERE tablename = 'letters'", "again") == "0\n"


def test_postgresql_says_how_it_is_used():
    for arguments in ([], ["backup"], ["drop", "a", "b"], ["backup", "a b", "c"]):
        assert "usage: " in run("sh", EXAMPLES / "postgresql.sh", *arguments, status=64).stderr


# Notifications


def test_ntfy_and_mail_report_a_backup(shell, small, tbk):
    require("curl")
    mailbox = tbk.scratch / "mailbox"
    put(tbk.scratch / "bin" / "sendmail", f'#!/bin/sh\n{{ printf "for %s\\n" "$*"; cat; }} >>{mailbox}\n'.encode(), 0o755)
    header = os.fsdecode(put(tbk.scratch / "header", b"Authorization: Bearer tk_secret\n", 0o600))
    environment = {"PATH": f"{tbk.scratch}/bin:{os.environ['PATH']}", "NTFY_HEADER": header}
    with running() as service:
        shell.profile("docs", small, "--notify-command", f"{EXAMPLES}/ntfy.sh {service.url}")
        shell.run("run", "docs", env=environment)
        (_, _, headers, body), = service.requests
        assert headers["Title"] == "Backup of docs succeeded" and headers["Priority"] == "low"
        assert headers["Authorization"] == "Bearer tk_secret" and b" files, " in body
        # A failure has urgent priority; if the notification fails, a warning is printed.
        os.rename(small, small + ".away")
        shell.run("run", "docs", env=environment, status=66)
        assert service.requests[1][2]["Priority"] == "urgent" and b"source missing" in service.requests[1][3]
    assert b"warning: the command for notifications failed" in shell.run("run", "docs", env=environment, status=66).stderr
    shell.run("profile", "edit", "docs", "--notify-command", f"{EXAMPLES}/mail.sh --failures me@example.org")
    shell.run("run", "docs", env=environment, status=66)
    os.rename(small + ".away", small)
    shell.run("run", "--full", "docs", env=environment)
    text = mailbox.read_text()
    assert text.startswith("for -i -- me@example.org\nTo: me@example.org\nSubject: Backup of docs failed\n")
    assert text.count("Subject:") == 1 and "\nERROR: source missing\n" in text


# Swift


@pytest.mark.soak
def test_a_swift_program_reads_backups(tbk, tmp_path):
    """Built like any other program, against the repository; it can use only the public library."""
    require("swift")
    tree, store, password = tmp_path / "tree", tmp_path / "store", tmp_path / "password"
    put(tree / "a file", b"first\n")
    put(tree / "kept", b"kept\n")
    password.write_bytes(PASSWORD + b"\n")
    store.mkdir()
    archive = tbk.run("tbk-seal", "--receipt", tmp_path / "receipt", tree).out
    tbk.run("tbk-push", store, "--receipt", tmp_path / "receipt", input=archive)
    package = tmp_path / "package"
    shutil.copytree(EXAMPLES / "swift", package)
    described = (package / "Package.swift").read_text()
    assert 'path: "../.."' in described
    (package / "Package.swift").write_text(described.replace("../..", str(REPOSITORY)))
    # The code in the documentation compiles, too.
    shown = re.findall(r"```swift\nimport TermBackup\n(.*?)```", (REPOSITORY / "docs/how-to/swift.md").read_text(), re.DOTALL)
    assert len(shown) == 1
    (package / "Sources" / "read-backup" / "Shown.swift").write_text(
        f"import TermBackup\nfunc shown(password: [UInt8], file: [UInt8]) throws {{\n{shown[0]}\n}}\n")
    build = ["swift", "build", "--package-path", package, "--scratch-path", REPOSITORY / ".build" / "example"]
    built = subprocess.run(build, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE * 4)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "Sources/TermBackup" not in built.stdout + built.stderr, "a warning"
    program = pathlib.Path(run(*build, "--show-bin-path").stdout.strip()) / "read-backup"
    backup = ids(tbk, store)[0][:12]

    def read(*arguments, status=0):
        with open(password) as given:
            done = subprocess.run([program, store, backup, *arguments], capture_output=True, stdin=given, timeout=PATIENCE)
        assert done.returncode == status, done.stderr
        return done

    assert [line.split(b"\t")[1:] for line in read().stdout.splitlines()] == [[b"6", b"a file"], [b"5", b"kept"]]
    assert read("a file").stdout == b"first\n"
    assert read("missing", status=66).stdout == b""
    password.write_bytes(b"another\n")
    refused = read("kept", status=65)
    assert refused.stdout == b"" and b"password" in refused.stderr
