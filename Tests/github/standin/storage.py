"""The storage host for downloads: it takes no tokens; the URL itself grants access."""

import hmac
import re
import time
from email.utils import formatdate

from .repository import Asset
from .site import Site
from .wire import FileSlice, Request, Response


def answer(site: Site, request: Request) -> Response:
    request.body.drain()
    found = re.fullmatch(r"/assets/(\d+)", request.path)
    if "authorization" in request.headers:
        return _error(400, "InvalidAuthenticationInfo", "Only one way to authenticate is allowed.")
    if not request.reads or not found:
        return _error(404, "ResourceNotFound", "The specified resource does not exist.")
    number, query = int(found[1]), request.query
    expires, signature = query.get("se", ""), query.get("sig", "")
    if not hmac.compare_digest(signature.encode(), site.signature(number, expires).encode()):
        return _error(403, "AuthenticationFailed", "The signature does not match.")
    if float(expires) <= time.time():
        return _error(403, "AuthenticationFailed", "The signature has expired.")
    asset = site.asset(number)
    if asset is None:
        return _error(404, "BlobNotFound", "The specified blob does not exist.")
    response = slice_of(asset, request)
    response.headers |= {"Server": "Windows-Azure-Blob/1.0", "Date": formatdate(usegmt=True)}
    return response


def slice_of(asset: Asset, request: Request) -> Response:
    """An asset's bytes: all of them, or those in a Range header with one range."""
    headers = {"Content-Type": asset.content_type, "Accept-Ranges": "bytes", "ETag": f'"{asset.digest}"',
               "Last-Modified": formatdate(asset.updated, usegmt=True),
               "Content-Disposition": f"attachment; filename={asset.name}"}
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if not wanted or not (wanted[1] or wanted[2]):
        return Response(200, headers, FileSlice(asset.path, 0, asset.size))
    if wanted[1]:
        first, last = int(wanted[1]), min(int(wanted[2] or asset.size), asset.size - 1)
    else:
        first, last = max(0, asset.size - int(wanted[2])), asset.size - 1
    if first > last:
        return Response(416, {"Content-Range": f"bytes */{asset.size}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{asset.size}"
    return Response(206, headers, FileSlice(asset.path, first, last - first + 1))


def _error(status: int, code: str, message: str) -> Response:
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Response(status, {"Content-Type": "application/xml", "Server": "Windows-Azure-Blob/1.0"}, body.encode())
