"""Starts the stand-in for GitHub for a test, and talks to its controls.

    with GitHub(tmp_path) as github:
        github.make_repository("me/backups")
        github.token("ghp_test", login="me")
"""

import base64
import http.client
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

SERVER = Path(__file__).resolve().parent / "server.py"
# Long enough for any machine: no test measures time.
PATIENCE = 300


class ControlError(Exception):
    """The server refused a control request."""


class GitHub:
    """One running server. `api`, `uploads` and `storage` are the root URLs that it gives to clients."""

    def __init__(self, root: Path, *arguments: str) -> None:
        """Starts the server, which stores everything below `root`; `arguments` are passed to server.py."""
        self._process = subprocess.Popen([sys.executable, str(SERVER), "--root", str(root), *arguments],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ControlError(f"the server ended with status {self.stop()}")
        told = json.loads(line)
        self.pid = self._process.pid
        self.root = root
        self.api: str = told["api"]
        self.uploads: str = told["uploads"]
        self.storage: str = told["storage"]
        self.listen: dict[str, str] = told["listen"]

    def __enter__(self) -> "GitHub":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> int:
        """Stops the server, and returns its exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        status = self._process.wait(PATIENCE)
        self._process.stdout.close()
        return status

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Sends a control request and returns the response; `path` follows `/_control/`. Raises ControlError."""
        connection = http.client.HTTPConnection(urlsplit(self.listen["api"]).netloc, timeout=PATIENCE)
        try:
            connection.request(method, f"/_control/{path}", None if body is None else json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ControlError(answer["error"])
        return answer

    def make_repository(self, full_name: str, files: Mapping[str, bytes] | None = None, **fields: Any) -> Path:
        """Creates a repository, empty if there are no files. Returns the path of its bare git repository."""
        encoded = {path: base64.b64encode(content).decode() for path, content in (files or {}).items()}
        answer = self.control("POST", "repositories", {"full_name": full_name, "files": encoded, **fields})
        return Path(answer["git_dir"])

    def update_repository(self, full_name: str, **fields: Any) -> None:
        """Changes `archived`, `private` or `collaborators` ({login: "read" | "write" | "admin"})."""
        self.control("PATCH", "repositories", {"full_name": full_name, **fields})

    def delete_repository(self, full_name: str) -> None:
        self.control("DELETE", f"repositories?full_name={quote(full_name)}")

    def rename(self, old: str, new: str) -> None:
        self.control("POST", "rename", {"from": old, "to": new})

    def organization(self, login: str, *members: str) -> None:
        self.control("POST", "organizations", {"login": login, "members": members})

    def token(self, token: str, *, login: str = "me", **fields: Any) -> str:
        """Makes `token` valid, of the kind that its prefix indicates, and returns it."""
        self.control("POST", "tokens", {"token": token, "login": login, **fields})
        return token

    def settings(self, **values: Any) -> dict[str, Any]:
        """Changes these settings, and returns all of them."""
        settings: dict[str, Any] = self.control("POST", "settings", values)
        return settings

    def fault(self, method: str = ".*", path: str = "", *, origin: str | None = None, skip: int = 0, times: int = 1,
              **action: Any) -> None:
        """Makes matching requests fail: `action` is an Action of standin/faults.py."""
        self.control("POST", "faults", {"method": method, "path": path, "origin": origin, "skip": skip,
                                        "times": times, "action": action})

    def clear_faults(self) -> None:
        self.control("DELETE", "faults")

    def log(self) -> list[dict[str, Any]]:
        """The requests so far, in order of arrival."""
        entries: list[dict[str, Any]] = self.control("GET", "log")
        return entries

    def reset(self) -> None:
        """Returns the server to its initial state."""
        self.control("POST", "reset")

    def clear_log(self) -> None:
        self.control("DELETE", "log")

    def record(self, directory: Path | None) -> None:
        """Saves the body of every further request as a file in `directory`; None stops that."""
        self.control("POST", "record", {"directory": None if directory is None else str(directory)})

    def age(self, full_name: str, seconds: int) -> None:
        """Makes all assets of a repository this much older."""
        self.control("POST", "age", {"full_name": full_name, "seconds": seconds})

    def state(self, full_name: str) -> dict[str, Any]:
        """A repository's git directory, head, references, releases and assets."""
        state: dict[str, Any] = self.control("GET", f"state?full_name={quote(full_name)}")
        return state

    def git(self, full_name: str, *arguments: str) -> bytes:
        """The output of git in a repository."""
        git_dir = self.state(full_name)["git_dir"]
        return subprocess.run(["git", f"--git-dir={git_dir}", *arguments], check=True, stdout=subprocess.PIPE).stdout
