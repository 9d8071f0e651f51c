"""Releases and their assets."""

import hashlib
import re
import time
from collections.abc import Callable
from typing import Any

from . import shapes
from .refusal import Refusal, invalid, missing
from .repository import Asset, Release, valid_reference
from .routes import Call, route
from .storage import slice_of
from .wire import ConnectionLost, Response

OCTETS = "application/octet-stream"


def stored_name(name: str) -> str:
    """An asset's name as GitHub stores it: other characters become a dot, and there is no dot at either end."""
    plain = re.sub(r"[^A-Za-z0-9_@+-]+", ".", name).rstrip(".")
    return f"default{plain}" if plain.startswith(".") else plain


@route("POST", "/releases")
def create(call: Call) -> Response:
    body = call.json()
    repository = call.repository
    if repository.empty:
        raise Refusal(422, "Repository is empty.")
    tag = body.get("tag_name")
    if not isinstance(tag, str) or not tag:
        raise invalid("Release", "missing_field", "tag_name")
    if not valid_reference(f"refs/tags/{tag}"):
        raise invalid("Release", "custom", "tag_name", "tag_name is not a valid tag")
    now = time.time()
    release = Release(call.site.number(), tag, str(body.get("target_commitish") or repository.default_branch),
                      call.token.login, now, body.get("name"), body.get("body"), bool(body.get("draft")),
                      bool(body.get("prerelease")))
    with repository.lock:
        if not release.draft:
            _publish(call, release)
        repository.releases[release.id] = release
    return Response.json(shapes.release(call, release), 201, {"Location": f"{call.url}/releases/{release.id}"})


@route("GET", "/releases")
def listing(call: Call) -> Response:
    with call.repository.lock:
        newest = sorted(call.repository.releases.values(), key=lambda release: release.id, reverse=True)
        found, links = call.page([release for release in newest if not release.draft or _writes(call)])
        return Response.json([shapes.release(call, release) for release in found], headers=links)


@route("GET", "/releases/latest")
def latest(call: Call) -> Response:
    return _only(call, lambda release: not release.draft and not release.prerelease)


@route("GET", "/releases/tags/(.+)")
def by_tag(call: Call, tag: str) -> Response:
    return _only(call, lambda release: release.tag == tag and not release.draft)


@route("GET", r"/releases/(\d+)")
def get(call: Call, number: str) -> Response:
    with call.repository.lock:
        return Response.json(shapes.release(call, _release(call, number)))


@route("PATCH", r"/releases/(\d+)")
def update(call: Call, number: str) -> Response:
    body = call.json()
    with call.repository.lock:
        release = _release(call, number)
        release.name, release.body = body.get("name", release.name), body.get("body", release.body)
        release.prerelease = bool(body.get("prerelease", release.prerelease))
        if release.draft:
            release.tag = str(body.get("tag_name") or release.tag)
            release.target = str(body.get("target_commitish") or release.target)
            if body.get("draft") is False:
                _publish(call, release)
                release.draft = False
        return Response.json(shapes.release(call, release))


@route("DELETE", r"/releases/(\d+)")
def delete(call: Call, number: str) -> Response:
    """Keeps the tag, as GitHub does."""
    with call.repository.lock:
        release = _release(call, number)
        del call.repository.releases[release.id]
        for asset in release.assets.values():
            asset.path.unlink(missing_ok=True)
    return Response(204)


@route("GET", r"/releases/(\d+)/assets")
def assets(call: Call, number: str) -> Response:
    with call.repository.lock:
        release = _release(call, number)
        found, links = call.page(list(release.assets.values()))
        return Response.json([_shape(call, release, asset) for asset in found], headers=links)


@route("POST", r"/releases/(\d+)/assets", origin="uploads")
def upload(call: Call, number: str) -> Response:
    settings, body = call.site.settings, call.request.body
    if body.declared is None:
        raise Refusal(400, "Bad Content-Length: ")
    content_type = call.request.headers.get("content-type")
    name = stored_name(call.query.get("name", ""))
    for field, value in (("name", name), ("content_type", content_type)):
        if not value:
            raise invalid("ReleaseAsset", "missing_field", field)
    if body.declared == 0:
        raise invalid("ReleaseAsset", "custom", "size", "size must be greater than or equal to 1")
    if body.declared >= settings.asset_limit:
        raise invalid("ReleaseAsset", "custom", "size", f"size must be less than {settings.asset_limit}")
    with call.repository.lock:
        release = _release(call, number)
        if any(asset.name.lower() == name.lower() for asset in release.assets.values()):
            raise invalid("ReleaseAsset", "already_exists", "name")
        if len(release.assets) >= settings.assets_per_release:
            raise invalid("ReleaseAsset", "custom", "release",
                          f"a release can have at most {settings.assets_per_release} assets")
        identity = call.site.number()
        asset = Asset(identity, name, call.query.get("label"), str(content_type), call.token.login,
                      call.site.assets_root / str(identity), time.time())
        release.assets[asset.id] = asset
    try:
        digest = _receive(call, asset)
    except ConnectionLost:
        if not settings.aborted_upload_leaves_starter:
            with call.repository.lock:
                release.assets.pop(asset.id, None)
        raise
    with call.repository.lock:
        if asset.id not in release.assets:
            asset.path.unlink(missing_ok=True)
            raise missing()
        if call.action and call.action.starter:
            asset.path.unlink()
        else:
            asset.size, asset.digest, asset.state, asset.updated = body.declared, digest, "uploaded", time.time()
        return Response.json(_shape(call, release, asset), 201)


@route("GET", r"/releases/assets/(\d+)")
def get_asset(call: Call, number: str) -> Response:
    with call.repository.lock:
        release, asset = _asset(call, number)
        if not call.request.accepts(OCTETS):
            return Response.json(_shape(call, release, asset))
        if asset.state != "uploaded":
            raise missing()
        asset.downloads += call.request.method == "GET"
    if call.site.settings.asset_redirect:
        location = call.site.addresses.storage + call.site.signed_path(asset.id)
        return Response(302, {"Location": location, "Content-Type": "text/html; charset=utf-8"})
    return slice_of(asset, call.request)


@route("PATCH", r"/releases/assets/(\d+)")
def update_asset(call: Call, number: str) -> Response:
    body = call.json()
    with call.repository.lock:
        release, asset = _asset(call, number)
        name = stored_name(str(body.get("name") or asset.name))
        if any(other is not asset and other.name.lower() == name.lower() for other in release.assets.values()):
            raise invalid("ReleaseAsset", "already_exists", "name")
        asset.name, asset.label, asset.updated = name, body.get("label", asset.label), time.time()
        return Response.json(_shape(call, release, asset))


@route("DELETE", r"/releases/assets/(\d+)")
def delete_asset(call: Call, number: str) -> Response:
    with call.repository.lock:
        release, asset = _asset(call, number)
        del release.assets[asset.id]
        asset.path.unlink(missing_ok=True)
    return Response(204)


def _publish(call: Call, release: Release) -> None:
    """Publishes the release, and creates its tag unless that exists. The caller holds the lock."""
    repository = call.repository
    if any(other is not release and other.tag == release.tag and not other.draft
           for other in repository.releases.values()):
        raise invalid("Release", "already_exists", "tag_name")
    reference = f"refs/tags/{release.tag}"
    if repository.references.get(reference) is None:
        commit = repository.resolve(release.target)
        if commit is None:
            raise invalid("Release", "invalid", "target_commitish")
        repository.references.set(reference, commit)
    release.published = time.time()


def _receive(call: Call, asset: Asset) -> str:
    """Writes the body to the asset's file. Returns the digest in GitHub's format: `sha256:` and hex."""
    digest = hashlib.sha256()
    try:
        with asset.path.open("wb") as file:
            for chunk in call.request.body.chunks():
                digest.update(chunk)
                file.write(chunk)
    except ConnectionLost:
        asset.path.unlink()
        raise
    return f"sha256:{digest.hexdigest()}"


def _writes(call: Call) -> bool:
    try:
        call.site.accounts.require(call.token, call.repository, "contents", "write")
    except Refusal:
        return False
    return True


def _release(call: Call, number: str) -> Release:
    release = call.repository.releases.get(int(number))
    if release is None or release.draft and not _writes(call):
        raise missing()
    return release


def _asset(call: Call, number: str) -> tuple[Release, Asset]:
    found = call.repository.asset(int(number))
    if found is None or found[0].draft and not _writes(call):
        raise missing()
    return found


def _only(call: Call, wanted: Callable[[Release], bool]) -> Response:
    with call.repository.lock:
        found = [release for release in call.repository.releases.values() if wanted(release)]
        if not found:
            raise missing()
        return Response.json(shapes.release(call, max(found, key=lambda release: release.id)))


def _shape(call: Call, release: Release, asset: Asset) -> dict[str, Any]:
    return shapes.asset(call.site, call.repository, release, asset)
