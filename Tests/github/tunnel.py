"""A proxy that opens tunnels (CONNECT, RFC 9110, 9.3.6) and nothing else."""

from __future__ import annotations

import socket
import threading


class Tunnel:
    """Runs while used as a context manager, and stores the head of each request, byte for byte."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.heads: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self) -> Tunnel:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (data := connection.recv(4096)):
            head += data
        self.heads.append(head)
        method, target, *_ = [*head.split(b" ", 2), b"", b""]
        if method != b"CONNECT":
            connection.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            connection.close()
            return
        host, _, port = target.decode().rpartition(":")
        other = socket.create_connection((host, int(port)), 10)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=_pass, args=(other, connection), daemon=True).start()
        _pass(connection, other)


def _pass(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
