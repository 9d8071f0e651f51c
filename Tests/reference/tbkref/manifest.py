"""Manifests: building one from a directory, their canonical form, and what a reader checks."""

import base64
import datetime
import grp
import hashlib
import json
import os
import platform
import pwd
import re
import stat

from . import Failure, corrupt

EMPTY = hashlib.sha256(b"").hexdigest()
NOTHING = {"size": 0, "sha256": EMPTY}
TYPES = ("file", "directory", "symlink")
_HEX64 = re.compile(r"[0-9a-f]{64}")


def text(name):
    """A name's bytes as spelled in the manifest."""
    return name.decode("utf-8", "surrogateescape")


def raw(name):
    """The bytes of a name in a manifest. Only one spelling is valid."""
    try:
        data = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise corrupt(f"{name!r} spells no bytes") from None
    if text(data) != name:
        raise corrupt(f"{name!r} is another spelling of {data!r}")
    return data


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def backup_id(manifest):
    return hashlib.sha256(canonical({**manifest, "backup_id": None})).hexdigest()


def with_id(manifest):
    return {**manifest, "backup_id": backup_id(manifest)}


def encode(manifest):
    """The bytes of `manifest.json`, which this package writes in canonical form."""
    return canonical(manifest)


def now():
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def sha256_file(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def user_name(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def group_name(gid):
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return None


def read_xattrs(path):
    try:
        return {text(os.fsencode(name)):
                base64.b64encode(os.getxattr(path, name, follow_symlinks=False)).decode("ascii")
                for name in os.listxattr(path, follow_symlinks=False)}
    except OSError:
        return {}


def metadata(path, info, kind):
    """The fields that entries and `root` have in common."""
    entry = {
        "type": kind,
        "permissions": info.st_mode,
        "modified_at": info.st_mtime,
        "mtime_ns": info.st_mtime_ns,
        "ctime_ns": info.st_ctime_ns,
        "inode": info.st_ino,
        "device": info.st_dev,
        "uid": info.st_uid,
        "gid": info.st_gid,
    }
    for key, name in (("user", user_name(info.st_uid)), ("group", group_name(info.st_gid))):
        if name is not None:
            entry[key] = name
    xattrs = read_xattrs(path)
    if xattrs:
        entry["xattrs"] = xattrs
    return entry


def build(directory, mode="full", previous=None, nonce=None, created_at=None):
    """The manifest of a tree, without its id. In an incremental one, `stored_in` refers to content
    of `previous` (a manifest with its id)."""
    top = os.path.realpath(os.fsencode(directory))
    root = metadata(top, os.lstat(top), "directory")
    entries, unreadable = {}, []

    def walk(folder, prefix):
        try:
            names = os.listdir(folder)
        except OSError as error:
            unreadable.append({"relative_path": text(prefix.rstrip(b"/")), "reason": error.strerror})
            return
        for name in names:
            path, relative = os.path.join(folder, name), prefix + name
            info = os.lstat(path)
            if stat.S_ISDIR(info.st_mode):
                entries[relative] = {**metadata(path, info, "directory"), **NOTHING}
                walk(path, relative + b"/")
            elif stat.S_ISLNK(info.st_mode):
                entry = {**metadata(path, info, "symlink"), **NOTHING}
                entry["link_target"] = text(os.readlink(path))
                entries[relative] = entry
            elif stat.S_ISREG(info.st_mode):
                entries[relative] = {**metadata(path, info, "file"), **NOTHING, "size": info.st_size}

    walk(top, b"")
    first, files = {}, []
    for relative in sorted(entries):
        entry = {"relative_path": text(relative), **entries[relative]}
        if entry["type"] == "file":
            identity = entry["device"], entry["inode"]
            if identity in first:
                target = first[identity]
                entry["hard_link"] = target["relative_path"]
                entry["size"], entry["sha256"] = target["size"], target["sha256"]
            else:
                try:
                    entry["sha256"] = sha256_file(os.path.join(top, relative))
                except OSError as error:
                    unreadable.append({"relative_path": text(relative), "reason": error.strerror})
                    continue
                first[identity] = entry
        files.append(entry)
    _name_stored_as(files)
    if previous is not None:
        _point_at(files, previous)
    return {
        "version": "2.0",
        "os_name": platform.system(),
        "architecture": platform.machine(),
        "created_at": created_at or now(),
        "backup_mode": mode,
        "parent_backup_id": previous["backup_id"] if previous is not None else None,
        "backup_id": None,
        "nonce": nonce or os.urandom(16).hex(),
        "source_dir": text(top),
        "root": root,
        "unreadable": unreadable,
        "files": files,
    }


def _name_stored_as(files):
    """Gives a `manifest.json` at the top, and everything below if it is a directory, an unused name."""
    taken = {entry["relative_path"].split("/")[0] for entry in files}
    free = "manifest.json"
    while free in taken or free == "manifest.json":
        free += "~"
    for entry in files:
        first, slash, rest = entry["relative_path"].partition("/")
        if first == "manifest.json":
            entry["stored_as"] = free + slash + rest


def _point_at(files, previous):
    """An unchanged file refers to the backup with its content; hard links only refer to the file."""
    old = {entry["relative_path"]: entry for entry in previous["files"]}
    for entry in files:
        before = old.get(entry["relative_path"])
        if kind(entry) == "file" and before is not None and before["type"] == "file" \
                and before["sha256"] == entry["sha256"] and before["size"] == entry["size"]:
            holder = old[before["hard_link"]] if "hard_link" in before else before
            entry["stored_in"] = holder.get("stored_in") or previous["backup_id"]


def kind(entry):
    """file, directory, symlink or hardlink: what the entry is in the tar. In a manifest a hard link is
    a file with `hard_link`."""
    return "hardlink" if "hard_link" in entry else entry.get("type", "file")


def by_path_of(manifest):
    return {entry["relative_path"]: entry for entry in manifest["files"]}


def stored_elsewhere(entry, by_path):
    return "stored_in" in by_path.get(entry.get("hard_link"), entry)


def depends_on(manifest):
    return sorted({entry["stored_in"] for entry in manifest["files"] if "stored_in" in entry})


def stored_name(entry):
    return entry.get("stored_as", entry["relative_path"])


# Reading


def _no_duplicates(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise corrupt("a key appears twice in an object of the manifest")
    return result


def _no_constant(name):
    raise corrupt(f"{name} in the manifest")


def parse(data):
    """Parses the bytes of `manifest.json`, and checks that the manifest is valid."""
    try:
        manifest = json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates,
                              parse_constant=_no_constant)
    except Failure:
        raise
    except (ValueError, RecursionError) as error:
        raise corrupt(f"manifest: {error}") from None
    if not isinstance(manifest, dict):
        raise corrupt("the manifest is not an object")
    validate(manifest)
    return manifest


def is_termbackup6(manifest):
    return manifest.get("version") == "1.0"


def validate(manifest):
    if manifest.get("version") not in ("1.0", "2.0"):
        raise corrupt(f"manifest version {manifest.get('version')!r}")
    if manifest.get("backup_mode") not in ("full", "incremental"):
        raise corrupt("backup_mode")
    for key in ("backup_id", "parent_backup_id"):
        value = manifest.get(key)
        if value is not None and not (isinstance(value, str) and _HEX64.fullmatch(value)):
            raise corrupt(key)
    files = manifest.get("files")
    if not isinstance(files, list):
        raise corrupt("files is not a list")
    proves_nothing = is_termbackup6(manifest) and manifest["backup_mode"] == "incremental"
    if manifest.get("backup_id") != backup_id(manifest) and not proves_nothing:
        raise corrupt("backup_id does not match the manifest")
    seen, names = {}, set()
    for entry in files:
        _validate_entry(entry, seen, is_termbackup6(manifest))
        path = raw(entry["relative_path"])
        if path in seen:
            raise corrupt(f"{path!r} is listed twice")
        seen[path] = entry
        name = check_path(raw(stored_name(entry)))
        if name in names or (name == b"manifest.json" and not is_termbackup6(manifest)):
            raise corrupt(f"the name {name!r} is not free")
        names.add(name)
    if not is_termbackup6(manifest) and list(seen) != sorted(seen):
        raise corrupt("the entries are not in the order of their paths")
    _validate_nesting(seen)
    if is_termbackup6(manifest):
        for path, entry in seen.items():
            if entry.keys() & {"type", "hard_link", "link_target", "stored_as", "stored_in"}:
                raise corrupt(f"{path!r} says what TermBackup 6 never said")
    elif any("stored_as" in entry for entry in files):
        _validate_stored_names(seen)


def _validate_nesting(named):
    """Only directories have entries below them. `named`: name -> entry."""
    for path in named:
        for at in [at for at, byte in enumerate(path) if byte == 0x2F]:
            above = named.get(path[:at])
            if above is not None and above.get("type", "file") != "directory":
                raise corrupt(f"{path!r} is below something that is no directory")


def _validate_stored_names(seen):
    """A member is in the directory of its entry, except for `manifest.json` at the top and what is below it."""
    own, tildes = b"manifest.json", set()
    for path, entry in seen.items():
        name = raw(stored_name(entry))
        if path == own or path.startswith(own + b"/"):
            rest = name.removeprefix(own).lstrip(b"~")
            tildes.add(len(name) - len(own) - len(rest))
            wanted = path.removeprefix(own)
            same = entry["type"] == "file" and wanted and os.path.dirname(rest) == os.path.dirname(wanted)
            if not name.startswith(own) or len(tildes) > 1 or tildes == {0} or rest != wanted and not same:
                raise corrupt(f"{path!r} cannot be stored as {name!r}")
        elif name != path and (entry["type"] != "file" or os.path.dirname(name) != os.path.dirname(path) or name in seen):
            raise corrupt(f"{path!r} cannot be stored as {name!r}")
    _validate_nesting({raw(stored_name(entry)): entry for entry in seen.values()})


def check_path(path):
    if not path or path.startswith(b"/") or b"\0" in path:
        raise corrupt(f"bad name {path!r}")
    for component in path.split(b"/"):
        if component in (b"", b".", b".."):
            raise corrupt(f"bad name {path!r}")
        if len(component) > 255:
            raise corrupt("a name of more than 255 bytes")
    return path


def _integer(entry, key, least, most):
    value = entry.get(key)
    if type(value) is not int or not least <= value <= most:
        raise corrupt(f"{key} is {value!r}"[:200])


def _string(entry, key):
    if not isinstance(entry.get(key), str):
        raise corrupt(f"{key} is not a string")
    return entry[key]


def _validate_entry(entry, seen, old):
    if not isinstance(entry, dict):
        raise corrupt("an entry is not an object")
    path = check_path(raw(_string(entry, "relative_path")))
    _integer(entry, "size", 0, 2**63 - 1)
    _integer(entry, "permissions", 0, 0xFFFF)
    if not _HEX64.fullmatch(_string(entry, "sha256")):
        raise corrupt(f"sha256 of {path!r}")
    if type(entry.get("modified_at")) not in (int, float):
        raise corrupt(f"modified_at of {path!r}")
    if old:
        return
    if entry.get("type") not in TYPES:
        raise corrupt(f"type of {path!r}")
    if entry["type"] in ("directory", "symlink") and (entry["size"] or entry["sha256"] != EMPTY):
        raise corrupt(f"{path!r} has content")
    if entry["type"] == "symlink":
        target = raw(_string(entry, "link_target"))
        if not target or b"\0" in target:
            raise corrupt(f"link_target of {path!r}")
    if "hard_link" in entry:
        if entry["type"] != "file" or "stored_in" in entry:
            raise corrupt(f"{path!r} cannot be a hard link")
        target = seen.get(raw(_string(entry, "hard_link")))
        if target is None or kind(target) != "file":
            raise corrupt(f"{path!r} is a hard link to no earlier file")
        if (target["size"], target["sha256"]) != (entry["size"], entry["sha256"]):
            raise corrupt(f"{path!r} differs from the file it links to")
    if "stored_in" in entry:
        if entry["type"] != "file" or not _HEX64.fullmatch(_string(entry, "stored_in")):
            raise corrupt(f"stored_in of {path!r}")
    if "stored_as" in entry:
        _string(entry, "stored_as")
    for key, least, most in (("mtime_ns", -2**63 * 10**9, 2**63 * 10**9 - 1), ("uid", 0, 2**32 - 1), ("gid", 0, 2**32 - 1)):
        if key in entry:  # A sealed stream has no owner.
            _integer(entry, key, least, most)
    xattrs = entry.get("xattrs", {})
    if not isinstance(xattrs, dict):
        raise corrupt(f"xattrs of {path!r}")
    for name, value in xattrs.items():
        try:
            base64.b64decode(value, validate=True)
        except (TypeError, ValueError):
            raise corrupt(f"xattrs of {path!r}") from None
        if not name or b"\0" in raw(name):
            raise corrupt(f"xattrs of {path!r}")
