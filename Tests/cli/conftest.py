"""Shared by the tests of the commands.

The commands are those in TERMBACKUP_BIN, by default those of the build tree (.build/suite/bin). If a command is
missing, its tests are skipped; with CI=true they fail.

Deriving a key at the default costs takes a tenth of a second on two cores: unless a test gives costs, tbk-seal uses the
lowest ones here. Tests of the default costs run the tbk-seal in SUITE_BIN.
"""

import hashlib
import os
import pathlib
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from dataclasses import dataclass

import pytest

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "reference")]
# A file may import from files in any of these folders.
sys.path += [str(folder) for folder in sorted(HERE.iterdir()) if folder.is_dir()]

from needs import absent, require  # noqa: E402, F401
from tbkref import crypto, extract, gz, tars  # noqa: E402
from tbkref import manifest as mf  # noqa: E402

SUITE_BIN = pathlib.Path(os.environ.get("TERMBACKUP_BIN") or REPOSITORY / ".build" / "suite" / "bin")
PASSWORD = b"correct horse battery staple"
COST = {"memory": 64, "time": 1, "lanes": 1}
FAST = ["--memory", "64", "--iterations", "1", "--lanes", "1"]
# The subcommands of tbk-seal.
SEALS = ["tree", "stream", "tar", "reseal", "consolidate", "manifest"]
# Every variable with a secret, or with its source.
SECRETS = {name: f"secret {at}." for at, name in enumerate([
    *(f"TERMBACKUP_{what}{place}" for place in ("", "_FILE", "_COMMAND")
      for what in ("PASSWORD", "OLD_PASSWORD", "NEW_PASSWORD", "KEY_PASSWORD", "IDENTITY_PASSWORD", "TOKEN",
                   "WEBHOOK_URL")),
    "GITHUB_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_TOKEN", "GH_ENTERPRISE_TOKEN"])}
CRASHES = {-signal.SIGILL, -signal.SIGTRAP, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGFPE,
           132, 133, 134, 135, 136, 139}
# Long enough for any machine: no test measures time, this only stops one that hangs.
PATIENCE = 300


def fast_suite():
    """The suite of SUITE_BIN with FAST costs, for this run of the tests; returns its bin, which may be empty."""
    top = pathlib.Path(tempfile.mkdtemp(prefix="termbackup-suite-"))
    top.chmod(0o755)
    made = top / "bin"
    made.mkdir()
    real = SUITE_BIN.resolve()
    for command in real.iterdir() if real.is_dir() else []:
        if command.name == "tbk-seal":
            (made / command.name).write_text(f"""#!/bin/sh
                case " $*" in
                *-help* | *--memory* | *--iterations* | *--lanes* | *" -r "* | *" -R "* | *" --recipient"*) exec '{command}' "$@" ;;
                esac
                case ${{1-}} in
                {" | ".join(SEALS)}) seal=$1 && shift && exec '{command}' "$seal" {" ".join(FAST)} "$@" ;;
                esac
                exec '{command}' {" ".join(FAST)} "$@"
                """)
            (made / command.name).chmod(0o755)
        elif command.name.startswith(("tbk-", "termbackup")):
            (made / command.name).symlink_to(command)
    # A verb finds the commands relative to its own path.
    (made / "termbackup").unlink(missing_ok=True)
    if (real / "termbackup").exists():
        shutil.copy(real / "termbackup", made)
    library = real.parent / "lib" / "termbackup"
    if library.is_dir():
        (top / "lib" / "termbackup").mkdir(parents=True)
        for path in library.iterdir():
            if path.is_dir():
                shutil.copytree(path, top / "lib" / "termbackup" / path.name)
            else:
                (top / "lib" / "termbackup" / path.name).symlink_to(path)
        (top / "share").symlink_to(real.parent / "share")
    return made


BIN = fast_suite()
VERBS = sorted(script.name for script in (REPOSITORY / "bin" / "verbs").iterdir())

# Tests that run in the background, or under nohup(1), ignore signals, and children would inherit that.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(_number, _usual)


def pytest_unconfigure():
    shutil.rmtree(BIN.parent, ignore_errors=True)


def some(stride):
    """For a test that tries many positions in turn: `stride` is the step between them, and 1 in `make soak`."""
    return pytest.mark.parametrize("stride", [pytest.param(stride, id="some"), pytest.param(1, id="each", marks=pytest.mark.soak)])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """In `make test`, a test of a verb runs under one of the two shells. Under the other, `make soak` runs one in four, and
    all run with TERMBACKUP_BOTH_SHELLS."""
    left = []
    for item in items:
        shell = item.callspec.params.get("shell") if hasattr(item, "callspec") else None
        if shell in ("dash", "busybox") and "TERMBACKUP_BOTH_SHELLS" not in os.environ:
            number = zlib.crc32(item.nodeid.replace(shell, "shell").encode())
            if shell != ("dash", "busybox")[number % 2]:
                if number // 2 % 4:
                    left.append(item)
                else:
                    item.add_marker(pytest.mark.soak)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in set(left)]


def shown_on(terminal):
    """What is written to a terminal, piece by piece, until no process has it open."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:
            return
        if not data:
            return
        yield data
    pytest.fail("the terminal stayed open")


@dataclass
class Result:
    status: int
    out: bytes
    err: bytes

    @property
    def lines(self):
        return self.out.decode("utf-8", "surrogateescape").splitlines()


class Commands:
    """Runs the suite's commands as a script would: without a terminal, in a separate environment."""

    def __init__(self, scratch, bin=BIN):
        self.scratch = scratch
        self.bin = bin
        self.home = scratch / "home"
        self.tmp = scratch / "tmpdir"
        for folder in (self.home, self.tmp):
            folder.mkdir(mode=0o700)
        self.password_file = scratch / "password"
        self.password_file.write_bytes(PASSWORD)
        self.environment = {
            "PATH": f"{bin}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "HOME": str(self.home),
            "TERMBACKUP_HOME": str(self.home / ".termbackup"),
            "TMPDIR": str(self.tmp),
            "LC_ALL": "C.UTF-8",
        }

    def path(self, name):
        # tbk-sh is internal to the verbs, and not in the directory of the commands.
        path = self.bin / name if name != "tbk-sh" else self.bin.parent / "lib" / "termbackup" / name
        if not path.exists():
            absent(name)
        return str(path)

    def start(self, name, *arguments, password=PASSWORD, env=None, as_user=None, over=None, limits=None, **options):
        """Popen of a command. tbk-seal and tbk-open get `password` in a file, or none if it is None. `over` is a pair: the
        command sees the first directory in place of the second. `limits` are options of prlimit(1)."""
        command = [self.path(name), *arguments]
        if password is not None and name in ("tbk-seal", "tbk-open"):
            given = self.password_file
            if password != PASSWORD:
                given = self.scratch / ("password." + hashlib.sha256(password).hexdigest()[:8])
                given.write_bytes(password)
            # In front: the arguments may contain "--".
            at = 2 if name == "tbk-seal" and arguments and arguments[0] in SEALS else 1
            command[at:at] = ["--password-file", str(given)]
        if as_user is not None:
            require("setpriv")
            command = ["setpriv", f"--reuid={as_user}", f"--regid={as_user}", "--clear-groups", *command]
        if over is not None:
            require("unshare")
            if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
                absent("the right to mount a file system")
            script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
            command = ["unshare", "-m", "sh", "-c", script, "sh", *map(str, over), *command]
        if limits is not None:
            require("prlimit")
            command = ["prlimit", *(f"--{name}={value}" for name, value in limits.items()), *command]
        # Without preexec_fn Python uses vfork; with the memory that pytest uses, fork takes ten times as long.
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(command, env={**self.environment, **(env or {})}, start_new_session=True,
                                **options)

    def run(self, name, *arguments, input=None, status=0, **options):
        """Runs a command to its end. `status`: the expected exit statuses (None: any)."""
        if input is not None:
            options["stdin"] = subprocess.PIPE
        process = self.start(name, *arguments, **options)
        try:
            out, err = process.communicate(input, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            pytest.fail(f"{name} {arguments} did not end")
        result = Result(process.returncode, out or b"", err or b"")
        shown = f"{name} {' '.join(map(repr, arguments))}: status {result.status}\n{result.err.decode(errors='replace')}"
        assert result.status not in CRASHES, f"crashed: {shown}"
        if status is not None:
            allowed = {status} if isinstance(status, int) else set(status)
            assert result.status in allowed, f"{sorted(allowed)} wanted: {shown}"
        if result.status not in (0, 1):
            assert result.err.strip(), f"nothing on standard error: {shown}"
        if result.status >= 64 and result.status < 128:
            # Messages of a verb may start with its name.
            names = [name, *(f"{name} {verb}" for verb in arguments[:1] if name == "termbackup")]
            assert any(f"{each}: error: ".encode() in result.err for each in names) or b'"error"' in result.err, shown
        return result

    # Commands with the usual arguments

    def seal(self, directory, *arguments, **options):
        return self.run("tbk-seal", *FAST, *arguments, directory, **options).out

    def manifest(self, directory, *arguments, **options):
        return self.run("tbk-manifest", "create", *arguments, directory, **options).out

    def open(self, archive, *arguments, **options):
        return self.run("tbk-open", *arguments, input=archive, **options)

    def extract(self, archive, destination, *arguments, **options):
        return self.open(archive, "-C", destination, *arguments, **options)

    def leftovers(self):
        """The files that a command left in its TMPDIR."""
        return sorted(os.listdir(self.tmp))


@pytest.fixture
def tbk(tmp_path):
    return Commands(tmp_path)


# Trees


def describe(path):
    """Everything that a backup records about an entry, except its name."""
    info = os.lstat(path)
    found = {"kind": stat.S_IFMT(info.st_mode), "mtime": info.st_mtime_ns, "owner": (info.st_uid, info.st_gid),
             "xattrs": {name: os.getxattr(path, name, follow_symlinks=False)
                        for name in os.listxattr(path, follow_symlinks=False)}}
    if stat.S_ISLNK(info.st_mode):
        found["link"] = os.readlink(path)
    else:
        found["mode"] = stat.S_IMODE(info.st_mode)
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            found["content"] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def snapshot(directory):
    """The directory (as b"") and every entry below it; a hard link is described by its first name."""
    top = os.fsencode(directory)
    result, inodes = {b"": describe(top)}, {}

    def walk(folder, prefix):
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            result[prefix + name] = describe(path)
            info = os.lstat(path)
            if stat.S_ISREG(info.st_mode) and info.st_nlink > 1:
                inodes.setdefault(info.st_ino, []).append(prefix + name)
            if stat.S_ISDIR(info.st_mode):
                walk(path, prefix + name + b"/")
    walk(top, b"")
    for names in inodes.values():
        for name in names:
            result[name]["linked with"] = sorted(names)
    return result


def without(tree, *keys):
    return {path: {key: value for key, value in found.items() if key not in keys} for path, found in tree.items()}


def no_set_id(tree):
    return {path: {**found, "mode": found["mode"] & 0o1777} if "mode" in found else found for path, found in tree.items()}


def put(path, data=b"", mode=None, mtime_ns=None):
    path = os.fsencode(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    if mode is not None:
        os.chmod(path, mode)
    if mtime_ns is not None:
        os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


def has_xattrs(directory):
    probe = put(os.path.join(os.fsencode(directory), b"xattr probe"))
    try:
        os.setxattr(probe, "user.probe", b"1")
        return True
    except OSError:
        return False
    finally:
        os.unlink(probe)


def make_tree(top):
    """A directory with entries of every kind, and with every awkward name, size and mode."""
    top = os.fsencode(top)
    os.makedirs(top)

    def at(*names):
        return os.path.join(top, *names)

    put(at(b"empty file"))
    for size in (1, 511, 512, 513, 65536, 131072, 131073):
        put(at(b"sizes", b"%d" % size), hashlib.shake_128(b"%d" % size).digest(size))
    put(at(b"repeating"), b"the same line again\n" * 50_000)
    with open(at(b"sparse"), "wb") as file:
        file.seek(5_000_000)
        file.write(b"end")
    put(at(b"manifest.json"), b"not a manifest\n")
    put(at(b"manifest.json~"), b"a backup file\n")
    os.makedirs(at(b"empty directory"))
    os.makedirs(at(b"a", b"b", b"c", b"d"))
    put(at(b"a", b"b", b"c", b"d", b"deep"), b"deep\n")
    put(at(b"a-b"), b"sorts between a and a/b\n")
    put(at(b"a.b"), b"sorts between a and a/b too\n")

    for name in (b"new\nline", b"tab\there", b'quote"quote', b"back\\slash", b"-leading-dash", b"--help", b" space ", b"...",
                 b"star*", b"\x01\x7f", b"not UTF-8 \xff\xfe", b"latin \xe9", b"half \xc3", b"surrogate \xed\xb2\x80",
                 "caf\u00e9".encode(), "cafe\u0301".encode(), "\U0001f600".encode(), b"CASE", b"case", b"x" * 255,
                 "\u00e9".encode() * 127):
        put(at(b"names", name), b"content of " + name)
    put(at(b"p" * 60, b"q" * 60, b"over 100 bytes"), b"1\n")
    put(at(b"r" * 200, b"s" * 200, b"t" * 200, b"over 255 bytes"), b"2\n")
    put(at(b"u" * 155, b"v" * 100), b"just fits ustar\n")
    os.symlink(b"w" * 300, at(b"link to 300 bytes"))

    for mode in (0o000, 0o400, 0o600, 0o755, 0o777, 0o4755, 0o2755, 0o6711, 0o1644):
        put(at(b"modes", b"%04o" % mode), b"%o\n" % mode, mode)
    for mode in (0o700, 0o755, 0o1777, 0o2775):
        os.mkdir(at(b"modes", b"directory %04o" % mode))
        os.chmod(at(b"modes", b"directory %04o" % mode), mode)

    for when in (0, 1, 1_577_934_245_123_456_789, 999_999_999, -1, -1_500_000_000, 4_102_444_800_000_000_001, 8_589_934_592_000_000_000):
        put(at(b"times", b"%d" % when), b"%d" % when, mtime_ns=when)

    put(at(b"links", b"first"), b"one file, three names\n")
    os.link(at(b"links", b"first"), at(b"links", b"second"))
    os.link(at(b"links", b"first"), at(b"z last"))
    os.link(at(b"manifest.json~"), at(b"links", b"to a renamed one"))
    for name, target in ((b"to file", b"first"), (b"dangling", b"nowhere at all"), (b"to directory", b"../a"),
                         (b"absolute", b"/etc/hostname"), (b"up", b"../../../.."), (b"itself", b"itself"),
                         (b"bytes \xff", b"target \xfe"), (b"newline", b"new\nline")):
        os.symlink(target, at(b"links", name))
    os.utime(at(b"links", b"dangling"), ns=(5, 1_234_567_890_987_654_321), follow_symlinks=False)

    if has_xattrs(top):
        put(at(b"xattrs", b"file"), b"with attributes\n")
        for path in (at(b"xattrs", b"file"), at(b"xattrs"), at(b"empty directory")):
            os.setxattr(path, "user.plain", b"value")
            os.setxattr(path, "user.empty", b"")
            os.setxattr(path, "user.bytes", bytes(range(256)))
            os.setxattr(path, "user.with=equals and \u00e9".encode(), b"a=b\n")
    if os.geteuid() == 0:
        put(at(b"owners", b"nobody"), b"x", mode=0o640)
        put(at(b"owners", b"no such user"), b"x")
        put(at(b"owners", b"high ids"), b"x")
        os.chown(at(b"owners", b"nobody"), 65534, 65534)
        os.chown(at(b"owners", b"no such user"), 54321, 54322)
        os.chown(at(b"owners", b"high ids"), 3_000_000_000, 3_000_000_001)
        os.symlink(b"nobody", at(b"owners", b"link"))
        os.chown(at(b"owners", b"link"), 54321, 54322, follow_symlinks=False)
    for path, when in ((at(b"a"), 1_000_000_000_000_000_007), (at(b"empty directory"), 86_400_000_000_000)):
        os.utime(path, ns=(when, when))
    os.chmod(top, 0o750)
    os.utime(top, ns=(1_111_111_111_111_111_111,) * 2)
    return os.fsdecode(top)


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path / "tree")


@pytest.fixture
def small(tmp_path):
    """A few files, for tests that need no special ones."""
    top = tmp_path / "small"
    put(top / "plain", b"plain\n")
    put(top / "d" / "inside", b"inside\n" * 100)
    put(top / "d" / "other", b"other\n")
    os.symlink("plain", top / "link")
    os.mkdir(top / "empty")
    return str(top)


def reference_archive(directory, password=PASSWORD, form="pax", members=1, level=6, manifest=None, **sealing):
    """A directory sealed by the reference implementation."""
    manifest = mf.with_id(manifest or mf.build(directory))
    tar = tars.write(manifest, tars.content_of(directory), form)
    return crypto.seal_tbk2(gz.compress(tar, level, members), password, **{**COST, **sealing}), manifest


def reference_open(*archives, password=PASSWORD):
    """Archives of one backup, opened and checked by the reference implementation."""
    return [extract.read(archive, password) for archive in archives]


# As another user, because root is allowed everything


NOBODY = 65534


@pytest.fixture
def unprivileged(tmp_path):
    """(Commands, a directory) for a user other than root: pass `as_user` to every run. Skips if that is impossible."""
    if os.geteuid() != 0:
        folder = tmp_path / "mine"
        folder.mkdir()
        commands = Commands(folder)
        commands.user = {}
        yield commands, folder
        return
    require("setpriv")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="termbackup-test-"))
    try:
        folder.chmod(0o755)
        commands = Commands(folder)
        commands.path("tbk-manifest")
        for path in (commands.home, commands.tmp, commands.password_file):
            os.chown(path, NOBODY, NOBODY)
        commands.user = {"as_user": NOBODY}
        # Tried by a child of the user's: setpriv itself may have more access.
        reached = subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "sh", "-c",
                                  'exec "$0" --version', commands.path("tbk-manifest")], capture_output=True).returncode == 0
        if not reached:
            suite = SUITE_BIN.resolve().parent
            if not (suite / "lib" / "termbackup").is_dir() or suite in (pathlib.Path("/usr"), pathlib.Path("/usr/local")):
                absent("a suite that another user can run")
            for name in ("bin", "lib"):
                shutil.copytree(suite / name, folder / "suite" / name, symlinks=True)
            commands.path = lambda name: str(folder / "suite" / "bin" / name)
        yield commands, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
