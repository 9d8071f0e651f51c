"""termbackup prune: backups that stay because others need them."""

import json

from shell_fixture import shell  # noqa: F401
from test_run import modes, runs  # noqa: F401


def test_prune_says_what_stays_for_others_and_how_it_goes(shell, small):
    shell.profile("docs", small, "--mode", "incremental")
    runs(shell, small, 3)
    done = shell.run("prune", "--keep-last", "1", "--dry-run", "docs").stdout.decode()
    ids = [json.loads(line)["id"] for line in shell.run("list", "--json").stdout.splitlines()]
    # The last one needs the first and the second.
    assert "2 backups, " in done and f"stay only because others need them: {ids[2][:12]}\n" in done
    assert f"'termbackup consolidate docs {ids[2][:12]}' makes that backup independent at once" in done
    verdicts = [json.loads(line) for line in shell.run("prune", "--keep-last=1", "--dry-run", "--json", "docs").stdout.splitlines()]
    assert [verdict["needed_by"] for verdict in verdicts] == [[ids[2]], [ids[2]], []]
    shell.run("consolidate", "docs", "latest")
    done = shell.run("prune", "--keep-last", "1", "docs").stdout.decode()
    assert "only because" not in done and len(modes(shell)) == 1


def test_a_wrong_use_that_a_command_finds_is_hinted_at_in_the_name_of_the_verb(shell, small):
    shell.profile("docs", small)
    shell.run("run", "docs")
    said = shell.run("prune", "docs", "--keep-last", "1", "--max-backups", "2", "--dry-run", status=64).stderr.decode()
    assert "cannot be used with --max-backups" in said and said.endswith("hint: see 'termbackup prune --help'\n")
