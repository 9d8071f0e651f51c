"""A request from its head to its response: identity, limits, routes, conditional requests."""

import hashlib
import itertools
import time
from email.utils import formatdate
from typing import Any

from . import contents, control, gitdata, releases, repositories, storage
from .accounts import MINUTE, Token, primary_limit, secondary_limit
from .faults import Action
from .objects import MissingObject
from .refusal import Refusal, missing
from .routes import ROUTES, TOP, Call, find, locate
from .site import Site
from .wire import FileSlice, Request, Response

API_VERSION = "2022-11-28"
NO_AGENT = ("Request forbidden by administrative rules. Please make sure your request has a User-Agent header "
            "(https://docs.github.com/rest/overview/resources-in-the-rest-api#user-agent-required).\n")
# The modules whose routes are served; they register them on import.
SERVED = (contents, gitdata, releases, repositories)
_request_numbers = itertools.count(1)


def answer(site: Site, request: Request, entry: dict[str, Any]) -> Response:
    """The response to a request, logged as `entry`, with the faults that apply to it."""
    action = site.faults.take(request) or Action()
    request.body.reset_after = action.reset_request_after
    request.body.record = site.log.recording(entry)
    if site.settings.latency_ms:
        time.sleep(site.settings.latency_ms / 1000)
    try:
        if request.origin == "storage":
            return action.around(lambda: storage.answer(site, request), request.body.drain)
        return action.around(lambda: _api(site, request, action), request.body.drain)
    finally:
        if request.body.record:
            request.body.record.close()


def control_answer(site: Site, request: Request) -> Response:
    return control.answer(site, request)


def _api(site: Site, request: Request, action: Action) -> Response:
    # Until the user is known, the limit of anonymous requests applies.
    token = site.accounts.anonymous
    accepted: list[str] = []
    if "user-agent" not in request.headers:
        request.body.drain()
        refused = Response(403, {"Content-Type": "text/html; charset=utf-8"}, NO_AGENT.encode())
        return _finish(site, request, token, refused, accepted)
    try:
        token = site.accounts.identify(request.headers.get("authorization"))
        site.accounts.enter(token, creates=not request.reads and request.method != "DELETE",
                            cost=1 if request.reads else 5)
        try:
            response = _metered(Call(site, request, token, action), accepted)
        finally:
            site.accounts.leave(token)
    except Refusal as refusal:
        response = refusal.response()
    except MissingObject:
        response = missing().response()
    # The body of a refused request is read first, so that the client reads the response.
    request.body.drain()
    return _finish(site, request, token, response, accepted)


def _metered(call: Call, accepted: list[str]) -> Response:
    site, request, token, action = call.site, call.request, call.token, call.action
    if action and action.rate_limit:
        _limit(site, token, action)
    version = request.headers.get("x-github-api-version", API_VERSION)
    if version != API_VERSION:
        raise Refusal(400, f"The API version '{version}' is not supported.")
    if request.path == "/rate_limit":
        return _dispatch(call, accepted)
    site.accounts.charge(token)
    response = _dispatch(call, accepted)
    if request.reads and response.status == 200:
        tag = response.headers.setdefault("ETag", f'W/"{_digest(response)}"')
        asked = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
        if tag.removeprefix("W/") in asked or "*" in asked:
            if token.login:
                site.accounts.refund(token)
            kept = {name: value for name, value in response.headers.items() if name in ("ETag", "Link")}
            return Response(304, kept)
    return response


def _dispatch(call: Call, accepted: list[str]) -> Response:
    request = call.request
    if not request.path.startswith(("/repos/", "/repositories/")):
        route, places = find(TOP, request, request.path)
        accepted.append(route.accepted)
        return route.handler(call, *places)
    located = locate(call)
    if isinstance(located, Response):
        return located
    call.here, rest = located
    route, places = find(ROUTES, request, rest)
    accepted.append(route.accepted)
    call.site.accounts.require(call.token, call.here, route.permission, route.level)
    if route.needs_commit and call.here.empty:
        raise Refusal(409, "Git Repository is empty.")
    if call.action and call.action.move_branch:
        call.here.move_by_other(call.action.move_branch)
    return route.handler(call, *places)


def _limit(site: Site, token: Token, action: Action) -> None:
    status = action.status or 403
    if action.rate_limit == "primary":
        with site.accounts.lock:
            token.bucket.remaining = 0
            token.bucket.reset = time.time() + (3600 if action.reset_in is None else action.reset_in)
        raise primary_limit(token, site.accounts.number(token.login), status)
    after = int(MINUTE) if action.retry_after is None else action.retry_after
    raise secondary_limit(after if action.rate_limit == "secondary" else None, status)


def _digest(response: Response) -> str:
    if isinstance(response.body, FileSlice):
        text = f"{response.body.path.name} {response.body.offset} {response.body.length}"
        return hashlib.sha256(text.encode()).hexdigest()
    return hashlib.sha256(response.body).hexdigest()


def _finish(site: Site, request: Request, token: Token, response: Response, accepted: list[str]) -> Response:
    headers = {"Server": "github.com", "Date": formatdate(usegmt=True),
               "X-GitHub-Request-Id": f"{next(_request_numbers):08X}", "X-GitHub-Media-Type": "github.v3; format=json",
               "X-GitHub-Api-Version-Selected": API_VERSION, "X-Content-Type-Options": "nosniff",
               "Vary": "Accept, Authorization, Accept-Encoding", **response.headers}
    if request.reads and response.status in (200, 304):
        headers.setdefault("Cache-Control", "private, max-age=60, s-maxage=60")
    headers |= token.headers()
    with site.accounts.lock:
        headers |= token.bucket.headers()
    for text in accepted:
        if token.scopes is not None:
            headers["X-Accepted-OAuth-Scopes"] = "user" if request.path == "/user" else "repo"
        elif token.login and text:
            headers["X-Accepted-GitHub-Permissions"] = text
    response.headers = headers
    return response
