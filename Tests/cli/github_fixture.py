"""The fixture `github`: a stand-in for GitHub with an empty repository, and the commands that use it."""

import http.client
import itertools
import json
import shutil
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from conftest import PATIENCE, REPOSITORY, Commands, absent, require

sys.path.insert(0, str(REPOSITORY / "Tests" / "github"))

from client import ControlError, GitHub  # noqa: E402, F401
from nginx import Authority, Nginx, available  # noqa: E402

TOKEN = "ghp_" + "0" * 36
NUMBERS = itertools.count(1)


class Store:
    """One repository, and what tests do with it."""

    def __init__(self, server, scratch):
        self.server = server
        self.scratch = scratch / "github"
        self.scratch.mkdir()
        own = scratch / "commands"
        own.mkdir()
        self.commands = Commands(own)
        self.name = f"me/store{next(NUMBERS)}"
        server.make_repository(self.name)
        self.address = f"github:{self.name}"
        self.environment = {"TERMBACKUP_GITHUB_API": server.api, "TERMBACKUP_TOKEN": TOKEN}
        self.clones = 0

    # The commands

    def push(self, data, *arguments, status=0, env=None, **options):
        return self.commands.run("tbk-push", self.address, *arguments, input=data, status=status,
                                 env={**self.environment, **(env or {})}, **options)

    def pull(self, *arguments, status=0, env=None, **options):
        return self.commands.run("tbk-pull", self.address, *arguments, status=status,
                                 env={**self.environment, **(env or {})}, **options)

    def store(self, verb, *arguments, **options):
        return self.commands.run("tbk-store", verb, self.address, *arguments, env=self.environment, **options)

    def remove(self, *ids):
        return self.store("remove", *ids)

    def measure(self, name, *arguments, stdin=subprocess.DEVNULL):
        """Runs a command and returns its peak memory in bytes.

        A small process starts it: the kernel's count starts with the size of the process that forks.
        """
        script = ("import resource, subprocess, sys\n"
                  "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
                  "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
                  "sys.exit(done.returncode)")
        done = subprocess.run([sys.executable, "-c", script, self.commands.path(name), *arguments], stdin=stdin,
                              env={**self.commands.environment, **self.environment}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return int(done.stdout) * 1024

    # The server

    def fault(self, **fault):
        self.server.fault(**fault)

    def clear_faults(self):
        self.server.clear_faults()

    def log(self):
        return self.server.log()

    def clear_log(self):
        self.server.clear_log()

    def state(self):
        return self.server.state(self.name)

    def remake(self, **options):
        """Creates the repository again, with other files or properties."""
        self.server.delete_repository(self.name)
        self.server.make_repository(self.name, **options)

    def call(self, method, path, body=None):
        """Calls the API directly, below the repository."""
        connection = http.client.HTTPConnection(urlsplit(self.server.listen["api"]).netloc, timeout=PATIENCE)
        connection.request(method, f"/repos/{self.name}/{path}", None if body is None else json.dumps(body),
                           {"Authorization": f"Bearer {TOKEN}", "User-Agent": "tests"})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        assert 200 <= answer.status < 300, data
        return json.loads(data) if data else None

    # Local state

    def forget_cache(self):
        shutil.rmtree(self.commands.home / ".termbackup" / "cache", ignore_errors=True)

    def forget(self):
        shutil.rmtree(self.commands.home / ".termbackup", ignore_errors=True)

    # The repository as git sees it

    def git(self, *arguments):
        return self.server.git(self.name, *arguments).decode()

    def clone(self, branch="main"):
        self.clones += 1
        target = self.scratch / f"clone{self.clones}"
        subprocess.run(["git", "clone", "-q", "--branch", branch, self.state()["git_dir"], target], check=True)
        return target

    def check(self):
        assert self.git("fsck", "--strict", "--no-dangling") == ""


@pytest.fixture(scope="module")
def github_server(tmp_path_factory):
    require("git")
    with GitHub(tmp_path_factory.mktemp("github")) as server:
        server.token(TOKEN, login="me")
        yield server


@pytest.fixture
def github(github_server, tmp_path):
    github_server.clear_log()
    # Created again, with the initial rate limit.
    github_server.token(TOKEN, login="me")
    yield Store(github_server, tmp_path)
    github_server.clear_faults()
    github_server.record(None)


def behind_nginx(tmp_path, http2):
    if available() is None:
        absent("nginx")
    require("openssl")
    work = tmp_path / "nginx"
    work.mkdir()
    nginx = Nginx(work, Authority(work), http2=http2)
    urls = [argument for name, url in nginx.urls.items()
            for argument in ({"api": "--api-url", "uploads": "--upload-url", "storage": "--storage-url"}[name], url)]
    root = tmp_path / "root"
    root.mkdir()
    with GitHub(root, *urls) as server:
        server.token(TOKEN, login="me")
        nginx.start(server.listen)
        try:
            store = Store(server, tmp_path)
            store.nginx = nginx
            store.environment["CURL_CA_BUNDLE"] = str(nginx.authority.file)
            yield store
        finally:
            nginx.stop()


@pytest.fixture
def github_tls(tmp_path):
    yield from behind_nginx(tmp_path, True)


@pytest.fixture
def github_tls_1(tmp_path):
    yield from behind_nginx(tmp_path, False)
