"""The fixture `session`: a separate session bus with a gnome-keyring, in a separate home."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
from conftest import PATIENCE, require

# As TermBackup 6 stores it, for all homes; and as it is stored now, for any one home.
ITEM = ["service", "termbackup", "username", "github_token"]
OWN = ["service", "termbackup", "item", "github_token"]
LABEL = "TermBackup: GitHub token"
LOGIN = "/org/freedesktop/secrets/collection/login"


class Session:
    """A bus and, by default, an unlocked keyring. `environment` is what a verb needs to find it."""

    def __init__(self, folder, keyring=True):
        require("dbus-run-session", "secret-tool")
        self.folder = folder
        for name in ("home", "run"):
            (folder / name).mkdir(mode=0o700)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"),
                            "XDG_RUNTIME_DIR": str(folder / "run"), "LC_ALL": "C.UTF-8"}
        services = folder / "services"
        services.mkdir()
        # No service files: the bus must not start services that are installed on the machine.
        configuration = folder / "bus.conf"
        configuration.write_text(
            '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" '
            '"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">\n'
            f'<busconfig><type>session</type><listen>unix:path={folder}/bus</listen><servicedir>{services}</servicedir>'
            '<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>'
            '<allow own="*"/></policy></busconfig>\n')
        # Runs until its standard input ends.
        self.process = subprocess.Popen(
            ["dbus-run-session", f"--config-file={configuration}", "--", "sh", "-c", 'printf "%s\\n" "$DBUS_SESSION_BUS_ADDRESS"; cat'],
            env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True)
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = self.process.stdout.readline().strip()
        assert self.environment["DBUS_SESSION_BUS_ADDRESS"], "no bus"
        self.keyring = None
        self.answers = True
        if keyring:
            self.start_keyring()

    def start_keyring(self):
        require("gnome-keyring-daemon")
        self.keyring = subprocess.Popen(
            ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"], env=self.environment,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.keyring.stdin.write(b"the keyring's password")
        self.keyring.stdin.close()
        deadline = time.monotonic() + PATIENCE
        while b'"org.freedesktop.secrets"' not in self.call(
                "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.ListNames"):
            assert self.keyring.poll() is None and time.monotonic() < deadline, "the keyring does not start"
            time.sleep(0.02)

    def call(self, destination, path, method, *arguments):
        require("dbus-send")
        return subprocess.run(["dbus-send", "--session", "--print-reply", f"--dest={destination}", path, method, *arguments],
                              env=self.environment, capture_output=True, check=True).stdout

    def tool(self, *arguments, input=None):
        return subprocess.run(["secret-tool", *arguments], env=self.environment, capture_output=True, input=input,
                              timeout=PATIENCE)

    def store(self, token, *more):
        """Stores a token there; `more`: further attributes, as other programs set them."""
        done = self.tool("store", f"--label={LABEL}", *ITEM, *more, input=token)
        assert done.returncode == 0, done

    def keep(self, secret, home, item="github_token"):
        """Stores a secret there as a verb does, for one home."""
        done = self.tool("store", "--label=x", "service", "termbackup", "home", str(home), "item", item, input=secret)
        assert done.returncode == 0, done

    def kept(self, home, item="github_token"):
        return self.tool("lookup", "service", "termbackup", "home", str(home), "item", item).stdout

    def token(self):
        """The token of a home, or else the one of TermBackup 6."""
        return self.tool("lookup", *OWN).stdout or self.tool("lookup", *ITEM).stdout

    def items(self):
        return sum(self.tool("search", "--all", *item).stdout.count(b"label = ") for item in (OWN, ITEM))

    def lock(self):
        self.call("org.freedesktop.secrets", "/org/freedesktop/secrets", "org.freedesktop.Secret.Service.Lock",
                  f"array:objpath:{LOGIN}")

    def stop(self):
        """Stops the keyring: it exists, but does not respond."""
        self.keyring.send_signal(signal.SIGSTOP)
        self.answers = False

    def go_on(self):
        """Lets a stopped keyring respond again."""
        self.keyring.send_signal(signal.SIGCONT)
        self.answers = True

    def environment_of(self, shell):
        """The environment in which a verb finds this session and no other."""
        environment = {**shell.environment, **self.address}
        if self.answers:
            # A running keyring may respond slowly: the verbs' time limit is not what is tested.
            environment["TERMBACKUP_KEYRING_TIMEOUT"] = str(PATIENCE)
        return environment

    @property
    def address(self):
        """The variables that lead to it."""
        return {name: self.environment[name] for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")}

    def close(self):
        if self.keyring is not None:
            self.keyring.kill()
            self.keyring.wait()
        self.process.stdin.close()
        self.process.wait(PATIENCE)


@contextlib.contextmanager
def open_session(keyring=True):
    # The path of a socket must be short.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tbk-session-", dir="/tmp"))
    try:
        found = Session(folder, keyring)
        try:
            yield found
        finally:
            found.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=[True])
def session(request):
    with open_session(request.param) as found:
        yield found


# A mark in place of `session`: a bus without a keyring.
without_keyring = pytest.mark.parametrize("session", [False], indirect=True)
