"""A tree is edited at random, backed up repeatedly in random suites and to recipients, pruned and rotated to other
passwords; then every remaining backup is restored and compared with a copy that `cp -a` made at the time."""

import json
import os
import random
import shutil
import subprocess

import pytest
from conftest import Commands, require
from github_fixture import github, github_server  # noqa: F401
from tbkref import age

STEPS = {"directory": 40, "github": 20}
EDITS = 6


class Walk:
    """A tree, and random edits to it."""

    def __init__(self, top, numbers):
        self.top = top
        self.numbers = numbers
        top.mkdir()
        for number in range(12):
            self.write(top / f"file{number}")

    def paths(self, kind):
        found = []
        for folder, names, files in os.walk(self.top):
            for name in files if kind == "file" else names if kind == "folder" else [*files, *names]:
                path = os.path.join(folder, name)
                if kind == "any" or not os.path.islink(path):
                    found.append(path)
        return sorted(found)

    def any(self, kind):
        found = self.paths(kind)
        return self.numbers.choice(found) if found else None

    def place(self):
        """An unused name."""
        folders = [str(self.top), *(path for path in self.paths("folder"))]
        while True:
            path = os.path.join(self.numbers.choice(folders), f"n{self.numbers.randrange(10_000)}")
            if not os.path.lexists(path):
                return path

    def write(self, path):
        with open(path, "wb") as out:
            out.write(self.numbers.randbytes(self.numbers.choice([0, 1, 100, 5000, 40_000])))

    def edit(self):
        numbers = self.numbers
        action = numbers.choice(["new", "new", "change", "change", "delete", "rename", "mode", "touch", "folder", "link",
                                 "hard", "type", "prune", "xattr"])
        target = self.any("file")
        if action == "new" or target is None:
            self.write(self.place())
        elif action == "change":
            self.write(target)
        elif action == "delete":
            os.unlink(target)
        elif action == "rename":
            os.rename(target, self.place())
        elif action == "mode":
            os.chmod(target, numbers.choice([0o600, 0o644, 0o700, 0o755]))
        elif action == "touch":
            os.utime(target, ns=(0, numbers.randrange(10**18)))
        elif action == "folder":
            os.mkdir(self.place())
        elif action == "link":
            os.symlink(numbers.choice(["nowhere", target]), self.place())
        elif action == "hard":
            os.link(target, self.place())
        elif action == "type":
            os.unlink(target)
            os.mkdir(target) if numbers.random() < 0.5 else os.symlink("else", target)
        elif action == "xattr":
            subprocess.run(["setfattr", "-n", "user.note", "-v", str(numbers.random()), target], capture_output=True)
        elif action == "prune":
            folder = self.any("folder")
            if folder is not None and len(self.paths("file")) > 20:
                shutil.rmtree(folder)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", ["directory", "github"])
def test_every_backup_that_is_left_is_what_it_was(kind, seed, tmp_path, request):
    require("rsync", "setfattr")
    numbers = random.Random(seed)
    if kind == "github":
        store = request.getfixturevalue("github")
        commands, where, environment = store.commands, store.name, dict(store.environment)
    else:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        commands, environment = Commands(scratch), {}
        where = str(tmp_path / "store")
        os.mkdir(where)
    password = tmp_path / "password"
    password.write_text("a password")
    other = tmp_path / "other"

    keys = [age.Identity(bytes(range(at, at + 32))) for at in range(2)]
    identities = []
    for at, key in enumerate(keys):
        (tmp_path / f"identity{at}").write_text(key.text + "\n")
        (tmp_path / f"identity{at}").chmod(0o600)
        identities += ["-i", tmp_path / f"identity{at}"]
    # Nothing is signed; archives to recipients are accepted anyway.
    reading = [*identities, "--unsigned"]

    def run(verb, *arguments, status=0):
        return commands.run("termbackup", verb, *arguments, status=status,
                            env={**environment, "TERMBACKUP_PASSWORD_FILE": str(password)})

    def sealing():
        """How to seal the next archive, including to one of the recipients, or to both."""
        to = numbers.choice(["1", "3", "3", "age", "age", "both"])
        if to == "age":
            return ["-r", numbers.choice(keys).recipient]
        return [word for key in keys for word in ("-r", key.recipient)] if to == "both" else ["--suite", to]

    walk = Walk(tmp_path / "tree", numbers)
    run("init", "--no-input")
    run("profile", "create", "p", "--source", walk.top, "--repo", where, "--mode", "incremental")
    copies = {}

    def backups():
        return [line.split("\t")[0] for line in commands.run(
            "tbk-pull", f"github:{where}" if kind == "github" else where, "--list", env=environment).lines]

    steps = STEPS[kind]
    rotations = set(numbers.sample(range(2, steps), 2))
    for step in range(steps):
        for _ in range(EDITS):
            walk.edit()
        # The readers of an increment must be able to open its base, so the way of sealing sometimes stays the same.
        if step == 0 or numbers.random() < 0.6:
            way = sealing()
        run("run", "p", *way, *identities, *(["--full"] if numbers.random() < 0.1 else []))
        latest = backups()[-1]
        if latest not in copies:
            copies[latest] = tmp_path / f"copy{step}"
            subprocess.run(["cp", "-a", walk.top, copies[latest]], check=True)
        if numbers.random() < 0.15:
            old = numbers.choice(backups())
            run("consolidate", "p", old, "--quiet", *sealing(), *reading)
            for new in set(backups()) - set(copies):
                copies[new] = copies[old]
        if numbers.random() < 0.15:
            run("prune", "p", "--keep-last", str(numbers.randrange(2, 8)), "--yes")
        if step in rotations:
            other.write_text(f"password {step}")
            run("rotate-key", "p", "--new-password-file", other)
            os.replace(other, password)
    left = backups()
    # Each kind must still occur among the backups.
    suites = {json.loads(line).get("suite") for line in commands.run(
        "tbk-pull", f"github:{where}" if kind == "github" else where, "--list", "--json", env=environment).lines}
    assert len(suites) >= 2
    assert len(left) >= 2 and set(left) <= set(copies)
    for number, identity in enumerate(left):
        out = tmp_path / f"restored{number}"
        run("restore", identity[:16], "-p", "p", "--to", out, *reading)
        differs = subprocess.run(["rsync", "-anicHAX", "--delete", "--numeric-ids", f"{copies[identity]}/", f"{out}/"],
                                 capture_output=True, check=True)
        assert differs.stdout == b""
        shutil.rmtree(out)
    run("verify", "--all", "-p", "p", *reading)
