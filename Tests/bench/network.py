"""The cost of GitHub as a store: requests and bytes, memory, and time against curl on the same server.

The server is the tests' stand-in on this machine: the times show what our programs need when the network is no limit, or
when it limits the rate of each connection.
"""

import hashlib
import os
import pathlib
import re
import struct
import sys

from processes import Contender, note, race, remove

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "github"))

MIB = 1 << 20
TOKEN = "ghp_" + "0" * 36


def archive(path, megabytes):
    """A file that begins as an archive does, with incompressible content."""
    payload = megabytes * MIB
    header = b"TBK2" + struct.pack(">BBIHB", 2, 1, 65536, 3, 4) + b"\x20" + os.urandom(32) + b"\x0c" + os.urandom(12)
    with open(path, "wb") as out:
        out.write(header + b"\x01" + struct.pack(">Q", payload))
        while payload > 0:
            block = os.urandom(min(payload, MIB))
            out.write(block)
            payload -= len(block)


class NetworkParts:
    """The parts that need the stand-in for GitHub."""

    def github(self):
        """The server, started once, with a new empty repository each time."""
        from client import GitHub
        if self.server is None:
            folder = self.work / "github"
            folder.mkdir()
            self.server = GitHub(folder)
            self.server.token(TOKEN, login="me")
            self.env |= {"TERMBACKUP_GITHUB_API": self.server.api, "TERMBACKUP_TOKEN": TOKEN}
        self.repositories += 1
        name = f"me/bench{self.repositories}"
        self.server.make_repository(name)
        self.server.clear_log()
        return name

    def part_requests(self):
        """A small backup, repeatedly: requests and bytes."""
        name = self.github()
        manifest, data = self.work / "manifest.tbk", self.work / "small.tbk"
        shown = []
        for _ in range(1, 11):
            archive(data, 0)
            with open(data, "r+b") as file:
                payload = os.urandom(20_000)
                file.seek(-8, os.SEEK_END)
                file.write(struct.pack(">Q", len(payload)) + payload)
            manifest.write_bytes(data.read_bytes())
            self.server.clear_log()
            self.do(["tbk-push", f"github:{name}", "--sealed-manifest", manifest], stdin=data)
            log = self.server.log()
            shown.append((len(log), sum(entry["request_bytes"] for entry in log),
                          sum(entry["response_bytes"] for entry in log)))
        size = data.stat().st_size + manifest.stat().st_size
        for what, (requests, sent, received), target in (
                ("the first backup of a store", shown[0], 8), ("the second", shown[1], 7), ("the tenth", shown[9], 7)):
            self.row(f"tbk-push of {size / 1000:.0f} kB, {what}",
                     f"{requests} requests, {sent / 1000:.0f} kB sent, {received / 1000:.0f} kB received",
                     f"{target} requests", requests <= target)
        top = self.work / "tree-small"
        top.mkdir()
        (top / "file").write_bytes(os.urandom(10_000))
        name = self.github()
        self.do(["termbackup", "init", "--no-input"])
        self.do(["termbackup", "profile", "create", "requests", "--source", top, "--repo", name])
        for what in ("first", "second", "third"):
            (top / "file").write_bytes(os.urandom(10_000))
            self.server.clear_log()
            self.do(["termbackup", "run", "requests"])
            log = self.server.log()
            free = sum(entry["status"] == 304 for entry in log)
            self.row(f"termbackup run, the {what}",
                     f"{len(log)} requests, {free} of them free of charge (304)")
        remove(top)

    def part_upload(self):
        """Throughput against `curl -T` to the same path on the same server."""
        if not self.have("curl"):
            return
        data = self.work / "upload.tbk"
        megabytes = self.number("UPLOAD_MB")
        archive(data, megabytes)
        size = data.stat().st_size
        down = self.work / "down.tbk"
        state = {}

        def curl(target, *more):
            return self.do(["curl", "-sS", "-f", "-o", "/dev/null", "-H", f"Authorization: Bearer {TOKEN}",
                            "-H", "Content-Type: application/octet-stream", "-H", "Expect:", *more, target])

        def fresh():
            state["name"] = self.github()

        def with_release():
            fresh()
            self.do(["curl", "-sS", "-f", "-o", "/dev/null", "-X", "PUT", "-H", f"Authorization: Bearer {TOKEN}", "-d",
                     '{"message":"x","content":"eA=="}', f"{self.server.api}/repos/{state['name']}/contents/README"])
            self.do(f"curl -sS -f -X POST -H 'Authorization: Bearer {TOKEN}' -d '{{\"tag_name\":\"x\"}}' "
                    f"{self.server.api}/repos/{state['name']}/releases", stdout=self.work / "release")
            upload = re.search(r'"upload_url": ?"([^"{]*)', (self.work / "release").read_text())[1]
            state["target"] = f"{upload}?name=x"

        rounds = self.number("ROUNDS")
        contenders = [
            Contender("curl -T", lambda: curl(state["target"], "-X", "POST", "-T", data), before=with_release),
            Contender("tbk-push to a release",
                      lambda: self.do(["tbk-push", f"github:{state['name']}", "--placement", "release", "-q"], stdin=data),
                      before=fresh),
        ]
        times = race(contenders, rounds, note)
        self.against(f"{size // MIB} MiB up, as assets", times, "tbk-push to a release", {})
        contenders[1] = Contender(
            "tbk-push to git",
            lambda: self.do(["tbk-push", f"github:{state['name']}", "--placement", "git", "-q"], stdin=data), before=fresh)
        times = race(contenders, rounds, note)
        self.against(f"{size // MIB} MiB up, as blobs (a third more, in base64)", times, "tbk-push to git", {})
        fresh()
        self.do(["tbk-push", f"github:{state['name']}", "--placement", "release", "-q"], stdin=data)
        with_release_name = state["name"]
        assets = self.server.state(with_release_name)["assets"]
        script = " && ".join(
            f"curl -sS -f -L -H 'Authorization: Bearer {TOKEN}' -H 'Accept: application/octet-stream' "
            f"{self.server.api}/repos/{with_release_name}/releases/assets/{asset['id']}" for asset in assets)
        contenders = [
            Contender("curl -o", lambda: self.do(script, stdout=down)),
            Contender("tbk-pull", lambda: self.do(["tbk-pull", f"github:{with_release_name}", "latest", "-o", down]))]
        self.against(f"{size // MIB} MiB down", race(contenders, rounds, note), "tbk-pull", {})
        for path in (data, down):
            remove(path)

    def part_parallel(self):
        """With connections limited to 16 MiB a second: parallel transfers against a single connection."""
        data = self.work / "parallel.tbk"
        megabytes = self.number("PARALLEL_MB")
        archive(data, megabytes)
        state = {}

        def fresh():
            state["name"] = self.github()

        fresh()
        self.server.settings(per_connection_bytes_per_second=16 * MIB)
        contenders = []
        for name, width in (("one connection", "1"), ("parts side by side", "4")):
            contenders.append(Contender(
                name, lambda width=width: self.do(
                    ["env", f"TERMBACKUP_CONNECTIONS={width}", "tbk-push", f"github:{state['name']}", "--placement", "git",
                     "-q"], stdin=data), before=fresh))
        times = race(contenders, self.number("ROUNDS"), note)
        self.against(f"{megabytes} MiB up, 16 MiB/s for a connection", times, "parts side by side", {})
        self.server.settings(per_connection_bytes_per_second=0)
        remove(data)

    def part_large(self):
        """Memory for an archive that is larger than memory should ever be."""
        megabytes = self.number("LARGE_MB")
        data, down = self.work / "large.tbk", self.work / "large.down"
        archive(data, megabytes)
        most = 128
        name = self.github()
        up = self.do(["tbk-push", f"github:{name}", "-q"], stdin=data)
        self.row(f"memory of tbk-push, {megabytes} MiB", f"{up.peak_rss / MIB:.0f} MiB", f"{most} MiB",
                 up.peak_rss <= most * MIB)
        back = self.do(["tbk-pull", f"github:{name}", "latest", "-o", down])
        self.row(f"memory of tbk-pull, {megabytes} MiB", f"{back.peak_rss / MIB:.0f} MiB", f"{most} MiB",
                 back.peak_rss <= most * MIB)
        same = digest(data) == digest(down)
        self.row(f"{megabytes} MiB come back as they were", "yes" if same else "no", "yes", same)
        for path in (data, down):
            remove(path)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
