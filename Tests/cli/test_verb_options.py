"""What every verb of termbackup takes: its profile, its words, and what it is told that are not."""

import pytest
from conftest import REPOSITORY
from test_shell_layer import shell  # noqa: F401

VERBS = sorted(script.name.removeprefix("termbackup-") for script in (REPOSITORY / "bin").glob("termbackup-*")
               if not script.name.startswith("termbackup-sh-"))


def test_the_help_lists_every_verb_and_no_other(shell):  # noqa: F811
    shown = [line.split()[0] for line in shell.run("--help").stdout.decode().splitlines() if line.startswith("  ")
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
def test_a_word_of_another_tool_leads_to_the_verb(shell, word, verb):  # noqa: F811
    said = shell.run(word, status=64).stderr.decode().splitlines()
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
