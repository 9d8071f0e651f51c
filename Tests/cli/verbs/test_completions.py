"""Completion, tested by typing into real shells on a terminal."""

import os
import pathlib
import pty
import select
import signal
import subprocess
import time

import pytest
from conftest import BIN, PATIENCE, REPOSITORY, VERBS, put, require
from shell_fixture import Shell

COMPLETIONS = REPOSITORY / "completions"
SHOW = "\x18w"


@pytest.fixture
def machine(tbk, tmp_path):
    """Two profiles; `docs` has two backups."""
    shell = Shell(tbk, tmp_path, ["dash"])
    put(tmp_path / "source" / "file", b"content")
    shell.profile("docs", tmp_path / "source")
    shell.profile("music", tmp_path / "source")
    shell.run("run", "docs")
    put(tmp_path / "source" / "file", b"other content")
    shell.run("run", "docs")
    (tmp_path / "here").mkdir()
    put(tmp_path / "here" / "pass word", b"x")
    (tmp_path / "here" / "folder").mkdir()
    shell.here = tmp_path / "here"
    shell.environment["PATH"] = f"{BIN}:{os.environ['PATH']}"
    shell.known = [entry[:12] for entry in shell.ids("docs")]
    return shell


def answer(machine, *words, **environment):
    """What termbackup suggests for a line that ends in the last word."""
    done = subprocess.run(["termbackup", "__complete", *words], env={**machine.environment, **environment},
                          cwd=machine.here, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


class Typist:
    """A shell on a terminal, and the content of its command line."""

    def __init__(self, machine, command, *lines):
        environment = {**machine.environment, "TERM": "vt100", "PS1": "$ ", "PROMPT": "$ ", "COLUMNS": "200"}
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.chdir(machine.here)
            os.execvpe(command[0], command, environment)
        for line in lines:
            self.send(line + "\n")
        self.send("echo re''ady\n")
        self.read("ready")

    def send(self, text):
        os.write(self.terminal, text.encode())

    def read(self, end):
        shown = ""
        deadline = time.monotonic() + PATIENCE
        while end not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([self.terminal], [], [], 1)[0]:
                shown += os.read(self.terminal, 4096).decode(errors="replace")
        return shown

    def complete(self, text):
        """The command line after a tab."""
        self.send(text + "\t" + SHOW)
        shown = self.read(">>")
        self.send("\x15")
        return shown[shown.rindex("<<") + 2:shown.rindex(">>")]

    def close(self):
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self.terminal)


@pytest.fixture(params=["bash", "zsh"])
def typist(request, machine):
    require(request.param)
    if request.param == "bash":
        typist = Typist(machine, ["bash", "--norc", "--noprofile", "-i"],
                        f"source '{COMPLETIONS}/bash/termbackup'", "bind 'set completion-query-items 0'",
                        r"""bind -x '"\C-xw": printf "<<%s>>\n" "$READLINE_LINE"'""")
    else:
        typist = Typist(machine, ["zsh", "-f", "-i"], f"fpath=('{COMPLETIONS}/zsh' $fpath)",
                        "autoload -U compinit && compinit -u -D", "unsetopt list_beep; LISTMAX=-1",
                        "show() { print -r -- \"<<$BUFFER>>\" }; zle -N show; bindkey '^Xw' show")
    yield typist
    typist.close()


def test_typed_lines_are_completed(typist, machine):
    newest = machine.known[-1]
    for text, line in [
            ("termbackup restor", "termbackup restore "),
            ("termbackup run do", "termbackup run docs "),
            ("termbackup verify -p mus", "termbackup verify -p music "),
            (f"termbackup verify -p docs {newest[:9]}", f"termbackup verify -p docs {newest} "),
            (f"termbackup verify --profile docs {newest[:9]}", f"termbackup verify --profile docs {newest} "),
            ("termbackup run docs --progress nev", "termbackup run docs --progress never "),
            ("termbackup run docs --progress=nev", "termbackup run docs --progress=never "),
            ("termbackup profile expo", "termbackup profile export "),
            ("termbackup profile export mu", "termbackup profile export music "),
            ("tbk-seal --rece", "tbk-seal --receipt "),
            ("tbk-config profile cre", "tbk-config profile create "),
            ("tbk-push --placement=rel", "tbk-push --placement=release "),
            ("tbk-pull gith", "tbk-pull github:"),
            ("tbk-seal --password-file pas", r"tbk-seal --password-file pass\ word "),
            ("tbk-seal -C fold", "tbk-seal -C folder/"),
            ("tbk-seal -C nowhere", "tbk-seal -C nowhere"),
            ("termbackup nothing", "termbackup nothing")]:
        assert typist.complete(text) == line, text


def test_fish_completes_and_describes(machine):
    require("fish")

    def candidates(text):
        done = subprocess.run(["fish", "--no-config", "-c", f"source '{COMPLETIONS}/fish/termbackup.fish'\n"
                               "complete -C $argv[1]", text], env=machine.environment, cwd=machine.here,
                              capture_output=True, text=True, timeout=PATIENCE)
        assert done.stderr == ""
        return dict((line.split("\t") + [""])[:2] for line in done.stdout.splitlines())

    assert candidates("termbackup ru") == {"run": "Make a backup."}
    assert set(candidates("termbackup verify -p ")) == {"docs", "music"}
    assert [*candidates("termbackup verify -p docs ")] == [*reversed(machine.known), "latest"]
    assert candidates("tbk-seal --recei") == {"--receipt": "Write a receipt, which a store needs, to <file>."}
    assert set(candidates("tbk-push --placement=")) == {"--placement=auto", "--placement=git", "--placement=release"}
    assert set(candidates("tbk-seal --password-file pas")) == {"pass word"}
    assert set(candidates("tbk-seal -C ")) == {"folder/"}


def test_verbs_profiles_ids_and_stores_are_those_of_now(machine):
    assert set(answer(machine, "termbackup", "")) == {*VERBS, "help"}
    assert answer(machine, "termbackup", "run", "") == ["docs", "music"]
    assert answer(machine, "termbackup", "verify", "-pdocs", "") == [*reversed(machine.known), "latest"]
    assert answer(machine, "termbackup", "rotate-key", "docs", "--only", "") == [*reversed(machine.known), "latest"]
    assert answer(machine, "termbackup", "verify", "-p", "music", "") == ["latest"]
    assert str(machine.home / "store") in answer(machine, "tbk-pull", "")
    assert answer(machine, "tbk-push", str(machine.home)[:4])[0] == str(machine.home / "store")
    assert answer(machine, "termbackup", "help", "ru") == ["run"]
    assert answer(machine, "termbackup", "migrate", "") == answer(machine, "termbackup", "list", "--group", "") == []
    assert answer(machine, "termbackup", "migrate", "--archives", "") == ["docs", "music"]
    assert str(machine.home / "store") in answer(machine, "termbackup", "list", "--store", "")
    assert "ungrouped" in answer(machine, "termbackup", "profile", "edit", "docs", "--unset", "")


def test_every_option_of_the_help_is_a_candidate(machine):
    for name in ("run", "restore", "rotate-key", "prune", "init", "profile"):
        shown = subprocess.run(["termbackup", name, "--help"], env=machine.environment, capture_output=True, text=True).stdout
        listed = {word.strip(",") for line in shown.splitlines() if line.startswith("  -")
                  for word in line.split("  ")[1].split() if word.startswith("-")}
        assert listed == set(answer(machine, "termbackup", name, "-")) and "--help" in listed
    for name in ("tbk-push", "tbk-seal", "tbk-open"):
        offered = answer(machine, name, "--")
        assert "--version" in offered and len(offered) > 15


def test_a_command_with_a_default_takes_what_that_takes(machine):
    for command, option in (("tbk-seal", "--receipt"), ("tbk-manifest", "--exclude-from")):
        assert option in answer(machine, command, option[:-2])
        assert ":files" in answer(machine, command, option, "")
        assert any(word.startswith(":") for word in answer(machine, command, "./"))
    assert answer(machine, "tbk-seal", "st") == ["stream"]
    assert "--receipt" not in answer(machine, "tbk-seal", "stream", "x", "--", "--rec")
    assert "--chain" not in answer(machine, "tbk-seal", "--ch")


def test_after_two_hyphens_nothing_is_an_option(machine):
    assert answer(machine, "termbackup", "run", "--", "-") == []
    assert answer(machine, "termbackup", "run", "--", "d") == ["docs"]


def test_a_secret_is_never_asked_for_and_a_broken_home_is_silent(machine):
    for file in machine.home.rglob("*.json"):
        if "store" not in file.parts:
            put(file, b"{")
    assert answer(machine, "termbackup", "run", "") == []
    assert "run" in answer(machine, "termbackup", "")
    assert answer(machine, "termbackup", "verify", "-p", "docs", "") == ["latest"]


@pytest.mark.parametrize("file", ["bash/termbackup", "zsh/_termbackup", "fish/termbackup.fish"])
def test_every_command_is_completed_in_every_shell(tbk, file):
    """Each file equals the output of `make completions`."""
    # Store helpers are not run by hand.
    commands = {path.name for path in BIN.iterdir() if not path.name.startswith("tbk-store-")}
    text = pathlib.Path(COMPLETIONS / file).read_text()
    assert commands <= set(text.replace("\\\n", " ").split())
    assert tbk.run("tbk-sh", "completions", file.partition("/")[0], *commands).out.decode() == text


def test_values_are_those_that_a_verb_declares(machine):
    assert answer(machine, "termbackup", "restore", "latest", "--overwrite", "") == ["never", "if-changed", "always"]
    assert answer(machine, "termbackup", "profile", "edit", "docs", "--mode", "") == ["full", "incremental"]
    assert answer(machine, "termbackup", "package", "--level=", "") == [":directories"]
    assert answer(machine, "termbackup", "package", "--level=")[:2] == ["--level=0", "--level=1"]
    assert answer(machine, "termbackup", "run", "--password-file", "") == [":files"]
    assert answer(machine, "termbackup", "run", "--max-wait", "") == []
    assert answer(machine, "termbackup", "restore", "latest", "--to", "") == [":directories"]


def test_the_paths_are_those_of_the_backup_that_is_meant(machine, tmp_path):
    for name in ("folder/one", "folder/two words", "folder/deep/er", "new\nline"):
        put(tmp_path / "source" / name, b"x")
    machine.run("run", "docs")
    known = {"TERMBACKUP_PASSWORD_FILE": str(machine.tbk.scratch / "given password")}
    at = ["-p", "docs", "latest"]
    for verb in ("ls", "cat", "restore"):
        assert answer(machine, "termbackup", verb, *at, "", **known) == ["file", "folder/"]
        assert answer(machine, "termbackup", verb, *at, "folder/t", **known) == ["folder/two words"]
    assert answer(machine, "termbackup", "cat", "latest~1", "-pdocs", "fo", **known) == []
    assert answer(machine, "termbackup", "restore", *at, "file", "folder/deep/", **known) == ["folder/deep/er"]
    assert answer(machine, "termbackup", "cat", *at, "") == []


def test_a_path_that_is_begun_in_quotes_is_completed_in_them(machine, tmp_path):
    require("bash")
    for name in ("My Documents/a letter", "My Documents/the \"second\" of $5", "one's own", "deep/a:b c"):
        put(tmp_path / "source" / name, b"x")
    machine.run("run", "docs")
    machine.environment["TERMBACKUP_PASSWORD_FILE"] = str(machine.tbk.scratch / "given password")
    typist = Typist(machine, ["bash", "--norc", "--noprofile", "-i"],
                    f"source '{COMPLETIONS}/bash/termbackup'", "bind 'set completion-query-items 0'",
                    r"""bind -x '"\C-xw": printf "<<%s>>\n" "$READLINE_LINE"'""")
    try:
        for text, line in [
                ('"My Do', '"My Documents/"'),
                ("'My Do", "'My Documents/'"),
                (r"My\ Do", r"My\ Documents/"),
                ('"My Documents/a', '"My Documents/a letter" '),
                ('"My Documents/"a', r'My\ Documents/a\ letter '),
                ('"My Documents/t', r'"My Documents/the \"second\" of \$5" '),
                ("'My Documents/t", "'My Documents/the \"second\" of $5' "),
                (r"My\ Documents/the\ ", r"My\ Documents/the\ \"second\"\ of\ \$5 "),
                ('"one', '"one\'s own" '),
                ("'one", r"'one'\''s own' "),
                ('"deep/a:b', '"deep/a:b c" '),
                ("deep/a:b", r"deep/a:b\ c ")]:
            assert typist.complete(f"termbackup cat -p docs latest {text}") == f"termbackup cat -p docs latest {line}", text
        assert typist.complete('termbackup cat -p "docs" latest fi') == 'termbackup cat -p "docs" latest file '
        assert typist.complete('tbk-seal --password-file "pas') == 'tbk-seal --password-file "pass word" '
        assert typist.complete('tbk-seal --password-file="pas') == 'tbk-seal --password-file="pass word" '
    finally:
        typist.close()


def test_the_backups_are_those_of_the_profile_that_is_meant(machine):
    newest = [*reversed(machine.known), "latest"]
    assert answer(machine, "termbackup", "restore", "") == []
    assert answer(machine, "termbackup", "restore", "", TERMBACKUP_PROFILE="docs") == newest
    assert answer(machine, "termbackup", "diff", "--profile=docs", "latest", newest[0][:6]) == newest[:1]
    assert answer(machine, "termbackup", "rotate-key", "docs", f"--only={newest[0][:6]}") == [f"--only={newest[0]}"]
