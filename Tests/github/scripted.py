"""An HTTP server that plays a script: `python3 scripted.py SCRIPT`, until its parent exits.

The script is a JSON list with one step per request, in order; the last one repeats. A step is an object: `send` (the raw
response with its headers, in which `PORT` is replaced), `zeros` (followed by this many zeros, in gzip), `flood` (followed
by this text, repeated until the client is gone, or `times` times), `every` (seconds between these), `wait` (seconds
before the response), `cut` (close the connection afterwards). With `sip` in the first step, request bodies are read a
byte at a time. Prints its port, and then a line of JSON for each request: the first line, the headers in lower case and
the length of the body.
"""

import gzip
import json
import os
import socket
import sys
import threading
import time

STEPS = json.loads(sys.argv[1])
for _step in STEPS:
    # Done before a client waits for it.
    _step["body"] = gzip.compress(bytes(_step["zeros"])) if "zeros" in _step else b""
LOCK = threading.Lock()
COUNT = 0


def receive(stream):
    """A request's first line, headers and body length; None at the end."""
    first = stream.readline().decode("latin-1").strip()
    if not first:
        return None
    headers = {}
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    length = int(headers.get("content-length", 0))
    while STEPS[0].get("sip") and stream.read(1):
        time.sleep(0.05)
    body = stream.read(length)
    return {"line": first, "headers": headers, "length": len(body)}


def play(connection, step, port):
    time.sleep(step.get("wait", 0))
    connection.sendall(step.get("send", "").replace("PORT", str(port)).encode("latin-1") + step["body"])
    flood = step.get("flood", "").encode("latin-1")
    for _ in range(step.get("times", sys.maxsize) if flood else 0):
        connection.sendall(flood)
        time.sleep(step.get("every", 0))
    return not step.get("cut")


def serve(connection, port):
    global COUNT
    stream = connection.makefile("rb")
    try:
        while request := receive(stream):
            with LOCK:
                step = STEPS[min(COUNT, len(STEPS) - 1)]
                COUNT += 1
                print(json.dumps(request), flush=True)
            if not play(connection, step, port):
                break
    except OSError:
        pass
    stream.close()
    connection.close()


def main():
    parent = os.getppid()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    print(port, flush=True)

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0], port), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    while os.getppid() == parent:
        time.sleep(0.2)


if __name__ == "__main__":
    main()
