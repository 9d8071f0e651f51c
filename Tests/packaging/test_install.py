"""make install and make uninstall: completions, manual pages that whatis finds, and nothing left behind."""

import os

import pytest
from packages import REPOSITORY, make, need_suite, require, run


@pytest.fixture
def prefix(tmp_path):
    need_suite()
    return tmp_path / "prefix"


def whatis(program, prefix, name):
    return run(program, "-M", prefix / "share" / "man", name, status=None).stdout


def test_whatis_and_apropos_know_what_was_installed(prefix):
    require("makewhatis", "mwhatis", "mapropos")
    make("install", f"PREFIX={prefix}")
    assert "termbackup(1) - encrypted backups that only you can read" in whatis("mwhatis", prefix, "termbackup")
    assert "tbk-seal(1) - " in whatis("mapropos", prefix, "encrypt")
    make("uninstall", f"PREFIX={prefix}")
    assert list(prefix.rglob("*")) == []


def test_pages_of_others_are_still_found_after_uninstall(prefix):
    require("makewhatis", "mwhatis")
    make("install", f"PREFIX={prefix}")
    (prefix / "share" / "man" / "man1" / "other.1").write_text(
        ".Dd January 1, 2026\n.Dt OTHER 1\n.Os\n.Sh NAME\n.Nm other\n.Nd a program of somebody else\n")
    make("install", f"PREFIX={prefix}")
    assert "other(1) - " in whatis("mwhatis", prefix, "other")
    make("uninstall", f"PREFIX={prefix}")
    assert "other(1) - " in whatis("mwhatis", prefix, "other")
    assert whatis("mwhatis", prefix, "termbackup") == ""
    assert sorted(os.listdir(prefix / "share" / "man")) == ["man1", "mandoc.db"]


def test_a_staged_installation_has_no_index(tmp_path):
    need_suite()
    make("install", f"DESTDIR={tmp_path}", "PREFIX=/usr")
    assert sorted(os.listdir(tmp_path / "usr" / "share" / "man")) == ["man1", "man5", "man7"]


def test_completions_are_where_each_shell_looks(prefix):
    make("install", f"PREFIX={prefix}")
    # A helper of a store is run by the others.
    names = sorted(path.name for path in (prefix / "bin").iterdir() if not path.name.startswith("tbk-store-"))
    for folder, ending in (("bash-completion/completions", ""), ("fish/vendor_completions.d", ".fish")):
        assert sorted(os.listdir(prefix / "share" / folder)) == [name + ending for name in names]
        for path in (prefix / "share" / folder).iterdir():
            assert path.resolve().name == "termbackup" + ending
    told = (prefix / "share" / "zsh" / "site-functions" / "_termbackup").read_text().split("\n")[0].split()
    assert told[0] == "#compdef" and set(names) <= set(told)
    make("uninstall", f"PREFIX={prefix}")
    assert list(prefix.rglob("*")) == []


def test_installed_completions_are_found_by_fish(prefix):
    require("fish")
    make("install", f"PREFIX={prefix}")
    environment = {"PATH": f"{prefix}/bin:/usr/bin:/bin", "HOME": str(prefix), "XDG_DATA_DIRS": f"{prefix}/share:/usr/share"}
    for typed, wanted in (("termbackup resto", "restore"), ("tbk-seal --rec", "--receipt")):
        assert wanted in run("fish", "-c", f"complete -C '{typed}'", env=environment).stdout


def test_modes_do_not_depend_on_the_umask(prefix):
    """make() has one of 077."""
    make("install", f"PREFIX={prefix}")
    for path in prefix.rglob("*"):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o444 == 0o444, path
            assert not path.is_dir() or path.stat().st_mode & 0o111 == 0o111, path


def test_help_and_contributing_name_the_targets():
    told = make("help").stdout
    phony = [word for line in (REPOSITORY / "Makefile").read_text().replace("\\\n", " ").splitlines()
             if line.startswith(".PHONY:") for word in line.split()[1:]]
    inner = {"all", "programs", "suite", "packages", "venv", "lint-shell", "lint-manuals", "help"}
    assert inner < set(phony)
    contributing = (REPOSITORY / "CONTRIBUTING.md").read_text()
    for target in set(phony) - inner:
        assert f"make {target}" in told, target
        assert f"make {target}" in contributing, target
