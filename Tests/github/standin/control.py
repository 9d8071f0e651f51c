"""How a test creates repositories and tokens, sets faults, and reads the log."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .faults import Fault
from .repository import Repository
from .site import NameTaken, Site
from .wire import Request, Response

LIMIT = 1 << 30


class Unknown(Exception):
    """The request names something that does not exist."""


def answer(site: Site, request: Request) -> Response:
    """200 with the result, 400 for a malformed request, 404 for something that does not exist."""
    handler = HANDLERS.get((request.method, request.path.removeprefix("/_control/")))
    body = request.body.read(LIMIT)
    if handler is None:
        return Response.json({"error": "no such control"}, 404)
    try:
        return Response.json(handler(site, json.loads(body or b"{}"), request.query))
    except Unknown as error:
        return Response.json({"error": str(error)}, 404)
    except (ValueError, KeyError, TypeError, NameTaken) as error:
        return Response.json({"error": f"{type(error).__name__}: {error}"}, 400)


Handler = Callable[[Site, Any, dict[str, str]], Any]


def _repository(site: Site, full_name: str) -> Repository:
    repository = site.named(full_name)
    if repository is None:
        raise Unknown(full_name)
    return repository


def _create(site: Site, fields: Any, _: dict[str, str]) -> Any:
    files = {path: base64.b64decode(content) for path, content in fields.get("files", {}).items()}
    repository = site.create(fields["full_name"], private=fields.get("private", True),
                             default_branch=fields.get("default_branch", "main"), files=files)
    _change(repository, fields)
    return {"id": repository.id, "git_dir": str(repository.git_dir)}


def _update(site: Site, fields: Any, _: dict[str, str]) -> Any:
    _change(_repository(site, fields["full_name"]), fields)
    return {}


def _change(repository: Repository, fields: Any) -> None:
    repository.archived = fields.get("archived", repository.archived)
    repository.private = fields.get("private", repository.private)
    for login, role in fields.get("collaborators", {}).items():
        repository.collaborators[login.lower()] = role


def _delete(site: Site, _: Any, query: dict[str, str]) -> Any:
    site.remove(_repository(site, query["full_name"]))
    return {}


def _rename(site: Site, fields: Any, _: dict[str, str]) -> Any:
    site.rename(_repository(site, fields["from"]), fields["to"])
    return {}


def _organization(site: Site, fields: Any, _: dict[str, str]) -> Any:
    site.accounts.add_organization(fields["login"], fields["members"])
    return {}


def _token(site: Site, fields: Any, _: dict[str, str]) -> Any:
    return {"kind": site.accounts.add_token(fields).kind}


def _settings(site: Site, fields: Any, _: dict[str, str]) -> Any:
    site.settings.update(fields)
    return vars(site.settings)


def _faults(site: Site, fields: Any, _: dict[str, str]) -> Any:
    site.faults.add([Fault.parse(fault) for fault in (fields if isinstance(fields, list) else [fields])])
    return {}


def _clear_faults(site: Site, _: Any, __: dict[str, str]) -> Any:
    site.faults.clear()
    return {}


def _log(site: Site, _: Any, __: dict[str, str]) -> Any:
    return site.log.entries()


def _clear_log(site: Site, _: Any, __: dict[str, str]) -> Any:
    site.log.clear()
    return {}


def _record(site: Site, fields: Any, _: dict[str, str]) -> Any:
    site.log.record(Path(fields["directory"]) if fields["directory"] is not None else None)
    return {}


def _state(site: Site, _: Any, query: dict[str, str]) -> Any:
    repository = _repository(site, query["full_name"])
    with repository.lock:
        head = repository.branch(repository.default_branch)
        releases = [{"id": release.id, "tag": release.tag, "draft": release.draft}
                    for release in repository.releases.values()]
        assets = [{"id": asset.id, "name": asset.name, "size": asset.size, "state": asset.state,
                   "digest": asset.digest, "release": release.tag, "path": str(asset.path)}
                  for release in repository.releases.values() for asset in release.assets.values()]
        return {"id": repository.id, "full_name": repository.full_name, "git_dir": str(repository.git_dir),
                "default_branch": repository.default_branch, "head": head,
                "references": repository.references.all("refs/"), "releases": releases, "assets": assets}


def _reset(site: Site, _: Any, __: dict[str, str]) -> Any:
    site.reset()
    return {}


def _age(site: Site, fields: Any, _: dict[str, str]) -> Any:
    """Makes all assets of a repository this many seconds older."""
    repository = _repository(site, fields["full_name"])
    with repository.lock:
        for release in repository.releases.values():
            for asset in release.assets.values():
                asset.created -= fields["seconds"]
                asset.updated = asset.updated and asset.updated - fields["seconds"]
    return {}


HANDLERS: dict[tuple[str, str], Handler] = {
    ("POST", "repositories"): _create, ("PATCH", "repositories"): _update, ("DELETE", "repositories"): _delete,
    ("POST", "reset"): _reset, ("POST", "rename"): _rename, ("POST", "organizations"): _organization, ("POST", "tokens"): _token,
    ("POST", "settings"): _settings, ("POST", "faults"): _faults, ("DELETE", "faults"): _clear_faults,
    ("GET", "log"): _log, ("DELETE", "log"): _clear_log, ("POST", "record"): _record, ("GET", "state"): _state,
    ("POST", "age"): _age,
}
