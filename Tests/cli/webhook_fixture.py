"""A local stand-in for the services behind webhooks, and the rules for messages in their documentation.

The schemas are written from https://docs.slack.dev/reference/block-kit/blocks and
https://docs.discord.com/developers/resources/webhook#execute-webhook.
"""

import contextlib
import http.server
import json
import threading
from dataclasses import dataclass, field

from conftest import PATIENCE

# Anyone who has it can post there.
SECRET = "T00000000-B00000000-XXXXXXXXXXXXXXXXXXXXXXXX"

PLAIN = {"type": "object", "required": ["type", "text"], "additionalProperties": False,
         "properties": {"type": {"const": "plain_text"}, "text": {"type": "string", "minLength": 1},
                        "emoji": {"type": "boolean"}}}
MARKUP = {"type": "object", "required": ["type", "text"], "additionalProperties": False,
          "properties": {"type": {"const": "mrkdwn"}, "text": {"type": "string", "minLength": 1},
                         "verbatim": {"type": "boolean"}}}


def shorter(kind, limit):
    return {"allOf": [kind, {"properties": {"text": {"maxLength": limit}}}]}


SLACK = {
    "type": "object", "required": ["blocks"], "additionalProperties": False,
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 40000},
        "blocks": {"type": "array", "minItems": 1, "maxItems": 50, "items": {"oneOf": [
            {"type": "object", "required": ["type", "text"], "additionalProperties": False,
             "properties": {"type": {"const": "header"}, "text": shorter(PLAIN, 150)}},
            {"type": "object", "required": ["type"], "additionalProperties": False,
             "anyOf": [{"required": ["text"]}, {"required": ["fields"]}],
             "properties": {
                 "type": {"const": "section"},
                 "text": {"oneOf": [shorter(PLAIN, 3000), shorter(MARKUP, 3000)]},
                 "fields": {"type": "array", "minItems": 1, "maxItems": 10,
                            "items": {"oneOf": [shorter(PLAIN, 2000), shorter(MARKUP, 2000)]}}}},
        ]}},
    },
}

DISCORD = {
    "type": "object", "required": ["embeds", "allowed_mentions"], "additionalProperties": False,
    "properties": {
        "allowed_mentions": {"const": {"parse": []}},
        "embeds": {"type": "array", "minItems": 1, "maxItems": 10, "items": {
            "type": "object", "additionalProperties": False,
            "properties": {
                "title": {"type": "string", "minLength": 1, "maxLength": 256},
                "description": {"type": "string", "minLength": 1, "maxLength": 4096},
                "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"},
                "color": {"type": "integer", "minimum": 0, "maximum": 0xffffff},
                "fields": {"type": "array", "maxItems": 25, "items": {
                    "type": "object", "required": ["name", "value"], "additionalProperties": False,
                    "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 256},
                                   "value": {"type": "string", "minLength": 1, "maxLength": 1024},
                                   "inline": {"type": "boolean"}}}},
            }}},
    },
}

NUMBER = {"type": ["integer", "null"], "minimum": 0}
TEXT = {"type": ["string", "null"]}
GENERIC = {
    "type": "object", "additionalProperties": False,
    "required": ["event", "summary", "status", "profile", "backup_id", "mode", "file_count", "archive_size",
                 "archive_size_human", "duration_seconds", "timestamp", "warning", "error"],
    "properties": {
        "event": {"const": "backup"}, "summary": {"type": "string"},
        "status": {"enum": ["success", "partial", "unchanged", "failure"]},
        "profile": TEXT, "backup_id": TEXT, "mode": TEXT, "file_count": NUMBER, "archive_size": NUMBER,
        "archive_size_human": TEXT, "duration_seconds": NUMBER, "timestamp": {"type": "string"}, "warning": TEXT,
        "error": {"oneOf": [{"type": "null"}, {"type": "object", "required": ["type", "message"],
                                              "additionalProperties": False,
                                              "properties": {"type": TEXT, "message": TEXT}}]},
    },
}
SCHEMAS = {"slack": SLACK, "discord": DISCORD, "generic": GENERIC}


def total(embed):
    """The length that Discord limits to 6000 characters."""
    texts = [embed.get("title", ""), embed.get("description", "")]
    for entry in embed.get("fields", []):
        texts += [entry["name"], entry["value"]]
    return sum(len(text.encode("utf-16-le")) // 2 for text in texts)


@dataclass
class Service:
    """Gives its answers in turn, and repeats the last one; an answer that is a function gets the handler."""
    url: str = ""
    answers: list = field(default_factory=lambda: [(200, {}, b"ok")])
    requests: list = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def bodies(self):
        return [json.loads(body) for _, _, _, body in self.requests]

    @property
    def paths(self):
        return [path for _, path, _, _ in self.requests]

    def hang(self, handler):
        # Longer than any test runs.
        self.released.wait(10 * PATIENCE)
        handler.close_connection = True

    def flood(self, handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not self.released.is_set():
                handler.wfile.write(b"x" * 65536)
        handler.close_connection = True

    def drip(self, handler):
        """Fast enough to keep the connection open, and endless."""
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not self.released.wait(0.2):
                handler.wfile.write(b"x" * 100)
                handler.wfile.flush()
        handler.close_connection = True


@contextlib.contextmanager
def running():
    service = Service()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def handle_one(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            service.requests.append((self.command, self.path, dict(self.headers), body))
            answer = service.answers[min(len(service.requests), len(service.answers)) - 1]
            if callable(answer):
                answer(self)
                return
            status, headers, text = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET = do_HEAD = handle_one

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}/services/{SECRET}"
    try:
        yield service
    finally:
        service.released.set()
        server.shutdown()
        server.server_close()
