"""An option with one value may be given once; an unknown option is reported as such, even if something else is missing."""

import json
import re

import pytest
from conftest import PATIENCE

COMMANDS = ["tbk-audit", "tbk-config", "tbk-manifest", "tbk-notify", "tbk-open", "tbk-prune", "tbk-pull", "tbk-push", "tbk-seal",
            "tbk-sign", "tbk-store", "tbk-token", "tbk-watch"]
# Values for options of verbs that do not accept every word.
VALUES = {"--progress": "never", "--placement": "git", "--overwrite": "never", "--profile": "p", "-p": "p", "--sample": "1", "-n": "1",
          "--level": "1", "--debounce": "1", "--max-delay": "1", "--poll": "1", "--archives": "p", "--max-age": "1d"}
LISTS = {"--recipient", "--recipients-file", "--identity", "--exclude", "--exclude-from", "--include", "--packages", "--unset"}
# The printed identities, which this verb stores again, are one file.
ONE_ALONE = {("generate-identity", "--identity")}


def leaves(command, path=()):
    """Every command in the parser's description that does something, with its path."""
    below = [each for each in command.get("subcommands", []) if each["commandName"] != "help"]
    if not below or command.get("defaultSubcommand"):
        chosen = next((each for each in below if each["commandName"] == command.get("defaultSubcommand")), command)
        yield path, chosen.get("arguments", [])
    for each in below:
        yield from leaves(each, (*path, each["commandName"]))


def spelled(name):
    return ("--" if name["kind"] == "long" else "-") + name["name"]


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name, tbk, tmp_path):
    described = json.loads(tbk.run(name, "--experimental-dump-help").out)["command"]
    tried, shared = 0, set()
    for path, arguments in leaves(described):
        for argument in arguments:
            if argument["kind"] != "option" or argument["isRepeating"]:
                continue
            # Verbs that share a declaration behave the same.
            if json.dumps(argument) in shared:
                continue
            shared.add(json.dumps(argument))
            names = [spelled(each) for each in argument["names"]]
            value = argument.get("defaultValue") or "1"
            for one, other in {(names[0], names[0]), (names[0], names[-1])}:
                given = [other + "=" + value] if other.startswith("--") else [other, value]
                result = tbk.run(name, *path, one, value, *given, status=64, cwd=tmp_path)
                # The first value may be invalid.
                if b"is invalid for" not in result.err:
                    assert f"option '{other}' was given more than once".encode() in result.err, (path, result.err)
                    tried += 1
        result = tbk.run(name, *path, "--nosuch", status=64, cwd=tmp_path)
        assert b"error: unknown option '--nosuch'\n" in result.err, (path, result.err)
    assert tried and not any(tmp_path.glob("[!hptd]*"))


def test_what_may_be_repeated(tbk, small):
    listed = tbk.run("tbk-manifest", "-q", "--exclude", "plain", "--quiet", "--exclude=s*", "-q", small, status=None)
    assert listed.status == 0 and listed.out


def test_what_stands_behind_two_dashes_is_no_option(tbk, tmp_path):
    for name in ("--mode", "--output"):
        (tmp_path / name).mkdir()
    tbk.run("tbk-manifest", "--mode", "full", "--", "--mode", cwd=tmp_path)
    assert tbk.run("tbk-seal", "stream", "x", "--password-file", tbk.password_file, "-o", "a", "--level", "1",
                   "--memory", "64", "--", "echo", "-o", "-o", "--level", "--level", password=None, cwd=tmp_path).status == 0


def test_a_letter_of_a_misspelt_option_asks_for_nothing(tbk, small):
    """"-nosuch" contains "h". Help printed in place of an archive, with status 0, would be stored."""
    for name in ("tbk-seal", "tbk-open", "tbk-pull"):
        result = tbk.run(name, "-nosuch", small, status=64)
        assert result.out == b"" and b"unknown option" in result.err
    assert tbk.run("tbk-open", "-qh").out.startswith(b"OVERVIEW")


def test_the_option_that_was_meant_is_suggested(tbk):
    result = tbk.run("tbk-push", "--recipt", "x", status=64)
    assert result.err == b"tbk-push: error: unknown option '--recipt'\ntbk-push: hint: did you mean '--receipt'?\n"


def test_a_value_is_in_no_message(tbk):
    assert b"hunter2" not in tbk.run("tbk-push", "--pasword=hunter2", status=64).err


def refusal(tbk, *arguments):
    """The error that `termbackup` prints for a usage error."""
    process = tbk.start("termbackup", *arguments)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 64 and out == b"", (arguments, process.returncode)
    return err


def verbs(tbk):
    text = tbk.run("termbackup", "--help").out.decode()
    names = re.findall(r"^  ([a-z][a-z-]+)", text, re.MULTILINE)
    return [name for name in names if name not in ("profile", "help")]


def test_verbs(tbk, tmp_path):
    tried = 0
    for verb in verbs(tbk):
        text = tbk.run("termbackup", verb, "--help").out.decode()
        for short, name in re.findall(r"^  (?:(-\w), )?(--?[a-z0-9-]+) <", text, re.MULTILINE):
            if name in LISTS and (verb, name) not in ONE_ALONE:
                assert b"unknown option '--nosuch'" in refusal(tbk, verb, name, "x", name, "x", "--nosuch")
                continue
            word = VALUES.get(name, "9")
            for one, other in {(name, name), (short or name, name)}:
                given = [other + "=" + word] if other.startswith("--") else [other, word]
                said = refusal(tbk, verb, one, word, *given, "--nosuch")
                assert f"option '{other}' was given more than once".encode() in said, (verb, said)
                tried += 1
        assert b"error: unknown option '--nosuch'\n" in refusal(tbk, verb, "--nosuch"), verb
    assert tried > 50


@pytest.mark.parametrize("line", ["status -pa -p b", "status -p a --profile=b", "package x -oy -o z", "audit-log -ox --operation y"])
def test_the_short_and_the_long_name_are_one_option(line, tbk):
    assert b"was given more than once" in refusal(tbk, *line.split())


def test_profiles(tbk):
    said = refusal(tbk, "profile", "create", "p", "--source", "a", "--source", "b")
    assert b"option '--source' was given more than once" in said
    for line in ("--nosuch", "create --nosuch", "edit --nosuch", "import --nosuch"):
        assert b"unknown option '--nosuch'" in refusal(tbk, "profile", *line.split())
