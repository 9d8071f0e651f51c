"""Archives as TermBackup 6 wrote them, with all their peculiarities."""

import hashlib
import io
import json
import os
import pathlib
import platform
import tarfile

from . import manifest as mf


def listing(directory):
    """The entries that TermBackup 6 found: those for which is_file() is true; links are followed."""
    top = pathlib.Path(directory)
    entries = []
    for path in sorted(top.rglob("*")):
        if not path.is_file():
            continue
        info = path.stat()
        entries.append({
            "relative_path": str(path.relative_to(top)),
            "size": info.st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "permissions": info.st_mode,
            "modified_at": info.st_mtime,
        })
    return entries


def build(directory, parent=None, parent_listing=None, created_at=None):
    """(manifest, full listing). An incremental lists the changes since `parent_listing`,
    but its id is computed from everything."""
    entries = listing(directory)
    manifest = {
        "version": "1.0",
        "os_name": platform.system(),
        "python_version": platform.python_version(),
        "architecture": platform.machine(),
        "created_at": created_at or mf.now(),
        "backup_mode": "full" if parent is None else "incremental",
        "files": entries,
        "parent_backup_id": parent,
        "backup_id": None,
    }
    manifest["backup_id"] = mf.backup_id(manifest)
    if parent is not None:
        before = {entry["relative_path"]: entry["sha256"] for entry in parent_listing}
        manifest = {**manifest, "files": [entry for entry in entries
                                          if before.get(entry["relative_path"]) != entry["sha256"]]}
    return manifest, entries


def write(manifest, directory, form=tarfile.PAX_FORMAT):
    """The tar: the manifest first, then each listed file that still exists, by tar.add."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, encoding="utf-8",
                      errors="surrogateescape") as tar:
        data = json.dumps(manifest, indent=2).encode("ascii")
        info = tarfile.TarInfo("manifest.json")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
        for entry in manifest["files"]:
            path = os.path.join(directory, entry["relative_path"])
            if os.path.exists(path):
                tar.add(path, arcname=entry["relative_path"], recursive=False)
    return out.getvalue()
