"""The built suite and its installation: size, libraries, and that it works in any directory."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "Tests"))

from needs import absent, require  # noqa: E402

SUITE = REPOSITORY / ".build" / "suite"
PROGRAMS = ("tbk", "tbk-net")
PATIENCE = 300
LARGEST_SUITE = 40 * 1000 * 1000


@pytest.fixture(scope="module", autouse=True)
def built():
    if not (SUITE / "lib" / "termbackup" / "tbk").exists():
        absent("the suite")


def libraries(program):
    require("ldd")
    shown = subprocess.run(["ldd", SUITE / "lib" / "termbackup" / program], capture_output=True, text=True, check=True)
    return {line.split()[0].rpartition("/")[2] for line in shown.stdout.splitlines() if line.strip()}


def run(command, *arguments, **options):
    return subprocess.run([command, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE,
                          **options)


def files_below(top):
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir() or path.is_symlink())


def make(*arguments):
    # -o: the suite is used as it is, and not rebuilt.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = run("make", "--no-print-directory", "-o", "suite", "-o", "built", *arguments, cwd=REPOSITORY, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_suite_is_small_enough():
    size = sum(path.lstat().st_size for path in SUITE.rglob("*") if path.is_symlink() or path.is_file())
    assert size <= LARGEST_SUITE, f"{size / 1e6:.1f} MB"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_needs_no_swift_at_run_time(program):
    assert not {name for name in libraries(program) if name.startswith(("libswift", "libFoundation", "lib_F"))}


def test_local_commands_load_no_libcurl():
    assert not {name for name in libraries("tbk") if re.match(r"lib(curl|ssl|nghttp)", name)}


def test_the_makefile_names_the_commands_that_there_are():
    text = (REPOSITORY / "Makefile").read_text()
    for variable, program in (("LOCAL_COMMANDS", "tbk"), ("NETWORK_COMMANDS", "tbk-net")):
        listed = set(re.search(rf"^{variable} = (.*)$", text, re.MULTILINE)[1].split())
        source = (REPOSITORY / "Sources" / program / "main.swift").read_text()
        # tbk-sh is called by the verbs only.
        assert listed == set(re.findall(r'"(tbk-\w+)"\s*:', source)) - {"tbk-sh"}


def test_commands_run_from_anywhere(tmp_path):
    """As a copy, through a link, and found in PATH."""
    copy = tmp_path / "a prefix"
    shutil.copytree(SUITE, copy, symlinks=True)
    (tmp_path / "bin").mkdir()
    names = sorted(path.name for path in (copy / "bin").iterdir())
    assert names
    for name in names:
        os.symlink(copy / "bin" / name, tmp_path / "bin" / name)
        wanted = run(SUITE / "bin" / name, "--version").stdout.splitlines()[:1]
        assert wanted, name
        for way in (copy / "bin" / name, tmp_path / "bin" / name):
            done = run(way, "--version")
            assert (done.returncode, done.stdout.splitlines()[:1]) == (0, wanted), way
        done = run(name, "--version", env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "HOME": str(tmp_path)})
        assert (done.returncode, done.stdout.splitlines()[:1]) == (0, wanted), name


def test_what_is_installed_is_the_suite_and_all_of_it_goes_again(tmp_path):
    """In directories whose names need quoting."""
    where = ["PREFIX=/usr/lo cal's", f"DESTDIR={tmp_path}/a $$stage"]
    top = tmp_path / "a $stage" / "usr" / "lo cal's"
    make("install", *where)
    assert files_below(top) == files_below(SUITE)
    for name in ("tbk-seal", "termbackup"):
        if (top / "bin" / name).exists():
            assert run(top / "bin" / name, "--version").returncode == 0
    (top / "bin" / "somebody else's").touch()
    make("uninstall", *where)
    assert files_below(top) == ["bin/somebody else's"]


def test_every_command_has_a_manual_page():
    names = [path.name for path in (SUITE / "bin").iterdir()]
    names += [f"termbackup-{path.name}" for path in (SUITE / "lib" / "termbackup" / "verbs").iterdir()]
    for name in names:
        assert (SUITE / "share" / "man" / "man1" / f"{name}.1").exists(), f"{name} has no manual page"
