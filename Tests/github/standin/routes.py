"""From a method and a path to the function that handles it."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from .accounts import Token
from .faults import Action
from .objects import Person
from .refusal import Refusal, missing, unsupplied
from .repository import Repository
from .site import Site
from .wire import Request, Response

# The limit for a request's JSON: a blob of 100 MiB in base64, and its surroundings.
JSON_LIMIT = 140 << 20
PER_PAGE, PER_PAGE_LIMIT = 30, 100
RAW = ("application/vnd.github.raw", "application/vnd.github.raw+json", "application/vnd.github.v3.raw")
WRITE = "contents=write; contents=write,workflows=write"

Item = TypeVar("Item")


@dataclass
class Call:
    """One request to the API: who makes it, and for which repository."""

    site: Site
    request: Request
    token: Token
    action: Action | None = None
    # Set before the handler of a repository's route runs.
    here: Repository | None = None

    @property
    def repository(self) -> Repository:
        assert self.here is not None
        return self.here

    @property
    def url(self) -> str:
        """The repository's address in the API."""
        return f"{self.site.addresses.api}/repos/{self.repository.full_name}"

    @property
    def query(self) -> dict[str, str]:
        return self.request.query

    def json(self) -> dict[str, Any]:
        text = self.request.body.read(JSON_LIMIT)
        if text is None:
            raise Refusal(413, "Request entity too large")
        try:
            value = json.loads(text or b"{}")
        except ValueError:
            raise Refusal(400, "Problems parsing JSON") from None
        if not isinstance(value, dict):
            raise Refusal(400, "Body should be a JSON object")
        return value

    def head(self, branch: str) -> str | None:
        """The head of a branch; for a read with the fault `serve_commit`, an earlier one."""
        repository = self.repository
        sha = repository.branch(branch)
        older = self.action.serve_commit if self.action and self.request.reads else None
        if sha is None or older is None:
            return sha
        return older if isinstance(older, str) else repository.ancestor(sha, older["previous"])

    def commit(self, name: str) -> str | None:
        """The commit that a SHA, branch, tag or reference names."""
        return self.head(name.removeprefix("refs/").removeprefix("heads/")) or self.repository.resolve(name)

    def person(self, fields: Any, otherwise: Person | None = None) -> Person:
        """The author or committer in a request, or else `otherwise`, or else the token's user."""
        now = int(time.time())
        if fields is None:
            login = self.token.login
            number = self.site.accounts.number(login)
            return otherwise or Person(login, f"{number}+{login}@users.noreply.github.com", now)
        if not isinstance(fields, dict):
            raise Refusal(422, "Invalid request.\n\nFor 'properties/author', the value is not an object.")
        for key in ("name", "email"):
            if not fields.get(key):
                raise unsupplied(key)
        try:
            return Person.at(fields["name"], fields["email"], fields.get("date"), now)
        except ValueError:
            raise Refusal(422, "Invalid request.\n\nThe date is not a valid ISO 8601 timestamp.") from None

    def page(self, items: list[Item]) -> tuple[list[Item], dict[str, str]]:
        """One page of a list, and the Link header for the others."""
        def number(name: str, default: int) -> int:
            text = self.query.get(name, "")
            return int(text) if text.isascii() and text.isdigit() and int(text) else default

        size, page = min(number("per_page", PER_PAGE), PER_PAGE_LIMIT), number("page", 1)
        last = max(1, -(-len(items) // size))
        pages = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        if page <= 1:
            del pages["prev"], pages["first"]
        if page >= last:
            del pages["next"], pages["last"]
        root = self.site.addresses.api + self.request.path
        links = [f'<{root}?{urlencode({**self.query, "page": there})}>; rel="{name}"' for name, there in pages.items()]
        return items[(page - 1) * size:page * size], {"Link": ", ".join(links)} if links else {}


Handler = Callable[..., Response]


@dataclass(frozen=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    handler: Handler
    # The permission that a fine-grained token needs, and how GitHub writes it in a header.
    permission: str
    level: str
    accepted: str
    # Returns 409 if the repository has no commit.
    needs_commit: bool
    origin: str


ROUTES: list[Route] = []
# Routes outside of repositories.
TOP: list[Route] = []


def route(method: str, pattern: str, permission: str = "contents", *, needs_commit: bool = False,
          origin: str = "api") -> Callable[[Handler], Handler]:
    """Registers a handler for `pattern`, a regular expression for what follows a repository's path."""
    level = "read" if method == "GET" else "write"
    accepted = WRITE if (permission, level) == ("contents", "write") else f"{permission}={level}"

    def register(handler: Handler) -> Handler:
        ROUTES.append(Route(method, re.compile(pattern), handler, permission, level, accepted, needs_commit, origin))
        return handler
    return register


def top(method: str, pattern: str, accepted: str = "") -> Callable[[Handler], Handler]:
    """Registers a handler for a whole path. The handler checks permissions itself."""
    def register(handler: Handler) -> Handler:
        TOP.append(Route(method, re.compile(pattern), handler, "", "", accepted, False, "api"))
        return handler
    return register


def find(routes: list[Route], request: Request, path: str) -> tuple[Route, tuple[str, ...]]:
    """The route of a request, and the decoded groups of the path. Raises 404."""
    method = "GET" if request.method == "HEAD" else request.method
    for candidate in routes:
        if candidate.method == method and candidate.origin == request.origin and \
                (found := candidate.pattern.fullmatch(path)):
            return candidate, tuple(request.segment(part or "") for part in found.groups())
    raise missing()


def locate(call: Call) -> tuple[Repository, str] | Response:
    """The repository in a path and the rest of the path, or a redirect if it was renamed. Raises 404."""
    site, request = call.site, call.request
    by_name = re.fullmatch(r"/repos/([^/]+)/([^/]+)(/.*)?", request.path)
    by_number = re.fullmatch(r"/repositories/(\d+)(/.*)?", request.path)
    former = None
    if by_number:
        repository, rest = site.numbered(int(by_number[1])), by_number[2] or ""
    elif by_name:
        name = f"{request.segment(by_name[1])}/{request.segment(by_name[2])}"
        repository, rest = site.named(name), by_name[3] or ""
        if repository is None:
            repository = former = site.formerly_named(name)
    else:
        raise missing()
    if repository is None or not site.accounts.sees(call.token, repository) or site.is_hidden(repository):
        raise missing()
    if former:
        root = site.addresses.uploads if request.origin == "uploads" else site.addresses.api
        query = f"?{request.query_text}" if request.query_text else ""
        location = f"{root}/repositories/{repository.id}{rest}{query}"
        status, message = (301, "Moved Permanently") if request.reads else (307, "Temporary Redirect")
        return Response.json({"message": message, "url": location}, status, {"Location": location})
    return repository, rest


def quoted(path: bytes) -> str:
    return quote(path)
