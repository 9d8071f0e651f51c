"""termbackup finds its verbs; the options, the environment and the output that all verbs have in common."""

import json
import os
import re
import shutil
import subprocess

import pytest
from conftest import BIN, PASSWORD, PATIENCE, REPOSITORY, VERBS, put
from shell_fixture import shell  # noqa: F401


def test_every_script_is_given_to_shellcheck():
    """`make lint` runs it, and `make test` starts with that: it takes a minute."""
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
        for interpreter in (["dash"], ["busybox", "sh"]):
            result = subprocess.run([*interpreter, str(start), "init", "-q"], env=environment, capture_output=True)
            assert result.returncode == 0, result
    # A verb from another program.
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
    # A system without man(1).
    bare = {**tbk.environment, "PATH": os.path.dirname(only_these(tbk.scratch, "sh", "dirname", "readlink"))}
    shown = subprocess.run([program, "help", "tbk-seal"], env=bare, capture_output=True)
    assert shown.returncode == 0 and b"tbk-seal" in shown.stdout, shown


def only_these(folder, *names):
    """A directory for PATH with only these programs."""
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
    (["clean", "docs"], b"termbackup clean --store -p docs\n"),
    (["audit-log", "docs"], b"termbackup audit-log -p docs\n"),
    (["profile", "create", "docs"], b"see 'termbackup profile create --help'\n"),
    (["find", "a", "b"], b"termbackup find a -p b\n"), (["find", "a", "b", "-p", "docs"], b"see 'termbackup find --help'\n"),
    (["cat", "latest", "x", "y", "-p", "docs"], b"see 'termbackup cat --help'\n")])
def test_an_operand_in_the_wrong_place_is_told_where_it_goes(shell, arguments, hint):
    shell.run("init")
    assert shell.run(*arguments, status=64).stderr.endswith(hint)


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
