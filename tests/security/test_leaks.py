"""The token of a registry, and the signatures of its storage, are in requests and nowhere else."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from conftest import wait_for
from mount.conftest import Mount, Serve
from published import BASE, settled
from security.conftest import AsNobody
from security.leaks import Scan, forms_of
from serving import Served
from sims.content import BERT, plant
from sims.raw import Request, Script, redirect
from sims.relay import Answered, Relay

# Another run of these tests on this machine has another one; all processes of one have the same.
_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
CANARY = f"modelfs-canary+{sha256(_RUN.encode()).hexdigest()[:10]}/=abcdef~"


class Desk:
    """An embedded registry, its storage two redirects away on another host, a mount, a scan."""

    def __init__(self, folder: Path, served: Served, stack: ExitStack) -> None:
        self.said = ""
        self._folder = folder
        self.served = served
        # The same machine, but by another name: another host to whoever follows a redirect.
        self.storage = stack.enter_context(Relay(served.url, self._stored))
        self.registry = stack.enter_context(Relay(served.url, self._asked))

    def _asked(self, request: Request, hand_on: Callable[[Request], Answered]) -> Script:
        answered = hand_on(request)
        location = answered.headers.get("Location", "")
        if location.startswith(self.registry.url):
            away = self.storage.url.replace("127.0.0.1", "localhost")
            return redirect(location.replace(self.registry.url, away))
        return answered.script

    def _stored(self, request: Request, hand_on: Callable[[Request], Answered]) -> Script:
        if "hop=" not in request.target:
            return redirect(f"//127.0.0.1:{urlsplit(self.storage.url).port}{request.target}&hop=1")
        target = request.target.removesuffix("&hop=1")
        return hand_on(Request(request.method, target, request.headers, request.body)).script

    @property
    def signatures(self) -> set[str]:
        """What whoever has a signed address has and nobody else; those of uploads, too."""
        asked = [*self.storage.requests, *self.registry.requests]
        values = [
            value
            for request in asked
            for name, several in parse_qs(urlsplit(request.target).query).items()
            if re.search("sign|token|upload_id", name, re.IGNORECASE)
            for value in several
        ]
        return {value for value in values if len(value) >= 16}


@pytest.fixture
def desk(tmp_path: Path, serve: Serve, ending: ExitStack) -> Iterator[Desk]:
    plant(tmp_path / "registry", [BERT])
    (tmp_path / "registry/token").write_text(CANARY)
    (tmp_path / "registry/token").chmod(0o600)
    return Desk(tmp_path, serve(), ending)


@pytest.mark.parametrize("form", sorted(forms_of(CANARY)))
def test_the_scan_finds_a_secret_that_is_planted(form: bytes, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "deep").mkdir(parents=True)
    (top / "deep/log").write_bytes(b"GET /x?auth=" + form + b"&y HTTP/1.1")
    scan = Scan([CANARY])
    scan.tree(top)
    assert [str(top / "deep/log")] == scan.found


def test_the_scan_finds_it_wherever_it_looks(tmp_path: Path) -> None:
    quoted = urllib.parse.quote(CANARY, safe="")
    (tmp_path / f"x{quoted}").mkdir()
    (tmp_path / "link").symlink_to(CANARY)
    (tmp_path / "file").write_text(base64.b64encode(f"alice:{CANARY}".encode()).decode())
    os.setxattr(tmp_path / "file", "user.note", CANARY.encode().hex().encode())
    command = [sys.executable, "-c", "input()", CANARY]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        cmdline = Path(f"/proc/{process.pid}/cmdline")
        wait_for(lambda: CANARY in cmdline.read_text())
        scan = Scan([CANARY])
        scan.tree(tmp_path)
        scan.processes()
        process.communicate(b"\n", timeout=10)
    assert {
        f"name of {tmp_path}/x{quoted}",
        f"target of {tmp_path}/link",
        f"{tmp_path}/file",
        f"user.note of {tmp_path}/file",
        str(cmdline),
    } == set(scan.found)


def test_secrets_are_written_nowhere_and_sent_to_nobody_else(
    desk: Desk, mounted: Mount, tmp_path: Path
) -> None:
    def spec_of_relay() -> Served:
        relayed = Served(desk.served.directory)
        relayed.url = desk.registry.url
        return relayed

    mount = mounted(spec_of_relay(), "--verbose", "--settle", "0.5")
    version = mount.path / BASE / "1"
    assert (
        BERT.instances[0].versions[0].files["weights.bin"] == (version / "weights.bin").read_bytes()
    )
    assert any("hop=1" in request.target for request in desk.storage.requests)

    draft = mount.path / BASE / "4"
    draft.mkdir()
    (draft / "w").write_bytes(b"w" * 300_000)
    good = mount.run("publish", draft, "--notes", "well")
    assert 0 == good.returncode, good.stderr
    foreign = mount.path / "bob/toy/pytorch/base/1"  # which the registry refuses
    foreign.mkdir(parents=True)
    (foreign / "w").write_bytes(b"w")
    bad = mount.run("publish", foreign, "--notes", "not mine")
    assert 1 == bad.returncode
    settled(foreign, "failed")
    told = [
        mount.run(*words)
        for words in (("status",), ("status", foreign), ("drafts",), ("cat", version / "missing"))
    ]

    scans = Scan([CANARY]), Scan(desk.signatures)
    assert desk.signatures
    for scan in scans:
        for done in (good, bad, *told):
            scan.text(f"output of {done.args[1:]}", done.stdout + done.stderr)
        scan.tree(mount.path)
        for status in (draft, foreign, version):
            scan.tree(status / ".modelfs")
        scan.processes()
    mount.stop()
    # All that is below the test's folder: cache, state, logs of both, the registry but its secrets.
    registry = desk.served.directory
    for scan in scans:
        scan.tree(tmp_path, besides=[registry / "token", registry / "storage.key"])
        assert {str(tmp_path / "mount/mount.log"), str(tmp_path / "registry.log")} <= scan.looked
    assert [] == scans[0].found
    # The books of the registry, and of who has to go on with an upload after a restart.
    kept = [
        registry / "uploads",
        registry / "registry.db",
        *tmp_path.rglob("state/drafts/*/journal"),
    ]
    places = [place.removeprefix("name of ") for place in scans[1].found]
    assert [] == [place for place in places if not place.startswith(tuple(map(str, kept)))]
    for place in map(Path, places):
        assert not place.stat().st_mode & 0o077 or not place.parent.stat().st_mode & 0o077
    # The token went to the registry, always; to the storage, never.
    assert all(
        f"Bearer {CANARY}" == request.headers.get("authorization")
        for request in desk.registry.requests
        if request.path.startswith(("/v1/", "/api/"))
    )
    for request in desk.storage.requests:
        scan = Scan([CANARY])
        scan.text(request.target, repr(request))
        assert [] == scan.found


def test_another_user_cannot_read_the_environment_that_holds_a_token(
    desk: Desk, mounted: Mount, as_nobody: AsNobody
) -> None:
    mount = mounted(desk.served)
    environ = Path(f"/proc/{mount.pid}/environ")
    assert CANARY.encode() in environ.read_bytes()
    assert b"denied" in as_nobody("cat", environ).stderr


def test_who_helps_to_unmount_gets_no_token(
    desk: Desk, mounted: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper is another program, and set-uid: what it gets is what it may write somewhere."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "fusermount").write_text(
        f'#!/bin/sh\n/usr/bin/env > {tmp_path}/environ\nexec /bin/umount -l "$4"\n'
    )
    (tools / "fusermount").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    mount = mounted(desk.served)
    os.kill(mount.pid, 15)  # it unmounts itself
    wait_for(lambda: mount.has_ended, 20)
    mount.kill()  # so that nobody else ends it
    scan = Scan([CANARY])
    scan.bytes("environ", (tmp_path / "environ").read_bytes())
    assert [] == scan.found
