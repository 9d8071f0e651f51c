"""make install and make uninstall: completions, manual pages that whatis finds, and no files left behind."""

import os
import re
import shutil

import pytest
from packages import REPOSITORY, SUITE, files_below, make, need_suite, require, run


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
    assert files_below(prefix) == []


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
    assert [name for name in files_below(prefix / "share" / "man") if not name.startswith("cat")] == [
        "man1/other.1", "mandoc.db"]


def test_a_staged_installation_has_no_index(tmp_path):
    need_suite()
    make("install", f"DESTDIR={tmp_path}", "PREFIX=/usr")
    assert sorted(os.listdir(tmp_path / "usr" / "share" / "man")) == ["man1", "man5", "man7"]


def test_completions_are_where_each_shell_looks(prefix):
    make("install", f"PREFIX={prefix}")
    # Store helpers are not run by hand.
    names = sorted(path.name for path in (prefix / "bin").iterdir() if not path.name.startswith("tbk-store-"))
    for folder, ending in (("bash-completion/completions", ""), ("fish/vendor_completions.d", ".fish")):
        assert sorted(os.listdir(prefix / "share" / folder)) == [name + ending for name in names]
        for path in (prefix / "share" / folder).iterdir():
            assert path.resolve().name == "termbackup" + ending
    told = (prefix / "share" / "zsh" / "site-functions" / "_termbackup").read_text().split("\n")[0].split()
    assert told[0] == "#compdef" and set(names) <= set(told)
    make("uninstall", f"PREFIX={prefix}")
    assert files_below(prefix) == []


def test_directories_that_others_want_are_still_there_after_uninstall(prefix):
    folders = [prefix / name for name in ("bin", "lib", "share/man/man1", "share/doc", "share/zsh/site-functions")]
    for folder in folders:
        folder.mkdir(parents=True)
    make("install", f"PREFIX={prefix}")
    make("uninstall", f"PREFIX={prefix}")
    assert all(folder.is_dir() for folder in folders)
    assert [path for path in prefix.rglob("termbackup*")] == []


def test_the_readme_that_is_installed_leads_to_what_is_there(prefix):
    """Except links to pages about the source."""
    make("install", f"PREFIX={prefix}")
    top = prefix / "share" / "doc" / "termbackup"
    names = {str(path.relative_to(top)) for path in top.rglob("*.md")}
    assert {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "docs").rglob("*.md")} < names
    found = set()
    for name in names:
        links = set(re.findall(r"\]\((?!https?:|#)([^)#]+)", (top / name).read_text())) - {"man", "CONTRIBUTING.md"}
        found |= links
        for link in links:
            assert ((top / name).parent / link).exists(), f"{name}: {link}"
    assert {"docs/pictures/session.svg", "docs/start-here.md", "ARCHITECTURE.md"} <= found
    named = re.search(r"^\.Pa (share/doc/\S+)", (REPOSITORY / "man" / "termbackup.1").read_text(), re.MULTILINE)[1]
    assert (prefix / named).is_file()


@pytest.fixture
def checkout(tmp_path):
    """Another checkout with a built suite; a function that installs it: standard error, and whether it called a compiler."""
    need_suite()
    top = tmp_path / "checkout"
    top.mkdir()
    for name in ("Makefile", "Package.swift", "README.md", "LICENSE", "SECURITY.md", "CHANGELOG.md", "bin", "man",
                 "completions", "docs", "examples"):
        (shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2)(REPOSITORY / name, top / name)
    (top / "Sources").mkdir()
    shutil.copytree(SUITE, top / ".build" / "suite", symlinks=True)
    (top / ".build" / "suite.made").touch()
    called = tmp_path / "called"
    swift = tmp_path / "swift"
    swift.write_text(f"#!/bin/sh\ntouch '{called}'\nexit 1\n")
    swift.chmod(0o755)

    def install(status=0, swift=swift):
        called.unlink(missing_ok=True)
        shutil.rmtree(tmp_path / "prefix", ignore_errors=True)
        done = make("install", f"PREFIX={tmp_path / 'prefix'}", f"SWIFT={swift}", tree=top, taken=(), status=status)
        assert (tmp_path / "prefix" / "bin" / "tbk-seal").exists() == (status == 0)
        return done.stderr, called.exists()
    return top, install


def test_install_builds_what_is_stale_and_takes_what_is_not(checkout):
    top, install = checkout
    assert install() == ("", False)
    os.utime(top / "bin" / "termbackup", (4e9, 4e9))
    assert install(status=2)[1]
    said, called = install(swift="swift-is-not-there")
    assert "has changed since" in said and not called
    shutil.rmtree(top / ".build" / "suite")
    assert install(status=2)[1]
    assert "compiler is missing" in install(status=2, swift="swift-is-not-there")[0]


def test_install_by_root_leaves_somebody_elses_checkout_as_it_is(checkout):
    top, install = checkout
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    run("chown", "-R", "65534:65534", top)
    os.utime(top / "bin" / "termbackup", (4e9, 4e9))
    said, called = install()
    assert "has changed since" in said and not called
    assert {path.lstat().st_uid for path in top.rglob("*")} == {65534}
    shutil.rmtree(top / ".build" / "suite")
    said, called = install(status=2)
    assert "run 'make' first" in said and not called


def test_installed_completions_are_found_by_fish(prefix):
    require("fish")
    make("install", f"PREFIX={prefix}")
    environment = {"PATH": f"{prefix}/bin:/usr/bin:/bin", "HOME": str(prefix), "XDG_DATA_DIRS": f"{prefix}/share:/usr/share"}
    for typed, wanted in (("termbackup resto", "restore"), ("tbk-seal --rec", "--receipt")):
        assert wanted in run("fish", "-c", f"complete -C '{typed}'", env=environment).stdout


def test_modes_do_not_depend_on_the_umask(prefix):
    """make() uses a umask of 077."""
    make("install", f"PREFIX={prefix}")
    for path in prefix.rglob("*"):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o444 == 0o444, path
            assert not path.is_dir() or path.stat().st_mode & 0o111 == 0o111, path


def test_help_and_contributing_name_the_targets():
    told = make("help").stdout
    phony = [word for line in (REPOSITORY / "Makefile").read_text().replace("\\\n", " ").splitlines()
             if line.startswith(".PHONY:") for word in line.split()[1:]]
    inner = {"all", "built", "programs", "suite", "packages", "venv", "lint-shell", "lint-manuals", "lint-swift", "lint-python",
             "help"}
    assert inner < set(phony)
    contributing = (REPOSITORY / "CONTRIBUTING.md").read_text()
    for target in set(phony) - inner:
        assert f"make {target}" in told, target
        assert f"make {target}" in contributing, target
