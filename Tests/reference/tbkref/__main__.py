"""python3 -m tbkref: the same formats on the command line."""

import argparse
import json
import os
import sys

from . import Failure, crypto, extract, gz, header, tars, tbk6
from . import manifest as mf


def password_of(options):
    with open(options.password_file, "rb") as file:
        data = file.read()
    return data[:-1] if data.endswith(b"\n") else data


def seal(options):
    if options.termbackup6:
        manifest, _ = tbk6.build(options.directory)
        tar = tbk6.write(manifest, options.directory)
    else:
        previous = None
        if options.previous:
            with open(options.previous, "rb") as file:
                previous = mf.parse(file.read())
        manifest = mf.with_id(mf.build(options.directory, "incremental" if previous else "full", previous))
        tar = tars.write(manifest, tars.content_of(options.directory), options.tar)
    payload = gz.compress(tar, options.level, options.members)
    password = password_of(options)
    if options.format == "TBK1":
        archive = crypto.seal_tbk1(payload, password, options.iterations or 600000)
    else:
        number = 2 if options.termbackup6 else 1
        archive = crypto.seal_tbk2(payload, password, options.memory, options.iterations or 3, options.lanes,
                                   kdf=number, suite=number)
    if options.manifest_out:
        with open(options.manifest_out, "wb") as file:
            file.write(mf.encode(manifest))
    sys.stdout.buffer.write(archive)
    return 0


def open_(options):
    backups = []
    for name in options.archives:
        with open(name, "rb") as file:
            backups.append(extract.read(file.read(), password_of(options)))
    os.makedirs(options.directory, exist_ok=True)
    lost = extract.extract(backups, options.directory, owner=options.owner, setuid=options.setuid)
    for path in lost:
        print("tbkref: warning: not in the archive: %r" % path, file=sys.stderr)
    return 3 if lost else 0


def show_manifest(options):
    sys.stdout.buffer.write(mf.encode(mf.build(options.directory)) + b"\n")
    return 0


def show_id(options):
    with open(options.manifest, "rb") as file:
        print(mf.backup_id(json.load(file)))
    return 0


def show_header(options):
    with open(options.archive, "rb") as file:
        archive = file.read()
    for name, offset, size in header.split(archive)[0].fields():
        print(f"{offset:5} {name:15} {archive[offset:offset + size].hex()}")
    return 0


def main():
    parser = argparse.ArgumentParser(prog="tbkref", description=__doc__)
    verbs = parser.add_subparsers(required=True)

    verb = verbs.add_parser("seal", help="an archive of a directory on standard output")
    verb.add_argument("directory")
    verb.add_argument("--password-file", required=True)
    verb.add_argument("--format", choices=["TBK2", "TBK1"], default="TBK2")
    verb.add_argument("--termbackup6", action="store_true")
    verb.add_argument("--tar", choices=sorted(tars.FORMATS), default="pax")
    verb.add_argument("--level", type=int, default=6)
    verb.add_argument("--members", type=int, default=1)
    verb.add_argument("--memory", type=int, default=65536)
    verb.add_argument("--iterations", type=int)
    verb.add_argument("--lanes", type=int, default=4)
    verb.add_argument("--previous")
    verb.add_argument("--manifest-out")
    verb.set_defaults(run=seal)

    verb = verbs.add_parser("open", help="restore archives, oldest first, into a directory")
    verb.add_argument("-C", dest="directory", required=True)
    verb.add_argument("archives", nargs="+")
    verb.add_argument("--password-file", required=True)
    verb.add_argument("--owner", action="store_true")
    verb.add_argument("--setuid", action="store_true")
    verb.set_defaults(run=open_)

    verb = verbs.add_parser("manifest", help="the manifest of a directory")
    verb.add_argument("directory")
    verb.set_defaults(run=show_manifest)

    verb = verbs.add_parser("id", help="the id of a manifest")
    verb.add_argument("manifest")
    verb.set_defaults(run=show_id)

    verb = verbs.add_parser("header", help="an archive's header, field by field")
    verb.add_argument("archive")
    verb.set_defaults(run=show_header)

    options = parser.parse_args()
    try:
        return options.run(options)
    except Failure as failure:
        print(f"tbkref: error: {failure}", file=sys.stderr)
        return failure.status


if __name__ == "__main__":
    sys.exit(main())
