"""What every verb of termbackup accepts: profile, operands, options; and what it refuses."""

import re

import pytest
from conftest import REPOSITORY, VERBS
from shell_fixture import shell  # noqa: F401


def test_the_help_lists_every_verb_and_no_other(tbk):
    shown = [line.split()[0] for line in tbk.run("termbackup", "--help").out.decode().splitlines() if line.startswith("  ")
             and line[2:3].isalpha() and line[2:3].islower()]
    assert sorted(shown) == VERBS


def test_a_profile_can_be_left_out_where_there_is_one(shell, small):  # noqa: F811
    shell.run("init")
    assert b"profile create" in shell.run("list", status=64).stderr
    shell.profile("docs", small)
    shell.run("run")
    assert shell.run("list").stdout == shell.run("list", "docs").stdout == shell.run("list", "-p", "docs").stdout
    shell.run("verify", "latest")
    assert shell.run("diff", "latest", "latest").stdout == b""
    shell.profile("music", small)
    for words in (["run"], ["list"], ["verify", "latest"], ["restore", "latest"], ["prune", "--keep-last", "1"], ["rotate-key"]):
        said = shell.run(*words, status=64).stderr
        assert b"no profile is given" in said and b"docs music" in said
    assert shell.run("list", env={"TERMBACKUP_PROFILE": "docs"}).stdout == shell.run("list", "docs").stdout
    assert shell.run("list", "music", env={"TERMBACKUP_PROFILE": "docs"}).stdout == b""
    shell.run("list", env={"TERMBACKUP_PROFILE": "nothing"}, status=78)


def test_a_profile_is_named_once(shell, small):  # noqa: F811
    shell.profile("docs", small)
    for words in (["list", "docs", "-p", "docs"], ["list", "docs", "docs"], ["list", "docs", "--store", "."]):
        shell.run(*words, status=64)


@pytest.mark.parametrize("word, verb", [("snapshots", "list"), ("forget", "prune"), ("check", "verify"), ("backup", "run"),
                                        ("log", "list"), ("verfy", "verify")])
def test_a_word_of_another_tool_leads_to_the_verb(tbk, word, verb):
    said = tbk.run("termbackup", word, status=64).err.decode().splitlines()
    assert said == [f"termbackup: error: '{word}' is not a termbackup verb",
                    f"termbackup: hint: did you mean 'termbackup {verb}'?"]


def test_an_option_that_is_nearly_right_is_pointed_out(shell):  # noqa: F811
    said = shell.run("run", "--exclude-cache", status=64).stderr.decode().splitlines()
    assert said == ["termbackup run: error: unknown option '--exclude-cache'",
                    "termbackup run: hint: did you mean '--exclude-caches'?"]


def test_names_of_any_bytes_reach_the_commands(shell, tmp_path):  # noqa: F811
    folder = tmp_path / "it's \udcff $(x)"
    folder.mkdir()
    (folder / "file").write_bytes(b"content")
    shell.run("init")
    shell.run("package", folder, "--to", tmp_path)
    shell.run("unpack", f"{folder}.tbk", "--to", tmp_path / "back")
    assert (tmp_path / "back" / "file").read_bytes() == b"content"


# Manuals


def declared_operands(usage):
    """For each operand in the usage line of a verb's help, whether it is optional."""
    line = " ".join(re.search(r"USAGE:(.*?)\n\n", usage, re.DOTALL)[1].split())
    line = re.sub(r"(?<!\S)\[?--?[\w-]+ <[^>]+>\]?|\[?<options>\]?", "", line)
    return [word.startswith("[") for word in re.findall(r"(?<!\S)\[?<[^>]+>", line)]


def written_operands(page):
    """The same for each call in the synopsis of a manual page; the first part is what follows `termbackup VERB`."""
    synopsis = re.search(r"^\.Sh SYNOPSIS\n(.*?)^\.Sh ", page.read_text(), re.DOTALL | re.MULTILINE)[1]
    calls = []
    for line in synopsis.splitlines():
        if line.startswith(".Nm"):
            calls.append((line.split()[2:], []))
        elif line in (".Op Ar profile", ".Op Ar id", ".Op Ar path", ".Op Ar file | Fl o Ar file") or re.fullmatch(r"\.Op Ar (name|profile|path) \.\.\.", line):
            calls[-1][1].append(True)
        elif match := re.fullmatch(r"\.Ar ([a-z.]+(?: [a-z]+)*)( \| .*)?", line):
            calls[-1][1].extend([" Fl " in (match[2] or "")] * len(match[1].split()))
        elif match := re.fullmatch(r"\.Cm (\w+)", line):
            calls[-1][0].append(match[1])
    return calls


@pytest.mark.parametrize("verb", VERBS)
def test_the_synopsis_has_the_operands_that_are_declared(shell, verb):  # noqa: F811
    calls = written_operands(REPOSITORY / "man" / f"termbackup-{verb}.1")
    assert calls
    # With --at, the path is the first operand.
    if verb == "cat":
        calls.append(([], [True, True]))
    if verb != "profile":
        assert declared_operands(shell.run(verb, "--help").stdout.decode()) in [operands for _, operands in calls]
        return
    for words, operands in calls:
        assert declared_operands(shell.run("profile", words[1], "--help").stdout.decode()) == operands, words
