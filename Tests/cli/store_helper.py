#!/usr/bin/env -S python3 -IS
"""A store helper for tests (tbk-store-helpers(7)): a directory, `ref:PATH`, with a compare-and-swap under a kernel
lock. HELPER_FAULT makes it fail: KIND@REQUEST[.NUMBER], as in `die@put` or `hang-after@swap.2`.

It logs its requests to PATH.log.
"""

import fcntl
import hashlib
import os
import signal
import sys
import time

root = sys.argv[1].split(":", 1)[1]
swapping = os.environ.get("HELPER_SWAP", "swap-atomic")
ranges = bool(os.environ.get("HELPER_RANGES"))
fault, _, where = os.environ.get("HELPER_FAULT", "").partition("@")
where, _, number = where.partition(".")
# Responses that a helper should never give, or not always.
ANSWERS = {
    "nonsense": "banana",
    "control": "ok \x1b[2J 1",
    "empty": "",
    "number": "ok 99999999999999999999 v",
    "huge": "ok 999999999999999999 v",
    "zeros": "ok 0012 v",
    "minus": "ok -1 v",
    "more": "ok 3 v extra",
    "version": f"ok 0 {'v' * 200}",
    "error": "error unavailable \x1b[31mthe cable is out\x07",
    "bare": "error",
    "denied": "error denied not for you",
    "full": "error full no room",
    "again": "error again come back",
    "busy": "busy",
}
counts = {}
# Seconds to wait before each KiB of a slow response.
pauses = []
log = open(root + ".log", "a")
source, sink = sys.stdin.buffer, sys.stdout.buffer


def say(line, body=b""):
    sink.write(line.encode() + b"\n" + (b"" if pauses else body))
    sink.flush()
    for at in range(0, len(body) if pauses else 0, 1024):
        time.sleep(pauses[0])
        sink.write(body[at:at + 1024])
        sink.flush()


def load(name):
    try:
        with open(os.path.join(root, name), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def store(name, data):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def version(data):
    return "-" if data is None else hashlib.sha256(data).hexdigest()


def take(size):
    data = source.read(size)
    if len(data) != size:
        sys.exit(0)
    return data


def misbehave(kind):
    """Fails as requested; returns True if the request must still be answered."""
    if kind == "die":
        sys.exit(9)
    elif kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind.startswith("status"):
        sys.exit(int(kind[6:]))
    elif kind == "hang":
        # Ignores the end of its input, like a program that hangs.
        while True:
            time.sleep(3000)
    elif kind == "half":
        sink.write(b"ok 1")
        sink.flush()
        sys.exit(0)
    elif kind == "endless":
        while True:
            sink.write(b"x" * 65536)
    elif kind == "flood":
        while True:
            sink.write(b"entry 1 1 ../x\n" * 10000)
    elif kind == "waits":
        while True:
            sink.write(b"wait\n" * 10000)
    elif kind == "drip":
        # One byte at a time of a response that never ends.
        say("ok 100000000 v")
        while True:
            time.sleep(0.05)
            sink.write(b" ")
            sink.flush()
    elif kind == "trickle":
        while True:
            time.sleep(0.05)
            say("entry 1 1 x")
    elif kind == "sip":
        while os.read(0, 1):
            time.sleep(0.05)
    elif kind in ANSWERS:
        say(ANSWERS[kind])
    elif kind == "noisy":
        for at in range(5000):
            print(f"line {at} \x1b]0;title\x07", file=sys.stderr)
        return True
    elif kind == "slow":
        # Slow, but within the limit.
        pauses.append(0.1)
        return True
    elif kind == "chatty":
        say("wait")
        say("wait")
        return True
    return False


for line in source:
    word, *rest = line.decode().split()
    counts[word] = counts.get(word, 0) + 1
    log.write(line.decode())
    log.flush()
    mine = word == where and (not number or counts[word] == int(number))
    if mine and not fault.endswith("-after"):
        once = root + ".once"
        if fault == "again-once":
            if not os.path.exists(once):
                open(once, "w").close()
                if word in ("put", "swap"):
                    take(int(rest[1]))
                misbehave("again")
                continue
        if fault in ("error", "denied", "full", "again", "busy") and word in ("put", "swap"):
            take(int(rest[1]))
        if not misbehave(fault) and fault not in ("short", "long", "altered", "paths", "lost", "environment", "again-once", "torn"):
            continue
    if mine and fault == "environment":
        with open(root + ".environment", "wb") as file:
            file.write(open("/proc/self/environ", "rb").read())
            file.write(b"\0descriptors " + " ".join(sorted(os.listdir("/proc/self/fd"))).encode())
    late = fault.removesuffix("-after") if mine and fault.endswith("-after") else None
    answer = ("error unavailable an unknown request", b"")
    if word == "hello":
        if not os.path.isdir(root):
            answer = "error unavailable there is no such place", b""
        else:
            answer = f"ok 1 {swapping} something-new{' range' if ranges else ''}", b""
    elif word in ("get", "stat"):
        data = load(rest[0])
        if data is None:
            answer = "missing", b""
        else:
            answer = f"ok {len(data)} {version(data)}", data if word == "get" else b""
            if mine and fault == "short":
                say(answer[0], data[:-1])
                sys.exit(0)
            if mine and fault == "long":
                answer = answer[0], data + b"more"
            if mine and fault == "altered":
                answer = answer[0], data[:-1] + bytes([data[-1] ^ 1])
    elif word == "range" and ranges:
        data, first, count = load(rest[0]), int(rest[1]), int(rest[2])
        if data is None:
            answer = "missing", b""
        elif first + count > len(data):
            answer = "error broken there is no more", b""
        else:
            answer = f"ok {count}", data[first:first + count]
            if mine and fault == "short":
                say(answer[0], answer[1][:-1])
                sys.exit(0)
            if mine and fault == "altered":
                answer = answer[0], answer[1][:-1] + bytes([answer[1][-1] ^ 1])
    elif word == "put":
        data = take(int(rest[1]))
        store(rest[0], data[:len(data) // 2] if mine and fault == "torn" else data)
        if mine and fault == "torn":
            misbehave("kill")
        answer = "ok", b""
    elif word == "swap":
        new = take(int(rest[1]))
        with open(root + ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if version(load("metadata.json")) != rest[2]:
                answer = "conflict", b""
            elif mine and fault == "lost" and not os.path.exists(root + ".once"):
                # Another writer overwrote it without having seen it.
                open(root + ".once", "w").close()
                answer = f"ok {version(new)}", b""
            else:
                store("metadata.json", new)
                answer = f"ok {version(new)}", b""
    elif word == "list":
        folder = os.path.join(root, rest[0])
        names = os.listdir(folder) if os.path.isdir(folder) else []
        if mine and fault == "paths":
            for name in ("../../etc/passwd", "-rf", ".hidden", "a/b", "x" * 200, "~"):
                say(f"entry 1 1 {name}")
        for name in names:
            info = os.stat(os.path.join(folder, name))
            say(f"entry {info.st_size} {int(info.st_mtime)} {name}")
        answer = "ok", b""
    elif word == "remove":
        try:
            os.remove(os.path.join(root, rest[0]))
            answer = "ok", b""
        except FileNotFoundError:
            answer = "missing", b""
    if late:
        misbehave(late)
    say(*answer)
