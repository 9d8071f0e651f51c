#!/usr/bin/env python3
"""Draws docs/pictures/session.svg: the commands of README's "Two minutes", run in a terminal, and what that shows.

`make pictures` writes the file anew. Nothing in it is made up: the commands are those of README.md, and they run in a new
home. From one run to another it differs where the runs do, in ids, times and sizes.
"""

import argparse
import os
import pathlib
import re
import sys
import tempfile
from xml.sax.saxutils import escape

from terminal import Screen, Terminal

TOP = pathlib.Path(__file__).resolve().parents[2]
# Whose account the picture shows.
HOME = "/home/ada"
COLUMNS = 80
WIDTH, HEIGHT, MARGIN, BAR = 8.4, 18, 18, 32
COLOURS = {31: "#ff7b72", 32: "#7ee787", 33: "#e3b341", 36: "#79c0ff"}
# A window that is dark on a light page and on a dark one; its border is to be seen on both.
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" aria-labelledby="title">
<title id="title">{title}</title>
<style>
text {{ font: 14px ui-monospace, SFMono-Regular, "SF Mono", Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono", monospace; fill: #c9d1d9; white-space: pre; }}
.typed {{ fill: #f0f6fc; font-weight: 600; }}
.prompt {{ fill: #8b949e; }}
</style>
<rect x="0.5" y="0.5" width="{inner:g}" height="{innermost:g}" rx="9" fill="#161b22" stroke="#6e7681"/>
<circle cx="20" cy="17" r="5.5" fill="#ff5f57"/><circle cx="38" cy="17" r="5.5" fill="#febc2e"/><circle cx="56" cy="17" r="5.5" fill="#28c840"/>
"""
TITLE = "A terminal: a directory is backed up, changed, backed up again, restored and compared"


def commands(readme):
    """The lines of the first block under "Two minutes", without their comments."""
    block = re.search(r"^## Two minutes\n.*?^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)[1]
    return [re.sub(r"\s{2,}# .*", "", line) for line in block.splitlines() if line]


def record(commands, binaries):
    """Runs the commands in a new home: for each of them itself, and the lines of cells that it left on the screen."""
    with tempfile.TemporaryDirectory(prefix="tb-") as folder:
        folder = pathlib.Path(folder).resolve()
        home = folder / "ada"
        home.mkdir(mode=0o700)
        terminal = Terminal(home, {"PATH": f"{binaries}:/usr/local/bin:/usr/bin:/bin", "TMPDIR": str(folder),
                                   "TZ": "UTC"}, lambda prompt: b"correct horse battery staple", COLUMNS)
        shown = []
        for command in commands:
            status, written = terminal.run(command)
            screen = Screen(COLUMNS)
            screen.write(written.decode().replace(str(home), HOME))
            if status:
                raise SystemExit(f"'{command}' ended with {status}:\n{screen.text}")
            while screen.lines and not screen.lines[-1]:
                screen.lines.pop()
            shown.append((command, screen.lines))
    return shown


def runs(cells):
    """Pieces of one style, as (column, text, style); a gap of two or more spaces ends one, for columns to stay in line."""
    text = "".join(character for character, _ in cells)
    for found in re.finditer(r"\S+(?: \S+)*", text):
        at = found.start()
        while at < found.end():
            end = at
            while end < found.end() and cells[end][1] == cells[at][1]:
                end += 1
            yield at, text[at:end], cells[at][1]
            at = end


def draw(shown):
    lines = []
    for command, output in shown:
        lines.append([("$", "prompt"), (" ", "prompt"), *((character, "typed") for character in command)])
        lines += output
    width = 2 * MARGIN + COLUMNS * WIDTH
    height = BAR + len(lines) * HEIGHT + MARGIN
    picture = [HEAD.format(width=width, height=height, inner=width - 1, innermost=height - 1, title=TITLE)]
    for row, cells in enumerate(lines):
        for column, text, style in runs(cells):
            if isinstance(style, str):
                look = f' class="{style}"'
            else:
                look = "".join(f' fill="{COLOURS[number]}"' for number in style if number in COLOURS)
                look += ' font-weight="600"' if 1 in style else ""
            # textLength: whatever font there is, a character takes its cell.
            picture.append(f'<text x="{MARGIN + column * WIDTH:g}" y="{BAR + row * HEIGHT + 14:g}"'
                           f' textLength="{len(text) * WIDTH:g}"{look}>{escape(text)}</text>\n')
    return "".join(picture) + "</svg>\n"


def main():
    parser = argparse.ArgumentParser(description="Draws a terminal session of README.md, as SVG on standard output.")
    parser.add_argument("--bin", default=TOP / ".build" / "suite" / "bin", help="where the commands are")
    arguments = parser.parse_args()
    if not os.access(f"{arguments.bin}/termbackup", os.X_OK):
        raise SystemExit(f"no termbackup in '{arguments.bin}': run 'make' first")
    sys.stdout.write(draw(record(commands((TOP / "README.md").read_text()), arguments.bin)))


if __name__ == "__main__":
    main()
