"""Tokens, their permissions, and their limits."""

import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .refusal import DOCS, Refusal
from .repository import Repository
from .settings import Settings

HOUR, MINUTE = 3600.0, 60.0
ANONYMOUS_LIMIT = 60
ROLES = {"read": 1, "write": 2, "admin": 3}
# The kind of token by its prefix; the first match counts.
PREFIXES = {"github_pat_": "fine-grained", "ghp_": "classic", "gho_": "oauth", "ghu_": "user-to-server",
            "ghs_": "installation"}


@dataclass
class Bucket:
    """The primary rate limit: requests per hour."""

    limit: int
    remaining: int
    reset: float

    @classmethod
    def full(cls, limit: int) -> "Bucket":
        return cls(limit, limit, time.time() + HOUR)

    def headers(self) -> dict[str, str]:
        return {"X-RateLimit-Limit": str(self.limit), "X-RateLimit-Remaining": str(self.remaining),
                "X-RateLimit-Used": str(self.limit - self.remaining),
                "X-RateLimit-Reset": str(math.ceil(self.reset)), "X-RateLimit-Resource": "core"}

    def renew(self) -> None:
        if time.time() >= self.reset:
            self.remaining, self.reset = self.limit, time.time() + HOUR

    def describe(self) -> dict[str, Any]:
        return {"limit": self.limit, "used": self.limit - self.remaining, "remaining": self.remaining,
                "reset": math.ceil(self.reset), "resource": "core"}


class Secondary:
    """The secondary limits of a token: points and content per minute, content per hour, concurrent requests."""

    def __init__(self) -> None:
        self.points: deque[tuple[float, int]] = deque()
        self.content: deque[float] = deque()
        self.running = 0

    def wait(self, creates: bool, cost: int, settings: Settings) -> float | None:
        """How many seconds too early this request is; None if it is allowed, and then it is counted."""
        now = time.monotonic()
        while self.points and self.points[0][0] <= now - MINUTE:
            self.points.popleft()
        while self.content and self.content[0] <= now - HOUR:
            self.content.popleft()
        if self.running >= settings.concurrent_requests:
            return MINUTE
        if sum(cost for _, cost in self.points) + cost > settings.points_per_minute:
            return self.points[0][0] + MINUTE - now if self.points else MINUTE
        if creates:
            recent = [moment for moment in self.content if moment > now - MINUTE]
            if len(recent) >= settings.content_per_minute:
                return recent[0] + MINUTE - now
            if len(self.content) >= settings.content_per_hour:
                return self.content[0] + HOUR - now
            self.content.append(now)
        self.points.append((now, cost))
        return None


@dataclass
class Token:
    login: str
    kind: str
    # Classic scopes; None for the kinds of token that have none.
    scopes: list[str] | None
    # Fine-grained permissions: "read" or "write" by name.
    permissions: dict[str, str]
    # The repositories of a fine-grained token, full names in lower case; None for all.
    repositories: set[str] | None
    bucket: Bucket
    # Seconds since 1970.
    expires: float | None = None
    # Requests after which the token becomes invalid.
    uses_left: int | None = None
    secondary: Secondary = field(default_factory=Secondary)

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> "Token":
        kind = fields.get("kind") or next(
            (kind for prefix, kind in PREFIXES.items() if fields["token"].startswith(prefix)), "classic")
        classic = kind in ("classic", "oauth")
        limit = int(fields.get("limit", 5000))
        named = fields.get("repositories")
        return cls(fields["login"], kind, (fields.get("scopes", ["repo"]) or []) if classic else None,
                   fields.get("permissions", {} if classic else {"contents": "write"}),
                   None if named is None else {name.lower() for name in named},
                   Bucket(limit, int(fields.get("remaining", limit)), time.time() + fields.get("reset_in", HOUR)),
                   time.time() + fields["expires"] if fields.get("expires") is not None else None,
                   fields.get("invalid_after_requests"))

    def headers(self) -> dict[str, str]:
        found = {}
        if self.scopes is not None:
            found["X-OAuth-Scopes"] = ", ".join(self.scopes)
        if self.expires is not None:
            moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.expires))
            found["GitHub-Authentication-Token-Expiration"] = moment
        return found

    @property
    def refusal(self) -> str:
        return ("Resource not accessible by personal access token" if self.kind == "fine-grained"
                else "Resource not accessible by integration")


class Accounts:
    """The users, their tokens, and what these may do with a repository."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lock = threading.RLock()
        self._tokens: dict[str, Token] = {}
        self._numbers: dict[str, int] = {}
        # The logins that are organizations.
        self._organizations: dict[str, set[str]] = {}
        self.anonymous = Token("", "anonymous", None, {}, None, Bucket.full(ANONYMOUS_LIMIT))

    def add_token(self, fields: Mapping[str, Any]) -> Token:
        token = Token.parse(fields)
        with self.lock:
            self._tokens[fields["token"]] = token
        return token

    def add_organization(self, login: str, members: list[str]) -> None:
        with self.lock:
            self._organizations[login.lower()] = {member.lower() for member in members}

    def members(self, organization: str) -> set[str] | None:
        return self._organizations.get(organization.lower())

    def number(self, login: str) -> int:
        with self.lock:
            return self._numbers.setdefault(login.lower(), 1000 + len(self._numbers))

    def identify(self, authorization: str | None) -> Token:
        """The token in an Authorization header. Raises 401 if it is invalid."""
        if authorization is None:
            return self.anonymous
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() not in ("bearer", "token"):
            value = ""
        with self.lock:
            token = self._tokens.get(value.strip())
            if token and token.expires is not None and token.expires <= time.time():
                token = None
            if token and token.uses_left is not None:
                token.uses_left -= 1
                if token.uses_left < 0:
                    token = None
        if token is None:
            raise Refusal(401, "Bad credentials")
        return token

    def charge(self, token: Token) -> None:
        """Counts a request against the primary limit. Raises 403 if the limit is reached."""
        with self.lock:
            token.bucket.renew()
            if token.bucket.remaining <= 0:
                raise primary_limit(token, self.number(token.login))
            token.bucket.remaining -= 1

    def refund(self, token: Token) -> None:
        with self.lock:
            token.bucket.remaining = min(token.bucket.limit, token.bucket.remaining + 1)

    def enter(self, token: Token, *, creates: bool, cost: int) -> None:
        """Starts a request for the secondary limits; `leave` ends it. Raises 403 if it exceeds one."""
        with self.lock:
            wait = token.secondary.wait(creates, cost, self.settings) if self.settings.secondary_limits else None
            if wait is not None:
                raise secondary_limit(max(1, math.ceil(wait)))
            token.secondary.running += 1

    def leave(self, token: Token) -> None:
        with self.lock:
            token.secondary.running -= 1

    def role(self, token: Token, repository: Repository) -> int:
        """The role of the token's user: 0 for none, or else the number of a role in ROLES."""
        login = token.login.lower()
        if not login:
            return 0 if repository.private else ROLES["read"]
        if login == repository.owner.lower() or login in (self.members(repository.owner) or ()):
            return ROLES["admin"]
        given = ROLES[repository.collaborators[login]] if login in repository.collaborators else 0
        return given or (0 if repository.private else ROLES["read"])

    def sees(self, token: Token, repository: Repository) -> bool:
        """Whether the repository exists for this token."""
        if not repository.private:
            return True
        if not self.role(token, repository):
            return False
        if token.scopes is not None:
            return "repo" in token.scopes
        return token.repositories is None or repository.full_name.lower() in token.repositories

    def require(self, token: Token, repository: Repository, permission: str, level: str) -> None:
        """Raises the error that GitHub returns to a token without `level` of `permission`."""
        role = self.role(token, repository)
        if token.scopes is not None:
            enough = "repo" in token.scopes or "public_repo" in token.scopes and not repository.private
            if level == "write" and not (enough and role >= ROLES["write"]):
                raise Refusal(404, "Not Found")
        elif token.kind == "anonymous":
            if level == "write":
                raise Refusal(401, "Requires authentication")
        else:
            chosen = token.repositories is None or repository.full_name.lower() in token.repositories
            # Any selected repository gives read access to its metadata.
            given = token.permissions.get(permission, "read" if permission == "metadata" else "none") if chosen else ""
            enough = given in ("write", level) or level == "read" and not repository.private
            if not enough or level == "write" and role < ROLES["write"]:
                raise Refusal(403, token.refusal)
        if level == "write" and repository.archived:
            raise Refusal(403, "Repository was archived so is read-only.")


def primary_limit(token: Token, number: int, status: int = 403) -> Refusal:
    message = f"API rate limit exceeded for user ID {number}." if token.login else "API rate limit exceeded."
    return Refusal(status, message, docs=f"{DOCS}/overview/rate-limits-for-the-rest-api")


def secondary_limit(retry_after: int | None, status: int = 403) -> Refusal:
    return Refusal(status, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
                   docs=f"{DOCS}/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits",
                   headers={} if retry_after is None else {"Retry-After": str(retry_after)})
