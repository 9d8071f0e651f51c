"""Requests and their responses."""

import hashlib
import itertools
import threading
from pathlib import Path
from typing import Any, BinaryIO

from .wire import Request

HEADERS = ("accept", "user-agent", "if-none-match", "range", "x-github-api-version", "content-type", "content-length",
           "expect", "transfer-encoding")


class Log:
    """One entry per request, in order of arrival. An entry without a status has no response (yet)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[dict[str, Any]] = []
        self._number = itertools.count(1)
        self._directory: Path | None = None

    def begin(self, request: Request) -> dict[str, Any]:
        authorization = request.headers.get("authorization")
        entry = {"n": 0, "origin": request.origin, "method": request.method, "path": request.path,
                 "query": request.query_text, "status": None, "request_bytes": 0, "response_bytes": 0,
                 "authorization": authorization and hashlib.sha256(authorization.encode("latin-1")).hexdigest(),
                 "headers": {name: request.headers[name] for name in HEADERS if name in request.headers},
                 "connection": request.connection}
        with self._lock:
            entry["n"] = next(self._number)
            self._entries.append(entry)
        return entry

    def recording(self, entry: dict[str, Any]) -> BinaryIO | None:
        """The file for the body of a request; the caller closes it."""
        directory = self._directory
        return open(directory / f"{entry['n']:06}", "wb") if directory else None

    def record(self, directory: Path | None) -> None:
        if directory:
            directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory

    def entries(self) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(entry) for entry in self._entries]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
