"""make dist: archives of the source and of the programs."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile

import pytest
from packages import REPOSITORY, SUITE, files_below, make, need_suite, require, run, version

MACHINE = os.uname().machine


def need_git():
    require("git", "gzip")
    if run("git", "-C", REPOSITORY, "rev-parse", "HEAD", status=None).returncode or not (REPOSITORY / ".git").exists():
        pytest.skip("this is no git checkout")


def clone(folder):
    """A separate checkout of the last commit."""
    run("git", "clone", "-q", "--no-local", REPOSITORY, folder)
    return folder


def source_archive(tree, to, **more):
    make("dist-source", f"DIST={to}", tree=tree, **more)
    return next(to.glob("termbackup-*.tar.gz"))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source archive of the last commit, unpacked outside of any git checkout."""
    need_git()
    folder = tmp_path_factory.mktemp("source")
    archive = source_archive(REPOSITORY, folder / "dist")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="tar")
    top = folder / archive.name.removesuffix(".tar.gz")
    assert top.is_dir()
    return top


# Source


def test_source_archives_are_the_same_in_every_clone(tmp_path):
    """Whatever the user's git configuration, and whatever other files there are."""
    need_git()
    first = source_archive(clone(tmp_path / "one"), tmp_path / "first")
    other = clone(tmp_path / "two")
    for setting, value in (("tar.umask", "0077"), ("core.autocrlf", "true"), ("core.attributesFile", str(tmp_path / "own"))):
        run("git", "-C", other, "config", setting, value)
    (tmp_path / "own").write_text("*.md export-ignore\n")
    (other / "Sources" / "scratch").write_text("not committed\n")
    second = source_archive(other, tmp_path / "second", TZ="Asia/Tokyo", LC_ALL="C.UTF-8", GZIP_OPT="-1")
    assert first.name == second.name == f"termbackup-{version()}.tar.gz"
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() == source_archive(tmp_path / "one", tmp_path / "third").read_bytes()


def test_source_archives_hold_what_was_committed(unpacked):
    listed = run("git", "-C", REPOSITORY, "ls-tree", "-r", "-z", "--name-only", "HEAD").stdout.split("\0")
    assert files_below(unpacked) == sorted(filter(None, listed))


def test_source_archives_need_a_checkout_and_the_others_do_not(unpacked, tmp_path):
    need_suite()
    done = make("dist-source", f"DIST={tmp_path / 'dist'}", tree=unpacked, status=2)
    assert "no git checkout" in done.stderr
    shutil.copytree(SUITE, unpacked / ".build" / "suite", symlinks=True)
    try:
        make("dist-binary", f"DIST={tmp_path / 'there'}", tree=unpacked)
        commit = run("git", "-C", REPOSITORY, "log", "-1", "--format=%ct").stdout.strip()
        # Dated with the commit: without git, the time of the files gives it.
        with tarfile.open(next((tmp_path / "there").glob("*-linux-*.tar.gz"))) as tar:
            assert {str(member.mtime) for member in tar} == {commit}
    finally:
        shutil.rmtree(unpacked / ".build")


def test_tests_of_the_source_pass_in_an_unpacked_archive(unpacked):
    """These tests look at the source's files, which git lists in a checkout."""
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "Tests/architecture/test_sources.py",
               cwd=unpacked, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, status=None)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


# Programs


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    need_suite()
    require("gzip", "tar", "sha256sum")
    folder = tmp_path_factory.mktemp("binary")
    make("dist-binary", f"DIST={folder / 'dist'}")
    return folder / "dist" / f"termbackup-{version()}-linux-{MACHINE}.tar.gz"


def test_archives_of_the_same_programs_are_the_same(programs, tmp_path):
    make("dist-binary", f"DIST={tmp_path / 'again'}", TZ="Asia/Tokyo")
    assert programs.read_bytes() == (tmp_path / "again" / programs.name).read_bytes()


def test_archives_of_programs_are_owned_by_root_and_hold_the_suite(programs):
    top = programs.name.removesuffix(".tar.gz")
    with tarfile.open(programs) as tar:
        members = {member.name: member for member in tar}
    assert all(name == top or name.startswith(top + "/") for name in members)
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}
    assert not any(member.mode & 0o7022 for member in members.values() if not member.issym())
    names = {name.removeprefix(top + "/") for name, member in members.items() if not member.isdir()}
    assert set(files_below(SUITE)) <= names
    more = {"README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "INSTALL", "docs", "examples"}
    assert more <= names


def test_an_unpacked_archive_runs_where_it_is_and_after_its_own_instructions(programs, tmp_path):
    with tarfile.open(programs) as tar:
        tar.extractall(tmp_path, filter="tar")
    top = tmp_path / programs.name.removesuffix(".tar.gz")
    assert run(top / "bin" / "tbk-seal", "--version").stdout == f"tbk-seal {version()}\n"
    commands = re.findall(r"^    (cp .*)$", (top / "INSTALL").read_text(), re.MULTILINE)
    assert commands == ["cp -R bin lib share /usr/local/"]
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "bin").mkdir()
    (tmp_path / "local" / "bin" / "other").touch()
    run("sh", "-c", commands[0].replace("/usr/local", str(tmp_path / "local")), cwd=top)
    assert run(tmp_path / "local" / "bin" / "termbackup", "--version").stdout.splitlines()[0].endswith(version())
    for command in re.findall(r"^    ((?:find|rm) .*)$", (top / "INSTALL").read_text(), re.MULTILINE):
        run("sh", "-c", command.replace("/usr/local", str(tmp_path / "local")), cwd=top)
    assert files_below(tmp_path / "local") == ["bin/other"]


def test_sums_are_those_of_what_is_there(programs):
    sums = (programs.parent / "SHA256SUMS").read_text()
    assert sums == f"{hashlib.sha256(programs.read_bytes()).hexdigest()}  {programs.name}\n"
    run("sha256sum", "-c", "SHA256SUMS", cwd=programs.parent)


# The version


def test_the_version_is_the_same_everywhere():
    here = version()
    for page in (REPOSITORY / "man").iterdir():
        # The version is in one place only; manual pages get it when the suite is laid out.
        assert "\n.Os TermBackup\n" in page.read_text(), page
        laid = SUITE / "share" / "man" / f"man{page.suffix[1:]}" / page.name
        assert laid.read_text() == page.read_text().replace("\n.Os TermBackup\n", f'\n.Os "TermBackup {here}"\n'), page
    changes = (REPOSITORY / "CHANGELOG.md").read_text()
    assert f"## [{here}]" in changes or f"## [Unreleased]\n\nThis will be {here}" in changes
    workflow = (REPOSITORY / "examples" / "github-workflow.yml").read_text()
    assert f"@v{here} instead" in workflow
    done = subprocess.run(["sed", "-n", 's/^package let suiteVersion = "\\(.*\\)"$/\\1/p',
                           REPOSITORY / "Sources" / "TBKCommand" / "Program.swift"], capture_output=True, text=True)
    assert done.stdout == here + "\n"
