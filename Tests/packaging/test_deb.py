"""make deb: lintian accepts the package, builds are reproducible, and it works when installed."""

import gzip
import hashlib
import os
import pathlib
import re
import shlex

import pytest
from packages import REPOSITORY, SUITE, absent, files_below, made_once, make, need_suite, require, run, version

ARCHIVE_SOURCES = [pathlib.Path(path) for path in (
    "/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list.d/ubuntu.sources")]
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(the package, its content, its control files)"""
    need_suite()
    require("dpkg-deb", "dpkg-shlibdeps")

    def make_it(folder):
        make("deb", f"DIST={folder / 'dist'}")
        run("dpkg-deb", "-R", next((folder / "dist").glob("*.deb")), folder / "tree")

    folder = made_once(tmp_path_factory, "deb", make_it)
    package = next((folder / "dist").glob("*.deb"))
    return package, folder / "tree", folder / "tree" / "DEBIAN"


def control(package, field):
    return run("dpkg-deb", "-f", package, field).stdout.strip()


def test_it_is_named_as_debian_names_packages(built):
    architecture = run("dpkg", "--print-architecture").stdout.strip()
    assert built[0].name == f"termbackup_{version()}-1_{architecture}.deb"
    assert control(built[0], "Version") == f"{version()}-1"
    assert control(built[0], "Architecture") == architecture


def test_lintian_has_no_complaint_and_every_override_has_a_reason(built):
    """No errors, no warnings and no unused overrides; the remaining remarks are about words in machine code."""
    require("lintian")
    shown = run("lintian", "--display-info", "--allow-root", built[0], status=None).stdout.splitlines()
    assert shown, "lintian has not run"
    assert [line for line in shown if not line.startswith("I: ") or "unused-override" in line] == []
    text = (REPOSITORY / "packaging" / "lintian-overrides").read_text().splitlines()
    assert text and all(text[index - 1].startswith("#") for index, line in enumerate(text) if line.startswith("termbackup:"))


def test_the_same_programs_give_the_same_package(built, tmp_path):
    package = built[0]
    make("deb", f"DIST={tmp_path / 'again'}", TZ="Asia/Tokyo")
    assert (tmp_path / "again" / package.name).read_bytes() == package.read_bytes()


def test_it_holds_the_suite(built):
    _, tree, _ = built
    there = set(files_below(tree / "usr"))
    for name in set(files_below(SUITE)) - {f"share/doc/termbackup/{name}" for name in ("LICENSE", "CHANGELOG.md")}:
        name = name + ".gz" if name.startswith("share/man/") else name
        assert name.replace("zsh/site-functions", "zsh/vendor-completions") in there, name
    more = {"share/zsh/vendor-completions/_termbackup",
            *(f"share/doc/termbackup/{name}" for name in
              ("copyright", "changelog.gz", "changelog.Debian.gz", "README.md", "docs/JSON.md", "examples/Makefile"))}
    assert more <= there
    assert {path.name for path in tree.iterdir()} == {"usr", "DEBIAN"}


def test_every_file_is_roots_and_writable_by_root_alone(built):
    for line in run("dpkg-deb", "-c", built[0]).stdout.splitlines():
        mode, owner = line.split()[:2]
        assert owner == "root/root" and (mode[0] == "l" or (mode[5] == mode[8] == "-" and mode[4] == mode[7] == "r")), line


def test_sums_are_those_of_every_file(built):
    _, tree, debian = built
    listed = dict(reversed(line.split("  ", 1)) for line in (debian / "md5sums").read_text().splitlines())
    wanted = {str(path.relative_to(tree)): hashlib.md5(path.read_bytes()).hexdigest()
              for path in (tree / "usr").rglob("*") if path.is_file() and not path.is_symlink()}
    assert listed == wanted


def test_pages_and_changes_are_compressed_without_a_name_or_time(built):
    _, tree, _ = built
    packed = list((tree / "usr" / "share").rglob("*.gz"))
    assert len(packed) > 20
    for path in packed:
        data = path.read_bytes()
        # RFC 1952: no flags, no time, maximum compression.
        assert (data[3], data[4:8], data[8]) == (0, bytes(4), 2), path
    changes = tree / "usr" / "share" / "doc" / "termbackup" / "changelog.gz"
    assert gzip.decompress(changes.read_bytes()) == (REPOSITORY / "CHANGELOG.md").read_bytes()


def test_licence_is_the_licence(built):
    text = (built[1] / "usr" / "share" / "doc" / "termbackup" / "copyright").read_text()
    paragraphs = text.split("\n\n")
    told = " ".join("" if line == " ." else line for line in paragraphs[1].split("License: Expat\n")[1].splitlines())
    original = (REPOSITORY / "LICENSE").read_text()
    assert told.split() == original[original.index("Permission"):].split()
    assert re.search(r"Copyright \(c\) (.*)", original)[1] in text
    # Statically linked code has its own paragraph.
    programs = [f"usr/lib/termbackup/{program}" for program in ("tbk", "tbk-net")]
    assert paragraphs[2].startswith(f"Files: {' '.join(programs)}\n") and "swift-argument-parser" in paragraphs[2]
    assert all((built[1] / program).is_file() for program in programs)


def test_dependencies_are_the_libraries_also_where_dpkg_shlibdeps_is_not(built, tmp_path):
    """Times come from SOURCE_DATE_EPOCH, if it is set."""
    package = built[0]
    make("deb", f"DIST={tmp_path}", SHLIBDEPS="dpkg-shlibdeps-is-not-there", SOURCE_DATE_EPOCH="1000000000")
    assert {line.split()[3] for line in run("dpkg-deb", "-c", next(tmp_path.glob("*.deb"))).stdout.splitlines()} == {
        "2001-09-09"}
    told = [{re.sub(r" \(.*", "", word) for word in control(each, "Depends").split(", ")}
            for each in (package, next(tmp_path.glob("*.deb")))]
    assert told[0] == told[1]
    for library in ("libargon2-1", "libssl3", "libcurl4", "zlib1g", "libzstd1", "libc6"):
        assert any(name.removesuffix("t64") == library for name in told[0]), library
    assert not any("swift" in name for name in told[0])
    assert "(>= " in control(package, "Depends")


# Installed


@pytest.fixture
def root(built, tmp_path):
    """A root directory of this system's release, with the package: made by mmdebstrap, with the packages that apt knows.

    No services are started in it, and it sees nothing of the host; it has its own /proc.
    """
    require("mmdebstrap", "chroot", "unshare", "mount")
    sources = [path for path in ARCHIVE_SOURCES if path.is_file()]
    release = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if not sources or "VERSION_CODENAME" not in release:
        absent("a release of Debian or Ubuntu")
    if AS_ROOT:
        require("sudo")
    if run(*AS_ROOT, "unshare", "--mount", "--pid", "--fork", "true", status=None).returncode:
        pytest.skip("this user cannot have a root of its own")
    package = built[0]
    folder = tmp_path / "root"
    install = "apt-get install -q -y --no-install-recommends"
    done = run(*AS_ROOT, "mmdebstrap", "-q", "--variant=apt", "--dpkgopt=force-unsafe-io",
               '--aptopt=Acquire::Languages "none"', f"--customize-hook=copy-in {shlex.quote(str(package))} /tmp",
               f'--customize-hook=chroot "$1" {install} /tmp/{package.name} man-db',
               release["VERSION_CODENAME"].strip('"'), folder, *sources, status=None)
    try:
        if done.returncode and re.search(r"Failed to fetch|Could not (resolve|connect)|Temporary failure", done.stderr):
            pytest.skip("apt's archive cannot be reached")
        assert done.returncode == 0, done.stderr
        yield folder
    finally:
        run(*AS_ROOT, "rm", "-rf", "--one-file-system", folder)


def inside(root, script):
    return run(*AS_ROOT, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8",
               "unshare", "--mount", "--pid", "--fork", "sh", "-ec",
               'mount -t proc proc "$1/proc"; exec chroot "$1" /bin/sh -euc "$2"', "sh", root, script).stdout


@pytest.mark.soak
def test_installed_it_backs_up_and_restores_its_pages_are_found_and_it_can_be_removed(root):
    """All in one test, because creating the root takes long."""
    shown = inside(root, """
        umask 077; cd /root; mkdir data store again
        echo text >data/file; ln -s file data/link; printf secret >password
        export TERMBACKUP_PASSWORD_FILE=/root/password
        tbk-manifest data | tbk-seal | tbk-push store >/dev/null
        tbk-pull --chain store latest | tbk-open --chain -C again
        tbk-manifest data | tbk-manifest check - again
        termbackup init -q --no-input
        termbackup profile create notes -q --source /root/data
        termbackup run -q notes
        termbackup restore latest -q -p notes --to /root/restored
        diff -r --no-dereference data restored
        echo restored
    """)
    assert shown.endswith("restored\n")

    assert inside(root, "man -w tbk-seal") == "/usr/share/man/man1/tbk-seal.1.gz\n"
    assert "termbackup (1)       - encrypted backups that only you can read" in inside(root, "whatis termbackup")
    assert "tbk-pull (1)" in inside(root, "apropos encrypted")
    assert "TBK-OPEN(1)" in inside(root, "man tbk-open")

    assert inside(root, "dpkg --verify termbackup") == ""
    inside(root, """
        dpkg --purge termbackup
        test ! -e /usr/lib/termbackup
        # The manual's pages as man has kept them, dpkg's and apt's memory and the log aside.
        test -z "$(find /usr /etc /var/lib /var/spool -path /var/lib/dpkg -prune -o -name '*tbk*' -print)"
    """)
