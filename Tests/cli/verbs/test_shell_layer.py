"""The verbs of termbackup, under each shell they have to work in."""

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import BIN, PASSWORD, PATIENCE, REPOSITORY, VERBS, absent, make_tree, put, require, shown_on, snapshot

LIB = BIN.parent / "lib" / "termbackup"


class Shell:
    """Runs verbs as `termbackup` would, under one shell and with its own tools first in PATH."""

    def __init__(self, tbk, tmp_path, interpreter):
        self.tbk = tbk
        self.home = tbk.home / ".termbackup"
        self.interpreter = interpreter
        self.environment = dict(tbk.environment)
        self.lib = LIB
        if interpreter[0] == "busybox":
            tools = BIN.parent / "applets"
            if not tools.exists():
                tools.mkdir()
                subprocess.run(["busybox", "--install", "-s", str(tools)], check=True)
            self.environment["PATH"] = f"{tools}:{self.environment['PATH']}"

    def command(self, verb, *arguments):
        path = self.lib / "verbs" / verb
        if not path.exists():
            absent(str(path))
        return [*self.interpreter, str(path), *map(str, arguments)]

    def environment_with(self, password, env):
        given = dict(self.environment)
        if password is not None:
            file = self.tbk.scratch / "given password"
            file.write_bytes(password)
            file.chmod(0o600)
            given["TERMBACKUP_PASSWORD_FILE"] = str(file)
        return {**given, **(env or {})}

    def run(self, verb, *arguments, status=0, password=PASSWORD, env=None, **options):
        done = subprocess.run(
            self.command(verb, *arguments), env=self.environment_with(password, env), capture_output=True,
            timeout=PATIENCE, stdin=options.pop("stdin", subprocess.DEVNULL), start_new_session=True, **options)
        shown = f"{verb} {arguments}: status {done.returncode}\n{done.stdout!r}\n{done.stderr.decode(errors='replace')}"
        assert done.returncode == status, shown
        if status >= 64:
            assert b": error: " in done.stderr or b'"error"' in done.stderr, shown
        assert list((self.home / "tmp").glob("*")) == [], f"left in tmp: {shown}"
        return done

    def ids(self, profile):
        lines = self.run("list", profile).stdout.decode().splitlines()[1:-1]
        return [line.split()[0] for line in lines]

    def profile(self, name, source, *fields):
        """One that stores everything each time, unless its fields say more."""
        self.run("init")
        mode = [] if "--mode" in fields else ["--mode", "full"]
        self.run("profile", "create", name, "--source", source, *mode, *fields)


@pytest.fixture(params=["dash", "busybox"])
def shell(request, tbk, tmp_path):
    require(request.param)
    for name in ("tbk-config", "tbk-seal", "tbk-push"):
        tbk.path(name)
    return Shell(tbk, tmp_path, {"dash": ["dash"], "busybox": ["busybox", "sh"]}[request.param])


def on_terminal(shell, answers, verb, *arguments):
    """Runs a verb with a terminal of its own and answers each prompt. Returns status and what was shown."""
    command = shell.command(verb, *arguments)
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(command[0], command, shell.environment)
    shown = b""
    answers = list(answers)
    for data in shown_on(terminal):
        shown += data
        if answers and shown.endswith(answers[0][0]):
            os.write(terminal, answers.pop(0)[1] + b"\n")
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    assert not answers, f"never asked for {answers}: {shown}"
    return os.waitstatus_to_exitcode(status), shown


# The dispatcher


def test_every_script_is_given_to_shellcheck():
    """By `make lint`, which `make test` begins with: it takes a minute."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    told = subprocess.run(["make", "-n", "lint-shell"], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    scripts = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "bin").rglob("[!.]*") if path.is_file()}
    assert scripts and scripts <= set(told.stdout.split())


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_and_refuses_unknown_options(shell, verb):
    shell.run("init")
    for option in ("-h", "--help"):
        shown = shell.run(verb, option).stdout
        assert f"usage: termbackup {verb}".encode() in shown.replace(b"USAGE:", b"usage:"), shown
    assert b"--no-such-option" in shell.run(verb, "--no-such-option", status=64).stderr
    assert shell.run(verb, "--quiet=yes", status=64).stdout == b""
    assert re.fullmatch(rb"termbackup %s \d+\.\d+\.\d+\n" % verb.encode(), shell.run(verb, "--version").stdout)
    if verb not in ("profile", "audit-log"):
        assert b"--no-such-option" in shell.run(verb, "--no-input", "--no-such-option", status=64).stderr


def test_the_dispatcher_works_from_every_layout(tbk, tmp_path):
    program = tbk.path("termbackup")
    environment = tbk.environment
    installed = tmp_path / "opt" / "some where"
    shutil.copytree(BIN.parent, installed, symlinks=True)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "one").symlink_to(installed / "bin" / "termbackup")
    (tmp_path / "links" / "tb").symlink_to("one")
    for start in (program, installed / "bin" / "termbackup", tmp_path / "links" / "tb", REPOSITORY / "bin" / "termbackup"):
        for shell in (["dash"], ["busybox", "sh"]):
            result = subprocess.run([*shell, str(start), "init", "-q"], env=environment, capture_output=True)
            assert result.returncode == 0, result
    # A verb of somebody else's.
    extra = tmp_path / "extra"
    put(extra / "termbackup-hello", b"#!/bin/sh\nprintf 'hello %s\\n' \"$1\"\n", 0o755)
    environment = {**environment, "PATH": f"{extra}:{environment['PATH']}"}
    assert subprocess.run([program, "hello", "you"], env=environment, capture_output=True).stdout == b"hello you\n"


def test_the_dispatcher_refuses_what_is_no_verb(tbk):
    program = tbk.path("termbackup")

    def run(*arguments):
        return subprocess.run([program, *arguments], env=tbk.environment, capture_output=True)

    assert run().returncode == 64 and run().stdout == b"" and b"USAGE: termbackup" in run().stderr
    for wrong in ("nothing", "../run", "--nothing", "Run", "a b"):
        result = run(wrong)
        assert result.returncode == 64 and b"termbackup: error: " in result.stderr and b"termbackup: hint: " in result.stderr, result
    assert run("--help").returncode == 0 and run("-h").stdout == run("--help").stdout
    for option in ("-v", "--version"):
        lines = run(option).stdout.decode().splitlines()
        assert re.fullmatch(r"termbackup \d+\.\d+\.\d+", lines[0])
        assert {"openssl", "zlib", "system", "architecture", "shell", "home"} <= {line.split()[0] for line in lines}
    assert run("help").stdout == run("--help").stdout
    for arguments, env in ((["nothing", "--json"], {}), (["--nothing"], {"TERMBACKUP_ERRORS": "json"})):
        done = subprocess.run([program, *arguments], env={**tbk.environment, **env}, capture_output=True)
        assert done.returncode == 64 and json.loads(done.stderr)["error"]["type"] == "UsageError"
    # A system without manuals.
    bare = {**tbk.environment, "PATH": os.path.dirname(only_these(tbk.scratch, "sh", "dirname", "readlink"))}
    shown = subprocess.run([program, "help", "tbk-seal"], env=bare, capture_output=True)
    assert shown.returncode == 0 and b"tbk-seal" in shown.stdout, shown


def only_these(folder, *names):
    """A path in a directory that has these programs alone."""
    (folder / "few").mkdir(exist_ok=True)
    for name in names:
        (folder / "few" / name).symlink_to(shutil.which(name))
    return str(folder / "few" / name)


def test_the_environment_is_not_taken_for_the_shells_own_variables(shell, small, tmp_path):
    names = set()
    for script in [path for path in (REPOSITORY / "bin").rglob("*") if path.is_file()]:
        names |= set(re.findall(r"(?<![\w$-])([a-z][a-z0-9_]*)=", script.read_text()))
        names |= set(re.findall(r"\$\{?((?:profile|opt|args|prepared)_[a-z_]+)", script.read_text()))
    assert {"tb_id", "tb_home", "profile_restore_dir", "opt_identity"} <= names
    shell.environment.update({name: "FROM-OUTSIDE" for name in names})

    def run(*arguments, status=0):
        done = shell.run(*arguments, status=status)
        assert b"FROM-OUTSIDE" not in done.stdout + done.stderr, done
    run("init", "--no-input", "--json")
    run("init", "--no-input")
    run("profile", "create", "docs", "--source", small, "--mode", "incremental")
    run("run", "docs")
    put(os.path.join(small, "more"), b"more")
    run("run", "docs", "--json")
    for verb, *arguments in (["list", "docs"], ["status"], ["prune", "docs", "--keep-last", "5"], ["consolidate", "docs", "latest", "-n"],
                             ["verify", "latest", "-p", "docs"], ["restore", "latest", "-p", "docs", "--to", tmp_path / "out"],
                             ["clean", "--store"], ["doctor"], ["migrate"], ["audit-log"], ["schedule-status"]):
        run(verb, *arguments)
        if verb != "restore":
            run(verb, *arguments, "--json")
    run("generate-key", "--no-password")
    run("prune", "docs", "--keep-last", "nothing", status=64)
    run("package", small, status=78)
    run("unpack", "nothing", status=66)
    assert "FROM-OUTSIDE" not in (shell.home / "audit.log").read_text()


def test_standard_output_that_is_full_is_a_failure(shell, small):
    shell.profile("docs", small)
    shell.run("run", "-q", "docs")
    (shell.home / "tmp" / "run.999999999.0").mkdir()
    prune = ["prune", "docs", "--keep-last", "5"]
    for command in (["init"], ["list", "docs"], ["status"], ["doctor"], ["doctor", "--json"], ["clean"], ["profile", "list"],
                    prune, [*prune, "--json"], ["verify", "latest", "-p", "docs", "--no-mark"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(shell.command(*command), env=shell.environment_with(PASSWORD, {}), stdout=full,
                                  stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=PATIENCE)
        assert done.returncode == 74 and b"standard output" in done.stderr, done


@pytest.mark.parametrize("words", [
    "rotate-key docs --only", "rotate-key docs --new-password-file", "run docs --password-file", "run docs --password-command",
    "run docs --key-password-file", "run docs --token-file", "run docs --token-command", "restore latest -p docs --to",
    "restore latest --store", "list --group", "init --repo", "package d -o", "unpack d --to"])
def test_an_empty_value_is_none(shell, words):
    *words, option = words.split()
    for value in ([option, ""], [f"{option}="] if option != "-o" else [option]):
        assert f"{option} needs a value".encode() in shell.run(*words, *value, status=64).stderr


@pytest.mark.parametrize("arguments, hint", [
    (["verify", "latest", "docs"], b"verify latest -p docs\n"),
    (["doctor", "docs"], b"termbackup doctor -p docs\n"), (["clean", "docs"], b"termbackup clean --store -p docs\n"),
    (["audit-log", "docs"], b"termbackup audit-log -p docs\n"), (["status", "docs"], b"termbackup status -p docs\n"),
    (["profile", "create", "docs"], b"see 'termbackup profile create --help'\n"),
    (["find", "a", "b"], b"termbackup find a -p b\n"), (["find", "a", "b", "-p", "docs"], b"see 'termbackup find --help'\n"),
    (["cat", "latest", "x", "y", "-p", "docs"], b"see 'termbackup cat --help'\n")])
def test_an_operand_in_the_wrong_place_is_told_where_it_goes(shell, arguments, hint):
    shell.run("init")
    assert shell.run(*arguments, status=64).stderr.endswith(hint)


def test_a_negative_number_is_a_value_that_is_wrong(shell, small):
    shell.profile("docs", small)
    for words in (["prune", "docs", "--keep-daily", "-1"], ["profile", "edit", "docs", "--max-backups", "-3"]):
        said = shell.run(*words, status=64).stderr
        assert words[-2].encode() in said and b"issing value" not in said and b"needs a value" not in said, said


def test_a_profile_is_exported_onto_a_file_only_by_force(shell, small, tmp_path):
    shell.profile("docs", small)
    put(tmp_path / "saved.json", b"mine")
    said = shell.run("profile", "export", "docs", tmp_path / "saved.json", status=73).stderr
    assert b"already exists" in said and b"--force" in said and b".tbk-" not in said
    assert (tmp_path / "saved.json").read_bytes() == b"mine"
    shell.run("profile", "export", "docs", tmp_path / "saved.json", "--force")


# init and profile


def test_init_needs_no_account_and_changes_nothing_the_second_time(shell):
    first = shell.run("init").stdout.decode()
    assert str(shell.home / "store") in first
    assert (shell.home.stat().st_mode & 0o777, (shell.home / "config.json").stat().st_mode & 0o777) == (0o700, 0o600)
    before = snapshot(shell.home)
    assert b"Nothing to create" in shell.run("init").stdout
    assert snapshot(shell.home) == before
    assert shell.run("init", "-q").stdout == b""


def test_profile_list_is_a_table(shell, small):
    shell.profile("docs", small)
    lines = shell.run("profile", "list").stdout.decode().splitlines()
    assert lines[0].split() == ["NAME", "SOURCE", "STORE", "MODE"]
    assert lines[1].split() == ["docs", small, str(shell.home / "store"), "full"]
    assert b"deleted" in shell.run("profile", "delete", "docs").stderr
    assert shell.run("profile", "list").stdout == b""


# run and restore


def test_a_tree_comes_back_as_it_was(shell, tree, tmp_path):
    shell.profile("everything", tree)
    said = shell.run("run", "everything").stdout.decode()
    assert said.startswith("Backed up everything as ")
    target = tmp_path / "new" / "restored here"
    shell.run("restore", "latest", "-p", "everything", "--to", target, "--setuid")
    assert snapshot(target) == snapshot(tree)


def test_run_and_restore_speak_json(shell, small, tmp_path):
    shell.profile("docs", small)
    made = json.loads(shell.run("run", "docs", "--json").stdout)
    assert (made["status"], made["profile"], made["file_count"], made["mode"]) == ("success", "docs", 3, "full")
    entry = json.loads(shell.run("list", "docs", "--json").stdout)
    assert entry["id"] == made["id"] and entry["size"] == made["size"]
    back = json.loads(shell.run("restore", made["id"][:8], "-pdocs", "--to", tmp_path / "out", "--json").stdout)
    assert (back["status"], back["id"]) == ("success", made["id"])
    error = json.loads(shell.run("restore", "00000000", "-p", "docs", "--json", status=69).stderr)["error"]
    assert (error["type"], error["status"]) == ("StoreError", 69)
    error = json.loads(shell.run("run", "absent", "--json", status=78).stderr)["error"]
    assert error["type"] == "ProfileError" and "absent" in error["message"]


def test_an_incremental_profile_stores_what_is_new(shell, small, tmp_path):
    shell.profile("docs", small, "--mode", "incremental")
    shell.run("run", "docs")
    assert b"Nothing has changed" in shell.run("run", "docs").stdout
    assert len(shell.ids("docs")) == 1
    put(os.path.join(small, "new"), b"new\n")
    os.unlink(os.path.join(small, "d", "other"))
    assert b"would back up" in shell.run("run", "docs", "--dry-run").stdout.lower()
    assert len(shell.ids("docs")) == 1
    made = json.loads(shell.run("run", "docs", "--json").stdout)
    assert (made["mode"], made["added_count"], made["deleted_count"]) == ("incremental", 1, 1)
    first, second = shell.ids("docs")
    lines = shell.run("diff", first, second, "-p", "docs", status=1).stdout.decode().splitlines()
    assert "added\tnew" in lines and "deleted\td/other" in lines
    shell.run("diff", "latest", second, "-p", "docs")
    shell.run("restore", second, "-p", "docs", "--to", tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(small)
    # The manifest comes from the store where the cache has gone or is damaged.
    cache = next((shell.home / "cache").glob("*/*.tbk"))
    cache.write_bytes(b"damaged")
    assert b"Nothing has changed" in shell.run("run", "docs").stdout
    shutil.rmtree(shell.home / "cache")
    assert b"Nothing has changed" in shell.run("run", "docs").stdout
    assert json.loads(shell.run("run", "docs", "--full", "--json").stdout)["mode"] == "full"


def test_an_increment_that_holds_no_file_is_restored(shell, tmp_path):
    source = tmp_path / "source"
    put(source / "kept", b"kept\n")
    put(source / "deleted", b"deleted\n")
    shell.profile("docs", source, "--mode", "incremental")
    shell.run("run", "docs")
    (source / "deleted").unlink()
    made = json.loads(shell.run("run", "docs", "--json").stdout)
    assert (made["mode"], made["added_count"], made["deleted_count"]) == ("incremental", 0, 1)
    shell.run("verify", "--all", "-p", "docs")
    shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(source)


def test_excludes_of_the_profile_are_left_out(shell, small, tmp_path):
    shell.profile("docs", small, "--exclude", "d/*", "--exclude", "!d/inside", "--exclude", "empty/")
    shell.run("run", "docs")
    shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["d", "link", "plain"]
    assert os.listdir(tmp_path / "out" / "d") == ["inside"]


def test_nothing_is_overwritten_unasked(shell, small):
    shell.profile("docs", small)
    shell.run("run", "docs")
    plain = os.path.join(small, "plain")
    put(plain, b"changed since\n")
    refused = shell.run("restore", "latest", "-p", "docs", status=73)
    assert b"--overwrite" in refused.stderr
    assert open(plain, "rb").read() == b"changed since\n"
    lines = shell.run("restore", "latest", "-p", "docs", "--dry-run").stdout.decode().splitlines()
    assert "conflict\tplain" in lines
    put(os.path.join(small, "..", "no directory"), b"")
    for place in (f"{small}/plain", f"{small}/../no directory/below"):
        assert b"--overwrite" not in shell.run("restore", "latest", "-p", "docs", "--to", place, status=73).stderr
    shell.run("restore", "latest", "-p", "docs", "--overwrite", "if-changed")
    assert open(plain, "rb").read() == b"plain\n"
    put(plain, b"changed again\n")
    os.unlink(os.path.join(small, "d", "inside"))
    shell.run("restore", "latest", "-p", "docs", "--include", "d/inside", "--overwrite", "if-changed")
    assert open(plain, "rb").read() == b"changed again\n"
    assert os.path.exists(os.path.join(small, "d", "inside"))


def test_restore_goes_where_the_profile_says(shell, small, tmp_path):
    shell.profile("docs", small, "--restore-dir", tmp_path / "there")
    assert b"'termbackup run other'" in shell.run("profile", "create", "other", "--source", small).stderr
    shell.run("run", "docs")
    assert json.loads(shell.run("restore", "latest", "-p", "docs", "--json").stdout)["to"] == str(tmp_path / "there")
    assert snapshot(tmp_path / "there") == snapshot(small)
    shell.run("restore", "latest", "-p", "docs", "--to=-dash", cwd=tmp_path)
    assert snapshot(tmp_path / "-dash") == snapshot(small)
    shell.run("package", small, "-o", "-x.tbk", cwd=tmp_path)
    assert (tmp_path / "-x.tbk").exists()


def test_a_look_at_an_unchanged_tree_reports_what_a_run_does(shell, small):
    shell.profile("docs", small, "--mode", "incremental")
    shell.run("run", "docs")
    look, found = (json.loads(shell.run("run", "docs", "--json", *dry).stdout) for dry in (["--dry-run"], []))
    assert look["status"] == "unchanged" and look["file_count"] is None
    assert {**look, "seconds": 0} == {**found, "seconds": 0}


def test_a_fetch_that_fails_is_one_error(shell, small, tmp_path):
    shell.profile("docs", small)
    shell.run("run", "docs")
    shutil.rmtree(shell.home / "store" / "backups")
    for options in ([], ["--include", "plain"]):
        said = shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", *options, status=66).stderr
        assert said.count(b"error: ") == 1 and b"is empty" not in said, said


def test_a_new_machine_needs_no_home_to_look_at_a_store(shell, small, tmp_path):
    shell.profile("docs", small)
    shell.run("run", "docs")
    shutil.copytree(shell.home / "store", tmp_path / "store")
    shutil.rmtree(shell.home)
    assert b"termbackup init" in shell.run("list", "docs", status=78).stderr and not shell.home.exists()
    assert shell.run("list", "--store", tmp_path / "store").stdout
    assert shell.home.stat().st_mode & 0o777 == 0o700
    shell.run("restore", "latest", "--store", tmp_path / "store", "--to", tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(small)


def test_what_matches_nothing_is_no_restore(shell, small, tmp_path):
    shell.profile("docs", small)
    shell.run("run", "docs")

    def restore(*arguments, **options):
        return shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", *arguments, **options)
    for arguments in ([], ["--dry-run"], ["--json"]):
        assert b"'nosuch'" in restore("--include", "nosuch", *arguments, status=66).stderr
        assert not (tmp_path / "out").exists()
    assert b"warning: 'nosuch'" in restore("--include", "nosuch", "--include", "plain", "--dry-run", "--json").stderr
    done = restore("--include", "nosuch", "--include", "plain", "--json")
    assert b"warning: 'nosuch'" in done.stderr and json.loads(done.stdout)["file_count"] == 1
    assert os.listdir(tmp_path / "out") == ["plain"]
    assert restore("--include", "/d/", "--exclude", "other").stdout.splitlines()[1].split() == [b"files", b"1"]
    entries = [json.loads(line)["details"] for line in shell.run("audit-log", "--json", "-o", "restore").stdout.splitlines()]
    assert [entry.get("file_count") for entry in entries][-2:] == [1, 1]
    assert b"--progress" in shell.run("diff", "latest", "latest", "-p", "docs", "--progress", "never", status=64).stderr


def test_a_wrong_password_makes_no_backup(shell, small, tmp_path):
    shell.profile("docs", small)
    shell.run("run", "docs")
    for verb in (["run", "docs"], ["restore", "latest", "-p", "docs", "--to", tmp_path / "out"],
                 ["verify", "--all", "-p", "docs"], ["diff", "latest", "latest", "-p", "docs"]):
        assert b"not the password" in shell.run(*verb, password=b"mistyped", status=77).stderr
    assert len(shell.ids("docs")) == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("fault", ["cut", "gone"])
def test_a_last_backup_without_its_manifest_still_has_the_password(shell, small, fault):
    shell.profile("docs", small)
    shell.run("run", "docs")
    store = shell.home / "store"
    check, = (store / "checks").iterdir()
    manifest, = (store / "manifests").iterdir()
    check.unlink()
    if fault == "cut":
        os.truncate(manifest, manifest.stat().st_size - 1)
    else:
        manifest.unlink()
    for dry in ([], ["--dry-run"]):
        shell.run("profile", "edit", "docs", "--mode", "incremental")
        shell.run("run", "docs", *dry, password=b"another", status=77)
    assert list((store / "checks").iterdir()) == [] and len(shell.ids("docs")) == 1
    # The archive tells which one it is.
    shell.run("run", "docs", "--full")
    made, = (store / "checks").iterdir()
    group, = json.loads((store / "metadata.json").read_text())["groups"].values()
    assert group["check"]["filename"] == made.name and len(shell.ids("docs")) == 2


def test_verify_says_what_does_not_hold(shell, small):
    shell.profile("docs", small)
    shell.run("run", "docs")
    put(os.path.join(small, "more"), b"more\n")
    shell.run("run", "docs")
    assert shell.run("verify", "--all", "-p", "docs").stdout.decode().splitlines()[-1] == "2 of 2 backups verified"
    first, second = shell.ids("docs")
    archive = shell.home / "store" / "backups" / f"backup_{first}.tbk"
    archive.chmod(0o600)
    data = bytearray(archive.read_bytes())
    data[-1] ^= 1
    archive.write_bytes(data)
    shown = shell.run("verify", "--all", "-p", "docs", status=1).stdout.decode()
    assert f"FAILED  {first}" in shown and f"ok      {second}" in shown
    report = json.loads(shell.run("verify", first, "-p", "docs", "--json", status=1).stdout)
    assert report["checked_count"] == 1 and report["failures"][0]["id"].startswith(first)
    (shell.home / "store" / "backups" / f"backup_{second}.tbk").unlink()
    assert b"missing" in shell.run("verify", second, "-p", "docs", status=1).stdout


def test_operations_are_in_the_audit_log(shell, small, tmp_path):
    shell.profile("docs", small)
    shell.run("run", "docs")
    shell.run("verify", "latest", "-p", "docs")
    shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out")
    shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", password=b"wrong", status=77)
    entries = [json.loads(line) for line in shell.run("audit-log", "--json").stdout.splitlines()]
    assert [(entry["operation"], entry["status"]) for entry in entries] == [
        ("init", "success"), ("backup", "success"), ("verify", "success"), ("restore", "success"), ("restore", "failure")]
    assert entries[1]["details"]["backup_id"] == shell.ids("docs")[0] and entries[1]["details"]["file_count"] == 3
    assert len(shell.run("audit-log", "-n1", "-o", "restore", "--profile=docs").stdout.splitlines()) == 1
    log = (shell.home / "audit.log").read_text()
    assert small not in log and PASSWORD.decode() not in log


def test_part_of_the_source_that_cannot_be_read_gives_status_3(shell, small, tmp_path):
    """The name is told, the rest is stored."""
    if os.geteuid() == 0:
        require("setpriv")
        for folder, _, names in os.walk(tmp_path):
            for path in [folder, *(os.path.join(folder, name) for name in names)]:
                os.chown(path, 65534, 65534, follow_symlinks=False)
        for folder in tmp_path.parents:
            if folder.stat().st_mode & 0o001 == 0:
                folder.chmod(folder.stat().st_mode | 0o011)
            if folder.name.startswith("pytest-of-"):
                break
        shell.interpreter = [shutil.which("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups", *shell.interpreter]
        probe = subprocess.run([*shell.interpreter, "-c", f"'{shell.tbk.path('tbk-config')}' --version"],
                               stdout=subprocess.DEVNULL)
        if probe.returncode != 0:
            pytest.skip("another user cannot reach the suite")
    shell.tbk.password_file.chmod(0o644)
    shell.profile("docs", small)
    os.chmod(os.path.join(small, "plain"), 0)
    password = {"TERMBACKUP_PASSWORD_FILE": str(shell.tbk.password_file)}
    said = shell.run("run", "docs", status=3, password=None, env=password)
    assert b"plain" in said.stderr and said.stdout.startswith(b"Backed up docs")
    assert len(shell.ids("docs")) == 1


# Passwords


def test_a_password_comes_from_where_it_is_given(shell, small, tmp_path):
    shell.profile("docs", small)
    word = b"  white space\tand 'quotes' \\n %s \xc3\xa9  "
    file = tmp_path / "pass word"
    file.write_bytes(word + b"\n")
    shell.run("run", "docs", "--password-file", file, password=None)
    with open(file, "rb") as stream:
        shell.run("verify", "latest", "-p", "docs", "--password-fd", "0", password=None, stdin=stream)
    with open(file, "rb") as stream:
        number = stream.fileno()
        shell.run("verify", "latest", "-p", "docs", f"--password-fd={number}", password=None, pass_fds=[number])
    shell.run("verify", "latest", "-p", "docs", "--password-command", f"cat '{file}'", password=None)
    for variable, value in (("TERMBACKUP_PASSWORD", word), ("TERMBACKUP_PASSWORD_FILE", str(file)),
                            ("TERMBACKUP_PASSWORD_COMMAND", f"cat '{file}'")):
        shell.run("verify", "latest", "-p", "docs", password=None, env={variable: value})
    assert b"empty" in shell.run("verify", "latest", "-p", "docs", password=None, env={"TERMBACKUP_PASSWORD": ""}, status=64).stderr
    for arguments in (["--no-input"], []):
        assert b"no password" in shell.run("verify", "latest", "-p", "docs", *arguments, password=None, status=64).stderr
    shell.run("verify", "latest", "-p", "docs", "--password-command", "false", password=None, status=78)
    # A file of arbitrary bytes is handed on to the byte.
    file.write_bytes(b"\x00binary\n\xff\n")
    shell.run("profile", "create", "other", "--source", small)
    shell.run("run", "other", "--password-file", file, password=None)
    shell.run("verify", "latest", "-p", "other", "--password-file", file, password=None)


def test_a_password_is_asked_for_once_and_twice_the_first_time(shell, small, tmp_path):
    shell.profile("docs", small, "--mode", "incremental")
    one, again = (b"Password: ", b"s3cret"), (b"Password again: ", b"s3cret")
    status, shown = on_terminal(shell, [one, again], "run", "docs")
    assert status == 0 and b"Backed up docs" in shown and b"s3cret" not in shown
    put(os.path.join(small, "more"), b"more\n")
    status, shown = on_terminal(shell, [one], "run", "docs")
    assert status == 0 and shown.count(b"Password") == 1
    status, shown = on_terminal(shell, [one], "restore", "latest", "-p", "docs")
    assert status == 0 and b"nothing to restore" in shown and b"error" not in shown, shown
    put(os.path.join(small, "plain"), b"different\n")
    status, shown = on_terminal(shell, [one, (b"[y/N/l: list them] ", b"n")], "restore", "latest", "-p", "docs")
    before, _, after = shown.partition(b"1 file in")
    assert status == 73 and b"error" not in before and b"hint" not in before, shown
    assert after.count(b"error: ") == 1 and b"nothing was changed" in after and b"--overwrite if-changed" in after
    assert open(os.path.join(small, "plain"), "rb").read() == b"different\n"
    status, shown = on_terminal(shell, [one, (b"[y/N/l: list them] ", b"l"), (b"[y/N/l: list them] ", b"y")], "restore", "latest", "-p", "docs")
    assert status == 0, shown
    assert b"1 file in" in shown and b"\nplain\r\n" in shown and b"  replaced 1 entry" in shown
    assert open(os.path.join(small, "plain"), "rb").read() == b"plain\n"
    mistyped = (b"Password: ", b"mistyped")
    status, shown = on_terminal(shell, [mistyped] * 3, "verify", "latest", "-p", "docs")
    assert status == 77 and b"not the password of the backups" in shown and shown.count(b"try again") == 2
    status, shown = on_terminal(shell, [mistyped, one], "run", "docs")
    assert status == 0 and shown.count(b"try again") == 1, shown


def test_no_child_sees_the_password_in_its_arguments_or_environment(shell, small, tmp_path):
    layout = tmp_path / "layout"
    shutil.copytree(BIN.parent / "lib", layout / "lib", symlinks=True)
    (layout / "bin").mkdir()
    seen = tmp_path / "seen"
    for command in ("tbk-config", "tbk-audit", "tbk-manifest", "tbk-seal", "tbk-open", "tbk-push", "tbk-pull", "tbk-store"):
        put(layout / "bin" / command, f'#!/bin/sh\n{{ printf "%s\\n" "{command} $*"; env; }} >>"{seen}"\n'
            f'exec "{BIN}/{command}" "$@"\n'.encode(), 0o755)
    (layout / "lib" / "termbackup" / "tbk-sh").unlink()
    put(layout / "lib" / "termbackup" / "tbk-sh", f'#!/bin/sh\n{{ printf "%s\\n" "tbk-sh $*"; env; }} >>"{seen}"\n'
        f'exec "{BIN.parent}/lib/termbackup/tbk-sh" "$@"\n'.encode(), 0o755)
    shell.lib = layout / "lib" / "termbackup"
    shell.profile("docs", small)
    seen.unlink()
    shell.run("run", "docs", password=None, env={"TERMBACKUP_PASSWORD": "s3cret word"})
    text = seen.read_text()
    assert "tbk-seal" in text and "tbk-push" in text
    assert "s3cret" not in text


# Locks, signals, leftovers


def test_two_runs_of_a_profile_do_not_overlap(shell, small):
    shell.profile("docs", small)
    with open(shell.home / "state" / "run-docs.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert b"another run" in shell.run("run", "docs", status=75).stderr
    shell.run("run", "docs")


def test_what_a_command_leaves_behind_holds_no_lock(shell, small, tmp_path):
    agent = tmp_path / "agent"
    script = put(tmp_path / "give", f"""#!/bin/sh
sleep 600 >/dev/null 2>&1 </dev/null &
echo $! >'{agent}'
cat '{shell.tbk.password_file}'
""".encode(), 0o755)
    shell.profile("docs", small)
    shell.run("run", "docs", "--password-command", os.fsdecode(script), password=None)
    try:
        assert "state/run-docs.lock" not in " ".join(
            os.readlink(link) for link in os.scandir(f"/proc/{int(agent.read_text())}/fd"))
        shell.run("run", "docs")
    finally:
        os.kill(int(agent.read_text()), signal.SIGKILL)


def test_a_command_that_takes_its_time_is_interrupted(shell, small, tmp_path):
    started = tmp_path / "started"
    script = put(tmp_path / "give", f"#!/bin/sh\necho $$ >'{started}.new'\nmv '{started}.new' '{started}'\nexec sleep 600\n".encode(), 0o755)
    shell.profile("docs", small)
    for option in ("--password-command", "--token-command"):
        shell.run("profile", "edit", "docs", "--repo", "github:o/r" if option == "--token-command" else shell.home / "store")
        process = subprocess.Popen(shell.command("run", "docs", option, os.fsdecode(script)), env=shell.environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while not started.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 143 and list((shell.home / "tmp").iterdir()) == []
        assert not os.path.exists(f"/proc/{started.read_text().strip()}")
        started.unlink()


@pytest.mark.parametrize("verb", [["run", "docs"], ["verify", "--all", "-p", "docs"], ["list", "docs", "--json"],
                                  ["restore", "latest", "-p", "docs", "--dry-run", "--json"],
                                  ["run", "docs", "--json"], ["diff", "FIRST", "latest", "-p", "docs", "--json"]])
def test_a_reader_that_has_gone_ends_a_verb_quietly(shell, small, verb):
    shell.profile("docs", small)
    shell.run("run", "docs")
    if "FIRST" in verb:
        put(os.path.join(small, "more"), b"more")
        shell.run("run", "docs")
        verb = [shell.ids("docs")[0] if word == "FIRST" else word for word in verb]
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(shell.command(*verb), env=shell.environment_with(PASSWORD, None), stdin=subprocess.DEVNULL,
                               stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    said = process.communicate(timeout=PATIENCE)[1]
    assert (process.returncode, said) == (141, b"")
    assert list((shell.home / "tmp").iterdir()) == []


@pytest.mark.parametrize("json_option", [[], ["--json"]])
@pytest.mark.parametrize("room", [0, 1])
def test_a_full_disk_under_the_home_is_named(shell, small, room, json_option):
    """With no room at all, and with too little: a page."""
    require("unshare", "mount")
    if subprocess.run(["unshare", "--mount", "true"]).returncode:
        absent("the right to mount")
    shell.profile("docs", small)
    tmp = shell.home / "tmp"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", """
            mount -t tmpfs -o size=64k none "$0"
            dd if=/dev/zero of="$0/fill" bs=4096 count=$((16 - $1)) 2>/dev/null
            shift
            exec "$@" """, tmp, str(room), *shell.command("run", "docs", *json_option)],
        env=shell.environment_with(PASSWORD, None), stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    said = done.stderr.decode()
    assert done.returncode == 74 and f"cannot write to '{tmp}" in said and "I/O error" not in said, said
    if json_option:
        assert json.loads(said)["error"]["status"] == 74


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_run_and_leaves_nothing(shell, tmp_path, number, status):
    source = tmp_path / "source"
    source.mkdir()
    with open(source / "endless", "wb") as file:
        file.truncate(1 << 36)
    shell.profile("big", str(source))
    # Only the shell itself is told: it has to end what it started.
    process = subprocess.Popen(shell.command("run", "big"), env=shell.environment_with(PASSWORD, None),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE
    while not any(file.read_text().startswith("pid ") for file in (shell.home / "tmp").glob("run.*/seal.status")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    assert list((shell.home / "tmp").iterdir()) == []
    assert shell.run("list", "big").stdout == b""
    entry = json.loads(shell.run("audit-log", "--json").stdout.splitlines()[-1])
    assert (entry["status"], entry["details"]["error"]) == ("failure", "interrupted")
    assert shell.tbk.leftovers() == []


def test_clean_removes_what_dead_processes_left(shell):
    shell.run("init")
    dead = subprocess.Popen(["true"])
    dead.wait()
    tmp = shell.home / "tmp"
    for name in (f"run.{dead.pid}.0", f"edit.{dead.pid}.abc"):
        put(tmp / name / "file", b"left\n")
    put(tmp / f"run.{os.getpid()}.0" / "file", b"in use\n")
    put(tmp / "recent", b"of nobody\n")
    put(tmp / "old.tar.gz", b"of nobody\n", mtime_ns=0)

    def clean(*arguments):
        done = subprocess.run(shell.command("clean", *arguments), env=shell.environment, capture_output=True, check=True)
        return sorted(line.split("  ")[-1] for line in done.stdout.decode().splitlines())

    wanted = sorted(str(tmp / name) for name in (f"run.{dead.pid}.0", f"edit.{dead.pid}.abc", "old.tar.gz"))
    assert clean("--dry-run") == wanted
    assert clean() == wanted
    assert clean() == []
    assert sorted(os.listdir(tmp)) == sorted(["recent", f"run.{os.getpid()}.0"])


@pytest.mark.parametrize("spelling", ["{}", "file://{}/", "{}/../my [store]", "file://{}%5d", "{}/../../link"])
def test_a_store_below_its_source_is_not_backed_up(shell, tmp_path, spelling):
    source = tmp_path / "whole [home]"
    make_tree(source)
    store = source / "my [store]"
    store.mkdir()
    (tmp_path / "link").symlink_to(store)
    name = spelling.format(str(store)[:-1] if "%5d" in spelling else store)
    shell.profile("whole", source, "--repo", name)
    for _ in range(2):
        shell.run("run", "whole")
    restored = tmp_path / "restored"
    shell.run("restore", "latest", "-p", "whole", "--to", restored)
    assert not (restored / "my [store]").exists()
    assert sorted(os.listdir(restored)) == sorted(set(os.listdir(source)) - {"my [store]"})
