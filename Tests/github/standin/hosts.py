"""The hosts: listening sockets, with a thread for each connection."""

import itertools
import socket
import sys
import threading
import traceback
from contextlib import suppress

from . import service
from .site import Site
from .wire import BadRequest, Connection, ConnectionLost, Request, Response

_connections = itertools.count(1)


class Host:
    """One origin: an address, and the handler of its requests."""

    def __init__(self, origin: str, address: str) -> None:
        self.origin = origin
        self._socket = socket.create_server((address, 0), backlog=512)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://{host}:{port}"

    def start(self, site: Site) -> None:
        """Starts to accept connections, in threads that end with the process."""
        threading.Thread(target=self._accept, args=(site,), daemon=True).start()

    def _accept(self, site: Site) -> None:
        while True:
            sock, _ = self._socket.accept()
            connection = Connection(sock, next(_connections))
            threading.Thread(target=self._serve, args=(site, connection), daemon=True).start()

    def _serve(self, site: Site, connection: Connection) -> None:
        try:
            connection.limit(site.settings.per_connection_bytes_per_second)
            while connection.usable and (head := connection.read_head()):
                self._exchange(site, connection, head)
        except ConnectionLost:
            # The client is gone.
            return
        except BadRequest as error:
            self._refuse(connection, error)
        finally:
            connection.close()

    def _exchange(self, site: Site, connection: Connection, head: bytes) -> None:
        request = Request.parse(head, connection, self.origin)
        if self.origin == "api" and request.path.startswith("/_control/"):
            response = service.control_answer(site, request)
            response.send(connection, request, request.keep_alive)
            connection.usable = connection.usable and request.keep_alive
            return
        entry = site.log.begin(request)
        try:
            try:
                response = service.answer(site, request, entry)
            except (ConnectionLost, BadRequest):
                raise
            except Exception:
                traceback.print_exc(file=sys.stderr)
                response = Response.json({"message": "the stand-in itself failed"}, 500)
            silent = response.delivery is not None and response.delivery.silent
            entry["status"] = None if silent else response.status
            entry["request_bytes"] = request.body.received
            # Set before sending: a client that has the whole response may read the log at once.
            entry["response_bytes"] = 0 if silent or request.method == "HEAD" else response.length
            keep_alive = request.keep_alive and not request.body.refused
            entry["response_bytes"] = response.send(connection, request, keep_alive)
            connection.usable = connection.usable and keep_alive
        finally:
            entry["request_bytes"] = request.body.received

    def _refuse(self, connection: Connection, error: BadRequest) -> None:
        text = f"{error}\n".encode()
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n" \
            "Connection: close\r\n\r\n"
        with suppress(ConnectionLost):
            connection.send(head.encode() + text)
