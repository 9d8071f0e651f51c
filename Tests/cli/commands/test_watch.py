"""tbk-watch: every change is reported, and nothing else, with inotify and by polling."""

import json
import os
import queue
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest
from conftest import BIN, NOBODY, PATIENCE, absent, put, require, unprivileged  # noqa: F401

QUICK = ["--debounce", "0.15"]
MODES = {"inotify": [], "poll": ["--poll", "0.1"]}
EVERYTHING = {("unknown", ".")}


class Watch:
    """A running tbk-watch; its reports are read as they arrive."""

    def __init__(self, tbk, directory, *arguments, **options):
        quick = () if "--debounce" in arguments else QUICK
        self.process = tbk.start("tbk-watch", *quick, "--json", "--initial", *arguments, directory, **options)
        self.reports = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        assert self.next() == EVERYTHING

    def read(self):
        for line in self.process.stdout:
            self.reports.put(json.loads(line))
        self.reports.put(None)

    def next(self):
        """The names in the next report, and its word for each."""
        report = self.reports.get(timeout=PATIENCE)
        assert report is not None, self.process.stderr.read()
        return {(change["status"], change["relative_path"]) for change in report["changes"]}

    def until(self, *wanted):
        """Reads reports until they contain everything wanted; returns all of them."""
        seen = set()
        while not set(wanted) <= seen:
            seen |= self.next()
        return seen

    def end(self):
        """Waits until it exits; returns its status and its messages."""
        said = self.process.stderr.read().decode()
        return self.process.wait(PATIENCE), said

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def watch(tbk):
    running = []

    def start(directory, *arguments, **options):
        running.append(Watch(options.pop("commands", tbk), str(directory), *arguments, **options))
        return running[-1]
    yield start
    for each in running:
        each.close()


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


@pytest.fixture
def top(tmp_path):
    top = tmp_path / "top"
    for name in ("plain", "d/inside", "d/deep/file"):
        put(top / name, b"old\n")
    return top


# What is reported


def test_each_kind_of_change_is_reported(watch, mode, top, tmp_path):
    watching = watch(top, *mode)
    put(top / "plain", b"new\n")
    assert watching.next() == {("changed", "plain")}
    put(top / "d" / "more", b"more\n")
    assert watching.next() == {("changed", "d/more")}
    os.chmod(top / "d" / "inside", 0o600)
    assert watching.next() == {("changed", "d/inside")}
    os.chmod(top / "d", 0o700)
    assert watching.next() == {("changed", "d")}
    os.chmod(top, 0o700)
    assert watching.next() == {("changed", ".")}
    os.unlink(top / "plain")
    assert watching.next() == {("deleted", "plain")}
    os.symlink("nowhere", top / "link")
    assert watching.next() == {("changed", "link")}
    os.rename(top / "d" / "more", top / "moved")
    assert watching.next() == {("changed", "moved"), ("deleted", "d/more")}
    os.rename(top / "moved", top / "link")
    assert watching.next() == {("changed", "link"), ("deleted", "moved")}
    os.utime(top / "link", (5, 5))
    assert watching.next() == {("changed", "link")}
    put(tmp_path / "beside", b"from outside\n")
    os.rename(tmp_path / "beside", top / "in")
    assert watching.next() == {("changed", "in")}
    os.rename(top / "in", tmp_path / "out")
    assert watching.next() == {("deleted", "in")}


def test_a_directory_that_moves_is_watched_where_it_is(watch, mode, top, tmp_path):
    watching = watch(top, *mode)
    os.rename(top / "d", top / "e")
    assert watching.until(("changed", "e/deep/file"), ("deleted", "d")) >= {("changed", "e"), ("changed", "e/inside")}
    put(top / "e" / "deep" / "new", b"new\n")
    assert watching.next() == {("changed", "e/deep/new")}
    os.rename(top / "e", tmp_path / "outside")
    watching.until(("deleted", "e"))
    put(tmp_path / "outside" / "inside", b"nobody's business\n")
    os.mkdir(top / "e")
    assert watching.next() == {("changed", "e")}
    os.rename(tmp_path / "outside", top / "back")
    watching.until(("changed", "back/deep/new"))
    put(top / "back" / "deep" / "new", b"again\n")
    assert watching.next() == {("changed", "back/deep/new")}


def test_one_directory_takes_the_place_of_another(watch, mode, top):
    os.mkdir(top / "empty")
    watching = watch(top, *mode)
    os.rename(top / "d", top / "empty")
    watching.until(("changed", "empty/deep/file"), ("deleted", "d"))
    put(top / "empty" / "deep" / "file", b"newer\n")
    assert watching.next() == {("changed", "empty/deep/file")}
    shutil.rmtree(top / "empty")
    put(top / "empty", b"a file now\n")
    watching.until(("changed", "empty"), ("deleted", "empty/inside"))


def test_what_comes_into_a_new_directory_is_not_lost(watch, top):
    watching = watch(top, "--max-delay", "600")
    wanted = set()
    for number in range(200):
        deep = top / f"n{number}" / "a" / "b" / "c"
        os.makedirs(deep)
        put(deep / "file", b"x")
        wanted |= {("changed", f"n{number}{rest}") for rest in ("", "/a", "/a/b", "/a/b/c", "/a/b/c/file")}
    assert watching.until(*wanted) == wanted
    put(top / "n199" / "a" / "b" / "c" / "later", b"x")
    assert watching.next() == {("changed", "n199/a/b/c/later")}


def test_what_came_and_went_is_no_change(watch, top):
    watching = watch(top)
    for _ in range(3):
        put(top / "d" / "temporary", b"x")
        os.unlink(top / "d" / "temporary")
        os.makedirs(top / "x" / "y")
        shutil.rmtree(top / "x")
    os.mkfifo(top / "fifo")
    put(top / "end", b"")
    assert watching.next() == {("changed", "end")}


def test_reading_is_no_change(watch, mode, top, tbk):
    watching = watch(top, *mode)
    tbk.manifest(str(top))
    os.listdir(top / "d")
    put(top / "end", b"")
    assert watching.next() == {("changed", "end")}


def test_names_are_any_bytes(tbk, watch, top):
    process = tbk.start("tbk-watch", *QUICK, "--initial", "-0", str(top))
    assert process.stdout.read(len(b"unknown\t.\0\0")) == b"unknown\t.\0\0"
    put(os.path.join(os.fsencode(top), b"new\nline \xff"), b"x")
    wanted = b"changed\tnew\nline \xff\0\0"
    assert process.stdout.read(len(wanted)) == wanted
    process.kill()
    process.communicate()
    process = tbk.start("tbk-watch", *QUICK, "--once", str(top))
    assert b"watching" in process.stderr.readline()
    put(os.path.join(os.fsencode(top), b"caf\xc3\xa9\t"), b"x")
    out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, b'changed\t"caf\\303\\251\\t"\n')


def test_exclusions_are_those_of_tbk_manifest(watch, mode, top, tbk, tmp_path):
    rules = ["--exclude", "*.o", "--exclude", "/build/*", "--exclude", "!/build/keep", "--exclude", "cache/",
             "--exclude-caches", "--exclude-defaults"]
    names = ["a.o", "d/b.o", "build/drop", "build/keep", "d/build/kept", "cache/x", "d/cache", "tagged/CACHEDIR.TAG",
             "tagged/inside", ".git/config", "d/.git/config", "plain.c"]
    for name in names:
        put(top / name, b"Signature: 8a477f597d28d172789f06886806bc55\n")
    listed = {path for path in tbk.run("tbk-manifest", "show", "-", input=tbk.manifest(str(top), *rules)).lines}
    watching = watch(top, *rules, *mode)
    for name in names:
        os.utime(top / name, (7, 7))
        os.chmod((top / name).parent, 0o700)
    wanted = {("changed", name) for name in listed if os.path.isfile(top / name) and name in names}
    seen = watching.until(*wanted)
    assert {path for _, path in seen} <= listed | {"."}
    # New files, and a directory that becomes a cache directory.
    for name in ("new/x.o", "new/x.c", "shut/inside"):
        put(top / name, b"x")
    put(top / "shut" / "CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n")
    assert watching.next() == {("changed", name) for name in ("new", "new/x.c", "shut", "shut/CACHEDIR.TAG")}
    put(top / "shut" / "inside", b"y")
    os.rename(top / "new" / "x.c", top / "new" / "y.o")
    assert watching.next() == {("deleted", "new/x.c")}


def test_a_tag_that_goes_opens_its_directory(watch, top):
    put(top / "d" / "CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n")
    watching = watch(top, "--exclude-caches")
    put(top / "d" / "deep" / "file", b"unseen\n")
    os.unlink(top / "d" / "CACHEDIR.TAG")
    assert watching.next() == {("deleted", "d/CACHEDIR.TAG"), ("changed", "d/inside"), ("changed", "d/deep"),
                               ("changed", "d/deep/file")}
    put(top / "d" / "deep" / "file", b"seen\n")
    assert watching.next() == {("changed", "d/deep/file")}


@pytest.mark.parametrize("seed", range(4))
def test_no_change_of_a_random_walk_is_lost(watch, tbk, mode, tmp_path, seed):
    chance = random.Random(seed)
    top = tmp_path / "top"
    directories = [top] + [top / f"d{one}" / f"e{two}" for one in range(4) for two in range(3)]
    for directory in directories:
        directory.mkdir(parents=True)
        put(directory / "file", b"x")
    before = tbk.manifest(str(top))
    watching = watch(top, *mode, "--max-delay", "600", "--debounce", "0.5")
    for step in range(300):
        known = [path for path in top.rglob("*")]
        some = chance.choice(known)
        place = some if some.is_dir() else some.parent
        action = chance.randrange(7)
        if action == 0:
            (place / f"n{step}").mkdir()
        elif action in (1, 2):
            put(place / f"f{step}", b"%d" % step)
        elif action == 3 and some.is_file():
            put(some, b"changed %d" % step)
        elif action == 4 and some.is_file():
            some.unlink()
        elif action == 5:
            target = chance.choice([path for path in known if path.is_dir()] + [top])
            if not (target == some or some in target.parents):
                some.rename(target / f"m{step}")
        elif action == 6 and some.is_dir() and len(known) > 20 and chance.randrange(3) == 0:
            shutil.rmtree(some)
    put(top / "the last", b"x")
    seen = watching.until(("changed", "the last"))
    after = tmp_path / "after.json"
    after.write_bytes(tbk.manifest(str(top)))
    differ = [line.split("\t") for line in tbk.run(
        "tbk-manifest", "diff", "-", str(after), input=before, status={0, 1}).lines]
    changed = {path for status, path in seen if status == "changed"}
    deleted = {path for status, path in seen if status == "deleted"}
    for status, path in differ:
        if status == "deleted":
            assert path in deleted or any(path.startswith(above + "/") for above in deleted), path
        elif status != "metadata" or os.path.isfile(top / path):
            assert path in changed, (status, path)
    for path in changed:
        assert os.path.lexists(top / path), path
    for path in deleted:
        assert not os.path.lexists(top / path), path



def test_what_is_brought_back_below_an_excluded_directory_is_watched(watch, mode, top):
    put(top / "build" / "keep", b"old\n")
    watching = watch(top, *mode, "--exclude-rules", "pathspec", "--exclude", "build/", "--exclude", "!keep")
    put(top / "build" / "other", b"left out\n")
    put(top / "build" / "keep", b"new\n")
    assert watching.until(("changed", "build/keep")) <= {("changed", "build/keep")}
    put(top / "build" / "new" / "other", b"left out\n")
    put(top / "build" / "new" / "keep", b"new\n")
    seen = watching.until(("changed", "build/new/keep"))
    assert not {path for _, path in seen if path.endswith("other")}
    os.rename(top / "build", top.parent / "gone")
    assert any(status == "deleted" and path.startswith("build") for status, path in watching.next())


# Timing


def test_endless_change_is_reported_all_the_same(watch, mode, top):
    watching = watch(top, "--debounce", "60", "--max-delay", "0.5", *mode)
    stop = threading.Event()

    def write():
        number = 0
        while not stop.wait(0.02):
            number += 1
            put(top / "plain", b"%d" % number)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            assert watching.next() == {("changed", "plain")}
    finally:
        stop.set()
        writer.join()


def test_once_ends_with_the_first_report(tbk, mode, top):
    process = tbk.start("tbk-watch", *QUICK, "--once", *mode, str(top))
    assert b"watching" in process.stderr.readline()
    put(top / "plain", b"new\n")
    put(top / "other", b"new\n")
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (0, b"changed\tother\nchanged\tplain\n", b"")


def test_the_count_is_a_line_for_each_report(tbk, top):
    process = tbk.start("tbk-watch", *QUICK, "--count", "--initial", str(top))
    assert process.stdout.readline() == b"unknown\n"
    put(top / "one", b"")
    put(top / "two", b"")
    assert process.stdout.readline() == b"2\n"
    process.kill()
    process.communicate()


def test_it_gives_up_when_the_time_is_up(tbk, mode, top):
    said = tbk.run("tbk-watch", "--timeout", "0.3", *mode, str(top), status=75)
    assert b"nothing has changed" in said.err and said.out == b""


def test_waiting_takes_no_processor(watch, top):
    watching = watch(top)

    def switches():
        with open(f"/proc/{watching.process.pid}/status") as status:
            return [line for line in status if "ctxt_switches" in line]
    # It may not have started to wait yet.
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        before = switches()
        time.sleep(0.5)
        if switches() == before:
            return
    pytest.fail(f"{before} became {switches()}")


def test_100000_directories_take_little_memory(watch):
    with open("/proc/sys/fs/inotify/max_user_watches") as file:
        # Watches of other processes count, too.
        count = 100_000 if int(file.read()) > 150_000 else 20_000
    with tempfile.TemporaryDirectory(dir="/dev/shm") as top:
        for number in range(count):
            os.makedirs(f"{top}/{number // 100:03}/a directory of the name {number}")
        try:
            watching = watch(top)
        except AssertionError:
            absent(f"room for {count} watches")
        with open(f"/proc/{watching.process.pid}/status") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        assert peak < 64 * 1024, f"{peak} KiB"
        last = f"{count // 100 - 1:03}/a directory of the name {count - 1}"
        put(os.path.join(top, last, "new"), b"")
        watching.until(("changed", f"{last}/new"))
        watching.close()


# Failures


def test_a_queue_that_overflows_loses_nothing(watch, top):
    with open("/proc/sys/fs/inotify/max_queued_events") as file:
        length = int(file.read())
    if length > 100_000:
        absent("a queue of less than 100,000 events")
    watching = watch(top)
    watching.process.send_signal(signal.SIGSTOP)
    for number in range(length + 10):
        # Two names in turn: the queue merges an event that equals the one before.
        os.utime(top / ("plain" if number % 2 else "d/inside"), (number, number))
    put(top / "new" / "directory" / "file", b"x")
    watching.process.send_signal(signal.SIGCONT)
    assert watching.next() == EVERYTHING
    put(top / "new" / "directory" / "file", b"y")
    assert watching.next() == {("changed", "new/directory/file")}


def with_limits(command, watches):
    """The command in a user namespace with its own limit."""
    require("unshare")
    script = 'echo "$0" >/proc/sys/user/max_inotify_watches && exec "$@"'
    probe = subprocess.run(["unshare", "-U", "-r", "sh", "-c", script, "10", "true"], capture_output=True)
    if probe.returncode != 0:
        absent("a user namespace with limits")
    return ["unshare", "-U", "-r", "sh", "-c", script, str(watches), *command]


@pytest.mark.parametrize("watches", [1, 3])
def test_without_room_for_watches_it_looks_instead(tbk, top, watches):
    process = subprocess.Popen(
        with_limits([tbk.path("tbk-watch"), *QUICK, "--initial", str(top)], watches), env=tbk.environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout.read(len(b"unknown\t.\n\n")) == b"unknown\t.\n\n"
        if watches == 3:
            # The limit allows the three existing directories; a fourth one appears.
            os.mkdir(top / "d" / "fourth")
            assert process.stdout.read(len(b"unknown\t.\n\n")) == b"unknown\t.\n\n"
        said = b""
        while b"hint: raise it, with sysctl fs.inotify.max_user_watches" not in said:
            said += (line := process.stderr.readline())
            assert line, said
        assert b"warning: looking at every entry" in said
    finally:
        process.kill()
        process.communicate()


def test_a_directory_that_cannot_be_read_is_named_and_the_rest_watched(unprivileged, watch):
    commands, folder = unprivileged
    top = folder / "top"
    for name in ("open/file", "shut/file"):
        put(top / name, b"x")
    os.chmod(top / "shut", 0)
    if commands.user:
        os.chown(top / "shut", NOBODY, NOBODY)
    watching = watch(top, commands=commands, **commands.user)
    put(top / "open" / "file", b"y")
    assert watching.next() == {("changed", "open/file")}
    watching.process.terminate()
    status, said = watching.end()
    assert status == 143 and "'shut' is not watched: Permission denied" in said


def test_the_directory_itself_must_stay(watch, mode, top, tmp_path):
    for leave in (shutil.rmtree, lambda path: os.rename(path, tmp_path / "elsewhere")):
        watching = watch(top, *mode)
        leave(top)
        status, said = watching.end()
        assert status == 66 and "was removed, moved or unmounted" in said, said
        put(top / "again", b"x")


def test_the_directory_must_stay_mounted(watch, mode, tmp_path):
    if os.geteuid() != 0:
        absent("the right to mount")
    top = tmp_path / "mounted"
    top.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", top], capture_output=True).returncode != 0:
        absent("the right to mount")
    try:
        put(top / "d" / "file", b"x")
        watching = watch(top, *mode)
    finally:
        # The file system is not busy.
        subprocess.run(["umount", top], check=True)
    status, said = watching.end()
    assert status == 66 and "was removed, moved or unmounted" in said, said


def test_a_file_system_below_that_goes_is_noticed(watch, tmp_path):
    if os.geteuid() != 0:
        absent("the right to mount")
    top = tmp_path / "top"
    put(top / "below" / "covered", b"x")
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", top / "below"], capture_output=True).returncode != 0:
        absent("the right to mount")
    try:
        watching = watch(top)
    finally:
        subprocess.run(["umount", top / "below"], check=True)
    assert watching.next() == {("changed", "below"), ("changed", "below/covered")}
    put(top / "below" / "covered", b"y")
    assert watching.next() == {("changed", "below/covered")}


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_reader_that_goes_ends_it_at_once(tbk, mode, top, kind):
    reading, writing = os.pipe() if kind == "pipe" else [end.detach() for end in socket.socketpair()]
    process = tbk.start("tbk-watch", "--initial", *mode, str(top), stdout=writing)
    os.close(writing)
    assert os.read(reading, 100) == b"unknown\t.\n\n"
    os.close(reading)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGPIPE and b"error" not in said


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it(watch, mode, top, number, status):
    watching = watch(top, *mode)
    watching.process.send_signal(number)
    ended, said = watching.end()
    assert ended == status and "error" not in said


def test_wrong_usage_is_refused(tbk, top):
    for wrong in (["--debounce", "-1"], ["--debounce", "x"], ["--poll", "0"], ["--poll", "1e3"], ["--once", "--initial"],
                  ["--json", "-0"], ["--json", "--count"], ["--timeout", "1.2345"], ["--debounce", "999999999"]):
        assert tbk.run("tbk-watch", *wrong, str(top), status=64).out == b""
    tbk.run("tbk-watch", "--once", str(top / "nothing"), status=66)
    tbk.run("tbk-watch", "--once", str(top / "plain"), status=66)
