"""The stand-in for GitHub: `python3 server.py --root DIR`, until standard input ends.

Prints one line of JSON: the root URL of each host as given to clients and, under `listen`, the actual one.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from standin.faults import Faults
from standin.hosts import Host
from standin.site import Addresses, Site


def storage_host() -> Host:
    """With its own address if possible, so that it cannot be taken for the API's host."""
    try:
        return Host("storage", "127.0.0.2")
    except OSError:
        return Host("storage", "127.0.0.1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="where repositories and assets are kept: empty, or not there yet")
    for name in ("api", "uploads", "storage"):
        parser.add_argument(f"--{name.removesuffix('s')}-url", dest=name, metavar="URL",
                            help=f"the root of the {name} host that clients are told")
    arguments = parser.parse_args()
    if arguments.root.exists() and any(arguments.root.iterdir()):
        # Releases and tokens exist only in memory: files of an earlier run would be incomplete.
        parser.error(f"'{arguments.root}' is not empty")
    # git must not use the user's configuration.
    os.environ |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    hosts = {"api": Host("api", "127.0.0.1"), "uploads": Host("uploads", "127.0.0.1"), "storage": storage_host()}
    listen = {name: host.url for name, host in hosts.items()}
    told = {name: (getattr(arguments, name) or url).rstrip("/") for name, url in listen.items()}
    site = Site(arguments.root.resolve(), Addresses(**told), Faults())
    for host in hosts.values():
        host.start(site)
    print(json.dumps({**told, "listen": listen}), flush=True)
    while sys.stdin.buffer.read(1 << 16):
        pass
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
