"""Shared by the tests of packages: make, and the tree that it works in."""

import fcntl
import os
import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "Tests"))

from needs import absent, require  # noqa: E402, F401

SUITE = REPOSITORY / ".build" / "suite"
PATIENCE = 3000


def run(*command, status=0, **options):
    """Runs a command to its end; checks its exit status (None: any)."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, timeout=PATIENCE,
                          **{"capture_output": True, "text": True, **options})
    assert status is None or done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def make(*arguments, tree=REPOSITORY, status=0, taken=("-o", "suite", "-o", "built"), **more):
    # -o: the suite is used as it is. The result must not depend on the umask.
    environment = {key: value for key, value in os.environ.items()
                   if not key.startswith("MAKE") and key != "SOURCE_DATE_EPOCH"}
    return run("make", "--no-print-directory", *taken, *arguments, cwd=tree, env={**environment, **more},
               status=status, umask=0o077)


def made_once(factory, name, make_it):
    """The folder NAME, filled by make_it(folder) once for all processes that run these tests."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        folder = factory.mktemp(name)
        make_it(folder)
        return folder
    folder = factory.getbasetemp().parent / name
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "made"
        if not done.exists():
            folder.mkdir(exist_ok=True)
            make_it(folder)
            done.touch()
    return folder


def need_suite():
    if not (SUITE / "lib" / "termbackup" / "tbk").exists():
        absent("the suite")


def version():
    need_suite()
    return run(SUITE / "bin" / "tbk-seal", "--version").stdout.split()[1]


def files_below(top):
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir() or path.is_symlink())
