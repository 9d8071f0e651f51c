"""A real nginx in front of the stand-in: TLS with HTTP/2."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from client import PATIENCE

CONFIGURATION = """\
daemon off;
pid {work}/nginx.pid;
error_log {work}/error.log warn;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
  log_format facts '$server_port $server_protocol $request_method $request_uri $status';
  access_log {work}/access.log facts;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  client_max_body_size 0;
  proxy_request_buffering off;
  proxy_buffering off;
  proxy_http_version 1.1;
  proxy_read_timeout 300s;
  ssl_certificate {certificate};
  ssl_certificate_key {key};
{servers}
}}
"""

TLS_SERVER = """\
  server {{
    listen {address}:{port} ssl{http2};
    location / {{
      proxy_pass {target};
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
    }}
  }}
"""

def available() -> str | None:
    """The path of nginx, or None if it is not installed. Debian installs it outside of the usual PATH."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")


def free_port(address: str = "127.0.0.1") -> int:
    """A port that is not in use at the moment."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


class Authority:
    """A new certificate authority, and a certificate for this machine."""

    def __init__(self, directory: Path, name: str = "An authority for tests") -> None:
        self.certificate = directory / "server.pem"
        self.key = directory / "server.key"
        self.file = directory / "authority.pem"
        authority_key = directory / "authority.key"
        request = directory / "server.csr"
        names = directory / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1,IP:127.0.0.2\n")

        def openssl(*arguments: str | Path) -> None:
            subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

        elliptic = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl("req", "-x509", *elliptic, "-keyout", authority_key, "-out", self.file,
                "-days", "2", "-subj", f"/CN={name}")
        openssl("req", *elliptic, "-keyout", self.key, "-out", request, "-subj", "/CN=localhost")
        openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", authority_key,
                "-CAcreateserial", "-out", self.certificate, "-days", "2", "-extfile", names)


class Nginx:
    """Runs while used as a context manager. The ports are chosen at initialization."""

    def __init__(self, work: Path, authority: Authority, http2: bool = True) -> None:
        self.work = work
        self.authority = authority
        self.http2 = http2
        self.ports = {
            "api": free_port(), "uploads": free_port(), "storage": free_port("127.0.0.2"),
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def urls(self) -> dict[str, str]:
        """The URLs that the stand-in gives to clients."""
        hosts = {"api": "localhost", "uploads": "localhost", "storage": "127.0.0.2"}
        return {name: f"https://{host}:{self.ports[name]}" for name, host in hosts.items()}

    def start(self, targets: dict[str, str]) -> None:
        """Starts nginx; `targets` are the addresses of the stand-in, by name."""
        servers = [
            TLS_SERVER.format(
                address="127.0.0.2" if name == "storage" else "127.0.0.1", port=self.ports[name],
                target=target, http2=" http2" if self.http2 else "")
            for name, target in targets.items()
        ]
        file = self.work / "nginx.conf"
        file.write_text(CONFIGURATION.format(
            work=self.work, certificate=self.authority.certificate, key=self.authority.key,
            servers="".join(servers)))
        program = available()
        assert program is not None
        self.process = subprocess.Popen(
            [program, "-p", str(self.work), "-c", str(file), "-e", str(self.work / "error.log")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait_until_it_listens()

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.ports["api"]), 1).close()
                return
            except OSError:
                assert self.process is not None
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise AssertionError((self.work / "error.log").read_text()) from None
                time.sleep(0.02)

    def requests(self) -> list[list[str]]:
        """The requests so far: port, protocol, method, address and status of each."""
        return [line.split() for line in (self.work / "access.log").read_text().splitlines()]

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None
