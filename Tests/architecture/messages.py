#!/usr/bin/env python3
"""Prints every user-visible text of the programs and scripts, one per line, sorted: `make messages`.

Interpolated values are shown as <…>. A text is listed once, wherever it is used, so that moving code changes nothing.
"""

import pathlib
import re
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
FILLED = "<…>"
# The start of a call whose string literals are shown to users, even if they are single words.
SPEAKING = re.compile(
    r"(?:\b(?:Failure|ValidationError|ReadingError|ArgumentHelp|warning|notice|note|warn|within|system|prompt|ask|question)|"
    r"\b(?:hint|help|abstract|discussion|message|reason|valueName)\s*:\s*)\s*\($")
WORDS = re.compile(r"[A-Za-z<>…'\"),]\s[A-Za-z<'\"(]")
# Shell: commands that print their arguments.
SHOWING = re.compile(r"(?:^|[\s;&|{(!])(?:tb_(?:note|warn|die|usage_error|fails|ask|tell|refuse)|die|printf|say|note)\b")
# Files that contain programs in other languages.
EXCEPT = {"CompletionFiles.swift"}
SHELL_STRING = re.compile(r"'([^']*)'|\"((?:[^\"\\]|\\.)*)\"")


class Swift:
    """Finds the string literals in a file, with the calls that they belong to; literals joined by + count as one."""

    def __init__(self, text):
        self.text = text
        self.position = 0
        self.found = []

    def literals(self):
        text, end = self.text, len(self.text)
        calls = []
        joined = None
        while self.position < end:
            here = self.position
            if text.startswith("//", here):
                self.position = text.find("\n", here) if "\n" in text[here:] else end
            elif text.startswith("/*", here):
                self.position = text.index("*/", here) + 2
            elif text[here] == '"' or re.compile(r'#+"').match(text, here):
                value = self.string()
                if joined is not None:
                    self.found[-1] = (self.found[-1][0] + value, self.found[-1][1])
                else:
                    self.found.append((value, bool(calls) and any(calls)))
                joined = re.compile(r'\s*\+\s*(?=#*")').match(text, self.position)
                if joined:
                    self.position = joined.end()
                continue
            else:
                if text[here] in "([":
                    calls.append(text[here] == "(" and bool(SPEAKING.search(text[max(0, here - 40):here + 1])))
                elif text[here] in ")]" and calls:
                    calls.pop()
                self.position += 1
            joined = None
        return self.found

    def string(self):
        """Reads a literal, and moves behind it."""
        text = self.text
        hashes = 0
        while text[self.position] == "#":
            hashes += 1
            self.position += 1
        quote = '"""' if text.startswith('"""', self.position) else '"'
        self.position += len(quote)
        escape, close = "\\" + "#" * hashes, quote + "#" * hashes
        value = ""
        while not text.startswith(close, self.position):
            if text.startswith(escape + "(", self.position):
                self.position += len(escape) + 1
                self.interpolation()
                value += FILLED
            elif text.startswith(escape, self.position):
                after = text[self.position + len(escape)]
                value += {"n": "\n", "t": "\t", "0": "\0", "\n": ""}.get(after, after)
                self.position += len(escape) + 1
            else:
                value += text[self.position]
                self.position += 1
        self.position += len(close)
        return value

    def interpolation(self):
        """Moves behind the closing parenthesis; literals inside are separate texts."""
        depth = 1
        while depth:
            if self.text[self.position] == '"':
                self.found.append((self.string(), False))
                continue
            depth += {"(": 1, ")": -1}.get(self.text[self.position], 0)
            self.position += 1


def of_swift(text):
    for value, is_message in Swift(text).literals():
        value = " ".join(value.split())
        if is_message and re.search("[A-Za-z]", value) or WORDS.search(value) and re.search("[a-z]{2}", value):
            yield value


def of_shell(text):
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    command = r"\$\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
    for line in text.splitlines():
        if not SHOWING.search(line):
            continue
        line = re.sub(command, FILLED, line)
        for single, double in SHELL_STRING.findall(line):
            double = re.sub(r"\$\{[^}]*\}|\$\w+|\$[0-9@*?]", FILLED, double)
            value = " ".join((single or double).replace("\\n", " ").split())
            if WORDS.search(value) and re.search("[a-z]{2}", value.replace("%s", "")):
                yield value


def messages():
    found = set()
    for path in (REPOSITORY / "Sources").rglob("*.swift"):
        if path.name not in EXCEPT:
            found.update(of_swift(path.read_text("utf-8")))
    for path in (REPOSITORY / "bin").rglob("*"):
        if path.is_file():
            found.update(of_shell(path.read_text("utf-8")))
    return sorted(found)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{message}\n" for message in messages()))
