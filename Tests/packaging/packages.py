"""What the tests of packages share: make, and the tree that it works in."""

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
    """A command to its end; its exit status has to be `status` (None: any)."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, timeout=PATIENCE,
                          **{"capture_output": True, "text": True, **options})
    assert status is None or done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def make(*arguments, tree=REPOSITORY, status=0, taken=("-o", "suite", "-o", "built"), **more):
    # -o: what is laid out is taken as it is. The umask of whoever builds changes nothing.
    environment = {key: value for key, value in os.environ.items()
                   if not key.startswith("MAKE") and key != "SOURCE_DATE_EPOCH"}
    return run("make", "--no-print-directory", *taken, *arguments, cwd=tree, env={**environment, **more},
               status=status, umask=0o077)


def need_suite():
    if not (SUITE / "lib" / "termbackup" / "tbk").exists():
        absent("the suite")


def version():
    need_suite()
    return run(SUITE / "bin" / "tbk-seal", "--version").stdout.split()[1]


def files_below(top):
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir() or path.is_symlink())
