"""termbackup run, under each supported shell."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from conftest import PASSWORD, PATIENCE, absent, make_tree, put, require, snapshot
from shell_fixture import shell  # noqa: F401  # noqa: F401
from test_prune import age


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
    # The manifest comes from the store if the cached one is missing or damaged.
    cache = next((shell.home / "cache").glob("*/*.tbk"))
    cache.write_bytes(b"damaged")
    assert b"Nothing has changed" in shell.run("run", "docs").stdout
    shutil.rmtree(shell.home / "cache")
    assert b"Nothing has changed" in shell.run("run", "docs").stdout
    assert json.loads(shell.run("run", "docs", "--full", "--json").stdout)["mode"] == "full"


def test_excludes_of_the_profile_are_left_out(shell, small, tmp_path):
    shell.profile("docs", small, "--exclude", "d/*", "--exclude", "!d/inside", "--exclude", "empty/")
    shell.run("run", "docs")
    shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["d", "link", "plain"]
    assert os.listdir(tmp_path / "out" / "d") == ["inside"]


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
    # Without a check, the archive proves the password.
    shell.run("run", "docs", "--full")
    made, = (store / "checks").iterdir()
    group, = json.loads((store / "metadata.json").read_text())["groups"].values()
    assert group["check"]["filename"] == made.name and len(shell.ids("docs")) == 2


def test_part_of_the_source_that_cannot_be_read_gives_status_3(shell, small, tmp_path):
    """It is named, and the rest is stored."""
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


@pytest.mark.parametrize("json_option", [[], ["--json"]])
@pytest.mark.parametrize("room", [0, 1])
def test_a_full_disk_under_the_home_is_named(shell, small, room, json_option):
    """With no space at all, and with only one page."""
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
    # Only the shell itself gets the signal: it must stop what it started.
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


def runs(shell, small, count, *options):
    for number in range(count):
        put(os.path.join(small, f"new {number}"), str(number).encode() * 100)
        shell.run("run", *options, "docs")


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
    # A password that can be read only once is used for all profiles.
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
