"""What people look for in the first week: lists, several profiles at once, chains that end, rates."""

import json
import os

from conftest import PASSWORD, put
from test_prune import age
from test_shell_layer import shell  # noqa: F401


def listed(shell, *arguments):
    lines = shell.run("list", *arguments).stdout.decode().splitlines()
    return [line.split() for line in lines[1:-1]], lines[-1]


def runs(shell, small, count, *options):
    for number in range(count):
        put(os.path.join(small, f"new {number}"), str(number).encode() * 100)
        shell.run("run", *options, "docs")


# Lists


def test_a_list_can_be_short_and_says_what_changed(shell, small):
    shell.profile("docs", small)
    runs(shell, small, 3)
    os.unlink(os.path.join(small, "new 0"))
    os.unlink(os.path.join(small, "new 1"))
    shell.run("run", "docs")
    ids = [json.loads(line)["id"] for line in shell.run("list", "--json").stdout.splitlines()]
    rows, total = listed(shell)
    assert [row[4] for row in rows] == ["-", "+1", "+1", "-2"] and total.startswith("4 backups, ")
    rows, total = listed(shell, "-n", "2")
    # The first that is shown is compared all the same.
    assert [row[0] for row in rows] == [name[:12] for name in ids[2:]] and rows[0][4] == "+1"
    assert total.startswith("2 of 4 backups, ")
    assert [json.loads(line)["id"] for line in shell.run("list", "--json", "--limit=1").stdout.splitlines()] == ids[3:]
    age(shell, 10)
    shell.run("run", "--full", "docs")
    assert len(listed(shell, "--since", "9d")[0]) == 1 and len(listed(shell, "--since", "11d")[0]) == 5
    assert len(shell.run("list", "--since", "9d", "--json").stdout.splitlines()) == 1
    assert b"No backups since then" in shell.run("list", "--since", "0s").stdout
    for wrong in ["-n", "0"], ["-n", "x"], ["--since", "soon"], ["--store", shell.home / "store", "-n", "1"]:
        shell.run("list", *wrong, status=64)


# Several profiles


def test_several_profiles_run_each_as_if_alone(shell, small, tbk, tmp_path):
    shell.profile("docs", small)
    for name in "music", "photos":
        put(tmp_path / name / "file", name.encode())
        shell.run("profile", "create", name, "--source", tmp_path / name)
    (tmp_path / "music").rename(tmp_path / "away")
    done = shell.run("run", "docs", "music", "photos", status=66)
    assert b"Backed up docs as " in done.stdout and b"Backed up photos as " in done.stdout
    assert b"1 of 3 profiles were not backed up: music (status 66)" in done.stderr
    outcomes = [(entry["profile"], entry["status"]) for entry in map(
        json.loads, shell.run("audit-log", "--json", "-o", "backup").stdout.splitlines())]
    assert outcomes == [("docs", "success"), ("music", "failure"), ("photos", "success")]
    (tmp_path / "away").rename(tmp_path / "music")
    # A password that can be read once is for all of them.
    reading, writing = os.pipe()
    os.write(writing, PASSWORD + b"\n")
    os.close(writing)
    done = shell.run("run", "--all", "--json", f"--password-fd={reading}", "--full", password=None, pass_fds=[reading])
    os.close(reading)
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(report["profile"], report["mode"]) for report in reports] == [(name, "full") for name in ("docs", "music", "photos")]
    put(shell.home / "profiles" / "broken.json", b"{")
    done = shell.run("run", "--all", status=78)
    assert b"1 of 4 profiles were not backed up: broken (status 78)" in done.stderr
    for wrong in ["--all", "docs"], ["-p", "docs", "music"], ["docs", "docs"], ["--all", "--placement", "x"]:
        shell.run("run", *wrong, status=64)


# What is left out


def test_a_profile_leaves_out_more_than_patterns(shell, small, tbk, tmp_path):
    put(os.path.join(small, "large"), b"x" * 5000)
    put(os.path.join(small, "cache", "CACHEDIR.TAG"), b"Signature: 8a477f597d28d172789f06886806bc55\n")
    put(os.path.join(small, "cache", "thing"), b"x")
    put(os.path.join(small, "listed"), b"x")
    put(os.path.join(small, "back"), b"x")
    put(tbk.scratch / "a list", b"listed\nback")
    shell.profile("docs", small, "--exclude-larger-than", "4K", "--exclude-caches", "--one-file-system",
                  "--exclude-from", tbk.scratch / "a list", "--exclude", "!back")
    shown = json.loads(shell.run("profile", "show", "docs", "--json").stdout)
    assert (shown["exclude_larger_than"], shown["exclude_caches"], shown["one_file_system"]) == ("4K", True, True)
    shell.run("run", "docs")
    shell.run("restore", "latest", "--to", tmp_path / "out")
    names = os.listdir(tmp_path / "out")
    assert "large" not in names and "listed" not in names and "back" in names
    assert os.listdir(tmp_path / "out" / "cache") == ["CACHEDIR.TAG"]
    (tbk.scratch / "a list").unlink()
    assert b"exclude_from: " in shell.run("run", "docs", status=66).stderr
    shell.run("profile", "edit", "docs", "--unset", "exclude_from", "--unset", "exclude_larger_than")
    shell.run("run", "docs", "--exclude-larger-than", "5000")
    shell.run("restore", "latest", "--to", tmp_path / "more")
    assert {"large", "listed"} <= set(os.listdir(tmp_path / "more"))
    for wrong in "0", "1.5M", "4k", "-1", "99999999999T":
        shell.run("run", "docs", f"--exclude-larger-than={wrong}", status=64)
        shell.run("profile", "edit", "docs", f"--exclude-larger-than={wrong}", status=64)


# Chains


def modes(shell):
    return [json.loads(line)["mode"][0] for line in shell.run("list", "--json").stdout.splitlines()]


def test_chains_end_by_themselves(shell, small):
    shell.profile("docs", small, "--mode", "incremental", "--full-every", "3")
    runs(shell, small, 4)
    assert "".join(modes(shell)) == "fiif"
    shell.run("profile", "edit", "docs", "--unset", "full_every", "--max-chain", "1")
    runs(shell, small, 2)
    assert "".join(modes(shell)) == "fiififf"[:6]
    shell.run("profile", "edit", "docs", "--unset", "max_chain", "--full-every", "5d")
    runs(shell, small, 1)
    assert modes(shell)[-1] == "i"
    age(shell, 6)
    put(os.path.join(small, "more"), b"more")
    assert b"a full backup is due" in shell.run("run", "docs").stderr
    assert modes(shell)[-1] == "f"


def test_prune_says_what_stays_for_others_and_how_it_goes(shell, small):
    shell.profile("docs", small, "--mode", "incremental")
    runs(shell, small, 3)
    done = shell.run("prune", "--keep-last", "1", "--dry-run", "docs").stdout.decode()
    ids = [json.loads(line)["id"] for line in shell.run("list", "--json").stdout.splitlines()]
    # What the last one needs is the first and the second.
    assert "2 backups, " in done and f"stay only because others need them: {ids[2][:12]}\n" in done
    assert f"'termbackup consolidate docs {ids[2][:12]}' makes that backup independent at once" in done
    verdicts = [json.loads(line) for line in shell.run("prune", "--keep-last=1", "--dry-run", "--json", "docs").stdout.splitlines()]
    assert [verdict["needed_by"] for verdict in verdicts] == [[ids[2]], [ids[2]], []]
    shell.run("consolidate", "docs", "latest")
    done = shell.run("prune", "--keep-last", "1", "docs").stdout.decode()
    assert "only because" not in done and len(modes(shell)) == 1


# Rates


def test_rates_reach_the_store_and_change_no_bytes(shell, small, tmp_path):
    shell.profile("docs", small, "--limit-upload", "100000", "--limit-download", "100000")
    shell.run("run", "docs")
    shell.run("run", "--limit-upload", "50000", "--full", "docs")
    shell.run("restore", "latest", "--limit-download", "50000", "--to", tmp_path / "out")
    shell.run("verify", "--all", "--limit-download", "50000")
    assert sorted(os.listdir(tmp_path / "out")) == sorted(os.listdir(small))
    for wrong in "0", "x", "-1":
        shell.run("run", "docs", f"--limit-upload={wrong}", status=64)
        shell.run("profile", "edit", "docs", f"--limit-download={wrong}", status=64)
