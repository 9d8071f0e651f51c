"""The two set-up commands of the README: the output of `make demo`, and the messages when something is missing."""

import os
import shlex
import shutil

import pytest
from packages import REPOSITORY, SUITE, absent, files_below, make, need_suite, require, run


@pytest.fixture
def tree(tmp_path):
    """A checkout in which everything is compiled; its compiler only prints where the programs are."""
    need_suite()
    require("git", "strip")
    top = tmp_path / "checkout"
    for name in run("git", "-C", REPOSITORY, "ls-files", "-co", "--exclude-standard").stdout.splitlines():
        if os.path.lexists(REPOSITORY / name):
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, top / name, follow_symlinks=False)
    compiled = tmp_path / "compiled"
    compiled.mkdir()
    for program in ("tbk", "tbk-net"):
        shutil.copy(SUITE / "lib" / "termbackup" / program, compiled)
    put_script(tmp_path / "swift", f"for word; do test \"$word\" != --show-bin-path || echo {shlex.quote(str(compiled))}; done")
    return top


def put_script(path, script):
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_demonstration_backs_up_a_directory_and_leaves_nothing(tree, tmp_path):
    source, temporary = tmp_path / "a 'source", tmp_path / "temporary"
    temporary.mkdir()
    shutil.copytree(REPOSITORY / "docs", source)
    (source / "link").symlink_to("nowhere")
    done = make("demo", f"SWIFT={tmp_path}/swift", f"DIR={source}", tree=tree, taken=(), TMPDIR=str(temporary),
                HOME=str(tmp_path / "home"))
    assert done.stdout.endswith("every byte, mode, time and link is as it was.\n")
    for line in ("$ termbackup run demo", "$ termbackup restore latest -p demo", "Backed up demo"):
        assert line in done.stdout
    assert files_below(temporary) == [] and not (tmp_path / "home").exists()


def test_a_restore_that_differs_fails_the_demonstration(tree, tmp_path):
    """diff finds the difference."""
    restore = tree / "bin" / "verbs" / "restore"
    restore.write_text(restore.read_text() + '\nprintf x >>"$opt_to/JSON.md"\n')
    done = make("demo", f"SWIFT={tmp_path}/swift", f"DIR={REPOSITORY}/docs", tree=tree, taken=(), status=2)
    assert "JSON.md" in done.stdout and "went well" not in done.stdout


def test_a_missing_compiler_is_said(tree):
    for target in ("demo", "test", "packages"):
        done = make(target, "SWIFT=swift-is-not-there", tree=tree, taken=(), status=2)
        assert "the Swift compiler is missing: install Swift" in done.stderr


def without_headers(tree, folder):
    """The output of `make packages` without headers of libraries, and with only the programs in `folder`/path."""
    require("unshare", "mount")
    if run("unshare", "-m", "true", status=None).returncode:
        absent("the right to mount a file system")
    bare = folder / "bare"
    bare.mkdir(exist_ok=True)
    path = folder / "path"
    path.mkdir(exist_ok=True)
    for name in ("make", "sh", "id", "env"):
        if not (path / name).exists():
            (path / name).symlink_to(shutil.which(name))
    script = f'mount --bind {shlex.quote(str(bare))} /usr/include && cd "$1" && shift && exec "$@"'
    return run("unshare", "-m", "sh", "-c", script, "sh", tree, shutil.which("env"), f"PATH={path}", "make",
               "--no-print-directory", "packages", "SWIFT=true", status=2).stderr


def test_missing_packages_are_named(tree, tmp_path):
    wanted = "missing: libssl-dev libargon2-dev libcurl4-openssl-dev zlib1g-dev libzstd-dev\n"
    said = without_headers(tree, tmp_path)
    assert wanted in said and "install the packages of your system that correspond to these" in said


def test_packages_that_cannot_be_installed_are_named(tree, tmp_path):
    (tmp_path / "path").mkdir()
    put_script(tmp_path / "path" / "apt-get", f"echo \"$@\" >>{shlex.quote(str(tmp_path / 'called'))}; exit 100")
    command = "apt-get install libssl-dev libargon2-dev libcurl4-openssl-dev zlib1g-dev libzstd-dev"
    said = without_headers(tree, tmp_path)
    assert f"could not install them; as root: {command}" in said
    assert (tmp_path / "called").read_text() == "update -q\n"
    # A user who is not root, and cannot become root.
    put_script(tmp_path / "path" / "id", "echo 1000")
    said = without_headers(tree, tmp_path)
    assert f"as root: {command}" in said and "could not" not in said
