"""Names with control characters, which must not reach a terminal, and standard streams that are closed."""

import json
import os
import subprocess

import pytest
from conftest import PASSWORD, PATIENCE, put
from shell_fixture import shell  # noqa: F401

# Changes a colour, in both encodings; breaks the line; and overwrites text.
EVIL = "s\u001b[41mr\u009b31m\r\nc\u0007\u007f \u00e9"


def wild(text):
    """The control characters in the text, except line feeds between lines and tabs in tables."""
    return [c for c in text.decode("utf-8", "replace") if (c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f"]


def test_no_verb_writes_control_characters_of_a_profile_to_the_terminal(shell, tmp_path):
    # Not the crontab of the user who runs this test.
    put(tmp_path / "tools" / "crontab", f"""#!/bin/sh
        case $1 in
        -l) cat '{tmp_path}/crontab' 2>/dev/null || {{ echo 'no crontab for ada' >&2; exit 1; }} ;;
        -) cat >'{tmp_path}/crontab' ;;
        esac
        """.encode(), 0o755)
    put(tmp_path / "tools" / "systemctl", b"#!/bin/sh\nexit 1\n", 0o755)
    shell.environment["PATH"] = f"{tmp_path}/tools:{shell.environment['PATH']}"
    shell.run("init")
    for name, fields in (("gone", {"source_dir": f"{tmp_path}/{EVIL}"}), ("store", {"repo": f"{tmp_path}/{EVIL} store".replace("\n", "")}),
                         ("there", {"source_dir": f"{tmp_path}/{EVIL} there", "restore_dir": f"{tmp_path}/{EVIL}/out"})):
        profile = {"name": name, "source_dir": str(tmp_path), "repo": str(shell.home / "store"), **fields}
        (tmp_path / "p.json").write_text(json.dumps(profile))
        done = shell.run("profile", "import", tmp_path / "p.json")
        assert wild(done.stdout + done.stderr) == []
    os.mkdir(f"{tmp_path}/{EVIL} there")
    commands = [["run", "gone"], ["run", "store"], ["run", "there"], ["restore", "latest", "-p", "there"], ["list", "store"],
                ["verify", "latest", "-p", "store"], ["prune", "store", "--keep-last", "1"], ["clean", "--store"], ["status"], ["doctor"],
                ["profile", "list"], ["profile", "show", "gone"], ["schedule-enable", "gone"], ["consolidate", "store", "latest"],
                ["rotate-key", "store"], ["diff", "latest", "latest", "-p", "store"],
                ["package", f"{tmp_path}/{EVIL}"], ["unpack", f"{tmp_path}/{EVIL}.tbk"]]
    shown = b""
    for command in commands:
        done = subprocess.run(
            shell.command(*command), env=shell.environment_with(PASSWORD, {}), capture_output=True, timeout=PATIENCE,
            stdin=subprocess.DEVNULL)
        assert wild(done.stdout + done.stderr) == [], (command, done)
        shown += done.stdout + done.stderr
    # They are displayed escaped, and other characters as they are.
    assert rb"\033[41m" in shown and "é".encode() in shown


@pytest.mark.parametrize("closed", [[1], [1, 2], [0, 1, 2]])
def test_a_quiet_run_needs_no_standard_streams(shell, small, closed):
    shell.profile("docs", small)
    for verb in "run", "schedule-run":
        (small_file := os.path.join(small, verb))
        with open(small_file, "w") as file:
            file.write(verb)
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" ' + " ".join(f"{number}>&-" for number in closed), "sh", *shell.command(verb, "-q", "docs")],
            env=shell.environment_with(PASSWORD, {}), capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(shell.ids("docs")) == 2


@pytest.mark.parametrize("options", [[], ["-q", "--json"]])
def test_a_report_that_nobody_gets_is_a_failure(shell, small, options):
    shell.profile("docs", small)
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *shell.command("run", "docs", *options)],
                          env=shell.environment_with(PASSWORD, {}), capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    assert done.returncode == 74, done.stderr
    assert len(shell.ids("docs")) == 1
