"""termbackup cat: prints a file of a backup, and reads no more than that takes."""

import json
import os
import random
import shutil

from browsing_fixture import NAMES, backed_up, make_tree, shell  # noqa: F401
from conftest import put, snapshot
from github_fixture import github, github_server  # noqa: F401, fixtures


def test_each_file_is_printed(shell, backed_up):
    for name in (*NAMES, "d/later", "large"):
        path = os.path.join(os.fsencode(backed_up), name.encode("latin-1"))
        with open(path, "rb") as file:
            assert shell.run("cat", "latest", "-pp", "--", name.encode("latin-1").decode("utf-8", "surrogateescape")
                             ).stdout == file.read()
    shell.run("cat", "latest~1", "d/later", status=66)
    shell.run("cat", "latest", "d", status=64)


def test_paths_are_restored_and_nothing_else(shell, backed_up, tmp_path):
    for name in NAMES:
        given = name.encode("latin-1").decode("utf-8", "surrogateescape")
        out = tmp_path / "out"
        shell.run("restore", "latest", "-p", "p", "--to", out, "--", given)
        found = [path for path, facts in snapshot(out).items() if "content" in facts]
        assert found == [name.encode("latin-1")]
        shutil.rmtree(out)
    shell.run("restore", "latest", "d/e/", "./plain", "-p", "p", "--to", out)
    assert {name for name in snapshot(out)} == {b"", b"d", b"d/e", b"d/e/deep", b"plain"}
    shell.run("restore", "latest", "nothing", "-p", "p", "--to", tmp_path / "none", status=66)
    some = tmp_path / "some"
    for dry, status in ((["--dry-run"], 3), ([], 3)):
        done = shell.run("restore", "latest", "plain", "nothing", "-p", "p", "--to", some, *dry, status=status)
        assert b"'nothing' is not in this backup" in done.stderr
    assert os.listdir(some) == ["plain"]
    assert b"'nothing' is not in this backup" in shell.run("restore", "latest", "nothing", "-p", "p", "--to", tmp_path / "none", status=66).stderr
    put(out / "plain", b"changed")
    shell.run("restore", "latest", "plain", "-p", "p", "--to", out, status=73)
    report = json.loads(shell.run("restore", "latest", "plain", "-p", "p", "--to", out, "--overwrite", "if-changed",
                                  "--json").stdout)
    assert (report["file_count"], report["replaced_count"]) == (1, 1)
    lines = shell.run("restore", "latest", "d", "-p", "p", "--to", tmp_path / "new", "--dry-run").stdout.splitlines()
    assert b"create\td/later" in lines and not (tmp_path / "new").exists()


def test_failures_have_their_statuses(shell, backed_up):
    shell.run("cat", "latest", "plain", password=b"wrong", status=77)
    shell.run("ls", "latest", "nothing", status=66)
    error = json.loads(shell.run("ls", "latest", "nothing", "--json", status=66).stderr)
    assert error["error"]["status"] == 66
    shell.run("ls", "1234567890", status=69)
    shell.run("ls", status=64)
    shell.run("ls", "latest", "d", "--json", "-l", status=64)
    shell.run("cat", "latest", status=64)
    shell.run("cat", "--at", "1d", "d", "e", status=64)
    shutil.rmtree(shell.home / "store" / "backups")
    shell.run("cat", "latest", "plain", status=66)
    assert shell.run("ls", "latest").stdout


def test_a_store_without_a_profile(shell, backed_up):
    arguments = ["--store", shell.home / "store"]
    assert shell.run("cat", "latest", "plain", *arguments).stdout == b"plain" * 3
    assert b"plain\n" in shell.run("ls", "latest", *arguments).stdout
    shell.run("ls", "latest", "-p", "p", *arguments, status=64)


def test_what_is_sealed_to_a_recipient(shell, tmp_path):
    source = make_tree(tmp_path / "source")
    identity = tmp_path / "identity"
    shell.tbk.run("tbk-keygen", "-o", identity)
    recipient = shell.tbk.run("tbk-keygen", "-y", identity).out.decode().strip()
    shell.profile("p", source, "--recipient", recipient)
    shell.run("run", "p", password=None)
    for verb in (["ls", "latest"], ["cat", "latest", "plain"]):
        shell.run(*verb, password=None, status=64)
        shell.run(*verb, "-i", identity, password=None, status=77)
        assert b"plain" in shell.run(*verb, "-i", identity, "--unsigned", password=None).stdout


def test_on_github_a_file_costs_little(github, shell, tmp_path):  # noqa: F811
    shell.environment.update(github.environment)
    source = make_tree(tmp_path / "source")
    for number in range(30):
        put(source / "more" / str(number), random.Random(number).randbytes(1 << 20))
    shell.profile("p", source, "--repo", github.address, "--cipher-suite", "3", "--placement", "release")
    shell.run("run", "p")
    github.clear_log()
    assert shell.run("cat", "latest", "d/one").stdout == b"d/one" * 3
    sizes = []
    for entry in github.log():
        if entry["headers"].get("range"):
            first, last = entry["headers"]["range"].split("=")[1].split("-")
            sizes.append(int(last) - int(first) + 1)
        assert not entry["path"].startswith("/assets") or entry["headers"].get("range")
    assert sizes and sum(sizes) < 6 << 20
    shell.run("restore", "latest", "d", "-p", "p", "--to", tmp_path / "out")
    assert snapshot(tmp_path / "out" / "d") == snapshot(source / "d")


def test_the_identity_in_the_store_and_the_token_do_not_meet(github, shell, tmp_path):  # noqa: F811
    """Both are passed by descriptors; tbk-pull, which gets the token, does not get the identity."""
    shell.environment.update(github.environment)
    source = make_tree(tmp_path / "source")
    shell.profile("p", source, "--repo", github.address)
    shell.run("generate-identity", "p")
    shell.run("run", "p", password=None)
    assert b"plain\n" in shell.run("ls", "latest").stdout
    assert shell.run("cat", "latest", "d/one").stdout == b"d/one" * 3
    assert b"d/one" in shell.run("find", "one").stdout
    shell.run("restore", "latest", "d", "-p", "p", "--to", tmp_path / "out")
    assert snapshot(tmp_path / "out" / "d") == snapshot(source / "d")


def test_where_the_newest_says_what_is_where_no_older_manifest_is_read(shell, tmp_path):
    """The hashes in the newest manifest prove the content: it is read although the older manifest is damaged."""
    source = tmp_path / "source"
    for number in range(3000):
        put(source / f"{number}", b"%d" % number)
    shell.profile("p", source, "--mode", "incremental", "--cipher-suite", "3")
    shell.run("run", "p")
    base, = (shell.home / "store" / "backups").iterdir()
    put(source / "new", b"new")
    shell.run("run", "p")
    with open(base, "r+b") as file:
        # Within the frames of the manifest: the last 128 KiB contain their end and the table.
        place = base.stat().st_size - (160 << 10)
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    assert shell.run("ls", "latest~1", "17").stdout
    assert shell.run("cat", "latest", "17").stdout == b"17"
    shell.run("restore", "latest", "17", "2900", "--to", tmp_path / "out")
    assert (tmp_path / "out" / "2900").read_bytes() == b"2900"
    shell.run("cat", "latest~1", "17", status=77)
    shell.run("verify", "latest", status=1)
