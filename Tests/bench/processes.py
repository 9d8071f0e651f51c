"""Whole processes, measured from outside: time, memory, temporary disk."""

import dataclasses
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


class Failed(Exception):
    pass


@dataclasses.dataclass
class Usage:
    seconds: float
    peak_rss: int  # bytes, of the largest process
    temporary: int = 0  # peak bytes of unlinked files held open
    processor: float = 0  # seconds in user and kernel mode, of all processes


def _unlinked_bytes(pid):
    """The size of the unlinked files that a process holds open; 0 if it has ended."""
    total = 0
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            info = os.stat(f"/proc/{pid}/fd/{name}")
            if info.st_nlink == 0:
                total += info.st_blocks * 512
    except OSError:
        pass
    return total


def _family(pid):
    """A process and all its descendants."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            continue
    family = [pid]
    for one in family:
        family += [child for child, parent in parents.items() if parent == one]
    return family


def bytes_below(folder):
    """The disk space of the files below a directory."""
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(top, name)).st_blocks * 512
            except OSError:
                continue
    return total


def run(command, *, env, cwd=None, stdin=None, stdout=None, watch_disk=False, watch_below=()):
    """Runs a command to its end: a list of words, or a line for the shell, which fails if any part of the pipe fails.
    `stdin` and `stdout` are paths. `watch_disk` counts unlinked files that the process holds open; `watch_below`, a list
    of directories, counts those of all its descendants, and the growth of these directories."""
    if isinstance(command, str):
        command = ["bash", "-o", "pipefail", "-c", command]
    argv = [os.fspath(word) for word in command]
    with open(stdin or os.devnull, "rb") as source, open(stdout or os.devnull, "wb") as target, \
            tempfile.TemporaryFile() as errors:
        before = sum(map(bytes_below, watch_below))
        began = time.perf_counter()
        process = subprocess.Popen(argv, env=env, cwd=cwd, stdin=source, stdout=target, stderr=errors)
        temporary = 0
        while (watch_disk or watch_below) and os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if watch_below:
                held = sum(map(_unlinked_bytes, _family(process.pid)))
                temporary = max(temporary, held + sum(map(bytes_below, watch_below)) - before)
            else:
                temporary = max(temporary, _unlinked_bytes(process.pid))
            time.sleep(0.02)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            raise Failed(f"{argv}: status {process.returncode}\n{errors.read().decode(errors='replace')}")
    return Usage(seconds, usage.ru_maxrss * 1024, temporary, usage.ru_utime + usage.ru_stime)


def start_up(argv, env):
    """Seconds from fork to exit of a command that only prints its version."""
    path = shutil.which(argv[0], path=env["PATH"])
    null = os.open(os.devnull, os.O_RDWR)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
        began = time.perf_counter()
        pid = os.posix_spawn(path, argv, env, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        seconds = time.perf_counter() - began
    finally:
        os.close(null)
    if status != 0:
        raise Failed(f"{argv}: status {os.waitstatus_to_exitcode(status)}")
    return seconds


@dataclasses.dataclass
class Contender:
    """One way to do a job. `before` and `after` are not timed."""
    name: str
    action: object
    before: object = None
    after: object = None
    processor: list = dataclasses.field(default_factory=list)  # seconds of each round


def cache(top):
    """Reads all files below a directory into the page cache: borg drops from it what it has read."""
    buffer = bytearray(1 << 20)
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb", buffering=0) as file:
                    while file.readinto(buffer):
                        pass


def race(contenders, rounds, note, begin=None, tree=None):
    """Runs each contender in turn, `rounds` times, after a warm-up round. Each round calls `begin` first, and starts with
    another contender. Before each action, the tree that they read is brought into the page cache, and pending writes are
    flushed to disk. Returns the seconds of each contender."""
    times = {contender.name: [] for contender in contenders}
    for number in range(rounds + 1):
        if begin:
            begin()
        first = number % len(contenders)
        for contender in contenders[first:] + contenders[:first]:
            if contender.before:
                contender.before()
            if tree:
                cache(tree)
            os.sync()
            usage = contender.action()
            if contender.after:
                contender.after()
            if number:
                times[contender.name].append(usage.seconds)
                contender.processor.append(usage.processor)
            note(f"  {'warm-up' if number == 0 else f'round {number}'}: {contender.name}: {usage.seconds:.2f} s")
    return times


def times_as_fast(theirs, ours):
    """How many times as fast ours is: the median over the rounds."""
    return statistics.median(one / other for one, other in zip(theirs, ours))


def version(command):
    """The first line of a tool's version output, or None if the tool is missing."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"


def note(text):
    print(text, file=sys.stderr, flush=True)


def remove(path):
    """Removes a file or a tree, including directories without write permission."""
    path = pathlib.Path(path)
    if path.is_dir() and not path.is_symlink():
        subprocess.run(["chmod", "-R", "u+rwX", path], capture_output=True)
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


def make(kind, top, *sizes):
    """Makes a tree; returns the description that trees.py prints."""
    command = [sys.executable, pathlib.Path(__file__).with_name("trees.py"), kind, top, *map(str, sizes)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
