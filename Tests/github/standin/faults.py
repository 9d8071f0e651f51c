"""Faults on demand: the next matching requests are refused, interrupted, delayed or answered falsely."""

import dataclasses
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .wire import Delivery, Request, Response

HTML = "<!DOCTYPE html>\n<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>\n"


@dataclass
class Action:
    """One fault. Several fields take effect together."""

    # A response instead of the real one; `html` makes its body a page.
    status: int | None = None
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    html: bool = False
    # The request takes effect, but its response is lost. Also for `close_before_response` and `redirect`.
    after_effect: bool = False
    # Body bytes after which the connection is reset while receiving, or while sending.
    reset_request_after: int | None = None
    reset_response_after: int | None = None
    # Body bytes after which the connection is closed as if the response were complete.
    truncate_response_after: int | None = None
    # Bytes per second of the body, for its first `for_bytes`, or all of it.
    drip: float | None = None
    for_bytes: int | None = None
    # Seconds to wait before the request is handled.
    hang: float | None = None
    redirect: int | None = None
    location: str | None = None
    # The byte of the body in which a bit is flipped; from the end if negative.
    corrupt_response: int | None = None
    # A commit, or {"previous": k}: reads see branches as they were then.
    serve_commit: str | dict[str, int] | None = None
    # "primary", "secondary" or "secondary-no-header", with `status` 403 or 429.
    rate_limit: str | None = None
    retry_after: int | None = None
    reset_in: float | None = None
    # The number of commits that another writer makes just before.
    move_branch: int = 0
    # An upload leaves an asset in state "starter", and returns 502.
    starter: bool = False
    close_before_response: bool = False

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> "Action":
        """Raises ValueError for an action that does not exist."""
        known = {entry.name for entry in dataclasses.fields(cls)}
        if not fields or set(fields) - known:
            raise ValueError(f"no such action: {', '.join(sorted(set(fields) - known)) or 'none is given'}")
        action = cls(**fields)
        if action.rate_limit not in (None, "primary", "secondary", "secondary-no-header"):
            raise ValueError(f"no such rate limit: {action.rate_limit}")
        return action

    @property
    def replaces_answer(self) -> bool:
        return self.redirect is not None or self.close_before_response or self.starter or \
            self.status is not None and self.rate_limit is None

    def answer(self) -> Response:
        """The response instead of the real one."""
        if self.close_before_response:
            return Response(0, delivery=Delivery(silent=True))
        if self.redirect is not None:
            return Response(self.redirect, {"Location": self.location or "/", **self.headers})
        status = self.status or 502
        if self.html:
            page = HTML.format("Unicorn!" if status >= 500 else "GitHub")
            return Response(status, {"Content-Type": "text/html; charset=utf-8", **self.headers},
                            (self.body or page).encode())
        if self.body is None:
            return Response.json({"message": "Server Error"}, status, self.headers)
        return Response(status, {"Content-Type": "application/json; charset=utf-8", **self.headers},
                        self.body.encode())

    def delivery(self) -> Delivery | None:
        if (self.reset_response_after, self.truncate_response_after, self.drip, self.corrupt_response) == (None,) * 4:
            return None
        return Delivery(self.reset_response_after, self.truncate_response_after, self.drip, self.for_bytes,
                        self.corrupt_response)

    def around(self, proceed: Callable[[], Response], drain: Callable[[], None]) -> Response:
        """The response to a request: the real one, which `proceed` returns, with the fault applied."""
        if self.hang:
            time.sleep(self.hang)
        if self.replaces_answer and not self.after_effect and not self.starter:
            drain()
            response = self.answer()
        else:
            response = proceed()
            if self.replaces_answer:
                response = self.answer()
        response.delivery = response.delivery or self.delivery()
        return response


@dataclass
class Fault:
    """An action, and the requests that it applies to."""

    action: Action
    method: re.Pattern[str]
    path: re.Pattern[str]
    origin: str | None
    # How many matching requests pass first, and how many then fail (-1: all).
    skip: int
    times: int

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> "Fault":
        if unknown := sorted(set(fields) - {"method", "path", "origin", "skip", "times", "action"}):
            raise ValueError(f"a fault has no {', '.join(unknown)}")
        return cls(Action.parse(fields.get("action", {})), re.compile(fields.get("method", ".*")),
                   re.compile(fields.get("path", "")), fields.get("origin"), fields.get("skip", 0),
                   fields.get("times", 1))

    def matches(self, request: Request) -> bool:
        return self.times != 0 and self.origin in (None, request.origin) and \
            self.method.fullmatch(request.method) is not None and self.path.search(request.path) is not None


class Faults:
    """A request meets the first fault that matches and is not used up; later ones do not count it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, faults: list[Fault]) -> None:
        with self._lock:
            self._faults += faults

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, request: Request) -> Action | None:
        with self._lock:
            for fault in self._faults:
                if not fault.matches(request):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.times > 0:
                    fault.times -= 1
                return fault.action
        return None
