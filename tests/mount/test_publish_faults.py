"""Publishing through everything that can go wrong on the way to the registry and back.

Each draft meets one fault of its own; all of them are on their way at the same time, because a
mount that was not answered looks for its version for a minute before it asks again. In the end
there is one version of each with the right bytes; what is refused stays a whole draft that says
why, and that saving its notes again publishes.
"""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from clients.official import files_of, make_files
from modelfs.errors import NotFound
from mounting import Mounted
from polling import wait_for
from published import SETTLE, held, status
from serving import Served
from sims.content import Instance, Model, Version, plant
from sims.faults import HTML, digest_header
from sims.raw import DROP, RESET, Request, Script, Step, head, json_reply, redirect, reply
from sims.relay import Answered, Relay

HandOn = Callable[[Request], Answered]
Fault = Callable[[Request, HandOn], Script]

WORDS = "what this version is"
OTHERS = {"dir/deep/b.bin": b"b" * 70_000, "empty": b""}
# With the minute for which a version is looked for, on a busy machine.
PUBLISHING = 150.0

START, PUT = "StartBlobUpload", "PUT"
MODEL, INSTANCE, VERSION = "CreateModel", "CreateModelInstance", "CreateModelInstanceVersion"
VERSIONS, FILES = "ListModelInstanceVersions", "ListModelInstanceVersionFiles"
# The one request of each publication that makes the version.
MAKING = (INSTANCE, VERSION)


def _instead(script: Iterable[Step]) -> Fault:
    """The server hears nothing."""
    steps = list(script)
    return lambda request, hand_on: steps


def _after(change: Callable[[Answered], Script]) -> Fault:
    """The server has done what was asked, but its answer is another one."""
    return lambda request, hand_on: change(hand_on(request))


def _with(**headers: str) -> Callable[[Answered], Script]:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda answer: replace(answer, headers={**answer.headers, **fields}).script


def _cut(answer: Answered) -> Script:
    return [head(answer.status, answer.headers) + answer.body[: len(answer.body) // 2], DROP]


def _long(answer: Answered) -> Script:
    return [*_with(Content_Length=str(2 * len(answer.body) + 9))(answer), DROP]


def _half(request: Request, hand_on: HandOn) -> Script:
    """The connection breaks in the middle of the request: half of a file arrives."""
    start, total = 0, len(request.body)
    half = request.body[: total // 2]
    headers = {
        **request.headers,
        "content-length": str(len(half)),
        "content-range": f"bytes {start}-{len(half) - 1}/{total}",
    }
    if half:
        hand_on(replace(request, body=half, headers=headers))
    return [RESET]


def _renamed(answer: Answered) -> Script:
    """The storage tells hashes of something else."""
    told = json.loads(answer.body)
    wrong = base64.b64encode(b"0" * 16).decode()
    body = json.dumps({**told, "md5Hash": wrong}).encode()
    headers = {**answer.headers, "x-goog-hash": digest_header(b"other"), "Content-Length": ""}
    return [head(answer.status, {**headers, "Content-Length": str(len(body))}) + body]


def _shrunk(answer: Answered) -> Script:
    return json_reply({**json.loads(answer.body), "size": "1"})


# The server heard nothing, or did it and could not say so.
PASSING: dict[str, Fault] = {
    "drop": _instead([DROP]),
    "reset": _instead([RESET]),
    "nonsense": _instead([b"\x00\xff what\r\n\r\n", DROP]),
    "e500": _instead(reply(500)),
    "e502-page": _instead(reply(502, HTML)),
    "e503-wait": _instead(reply(503, retry_after="1")),
    "e429": _instead(reply(429)),
    "e429-wait": _instead(reply(429, retry_after="1")),
    "done-drop": _after(lambda answer: [DROP]),
    "done-reset": _after(lambda answer: [RESET]),
    "done-half-head": _after(lambda answer: [head(answer.status, answer.headers)[:30], DROP]),
    "done-cut": _after(_cut),
    "done-long": _after(_long),
    "done-500": _after(lambda answer: reply(500)),
    "done-504-page": _after(lambda answer: reply(504, HTML)),
}
# The same, by one that is no better than that: nothing is lost here, but an answer is a lie.
LYING: dict[str, Fault] = {
    "done-empty": _after(lambda answer: reply(200)),
    "done-page": _after(lambda answer: reply(200, HTML, content_type="text/html")),
    "done-not-json": _after(lambda answer: reply(200, b"{'no': json")),
    "done-number": _after(lambda answer: json_reply(7)),
    "done-nothing": _after(lambda answer: json_reply({})),
    "done-short": _after(_with(Content_Length="3")),
    "redirect": lambda request, hand_on: redirect(request.target),
    "done-redirect": _after(lambda answer: redirect("/elsewhere", 303)),
}
# Of a list; what reads them is tested elsewhere.
LISTING = {name: PASSING[name] for name in ("drop", "e500", "e429-wait", "done-cut")}
# Of a storage.
STORING: dict[str, Fault] = {
    "half": _half,
    "gone": _instead(reply(404)),
    "expired": _instead(reply(410)),
    "wrong-hash": _after(_renamed),
    "wrong-size": _after(_shrunk),
    "forgets": _after(lambda answer: [head(308, {"Content-Length": "0"})]),
    "beyond": _after(lambda answer: reply(308, range="bytes=0-99999999")),
    "no-range": _after(lambda answer: reply(308, range="pages=1-2")),
    "conflict": _instead(reply(416)),
    "redirect": lambda request, hand_on: redirect(request.target, 307),
}
# No, in the registry's words.
SAYING = "no version for you today"
REFUSING: dict[str, Fault] = {
    "r400": _instead(json_reply({"code": 400, "message": SAYING}, 400)),
    "r403": _instead(json_reply({"code": 403, "message": SAYING}, 403)),
    "r404": _instead(json_reply({"code": 404, "message": SAYING}, 404)),
    "r409": _instead(json_reply({"code": 409, "message": SAYING}, 409)),
    "r413": _instead(json_reply({"error": {"code": 413, "message": SAYING}}, 413)),
    "r200": _instead(json_reply({"error": SAYING})),
}


@dataclass(frozen=True)
class Case:
    """A draft with what it meets: so often, at each call of `method` for it."""

    name: str
    method: str
    fault: Fault
    times: int = 1
    # Words in the reason, if it is refused.
    reason: str = ""

    @property
    def is_first(self) -> bool:
        """Whether the model is new; else there is a version already."""
        return self.method in (MODEL, INSTANCE)

    @property
    def before(self) -> list[str]:
        return [] if self.is_first else ["1"]

    @property
    def instance(self) -> str:
        return f"alice/{self.name}/jax/it"

    @property
    def version(self) -> str:
        return f"{self.instance}/{1 if self.is_first else 2}"

    @property
    def files(self) -> dict[str, bytes]:
        return {f"{self.name}.bin": self.name.encode() * 1000, **OTHERS}


def _named(method: str, faults: dict[str, Fault], times: int = 1, reason: str = "") -> list[Case]:
    kind = "".join(char for char in method if char.isupper()).lower()
    return [
        Case(f"{kind}-{name}-{times % 100}", method, fault, times, reason)
        for name, fault in faults.items()
    ]


ALWAYS = 1_000_000
# Those first that take a minute.
CASES = [
    *(case for method in (MODEL, INSTANCE, VERSION) for case in _named(method, PASSING)),
    *(case for method in MAKING for case in _named(method, LYING)),
    *_named(START, PASSING),
    *_named(PUT, PASSING | STORING, 2),
    *_named(VERSIONS, LISTING, 3),
    *_named(FILES, LISTING, 3),
]
REFUSED = [
    *(case for method in (START, *MAKING) for case in _named(method, REFUSING, ALWAYS, SAYING)),
    *_named(PUT, {"wrong-hash": STORING["wrong-hash"]}, ALWAYS, "other bytes"),
    *_named(PUT, {"expired": STORING["expired"]}, ALWAYS, "expired"),
]


class Meddler:
    """Answers each case's calls with its fault, so often, and all others rightly."""

    def __init__(self, cases: list[Case]) -> None:
        self._lock = threading.Lock()
        self._cases = {case.name: case for case in cases}
        self._left = {case.name: case.times for case in cases}
        # Which upload is of which case's file.
        self._uploads: dict[str, str] = {}
        # How often the server was asked to make a version.
        self.made: Counter[str] = Counter()

    def unmet(self) -> list[str]:
        """Cases whose faults nobody met."""
        return [name for name, left in self._left.items() if left == self._cases[name].times]

    def heal(self) -> None:
        self._left.clear()

    def meddle(self, request: Request, hand_on: HandOn) -> Script:
        method = PUT if request.method == "PUT" else request.path.rpartition("/")[2]
        name = self._name(method, request)
        case = self._cases.get(name)

        def noted(request: Request) -> Answered:
            if method in MAKING:
                self.made[name] += 1
            answer = hand_on(request)
            if method == START and answer.status == 200:
                self._uploads[_upload(json.loads(answer.body)["createUrl"])] = name
            return answer

        with self._lock:
            is_due = case is not None and case.method == method and self._left.get(name, 0) > 0
            if is_due:
                self._left[name] -= 1
        if case is not None and is_due:
            return case.fault(request, noted)
        return noted(request).script

    def _name(self, method: str, request: Request) -> str:
        """The case that a request is about."""
        if method == PUT:
            return self._uploads.get(_upload(request.target), "")
        if request.method != "POST":
            return ""
        message = request.message
        if method == START:
            return str(message["name"]).removesuffix(".bin")
        return str(message.get("modelSlug") or message.get("slug") or "")


def _upload(url: str) -> str:
    return parse_qs(urlsplit(url).query)["upload_id"][0]


class Desk:
    """A mount of a registry that is far away, and who publishes in it."""

    def __init__(self, mount: Mounted, meddler: Meddler, registry: Path) -> None:
        self.mount = mount
        self.meddler = meddler
        self.registry = registry

    def draft(self, case: Case) -> None:
        make_files(self.mount.path / case.version, case.files)
        self.save(case)

    def save(self, case: Case) -> None:
        (self.mount.path / case.version / "NOTES").write_text(WORDS)

    def ended(self, case: Case) -> dict[str, object]:
        """Wait until it is published or has failed."""

        def told() -> dict[str, object] | None:
            try:
                found = status(self.mount.path / case.version)
            except FileNotFoundError:  # between the draft and the version
                return None
            return found if found["state"] in ("published", "failed") else None

        return wait_for(told, PUBLISHING, case.version)

    def numbers(self, case: Case) -> list[str]:
        """The versions that there are."""
        try:
            with held(self.registry) as holdings:
                return holdings.names(case.instance)
        except NotFound:
            return []

    def check(self, case: Case) -> None:
        """There is one version of it, and it is right."""
        assert [*case.before, case.version.rpartition("/")[2]] == self.numbers(case)
        with held(self.registry) as holdings:
            assert case.files == holdings.files(case.version)
            assert WORDS == holdings.notes(case.version)
        shown = {**case.files, "NOTES": f"{WORDS}\n".encode()}
        assert shown == files_of(self.mount.path / case.version)


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    cases: list[Case] = request.param
    assert len(cases) == len({case.version for case in cases})
    first = Instance("jax", "it", (Version({"f": b"first"}, "the first"),))
    plant(
        tmp_path / "registry",
        [Model("alice", case.name, [first]) for case in cases if not case.is_first],
    )
    meddler = Meddler(cases)
    with (
        Served(tmp_path / "registry") as served,
        Relay(served.url, meddler.meddle) as relay,
        Mounted(
            tmp_path, f"kaggle+{relay.url}", "--settle", str(SETTLE), token=served.token
        ) as mount,
    ):
        yield Desk(mount, meddler, tmp_path / "registry")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("desk", [CASES], indirect=True, ids=["all"])
def test_what_goes_wrong_on_the_way_is_made_good(desk: Desk) -> None:
    for case in CASES:
        desk.draft(case)
    failed = {}
    for case in CASES:
        told = desk.ended(case)
        if told["state"] == "failed":
            failed[case.name] = told["reason"]
    assert {} == failed
    for case in CASES:
        desk.check(case)
    assert [] == desk.meddler.unmet()
    # Nothing was asked for a second time that may have been done.
    assert {case.name: 1 for case in CASES} == dict(desk.meddler.made)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("desk", [REFUSED], indirect=True, ids=["all"])
def test_what_is_refused_says_so_and_can_be_published_later(desk: Desk) -> None:
    for case in REFUSED:
        desk.draft(case)
    for case in REFUSED:
        told = desk.ended(case)
        assert "failed" == told["state"], case.name
        assert case.reason in str(told["reason"])
        draft = desk.mount.path / case.version
        assert str(told["reason"]) in (draft / "PUBLISH_FAILED.txt").read_text()
        found = files_of(draft)
        assert case.files == {path: found[path] for path in case.files}
        assert case.before == desk.numbers(case)
    desk.meddler.heal()
    for case in REFUSED:
        desk.save(case)
    for case in REFUSED:
        assert "published" == desk.ended(case)["state"], case.name
        desk.check(case)
