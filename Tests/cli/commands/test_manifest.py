"""tbk-manifest: create, diff, check, show, id."""

import json
import os
import random
import socket
import subprocess

import pytest
from conftest import FAST, absent, mf, put, reference_open, require


def paths(manifest):
    return [entry["relative_path"] for entry in json.loads(manifest)["files"]]


def entry_of(manifest, path):
    return next(entry for entry in json.loads(manifest)["files"] if entry["relative_path"] == path)


def problems(result):
    return {tuple(line.split("\t", 1)[::-1]) for line in result.lines}


def test_create_is_the_default(tbk, small):
    assert paths(tbk.run("tbk-manifest", small).out) == paths(tbk.manifest(small))


def test_missing_directory(tbk, tmp_path):
    assert tbk.run("tbk-manifest", "create", tmp_path / "no such", status=66).out == b""


def test_no_operand_and_unknown_option_are_usage(tbk, small):
    tbk.run("tbk-manifest", "create", status=64)
    tbk.run("tbk-manifest", "create", "--no-such-option", small, status=64)


def test_incremental_needs_previous(tbk, small):
    tbk.run("tbk-manifest", "create", "--mode", "incremental", small, status=64)


def test_double_dash_ends_options(tbk, tmp_path):
    put(tmp_path / "-q" / "file")
    assert paths(tbk.run("tbk-manifest", "create", "--", "-q", cwd=tmp_path).out) == ["file"]


def test_symlink_to_the_directory_is_the_directory(tbk, small, tmp_path):
    os.symlink(small, tmp_path / "link")
    assert paths(tbk.manifest(tmp_path / "link")) == paths(tbk.manifest(small))


def test_sockets_are_silent_and_fifos_noticed(tbk, small):
    with socket.socket(socket.AF_UNIX) as unix:
        at = os.getcwd()
        os.chdir(small)
        unix.bind("socket")
        os.chdir(at)
    before = tbk.run("tbk-manifest", "create", small)
    assert b"socket" not in before.err
    os.mkfifo(os.path.join(small, "a fifo"))
    result = tbk.run("tbk-manifest", "create", small)
    assert b"a fifo" in result.err
    assert paths(result.out) == paths(before.out) == ["d", "d/inside", "d/other", "empty", "link", "plain"]


def test_to_a_full_device(tbk, tree):
    with open("/dev/full", "wb") as full:
        tbk.run("tbk-manifest", "create", tree, stdout=full, status=74)


def test_previous_saves_reading(tbk, small, tmp_path):
    """The hash of an unchanged file is taken from the previous manifest; that of a changed one is not."""
    first = json.loads(tbk.manifest(small))
    for entry in first["files"]:
        if entry["type"] == "file":
            entry["sha256"] = "ab" * 32
    previous = put(tmp_path / "previous", mf.encode(mf.with_id(first)))
    info = os.stat(os.path.join(small, "plain"))
    # Same size, same mtime, other bytes: ctime differs.
    put(os.path.join(small, "plain"), b"PLAIN\n", mtime_ns=info.st_mtime_ns)
    second = tbk.manifest(small, "--previous", previous)
    assert entry_of(second, "d/inside")["sha256"] == "ab" * 32
    assert entry_of(second, "plain")["sha256"] == mf.hashlib.sha256(b"PLAIN\n").hexdigest()


def test_incremental_points_at_the_previous_backup(tbk, small, tmp_path):
    first = mf.with_id(json.loads(tbk.manifest(small)))
    previous = put(tmp_path / "previous", mf.encode(first))
    put(os.path.join(small, "new"), b"new\n")
    os.unlink(os.path.join(small, "d", "other"))
    second = tbk.manifest(small, "--previous", previous, "--mode", "incremental")
    assert json.loads(second)["backup_mode"] == "incremental"
    assert json.loads(second)["parent_backup_id"] == first["backup_id"]
    assert paths(second) == ["d", "d/inside", "empty", "link", "new", "plain"]
    where = {entry["relative_path"]: entry.get("stored_in") for entry in json.loads(second)["files"]}
    assert where == {"d": None, "d/inside": first["backup_id"], "empty": None, "link": None, "new": None,
                     "plain": first["backup_id"]}
    third = tbk.manifest(small, "--mode", "incremental", "--previous",
                         put(tmp_path / "second", mf.encode(mf.with_id(json.loads(second)))))
    assert entry_of(third, "plain")["stored_in"] == first["backup_id"]
    assert entry_of(third, "new")["stored_in"] == mf.backup_id(json.loads(second))


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_what_could_not_be_read_is_read_anew(mode, tbk, small, tmp_path):
    """The hash in the manifest may be that of zeros, and the archive may contain them."""
    first = json.loads(tbk.manifest(small))
    first["unreadable"] = [{"reason": "it ended early", "relative_path": "plain"}]
    right = {name: entry_of(mf.encode(first), name)["sha256"] for name in ("plain", "d/inside")}
    for entry in first["files"]:
        if entry["relative_path"] in right:
            entry["sha256"] = "5a" * 32
    previous = put(tmp_path / "previous", mf.encode(mf.with_id(first)))
    second = tbk.manifest(small, "--previous", previous, "--mode", mode)
    assert entry_of(second, "plain")["sha256"] == right["plain"] and "stored_in" not in entry_of(second, "plain")
    assert entry_of(second, "d/inside")["sha256"] == "5a" * 32


def test_a_file_that_ends_before_its_size_is_named(tbk):
    """Files of sysfs report the size of a page, and contain less."""
    short = ["--exclude", "/*", "--exclude", "!/uevent_seqnum", "/sys/kernel"]
    try:
        with open("/sys/kernel/uevent_seqnum", "rb") as file:
            if os.fstat(file.fileno()).st_size <= len(file.read()):
                absent("a file that is shorter than its size")
    except OSError:
        absent("/sys")
    backup, = reference_open(tbk.run("tbk-seal", *FAST, *short, status=3).out)
    assert [(entry["relative_path"], "ended early" in entry["reason"]) for entry in backup.manifest["unreadable"]] == \
        [("uevent_seqnum", True)]


def test_defer_hash_leaves_hashes_to_the_seal(tbk, small):
    deferred = tbk.manifest(small, "--defer-hash")
    assert all(entry["sha256"] is None for entry in json.loads(deferred)["files"] if entry["type"] == "file")
    assert entry_of(deferred, "d")["sha256"] == mf.EMPTY


NAMES = ["a", "b", "foo", "bar", "foo.txt", "a.txt", ".hidden", "sp ace", "trail ", "#hash", "!bang", "[x]", "*star", "q?",
         "back\\slash", "caf\u00e9", "Foo", "abc", "a-b", "build"]


def git(*arguments, cwd, input=None):
    require("git")
    clean = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
             "GIT_CONFIG_NOSYSTEM": "1", "HOME": os.devnull, "LC_ALL": "C"}
    done = subprocess.run(["git", *arguments], cwd=cwd, input=input, capture_output=True, env=clean)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def ignorable(tmp_path_factory):
    """A tree with names for the patterns to match, and a git repository for it."""
    top = tmp_path_factory.mktemp("ignorable")
    numbers = random.Random(7)
    tree = top / "tree"
    for first in NAMES:
        if numbers.random() < 0.5:
            put(tree / first, b"")
            continue
        (tree / first).mkdir(parents=True)
        for second in numbers.sample(NAMES, 6):
            if numbers.random() < 0.6:
                put(tree / first / second, b"")
                continue
            (tree / first / second).mkdir()
            for third in numbers.sample(NAMES, 4):
                put(tree / first / second / third, b"")
    git("init", "-q", "--bare", "git", cwd=top)
    everything = [os.path.relpath(os.path.join(folder, name), tree)
                  for folder, folders, files in os.walk(tree) for name in folders + files]
    return top, tree, sorted(everything, key=os.fsencode)


def kept_by_git(ignorable, patterns):
    top, _, everything = ignorable
    (top / "git" / "info" / "exclude").write_bytes(patterns)
    out = git("--git-dir", top / "git", "--work-tree", top / "tree", "check-ignore", "--no-index", "-z", "--stdin",
              cwd=top / "tree", input=b"\0".join(map(os.fsencode, everything)))
    ignored = set(map(os.fsdecode, out.split(b"\0")))
    return [path for path in everything if path not in ignored]


def generated(numbers):
    """The lines of a file of generated patterns."""
    pieces = [*NAMES, "*", "**", "?", "a*", "*a", "*.txt", "f?o", "[ab]", "[!a]*", "[^a]*", "[a-c]*", "[[:alpha:]]*", "[[:upper:]]*",
              "\\*star", "\\#hash", "\\!bang", "\\[x\\]", "[[]x]", "[]x]*", "*o*", "***", "a**", "**o", "fo[o", "\\f\\o\\o", "[a-", "[!]]*",
              "b\u00e9*", "caf?", "caf\u00e9", "back\\\\slash", "q\\?", ".*", "*.*", "???", "sp\\ ace", "trail\\ "]
    lines = []
    for _ in range(numbers.randint(1, 7)):
        line = "/".join(numbers.choice(pieces) for _ in range(numbers.choice([1, 1, 1, 1, 2, 2, 3])))
        line = ("!" if lines and numbers.random() < 0.3 else "") + ("/" if numbers.random() < 0.2 else "") + line
        line += ("/" if numbers.random() < 0.25 else "") + numbers.choice([*[""] * 12, " ", "  ", "\t"])
        lines.append(line)
    if numbers.random() < 0.2:
        lines.insert(0, numbers.choice(["# comment", "", "#", " ", "/", "!", "\\", "!/"]))
    return lines


@pytest.mark.parametrize("seed", range(20))
def test_generated_patterns_exclude_what_git_ignores(seed, ignorable, tbk):
    numbers = random.Random(seed)
    file = tbk.scratch / "patterns"
    for _ in range(20):
        lines = generated(numbers)
        end = numbers.choice(["\n", "\n", "\n", ""])
        patterns = ("\n".join(lines) + end).encode()
        file.write_bytes(patterns)
        assert paths(tbk.manifest(ignorable[1], "--exclude-from", file)) == kept_by_git(ignorable, patterns), patterns


@pytest.mark.parametrize("patterns", [
    "*\n!foo\n", "*\n!*/\n!*.txt\n", "/*\n!/foo\n", "foo/\n", "/foo/bar\n", "foo/*\n!foo/bar\n", "**/bar\n", "foo/**\n", "foo/**/a\n",
    "**\n", "a.txt\r\n", "foo.txt \n", "foo.txt\\ \n", "\\!bang\n!\\!bang\n", "\ufefffoo\n", "[a-c]\n", "**/\n", "!foo\nfoo\n", "foo\n!foo\n",
    "fo\\\n", "[\n", "[!\n", "a//b\n", "//a\n", "./a\n", "../a\n", "foo/.\n",
], ids=repr)
def test_patterns_exclude_what_git_ignores(patterns, ignorable, tbk):
    file = put(tbk.scratch / "patterns", patterns.encode())
    assert paths(tbk.manifest(ignorable[1], "--exclude-from", file)) == kept_by_git(ignorable, patterns.encode())


def test_exclude_options_and_files_count_in_their_order(ignorable, tbk):
    file = put(tbk.scratch / "patterns", b"!foo.txt\n")
    for arguments, patterns in ((["--exclude", "*.txt", "--exclude-from", file], b"*.txt\n!foo.txt\n"),
                                (["--exclude-from", file, "--exclude", "*.txt"], b"!foo.txt\n*.txt\n")):
        assert paths(tbk.manifest(ignorable[1], *arguments)) == kept_by_git(ignorable, patterns)


def test_exclude_defaults(tbk, small):
    for name in (".git/config", ".idea/x", "d/__pycache__/x.pyc", ".DS_Store", "d/.DS_Store", ".gitignore"):
        put(os.path.join(small, name))
    assert [path for path in paths(tbk.manifest(small, "--exclude-defaults")) if "." in path or "_" in path] == [".gitignore"]
    assert ".git/config" in paths(tbk.manifest(small))


def test_exclude_caches(tbk, small):
    put(os.path.join(small, "cache", "CACHEDIR.TAG"), b"Signature: 8a477f597d28d172789f06886806bc55\n# more\n")
    put(os.path.join(small, "cache", "data"))
    put(os.path.join(small, "no cache", "CACHEDIR.TAG"), b"Signature: another\n")
    put(os.path.join(small, "no cache", "data"))
    found = paths(tbk.manifest(small, "--exclude-caches"))
    assert "cache/data" not in found and "no cache/data" in found
    assert "cache/data" in paths(tbk.manifest(small))


def test_missing_exclude_file(tbk, small, tmp_path):
    tbk.run("tbk-manifest", "create", "--exclude-from", tmp_path / "no such", small, status=66)


def test_one_file_system(tbk, small):
    require("unshare", "mount")
    put(os.path.join(small, "mounted", "below"))
    inside = 'mount -t tmpfs none "$1/mounted" && touch "$1/mounted/other" && shift && exec "$@"'

    def manifest(*options):
        return subprocess.run(["unshare", "-m", "sh", "-c", inside, "sh", small, tbk.path("tbk-manifest"), "create", *options, small],
                              capture_output=True, env=tbk.environment)
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", os.path.join(small, "mounted")]).returncode:
        absent("the right to mount")
    assert "mounted/other" in paths(manifest().stdout)
    assert not [path for path in paths(manifest("--one-file-system").stdout) if path.startswith("mounted/")]


@pytest.mark.parametrize("has_proc", [True, False])
def test_unreadable_entries_are_named_and_the_rest_listed(unprivileged, has_proc):
    tbk, folder = unprivileged
    (folder / "empty").mkdir()
    tbk.user = {**tbk.user, "over": None if has_proc else (folder / "empty", "/proc")}
    top = folder / "tree"
    for name in ("readable", "secret file", "secret directory/inside", "also readable"):
        put(top / name, b"x")
    for path in (top, top / "secret directory"):
        os.chmod(path, 0o755)
    os.chmod(top / "secret file", 0)
    os.chmod(top / "secret directory", 0)
    result = tbk.run("tbk-manifest", "create", top, status=3, **tbk.user)
    manifest = json.loads(result.out)
    assert {entry["relative_path"] for entry in manifest["unreadable"]} == {"secret file", "secret directory"}
    assert all(entry["reason"] for entry in manifest["unreadable"])
    assert {"readable", "also readable"} <= set(paths(result.out))
    assert not {"secret file", "secret directory/inside"} & set(paths(result.out))
    for name in (b"secret file", b"secret directory"):
        assert name in result.err
    sealed = tbk.run("tbk-seal", "--memory", "64", "--iterations", "1", "--lanes", "1", "--receipt", folder / "home" / "receipt",
                     input=result.out, status=3, **tbk.user)
    assert json.loads((folder / "home" / "receipt").read_text())["complete"] is False
    backup, = reference_open(sealed.out)
    assert backup.manifest["unreadable"] == manifest["unreadable"]
    direct = tbk.run("tbk-seal", "--memory", "64", "--iterations", "1", "--lanes", "1", top, status=3, **tbk.user)
    assert reference_open(direct.out)[0].entries.keys() == backup.entries.keys()
    os.chmod(top / "secret directory", 0o755)


@pytest.fixture
def two(tbk, small, tmp_path):
    """Manifests of a tree before and after one change of each kind."""
    old = put(tmp_path / "old", tbk.manifest(small))
    put(os.path.join(small, "new"), b"new\n")
    os.unlink(os.path.join(small, "d", "other"))
    put(os.path.join(small, "d", "inside"), b"modified\n")
    os.chmod(os.path.join(small, "plain"), 0o600)
    os.unlink(os.path.join(small, "link"))
    put(os.path.join(small, "link"), b"a file now\n")
    return old, put(tmp_path / "new manifest", tbk.manifest(small))


def test_diff_names_each_change(tbk, two):
    result = tbk.run("tbk-manifest", "diff", *two, status=1)
    assert problems(result) == {("new", "added"), ("d/other", "deleted"), ("d/inside", "modified"), ("plain", "mode"), ("link", "type"), ("d", "metadata")}
    back = tbk.run("tbk-manifest", "diff", *reversed(two), status=1)
    assert problems(back) == {("new", "deleted"), ("d/other", "added"), ("d/inside", "modified"), ("plain", "mode"), ("link", "type"), ("d", "metadata")}


def test_diff_of_the_same_is_empty(tbk, two):
    assert tbk.run("tbk-manifest", "diff", two[0], two[0]).out == b""


def test_diff_json_and_raw_names(tbk, small, tmp_path):
    old = put(tmp_path / "old", tbk.manifest(small))
    put(os.fsencode(small) + b"/new\nline \xff", b"")
    new = tbk.manifest(small)
    assert b"added\t" + b'"new\\nline \\377"' + b"\n" in tbk.run("tbk-manifest", "diff", old, "-", input=new, status=1).out
    assert b"added\tnew\nline \xff\0" in tbk.run("tbk-manifest", "diff", "-0", old, "-", input=new, status=1).out
    assert all(json.loads(line) for line in tbk.run("tbk-manifest", "diff", "--json", old, "-", input=new, status=1).lines)


def test_diff_of_what_is_no_manifest(tbk, two, tmp_path):
    tbk.run("tbk-manifest", "diff", two[0], put(tmp_path / "x", b"{}"), status=65)
    tbk.run("tbk-manifest", "diff", two[0], tmp_path / "no such", status=66)
    cut = open(two[0], "rb").read()[:-10]
    tbk.run("tbk-manifest", "diff", two[0], put(tmp_path / "cut", cut), status=65)


def test_check_of_an_unchanged_tree(tbk, tree):
    manifest = tbk.manifest(tree)
    assert tbk.run("tbk-manifest", "check", "-", tree, input=manifest).out == b""


CHANGES = {
    "missing": lambda top: os.unlink(top + "/d/other"),
    "extra": lambda top: put(top + "/d/zz", b""),
    "content": lambda top: put(top + "/plain", b"PLAIN\n", mtime_ns=os.stat(top + "/plain").st_mtime_ns),
    "type": lambda top: (os.unlink(top + "/plain"), os.mkdir(top + "/plain")),
    "mode": lambda top: os.chmod(top + "/plain", 0o604),
    "mtime": lambda top: os.utime(top + "/plain", ns=(0, 1)),
    "link": lambda top: (os.unlink(top + "/link"), os.symlink("other", top + "/link")),
    "owner": lambda top: os.chown(top + "/plain", 12345, 12345),
    "xattr": lambda top: os.setxattr(top + "/plain", "user.new", b"1"),
    "hardlink": lambda top: (os.unlink(top + "/twin"), put(top + "/twin", b"plain\n", mtime_ns=1)),
}
WHERE = {"missing": "d/other", "extra": "d/zz", "link": "link", "hardlink": "twin"}


@pytest.mark.parametrize("problem", sorted(CHANGES))
def test_check_finds(problem, tbk, small):
    if problem == "owner" and os.geteuid() != 0:
        absent("the right to give files away")
    if problem == "hardlink":
        os.link(small + "/plain", small + "/twin")
        os.utime(small + "/plain", ns=(1, 1))
    manifest = tbk.manifest(small)
    CHANGES[problem](small)
    result = tbk.run("tbk-manifest", "check", "-", small, input=manifest, status=1)
    assert (WHERE.get(problem, "plain"), problem) in problems(result)
    lines = tbk.run("tbk-manifest", "check", "--json", "-", small, input=manifest, status=1).lines
    assert lines and all(json.loads(line) for line in lines)
    if problem == "owner":
        assert tbk.run("tbk-manifest", "check", "--no-owner", "-", small, input=manifest).out == b""


def test_check_of_a_restored_tree(tbk, tree, tmp_path):
    archive = tbk.seal(tree)
    tbk.extract(archive, tmp_path / "out", "--setuid")
    manifest = tbk.open(archive, "--manifest").out
    assert tbk.run("tbk-manifest", "check", "-", tmp_path / "out", input=manifest).out == b""


def test_show_quotes_as_git_does(tbk, tree, tmp_path):
    git("init", "-q", "--bare", "git", cwd=tmp_path)
    at = ["--git-dir", tmp_path / "git", "--work-tree", tree]
    git(*at, "add", "-A", "-f", ".", cwd=tree)
    quoted = set(git(*at, "ls-files", cwd=tree).splitlines())
    manifest = tbk.manifest(tree)
    shown = tbk.run("tbk-manifest", "show", "-", input=manifest).out.splitlines()
    directories = {mf.raw(entry["relative_path"]) for entry in json.loads(manifest)["files"] if entry["type"] == "directory"}
    assert {line for line in shown if line not in directories and not line.startswith(b'"directory')} == quoted
    raw = tbk.run("tbk-manifest", "show", "-0", "-", input=manifest).out
    assert raw.split(b"\0")[:-1] == [mf.raw(path) for path in paths(manifest)]


def test_show_json_is_one_entry_a_line(tbk, tree):
    manifest = tbk.manifest(tree)
    lines = tbk.run("tbk-manifest", "show", "--json", "-", input=manifest).out.splitlines()
    assert [json.loads(line)["relative_path"] for line in lines] == paths(manifest)


def test_show_long_has_a_line_for_each(tbk, small):
    manifest = tbk.manifest(small)
    lines = tbk.run("tbk-manifest", "show", "-l", "-", input=manifest).lines
    assert len(lines) == len(paths(manifest))
    assert [line for line in lines if line.startswith("drwx") and line.endswith(" d")]
    assert [line for line in lines if line.startswith("lrwx") and "link -> plain" in line]
    assert [line for line in lines if line.startswith("-rw") and " 700 " in line and line.endswith(" d/inside")]


MODES = [0o644, 0o755, 0o4755, 0o4644, 0o2755, 0o2644, 0o1777, 0o1666, 0o7777, 0o7600, 0o6711, 0o421]


def test_show_long_has_the_modes_of_ls(tbk, tmp_path):
    top = tmp_path / "top"
    for mode in MODES:
        put(top / f"file {mode:o}", b"", mode)
        (top / f"directory {mode:o}").mkdir()
        os.chmod(top / f"directory {mode:o}", mode | 0o500)
    (top / "link").symlink_to("nowhere")
    shown = subprocess.run(["ls", "-lA", "--time-style=+", top], capture_output=True, text=True, check=True,
                           env={**os.environ, "LC_ALL": "C.UTF-8"}).stdout
    wanted = sorted(line[:10] for line in shown.splitlines()[1:])
    lines = tbk.run("tbk-manifest", "show", "-l", "-", input=tbk.manifest(top)).lines
    assert sorted(line[:10] for line in lines) == wanted and len(wanted) == 2 * len(MODES) + 1


def test_show_long_quotes_the_names_of_owners(tbk, small):
    manifest = json.loads(tbk.manifest(small))
    for entry in manifest["files"]:
        entry["user"], entry["group"] = "\x1b[2Jadmin\n", "\x9b\t"
    shown = tbk.run("tbk-manifest", "show", "-l", "-", input=mf.encode(manifest))
    assert len(shown.lines) == len(manifest["files"])
    assert not {0x1b, 0x9b, 0x09} & set(shown.out) and b"\\033[2Jadmin\\n" in shown.out


def test_id_is_what_json_dumps_gives(tbk, tree):
    manifest = tbk.manifest(tree)
    identity = mf.backup_id(json.loads(manifest))
    assert tbk.run("tbk-manifest", "id", "-", input=manifest).lines == [identity]
    done = mf.encode({**json.loads(manifest), "backup_id": identity})
    assert tbk.run("tbk-manifest", "id", "-", input=done).lines == [identity]


def test_id_that_is_another_is_refused(tbk, small):
    manifest = {**json.loads(tbk.manifest(small)), "backup_id": "00" * 32}
    assert tbk.run("tbk-manifest", "id", "-", input=mf.encode(manifest), status=65).out == b""


def test_version_of_the_suite_in_each_command(tbk):
    for name in ("tbk-manifest", "tbk-seal", "tbk-open"):
        assert b"7.0.0" in tbk.run(name, "--version", password=None).out
        assert tbk.run(name, "--help", password=None).out


def test_a_reader_that_goes_away_ends_it_quietly(tbk, tmp_path):
    for number in range(3000):
        put(tmp_path / "many" / f"file {number:05}", b"")
    process = tbk.start("tbk-manifest", "create", tmp_path / "many")
    process.stdout.read(10)
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait() in (-13, 141) and err == b""


@pytest.fixture
def kept(tmp_path):
    """A tree with a file to include below an excluded directory."""
    top = tmp_path / "kept"
    for name in ("build/keep", "build/x", "build/sub/deep.py", "plain.py", "plain.txt", "other/o"):
        put(top / name, name.encode())
    return top


def test_what_termbackup6_brings_back_is_brought_back(tbk, kept):
    """Its patterns work like pathspec's: the last one that matches a path, or a directory above it, decides."""
    def listed(*arguments):
        entries = json.loads(tbk.manifest(kept, "--exclude-rules", "pathspec", *arguments))["files"]
        return [entry["relative_path"] for entry in entries]

    assert listed("--exclude", "build/", "--exclude", "!build/keep") == ["build", "build/keep", "other", "other/o", "plain.py", "plain.txt"]
    assert listed("--exclude", "*", "--exclude", "!*.py") == ["build", "build/sub", "build/sub/deep.py", "plain.py"]
    assert listed("--exclude", "*") == []
    # One pattern in a file, one on the command line: the order of these matters, too.
    patterns = kept.parent / "patterns"
    patterns.write_text("# all of it\n/*\n")
    assert listed("--exclude-from", patterns, "--exclude", "!sub/") == ["build", "build/sub", "build/sub/deep.py"]
    assert tbk.seal(kept, "--exclude-rules", "pathspec", "--exclude", "build/", "--exclude", "!keep")


def test_a_tree_is_compared_under_the_same_rules(tbk, kept, tmp_path):
    rules = ["--exclude-rules", "pathspec", "--exclude", "build/", "--exclude", "!build/keep"]
    (tmp_path / "m").write_bytes(tbk.manifest(kept, *rules))
    (kept / "build" / "x").write_bytes(b"changed")
    assert tbk.run("tbk-manifest", "check", *rules, tmp_path / "m", kept).out == b""
    (kept / "build" / "keep").write_bytes(b"changed")
    assert tbk.run("tbk-manifest", "check", *rules, tmp_path / "m", kept, status=1).lines == ["content\tbuild/keep", "mtime\tbuild/keep"]


def test_a_negation_without_effect_is_said(tbk, kept):
    result = tbk.run("tbk-manifest", "--exclude", "build/", "--exclude", "!build/keep", kept)
    assert result.err == (b"tbk-manifest: warning: the pattern '!build/keep' has no effect below 'build', which an earlier pattern"
                          b" excludes\n")
    result = tbk.run("tbk-seal", *FAST, "-q", "--exclude", "*", "--exclude", "!*.py", kept)
    assert result.err.count(b"'!*.py' has no effect below") == 1
    for patterns in (["*.py", "!plain.py"], ["!keep", "build/"], ["build/*", "!build/keep"]):
        arguments = [word for pattern in patterns for word in ("--exclude", pattern)]
        assert tbk.run("tbk-manifest", *arguments, kept).err == b""


def test_a_pattern_that_is_not_valid_is_said(tbk, kept):
    result = tbk.run("tbk-manifest", "--exclude-rules", "pathspec", "--exclude", "pla\\", "--exclude", "[z-a]", kept)
    assert result.err.count(b"is not valid, and matches nothing") == 2
    tbk.run("tbk-manifest", "--exclude-rules", "regex", kept, status=64)
