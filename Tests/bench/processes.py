"""Whole processes, measured from outside: how long, how much memory, how much temporary disk."""

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
    temporary: int = 0  # bytes of unlinked files held open, at most
    processor: float = 0  # seconds, in user mode and in the kernel, of all that was started


def _unlinked_bytes(pid):
    """What a process holds in files that have no name. 0 when it is gone."""
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
    """A process and all that descend from it."""
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
    """What the files below a directory take on the disk."""
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(top, name)).st_blocks * 512
            except OSError:
                continue
    return total


def run(command, *, env, cwd=None, stdin=None, stdout=None, watch_disk=False, watch_below=()):
    """Runs a command to its end: a list of words, or a line for the shell, any part of which may fail it.
    `stdin` and `stdout` are paths. `watch_disk` counts the files without a name that the process holds open; with
    `watch_below`, directories, those of all that it started, and what those directories take more than before."""
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
    """Seconds from fork to the end of a command that only says who it is."""
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


def race(contenders, rounds, note, begin=None):
    """Runs each contender in turn, `rounds` times over, after one round that does not count. Each round calls `begin`
    first, and another contender is the first one. Nothing that others wrote has still to go to the disk.
    Gives the list of seconds of each."""
    times = {contender.name: [] for contender in contenders}
    for number in range(rounds + 1):
        if begin:
            begin()
        first = number % len(contenders)
        for contender in contenders[first:] + contenders[:first]:
            if contender.before:
                contender.before()
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
    """Median over the rounds of how many times faster ours was in the same round."""
    return statistics.median(one / other for one, other in zip(theirs, ours))


def version(command):
    """The first line that a tool says of its version, or None if it is absent."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"


def note(text):
    print(text, file=sys.stderr, flush=True)


def remove(path):
    """Removes a file or a tree, also one with directories that cannot be written."""
    path = pathlib.Path(path)
    if path.is_dir() and not path.is_symlink():
        subprocess.run(["chmod", "-R", "u+rwX", path], capture_output=True)
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


def make(kind, top, *sizes):
    """Makes a tree; gives what trees.py says of it."""
    command = [sys.executable, pathlib.Path(__file__).with_name("trees.py"), kind, top, *map(str, sizes)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
