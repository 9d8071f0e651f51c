"""Opening: the checks between a decrypted payload and a tree on disk."""

import base64
import hashlib
import os
import stat

from . import corrupt, denied, gz, missing, tars
from . import manifest as mf
from .crypto import open_archive


class Backup:
    """One archive whose tag, gzip, tar and manifest were checked against each other."""

    def __init__(self, payload):
        members = tars.read(gz.decompress(payload))
        manifests = [member for member in members if member.name == b"manifest.json"]
        if not manifests:
            raise corrupt("there is no manifest")
        if any(member.kind != "file" for member in manifests):
            raise corrupt("the manifest is not a file")
        self.manifest = mf.parse(manifests[0].data)
        self.old = mf.is_termbackup6(self.manifest)
        self.id = self.manifest["backup_id"]
        self.lost = []  # listed by TermBackup 6, but missing
        self.entries = {mf.raw(entry["relative_path"]): entry for entry in self.manifest["files"]}
        by_name = {mf.raw(mf.stored_name(entry)): entry for entry in self.manifest["files"]}
        if len(manifests) > 1:
            if not self.old or len(manifests) > 2 or b"manifest.json" not in by_name:
                raise corrupt("there are several manifests")
        self.sealed_manifest = len(members) == 1 and bool(by_name)
        self.members = {}
        for member in members:
            if member is manifests[0]:
                continue
            entry = by_name.get(member.name)
            if entry is None:
                raise corrupt(f"{member.name!r} is not in the manifest")
            if member.name in self.members:
                raise corrupt(f"{member.name!r} appears twice")
            if member.mode & 0o6000 & ~entry["permissions"]:
                raise corrupt(f"{member.name!r} has a set-id bit that the manifest has not")
            (self._check_old if self.old else self._check)(member, entry)
            self.members[member.name] = member
        if self.sealed_manifest:
            return
        by_path = mf.by_path_of(self.manifest)
        for name, entry in by_name.items():
            if name in self.members or mf.stored_elsewhere(entry, by_path):
                continue
            if not self.old:
                raise corrupt(f"{name!r} is in the manifest and not in the tar")
            self.lost.append(name)

    def _check(self, member, entry):
        name = member.name
        if member.kind != mf.kind(entry):
            raise corrupt(f"{name!r} is a {member.kind} and not a {mf.kind(entry)}")
        if "stored_in" in entry:
            raise corrupt(f"{name!r} is stored elsewhere and here")
        if member.kind == "file":
            _check_content(name, member.data, entry)
        if member.kind == "symlink" and member.link != mf.raw(entry["link_target"]):
            raise corrupt(f"{name!r} has another target in the manifest")
        if member.kind == "hardlink":
            target = self.entries[mf.raw(entry["hard_link"])]
            if member.link != mf.raw(mf.stored_name(target)):
                raise corrupt(f"{name!r} links to another file in the manifest")
            if member.link not in self.members:
                raise corrupt(f"{name!r} is a hard link to nothing before it")

    def _check_old(self, member, entry):
        if member.kind == "directory":
            raise corrupt(f"{member.name!r} is a directory and not a file")
        if member.kind == "hardlink":
            source = self.members.get(member.link)
            if source is None or source.kind != "file":
                raise corrupt(f"{member.name!r} is a hard link to nothing before it")
            member.data = source.data
        if member.kind != "symlink":
            _check_content(member.name, member.data, entry)

    def bytes_of(self, path):
        """The content of a file in this archive, or None if it is not in it."""
        entry = self.entries.get(path)
        while entry is not None and mf.kind(entry) == "hardlink":
            entry = self.entries[mf.raw(entry["hard_link"])]
        if entry is None or "stored_in" in entry:
            return None
        member = self.members.get(mf.raw(mf.stored_name(entry)))
        return None if member is None else member.data


def _check_content(name, data, entry):
    if len(data) != entry["size"]:
        raise corrupt(f"{name!r} has another size in the manifest")
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise corrupt(f"{name!r} has another hash in the manifest")


def payload_of(archive, password):
    """AES-GCM does not commit to a key: if a TBK2 archive opens but is no gzip, the password may be wrong."""
    header, payload = open_archive(archive, password)
    if header.format == "TBK2" and payload[:3] != b"\x1f\x8b\x08":
        raise denied("wrong password, or the archive was altered")
    return payload


def read(archive, password):
    return Backup(payload_of(archive, password))


def overlay(backups):
    """A TermBackup 6 chain, oldest first: path -> (backup, entry); the last one wins."""
    tree = {}
    for position, backup in enumerate(backups):
        parent = backup.manifest["parent_backup_id"]
        if position == 0 and backup.manifest["backup_mode"] == "incremental":
            raise missing(f"the backup {parent} is needed")
        if position and parent != backups[position - 1].id:
            raise corrupt("the archives are not a chain")
        for path, entry in backup.entries.items():
            if path not in backup.lost:
                tree[path] = (backup, entry)
    return tree


def extract(backups, destination, owner=False, setuid=False):
    """Restores a verified backup (the last one; the others provide content) to an empty directory.
    Returns the paths that TermBackup 6 lost."""
    last = backups[-1]
    if last.sealed_manifest:
        raise corrupt("this is a manifest without its files")
    top = os.fsencode(destination)
    if last.old:
        for path, (backup, entry) in sorted(overlay(backups).items()):
            _put_old(top, path, backup.members[path], entry)
        return sorted(path for backup in backups for path in backup.lost)
    by_id = {backup.id: backup for backup in backups}
    needed = [identity for identity in mf.depends_on(last.manifest) if identity not in by_id]
    if needed:
        raise missing("these backups are needed: " + " ".join(needed))
    for path, entry in last.entries.items():
        place = os.path.join(top, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if entry["type"] == "directory":
            os.mkdir(place, 0o700)
        elif entry["type"] == "symlink":
            os.symlink(mf.raw(entry["link_target"]), place)
        elif mf.kind(entry) == "hardlink":
            os.link(os.path.join(top, mf.raw(entry["hard_link"])), place, follow_symlinks=False)
            continue
        else:
            data = by_id[entry.get("stored_in", last.id)].bytes_of(path)
            if data is None:
                raise corrupt(f"{path!r} is not where the manifest says")
            _check_content(path, data, entry)
            with open(place, "xb") as file:
                file.write(data)
    for path, entry in reversed(last.entries.items()):
        _restore_metadata(os.path.join(top, path), entry, owner, setuid)
    if "root" in last.manifest:
        _restore_metadata(top, last.manifest["root"], owner, setuid)
    return []


def _restore_metadata(place, entry, owner, setuid):
    for name, value in entry.get("xattrs", {}).items():
        os.setxattr(place, mf.raw(name), base64.b64decode(value), follow_symlinks=False)
    if owner and "uid" in entry:
        os.chown(place, entry["uid"], entry["gid"], follow_symlinks=False)
    if entry["type"] != "symlink":
        mode = stat.S_IMODE(entry["permissions"])
        os.chmod(place, mode if setuid else mode & 0o1777)
    if "mtime_ns" in entry:
        os.utime(place, ns=(entry["mtime_ns"], entry["mtime_ns"]), follow_symlinks=False)


def _put_old(top, path, member, entry):
    place = os.path.join(top, path)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if member.kind == "symlink":
        os.symlink(member.link, place)
        return
    with open(place, "xb") as file:
        file.write(member.data)
    os.chmod(place, entry["permissions"] & 0o1777)
    os.utime(place, (entry["modified_at"], entry["modified_at"]))
