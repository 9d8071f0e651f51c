"""termbackup profile: the list, and the files that a profile excludes."""

import json
import os

from conftest import put
from shell_fixture import shell  # noqa: F401  # noqa: F401


def test_profile_list_is_a_table(shell, small):
    shell.profile("docs", small)
    lines = shell.run("profile", "list").stdout.decode().splitlines()
    assert lines[0].split() == ["NAME", "SOURCE", "STORE", "MODE"]
    assert lines[1].split() == ["docs", small, str(shell.home / "store"), "full"]
    assert b"deleted" in shell.run("profile", "delete", "docs").stderr
    assert shell.run("profile", "list").stdout == b""


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
