"""Shared by the tests of the stand-in: a server, and a client that hides nothing."""

import base64
import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from client import PATIENCE, GitHub

TOKEN = "ghp_test"
REPOSITORY = "me/store"
RAW = {"Accept": "application/vnd.github.raw+json"}
OCTETS = {"Accept": "application/octet-stream"}
ABSENT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Answer:
    status: int
    # Names in lower case.
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.json["message"]


def wait_until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Client:
    """Sends requests as one user, over a new connection each time, without redirects or retries."""

    def __init__(self, github: GitHub, token: str | None = TOKEN) -> None:
        self.github = github
        self.token = token

    def ask(self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """`target` is a path in the API or a whole URL; a body that is not bytes is sent as JSON."""
        url = target if "://" in target else self.github.api + target
        root, path = urlsplit(url).netloc, url.split("/", 3)[3]
        sent = {"User-Agent": "tests"} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        connection = http.client.HTTPConnection(root, timeout=PATIENCE)
        try:
            data = json.dumps(body) if body is not None and not isinstance(body, bytes) else body
            connection.request(method, f"/{path}", data, {**sent, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()},
                          response.read())
        finally:
            connection.close()

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.ask("GET", target, headers=headers)


class Store(Client):
    """A client for one repository; targets are relative to it."""

    def __init__(self, github: GitHub, token: str | None = TOKEN, full_name: str = REPOSITORY) -> None:
        super().__init__(github, token)
        self.full_name = full_name

    def ask(self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        return super().ask(method, target if "://" in target else f"/repos/{self.full_name}{target}", body, headers)

    @property
    def head(self) -> str:
        return str(self.get("/git/ref/heads/main").json["object"]["sha"])

    def put(self, path: str, content: bytes, **fields: Any) -> Answer:
        return self.ask("PUT", f"/contents/{path}", {"message": f"Write {path}", "content": base64_of(content),
                                                     **fields})

    def blob(self, data: bytes) -> str:
        answer = self.ask("POST", "/git/blobs", {"content": base64_of(data), "encoding": "base64"})
        assert answer.status == 201, answer.body
        return str(answer.json["sha"])

    def tree(self, *entries: dict[str, Any], base: str | None = None) -> Answer:
        return self.ask("POST", "/git/trees", {"tree": entries} | ({"base_tree": base} if base else {}))

    def commit(self, tree: str, *parents: str) -> str:
        answer = self.ask("POST", "/git/commits", {"message": "A commit", "tree": tree, "parents": parents})
        assert answer.status == 201, answer.body
        return str(answer.json["sha"])

    def move(self, sha: str, branch: str = "main", **fields: Any) -> Answer:
        return self.ask("PATCH", f"/git/refs/heads/{branch}", {"sha": sha, **fields})

    def add(self, path: str, data: bytes) -> str:
        """Adds a file, through blobs, trees, commits and the reference. Returns the commit's SHA."""
        head = self.head
        tree = self.tree(file(path, self.blob(data)), base=head)
        commit = self.commit(tree.json["sha"], head)
        assert self.move(commit).status == 200
        return commit

    def release(self, tag: str = "one", **fields: Any) -> dict[str, Any]:
        answer = self.ask("POST", "/releases", {"tag_name": tag, **fields})
        assert answer.status == 201, answer.body
        return dict(answer.json)

    def upload(self, release: Mapping[str, Any], name: str, data: bytes,
               headers: Mapping[str, str] | None = None) -> Answer:
        url = str(release["upload_url"]).split("{")[0]
        return self.ask("POST", f"{url}?name={name}", data, {"Content-Type": "application/octet-stream"} |
                        dict(headers or {}))


def file(path: str, sha: str | None) -> dict[str, Any]:
    """An entry in a request for a tree; without a SHA the path is removed."""
    return {"path": path, "mode": "100644", "type": "blob", "sha": sha}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHub]:
    with GitHub(tmp_path_factory.mktemp("github")) as server:
        yield server


@pytest.fixture
def github(running: GitHub) -> GitHub:
    running.reset()
    running.token(TOKEN)
    return running


@pytest.fixture
def empty(github: GitHub) -> Store:
    """A repository without commits."""
    github.make_repository(REPOSITORY)
    return Store(github)


@pytest.fixture
def store(github: GitHub) -> Store:
    """A repository with one commit."""
    github.make_repository(REPOSITORY, {"metadata.json": b"{}\n", "backups/one.tbk": b"one"})
    return Store(github)
