"""HTTP/1.1 on a socket: requests as they arrive, bodies as streams, responses with the faults of the network."""

import fcntl
import json
import os
import socket
import struct
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, unquote

CHUNK = 1 << 20
HEAD_LIMIT = 64 << 10
# How long sent bytes may take to reach the client before a connection is reset.
DELIVERY_SECONDS = 5.0
# How long the client may take to notice that a connection was closed.
LINGER_SECONDS = 2.0


class ConnectionLost(Exception):
    """The client is gone, or the server has closed the connection on purpose."""


class BadRequest(Exception):
    """The bytes are not a valid HTTP/1.1 request."""


class Pacer:
    """Limits the rate of a stream of bytes."""

    def __init__(self, bytes_per_second: float) -> None:
        self.rate = bytes_per_second
        self.started = time.monotonic()
        self.passed = 0
        self.step = max(1, min(CHUNK, int(bytes_per_second / 20)))

    def passing(self, count: int) -> None:
        """Accounts for `count` bytes, and sleeps until they are due."""
        self.passed += count
        ahead = self.started + self.passed / self.rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)


class Connection:
    """One accepted socket. Not shared between threads."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.usable = True
        # Bytes per second in each direction; None for no limit.
        self.rate: float | None = None
        self._pending = bytearray()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def limit(self, bytes_per_second: float | None) -> None:
        """Slows the connection down; small kernel buffers make the client notice it."""
        self.rate = bytes_per_second
        if bytes_per_second:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self.sock.setsockopt(socket.SOL_SOCKET, option, 64 << 10)

    def read_head(self) -> bytes | None:
        """The next request's head, without its empty line; None if the client has finished."""
        scanned = 0
        while True:
            end = self._pending.find(b"\r\n\r\n", max(0, scanned - 3))
            if end >= 0:
                head = bytes(self._pending[:end])
                del self._pending[:end + 4]
                return head
            scanned = len(self._pending)
            if scanned > HEAD_LIMIT:
                raise BadRequest("the request's head is too long")
            received = self._receive(64 << 10)
            if not received:
                return None
            self._pending += received

    def read_line(self) -> bytes:
        while b"\r\n" not in self._pending:
            if len(self._pending) > HEAD_LIMIT:
                raise BadRequest("a line is too long")
            received = self._receive(4096)
            if not received:
                raise ConnectionLost
            self._pending += received
        line, _, rest = bytes(self._pending).partition(b"\r\n")
        self._pending = bytearray(rest)
        return line

    def read_into(self, view: memoryview) -> int:
        """Reads at least one of the bytes that follow the head."""
        if self._pending:
            count = min(len(view), len(self._pending))
            view[:count] = self._pending[:count]
            del self._pending[:count]
            return count
        try:
            count = self.sock.recv_into(view)
        except OSError as error:
            raise ConnectionLost from error
        if count == 0:
            raise ConnectionLost
        return count

    def send(self, data: bytes | memoryview) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise ConnectionLost from error

    def send_file(self, file: BinaryIO, offset: int, length: int) -> None:
        try:
            while length:
                sent = os.sendfile(self.sock.fileno(), file.fileno(), offset, min(length, 1 << 30))
                if sent == 0:
                    raise ConnectionLost
                offset, length = offset + sent, length - sent
        except OSError as error:
            raise ConnectionLost from error

    def reset(self) -> None:
        """Ends the connection with RST, after the sent bytes have arrived."""
        self.usable = False
        deadline = time.monotonic() + DELIVERY_SECONDS
        try:
            while time.monotonic() < deadline:
                waiting = struct.unpack("i", fcntl.ioctl(self.sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
                if waiting == 0:
                    break
                time.sleep(0.001)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.sock.close()

    def close(self) -> None:
        """Closes the connection in order. Further input is discarded; otherwise the kernel could reset the connection, and
        the client lose a response that it has not read yet."""
        self.usable = False
        deadline = time.monotonic() + LINGER_SECONDS
        try:
            self.sock.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self.sock.settimeout(left)
                if not self.sock.recv(64 << 10):
                    break
        except OSError:
            pass
        self.sock.close()

    def _receive(self, count: int) -> bytes:
        try:
            return self.sock.recv(count)
        except OSError:
            return b""


class Body:
    """A request's body, read once. An unread body is drained before the response, or was never requested."""

    def __init__(self, connection: Connection, headers: dict[str, str]) -> None:
        self.received = 0
        self.reset_after: int | None = None
        self.record: BinaryIO | None = None
        self.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self.declared: int | None = None
        length = headers.get("content-length")
        if length is not None:
            if self.chunked or not (length.isascii() and length.isdigit()):
                raise BadRequest("the length of the body is ambiguous")
            self.declared = int(length)
        self._connection = connection
        self._remaining = self.declared or 0
        self._expects = headers.get("expect", "").lower() == "100-continue"
        self._ended = not self.chunked and self._remaining == 0
        self._pacer = Pacer(connection.rate) if connection.rate else None

    @property
    def refused(self) -> bool:
        """Whether the client still waits for "100 Continue": then there is nothing to drain."""
        return self._expects and not self._ended

    def chunks(self) -> Iterator[memoryview]:
        """The body piece by piece; each piece is valid until the next one is requested."""
        buffer = memoryview(bytearray(min(CHUNK, self._remaining or CHUNK)))
        while count := self._read_into(buffer):
            yield buffer[:count]

    def read(self, limit: int) -> bytes | bytearray | None:
        """The whole body, or None (and the body drained) if it is longer than `limit` bytes."""
        if self.declared is not None:
            if self.declared > limit:
                self.drain()
                return None
            whole = bytearray(self.declared)
            view, filled = memoryview(whole), 0
            while count := self._read_into(view[filled:]):
                filled += count
            return whole
        parts = bytearray()
        for chunk in self.chunks():
            if len(parts) + len(chunk) > limit:
                self.drain()
                return None
            parts += chunk
        return parts

    def drain(self) -> None:
        if self.refused:
            return
        for _ in self.chunks():
            pass

    def _read_into(self, view: memoryview) -> int:
        if self._ended:
            return 0
        if self._expects:
            self._expects = False
            self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.chunked and self._remaining == 0 and not self._next_chunk():
            return 0
        allowed = min(len(view), self._remaining)
        if self._pacer:
            allowed = min(allowed, self._pacer.step)
        if self.reset_after is not None:
            allowed = min(allowed, self.reset_after - self.received)
            if allowed <= 0:
                self._connection.reset()
                raise ConnectionLost
        count = self._connection.read_into(view[:allowed])
        self.received += count
        self._remaining -= count
        if self.record:
            self.record.write(view[:count])
        if self._pacer:
            self._pacer.passing(count)
        if self.chunked:
            if self._remaining == 0 and self._connection.read_line():
                raise BadRequest("a chunk is longer than it says")
        elif self._remaining == 0:
            self._ended = True
        return count

    def _next_chunk(self) -> bool:
        size = self._connection.read_line().split(b";")[0].strip()
        try:
            self._remaining = int(size, 16)
        except ValueError:
            raise BadRequest("a chunk has no size") from None
        if self._remaining:
            return True
        while self._connection.read_line():
            pass
        self._ended = True
        return False


@dataclass
class Request:
    method: str
    # The path as received, with percent-encoding, without the query.
    path: str
    query_text: str
    headers: dict[str, str]
    body: Body
    origin: str
    connection: int

    @classmethod
    def parse(cls, head: bytes, connection: Connection, origin: str) -> "Request":
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequest("the request line is malformed")
        method, target, version = words
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise BadRequest("a header is malformed")
            key = name.lower()
            headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
        if version == "HTTP/1.0":
            headers.setdefault("connection", "close")
        if "://" in target:
            target = "/" + target.split("://", 1)[1].partition("/")[2]
        path, _, query = target.partition("?")
        return cls(method, path, query, headers, Body(connection, headers), origin, connection.number)

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.query_text, keep_blank_values=True))

    @property
    def reads(self) -> bool:
        return self.method in ("GET", "HEAD")

    @property
    def keep_alive(self) -> bool:
        return "close" not in self.headers.get("connection", "").lower()

    def accepts(self, *media: str) -> bool:
        accepted = {part.split(";")[0].strip().lower() for part in self.headers.get("accept", "").split(",")}
        return not accepted.isdisjoint(media)

    def segment(self, text: str) -> str:
        """A decoded component of the path; bytes that are not UTF-8 become lone surrogates."""
        return unquote(text, errors="surrogateescape")


@dataclass
class FileSlice:
    """A range of a file, sent from the file."""

    path: Path
    offset: int
    length: int


@dataclass
class Delivery:
    """Faults of a response on its way."""

    # Body bytes after which the connection is reset, or closed as if it were complete.
    reset_after: int | None = None
    end_after: int | None = None
    # The first `drip_bytes` of the body (all if None) are sent at this rate, in bytes per second.
    drip_rate: float | None = None
    drip_bytes: int | None = None
    # The byte of the body in which a bit is flipped; from the end if negative.
    flip: int | None = None
    # No response at all.
    silent: bool = False


@dataclass
class Response:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | FileSlice = b""
    delivery: Delivery | None = None

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> "Response":
        text = json.dumps(value, separators=(",", ":")).encode()
        return cls(status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, text)

    @property
    def length(self) -> int:
        return self.body.length if isinstance(self.body, FileSlice) else len(self.body)

    def send(self, connection: Connection, request: Request, keep_alive: bool) -> int:
        """Sends the response, and returns how many bytes of its body were sent."""
        if self.delivery and self.delivery.silent:
            connection.close()
            return 0
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {self.status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.status not in (204, 304) and "Content-Length" not in self.headers:
            lines.append(f"Content-Length: {self.length}")
        if not keep_alive:
            lines.append("Connection: close")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        if request.method == "HEAD" or self.status in (204, 304):
            connection.send(head)
            return 0
        if self.delivery or connection.rate:
            connection.send(head)
            return self._send_slowly(connection, self.delivery or Delivery())
        if isinstance(self.body, FileSlice):
            connection.send(head)
            with self.body.path.open("rb") as file:
                connection.send_file(file, self.body.offset, self.body.length)
        elif len(self.body) <= 64 << 10:
            connection.send(head + self.body)
        else:
            connection.send(head)
            connection.send(self.body)
        return self.length

    def _pieces(self) -> Iterator[bytes]:
        if isinstance(self.body, bytes):
            yield self.body
            return
        with self.body.path.open("rb") as file:
            file.seek(self.body.offset)
            left = self.body.length
            while left and (piece := file.read(min(CHUNK, left))):
                left -= len(piece)
                yield piece

    def _send_slowly(self, connection: Connection, how: Delivery) -> int:
        pacer = Pacer(connection.rate) if connection.rate else None
        drip = Pacer(how.drip_rate) if how.drip_rate else None
        flip = how.flip if how.flip is None or how.flip >= 0 else self.length + how.flip
        stops = [stop for stop in (how.reset_after, how.end_after) if stop is not None]
        end = min([self.length, *stops])
        sent = 0
        for whole in self._pieces():
            piece = memoryview(bytearray(whole))
            if flip is not None and sent <= flip < sent + len(piece):
                piece[flip - sent] ^= 1
            while piece and sent < end:
                step = min(len(piece), end - sent)
                dripping = drip is not None and (how.drip_bytes is None or sent < how.drip_bytes)
                if drip and dripping:
                    step = min(step, drip.step, (how.drip_bytes or step + sent) - sent)
                if pacer:
                    step = min(step, pacer.step)
                connection.send(piece[:step])
                sent += step
                piece = piece[step:]
                if drip and dripping:
                    drip.passing(step)
                if pacer:
                    pacer.passing(step)
        if how.reset_after is not None:
            connection.reset()
        elif how.end_after is not None:
            connection.close()
        return sent
