"""A whole `termbackup run`, killed with kill -9 before and after each of its commands."""

import os
import shutil

import pytest
from conftest import BIN, put, snapshot
from shell_fixture import Shell
from tbkref import age
from test_rotate_key import ends_by_itself, wrapped

# All commands except tbk-config, which only reads the settings.
COMMANDS = ["tbk-manifest", "tbk-seal", "tbk-open", "tbk-pull", "tbk-push", "tbk-store", "tbk-prune", "tbk-sign", "tbk-audit"]


IDENTITY = age.Identity(bytes(range(32)))
# How a profile seals, and the stride between the commands at which the run is killed.
WAYS = [pytest.param([], 9, id="suite 1-some"), pytest.param([], 1, id="suite 1-each", marks=pytest.mark.soak),
        pytest.param(["--cipher-suite", "3"], 2, id="suite 3-each second", marks=pytest.mark.soak),
        pytest.param(["--recipient", IDENTITY.recipient], 2, id="age-each second", marks=pytest.mark.soak)]


@pytest.mark.parametrize("sealing, stride", WAYS)
def test_a_run_that_is_killed_anywhere_loses_no_backup_and_the_next_one_is_complete(tbk, tmp_path, sealing, stride):
    """A signed incremental run that prunes: there are three backups, and two of them must stay."""
    shell = Shell(tbk, tmp_path, ["dash"])
    source = tmp_path / "source"
    put(source / "same", b"same\n")
    key = os.fsdecode(put(tmp_path / "identity", IDENTITY.text.encode() + b"\n", 0o600))
    opening = ["-i", key] if "--recipient" in sealing else []
    shell.profile("p", source, "--mode", "incremental", "--max-backups", "3", *sealing)
    shell.run("generate-key", "--enable", "--no-password")
    was = {}
    for number in range(3):
        put(source / f"file{number}", b"%d\n" % number)
        shell.run("run", "-q", "p", *opening, *(["--full"] if number < 2 else []))
        was[shell.ids("p")[-1]] = snapshot(source)
    shutil.copytree(shell.home, tmp_path / "template", symlinks=True)
    put(source / "another", b"another\n")
    now = snapshot(source)
    # The commands of a pipeline start in any order: each takes a number, and is killed if its number is up.
    counting = wrapped(tmp_path, f"""
        at=1
        until mkdir '{tmp_path}/count/'$at 2>/dev/null; do at=$((at + 1)); done
        if test "$KILL_BEFORE" -eq "$at"; then kill -9 0; fi
        if test "$KILL_AFTER" -eq "$at"; then
            program=$1
            shift
            '{BIN}'/"$program" "$@"
            kill -9 0
        fi""", COMMANDS)
    number, ended = 5 - stride if stride > 1 else 0, set()
    while len(ended) < 2:
        number += stride
        for when in ("KILL_BEFORE", "KILL_AFTER"):
            if ends_by_itself(shell, counting, tmp_path, when, number, "run", "-q", "p", *opening):
                ended.add(when)
            left = shell.ids("p")
            assert len(left) >= 3 and len(set(was) & set(left)) >= 2, left
            shell.run("run", "-q", "p", *opening)
            shell.run("audit-log", "--verify")
            assert next(iter(was)) not in shell.ids("p") and len(set(was) & set(shell.ids("p"))) == 2
            for identity in shell.ids("p"):
                shutil.rmtree(tmp_path / "restored", ignore_errors=True)
                shell.run("restore", identity, "-p", "p", "--to", tmp_path / "restored", *opening)
                assert snapshot(tmp_path / "restored") == was.get(identity, now), (when, number, identity)
    assert number > 6
