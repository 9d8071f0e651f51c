"""A small runner for workflows and composite actions, as far as those of this repository need one.

It looks up `${{ … }}`, gives each step its environment, GITHUB_OUTPUT, GITHUB_PATH and GITHUB_STEP_SUMMARY, and
interprets the output of steps like GitHub's runner: `::add-mask::` and `::stop-commands::`.
"""

import functools
import http.server
import os
import pathlib
import re
import subprocess
import threading
from dataclasses import dataclass, field

import pytest
import yaml
from conftest import BIN, PATIENCE, REPOSITORY, absent, require

ACTION = yaml.safe_load((REPOSITORY / "action.yml").read_text())
EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")


@dataclass
class Outcome:
    status: int = 0
    outputs: dict = field(default_factory=dict)
    # The log with secrets masked, and the output as it was.
    log: str = ""
    raw: str = ""


def fill(text, context):
    """A value of a workflow, with its expressions looked up. A missing one is empty, as on GitHub."""
    def look_up(match):
        found = context
        for name in match[1].split("."):
            found = found.get(name, "") if isinstance(found, dict) else ""
        return str(found)
    return EXPRESSION.sub(look_up, str(text))


class Runner:
    """One job: a workspace, and what its steps pass to each other."""

    def __init__(self, folder, environment, secrets=None, **github):
        self.folder = folder
        self.workspace = folder / "workspace"
        self.temporary = folder / "runner"
        for made in (self.workspace, self.temporary):
            made.mkdir(parents=True)
        self.environment = dict(environment)
        self.paths = []
        self.masks = []
        self.summary = self.temporary / "summary"
        self.summary.touch()
        self.context = {"env": {}, "steps": {}, "secrets": secrets or {},
                        "github": {"repository": "me/project", "repository_owner": "me", **github}}
        self.steps = 0

    def run_job(self, job):
        """Runs every step until one fails."""
        self.context["env"] = {name: fill(value, self.context) for name, value in job.get("env", {}).items()}
        whole = Outcome()
        for step in job["steps"]:
            done = self.run_step(step)
            whole.status, whole.log, whole.raw = done.status, whole.log + done.log, whole.raw + done.raw
            if "id" in step:
                self.context["steps"][step["id"]] = {"outputs": done.outputs}
            if done.status:
                break
        return whole

    def run_step(self, step):
        if "run" in step:
            return self.run_script(step, self.context, {})
        if step["uses"].startswith("actions/checkout@"):
            return Outcome()
        assert step["uses"] == "./", step
        own = {name: fill(value, self.context) for name, value in step.get("env", {}).items()}
        return self.run_action({name: fill(value, self.context) for name, value in step["with"].items()}, own)

    def run_action(self, given, environment=None):
        """Runs this repository's action with these inputs."""
        assert set(given) <= set(ACTION["inputs"]), "GitHub warns of inputs that are not declared"
        inputs = {}
        for name, declared in ACTION["inputs"].items():
            assert name in given or not declared.get("required"), name
            inputs[name] = given.get(name, declared.get("default", ""))
        context = {**self.context, "inputs": inputs, "steps": {},
                   "github": {**self.context["github"], "action_path": str(REPOSITORY), "action_repository": ""}}
        whole = Outcome()
        for step in ACTION["runs"]["steps"]:
            done = self.run_script(step, context, environment or {})
            context["steps"][step["id"]] = {"outputs": done.outputs}
            whole.status, whole.log, whole.raw = done.status, whole.log + done.log, whole.raw + done.raw
            if done.status:
                break
        whole.outputs = {name: fill(output["value"], context) for name, output in ACTION["outputs"].items()}
        return whole

    def run_script(self, step, context, environment):
        self.steps += 1
        script, output, path = (self.temporary / f"{self.steps}.{kind}" for kind in ("sh", "output", "path"))
        # An expression in a script would run code from anyone who controls the value.
        assert "${{" not in step["run"], step
        script.write_text(step["run"])
        output.touch()
        path.touch()
        own = {name: fill(value, context) for name, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["sh", "-e", script], cwd=self.workspace, stdin=subprocess.DEVNULL, timeout=PATIENCE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**self.environment, **context["env"], "CI": "true", "GITHUB_ACTIONS": "true",
                 "GITHUB_REPOSITORY": context["github"]["repository"], "RUNNER_TEMP": str(self.temporary),
                 "GITHUB_OUTPUT": str(output), "GITHUB_PATH": str(path), "GITHUB_STEP_SUMMARY": str(self.summary),
                 "PATH": ":".join([*self.paths, self.environment["PATH"]]), **environment, **own})
        self.paths[:0] = reversed(path.read_text().split("\n")[:-1])
        raw = done.stdout.decode(errors="replace")
        outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
        return Outcome(done.returncode, outputs, self.shown(raw), raw)

    def shown(self, raw):
        """The output as the log shows it."""
        lines, stopped = [], None
        for line in raw.splitlines():
            if stopped is not None:
                if line == f"::{stopped}::":
                    stopped = None
                    continue
            elif line.startswith("::stop-commands::"):
                stopped = line.removeprefix("::stop-commands::")
                assert stopped
                continue
            elif line.startswith("::add-mask::"):
                mask = line.removeprefix("::add-mask::")
                for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
                    mask = mask.replace(code, character)
                self.masks += [mask, *filter(None, mask.splitlines())]
                continue
            elif line.startswith("::"):
                pytest.fail(f"a command to the runner: {line}")
            lines.append(line)
        text = "\n".join([*lines, ""])
        for mask in self.masks:
            text = text.replace(mask, "***")
        return text


def make_release(folder):
    """Creates the binary archive and SHA256SUMS, laid out like a release of this version; returns the version."""
    require("make", "gzip", "tar")
    if not (BIN / "tbk-seal").exists():
        absent("tbk-seal")
    version = re.search(r'suiteVersion = "(.*)"', (REPOSITORY / "Sources/TBKCommand/Program.swift").read_text())[1]
    to = folder / "me" / "project" / "releases" / "download" / f"v{version}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(["make", "-s", "-o", "suite", "dist-binary", f"DIST={to}"], cwd=REPOSITORY, env=environment,
                          capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return version


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """(the address of a web server with a release of me/project, its version, its directory)"""
    folder = tmp_path_factory.mktemp("site")
    version = make_release(folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", version, pathlib.Path(folder)
    server.shutdown()
    thread.join()
    server.server_close()
