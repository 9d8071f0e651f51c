#!/usr/bin/env -S python3 -IS
"""Between tbk-open --from and tbk-pull --serve: LOG FAULT COMMAND….

Logs each request to LOG with the size of its response. FAULT is KIND@NUMBER[:VALUE]: it falsifies the response to the
range with this number, counted from 1, or from it on. ahead@NUMBER delays that response until VALUE more
requests have arrived.
"""

import os
import subprocess
import sys

log = open(sys.argv[1], "a")
kind, _, rest = sys.argv[2].partition("@")
number, _, value = rest.partition(":")
number = int(number or 0)
server = subprocess.Popen(sys.argv[3:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
source, sink = sys.stdin.buffer, sys.stdout.buffer
with open(sys.argv[1] + ".environment", "wb") as file:
    file.write(open("/proc/self/environ", "rb").read())
    for name in os.listdir("/proc/self/fd"):
        try:
            file.write(b"\0descriptor " + os.readlink(f"/proc/self/fd/{name}").encode())
        except OSError:
            pass
ranges = 0


def ask(line):
    server.stdin.write(line)
    server.stdin.flush()
    answer = server.stdout.readline()
    words = answer.split()
    size = int(words[1]) if words[:1] == [b"ok"] and line.split()[0] in (b"range", b"manifest") else 0
    return answer, server.stdout.read(size)


early = []
while line := early.pop(0) if early else source.readline():
    words = line.split()
    answer, body = None, b""
    if words[0] == b"range":
        ranges += 1
        now, later = ranges == number, ranges >= number
        while kind == "ahead" and now and len(early) < int(value or 1):
            early.append(source.readline())
            assert early[-1], "nothing more was asked for"
        if kind == "swap" and later:
            # From here on another archive, as if it had replaced this one.
            data = open(value, "rb").read()
            first, count = int(words[2]), int(words[3])
            answer, body = b"ok %d\n" % count, data[first:first + count].ljust(count, b"\0")
        elif kind == "die" and now:
            sys.exit(75)
        elif kind == "nonsense" and now:
            answer, body = b"banana\n", b""
        elif kind == "error" and now:
            answer, body = b"error again come \x1b[31mback\n", b""
    elif words[0] == b"stat" and kind == "size":
        answer, body = ask(line)
        parts = answer.split()
        answer = b"ok %d %s\n" % (int(parts[1]) + int(value), parts[2])
    elif words[0] == b"stat" and kind == "other":
        line = b"stat %s\n" % value.encode()
    elif words[0] == b"manifest" and kind == "other":
        line = b"manifest %s\n" % value.encode()
    if words[0] == b"range" and kind == "other":
        line = b"range %s %s %s\n" % (value.encode(), words[2], words[3])
    if answer is None:
        answer, body = ask(line)
    if words[0] == b"range" and ranges == number and body:
        if kind == "flip":
            at = int(value) % len(body)
            body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]
        elif kind == "cut":
            sink.write(answer + body[:len(body) // 2])
            sink.flush()
            sys.exit(0)
    log.write(f"{line.decode().strip()} {len(body)}\n")
    log.flush()
    sink.write(answer + body)
    sink.flush()
server.stdin.close()
sys.exit(server.wait())
