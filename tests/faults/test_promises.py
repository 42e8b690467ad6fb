"""The promises of docs/semantics.md in a mount, while the API that it asks is at fault.

One mount has a registry for each fault. What was looked at before must stay as it was; what is
asked for the first time is right, or an error. Faults of the storage are in `test_mount`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelfs.refs import name_fault
from mounting import Mounted
from polling import wait_for
from sims import faults_api
from sims.content import Instance, Model, Version
from sims.kaggle import Kaggle

# All cells are one fixture; on a machine that does something else as well it takes minutes.
pytestmark = pytest.mark.timeout(900)

FILES = {"config.json": b"{}", "deep/weights": bytes(range(256)) * 4, "cold": b"never read before"}
KNOWN = Version(FILES, "notes of it")
MODEL = Model(
    "alice",
    "faulty",
    (Instance("other", "known", (KNOWN, KNOWN)), Instance("other", "new", (KNOWN, KNOWN))),
)
INSTANCE = "alice/faulty/other/known"
VERSION = f"{INSTANCE}/2"
NEW = "alice/faulty/other/new"
# What is told where something cannot be said.
ERRORS = (errno.EIO, errno.ETIMEDOUT, errno.EACCES, errno.ENOENT, errno.EAGAIN, errno.EBUSY)
# One of each kind; those that say nothing at all are in mount/test_stalls.
KINDS = (
    *("drop", "nonsense for a head", "cut", "cut off", "not JSON", "null", "an empty object"),
    *("status 401", "status 403", "status 404", "status 429", "status 500", "status 503"),
    *("status 200 with a page", "a redirect to a login", "200 that says error"),
    *("status 429, Retry-After of a billion", "pages without an end", "two lengths"),
    *("hostile names", "everything twice", "everything a level down"),
    *("texts that are null", "numbers that are negative", "lists that are null"),
)
# Words that cannot be told from true ones, for who asks for the first time.
BELIEVED = {
    *("hostile names", "everything twice", "everything a level down", "an empty object"),
    *("texts that are null", "numbers that are negative", "lists that are null"),
}
# A host that asks for that is left alone for an hour.
LEFT_ALONE = {"status 429, Retry-After of a billion"}


def tree(version: Path) -> dict[str, tuple[int, int, float]]:
    """Every file of a version: size, number and time."""
    found = {}
    for directory, _, names in os.walk(version):
        for name in names:
            path = Path(directory, name)
            told = path.stat()
            found[str(path.relative_to(version))] = told.st_size, told.st_ino, told.st_mtime
    return found


def refusal(work: Callable[[], object]) -> str:
    """The name of the error that something ends with; nothing if it does not."""
    try:
        work()
    except OSError as exc:
        return errno.errorcode[exc.errno or 0]
    return ""


# What must hold whatever the registry says, and what it looked like before.
STAYS: Mapping[str, Callable[[Path], object]] = {
    "a version never changes": lambda root: tree(root / VERSION),
    "a listing is complete": lambda root: sorted(os.listdir(root / VERSION)),
    "notes are readable": lambda root: (root / VERSION / "NOTES").read_bytes(),
    "the hidden directory answers": lambda root: (
        root / VERSION / ".modelfs/manifest.json"
    ).read_bytes(),
    "what was read is readable": lambda root: (root / VERSION / "deep/weights").read_bytes(),
    "df answers": lambda root: os.statvfs(root).f_blocks > 0,
    "the root answers": lambda root: "alice" in os.listdir(root),
    "a version is not written": lambda root: refusal(
        lambda: (root / VERSION / "deep/weights").write_bytes(b"x")
    ),
    "nothing is made in a version": lambda root: refusal(lambda: (root / VERSION / "x").mkdir()),
    "a version is not deleted": lambda root: refusal(lambda: (root / VERSION).rmdir()),
    "a file of it is not deleted": lambda root: refusal((root / VERSION / "config.json").unlink),
    "a draft is kept": lambda root: (root / INSTANCE / "draft/kept").read_bytes(),
    "a draft is written": lambda root: (root / INSTANCE / "draft/more").write_bytes(b"more"),
    "a draft is listed": lambda root: sorted(os.listdir(root / INSTANCE / "draft")),
}
REFUSED = {
    **dict.fromkeys(("a version is not written", "nothing is made in a version"), "EROFS"),
    **dict.fromkeys(("a version is not deleted", "a file of it is not deleted"), "EPERM"),
}
# What nobody has asked for before.
ASKED: Mapping[str, tuple[Callable[[Path], object], object]] = {
    "a list of versions": (
        lambda root: sorted(os.listdir(root / NEW)),
        ["1", "2", "latest", "model-instance-metadata.json"],
    ),
    "a list of files": (
        lambda root: sorted(os.listdir(root / NEW / "1")),
        sorted({path.partition("/")[0] for path in FILES}),
    ),
    "latest": (lambda root: os.readlink(root / NEW / "latest"), "2"),
    "bytes": (lambda root: (root / VERSION / "cold").read_bytes(), FILES["cold"]),
}


@dataclass
class Result:
    before: dict[tuple[str, str], object] = field(default_factory=dict)
    stays: dict[tuple[str, str], object] = field(default_factory=dict)
    asked: dict[tuple[str, str], object] = field(default_factory=dict)
    later: dict[tuple[str, str], object] = field(default_factory=dict)
    log: str = ""


def outcome(look: Callable[[Path], object], root: Path) -> object:
    try:
        return look(root)
    except OSError as exc:
        return exc.errno


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("promises")
    with ExitStack() as stack:
        servers = {
            kind: stack.enter_context(Kaggle([MODEL], token="KGAT_canary", user="alice"))
            for kind in KINDS
        }
        specs = [f"r{n}=kaggle+{server.url}" for n, server in enumerate(servers.values())]
        more = [word for spec in specs[1:] for word in ("--registry", spec)]
        # Nobody asks for a publication, and nothing is published.
        mount = stack.enter_context(Mounted(folder, specs[0], *more, token="KGAT_canary"))
        roots = {kind: mount.path / f"r{n}" for n, kind in enumerate(KINDS)}
        found = Result()
        pool = stack.enter_context(ThreadPoolExecutor(32))

        def each(
            looks: Mapping[str, Callable[[Path], object]],
        ) -> dict[tuple[str, str], object]:
            cells = [(kind, name) for kind in KINDS for name in looks]
            told = pool.map(lambda cell: outcome(looks[cell[1]], roots[cell[0]]), cells)
            return dict(zip(cells, told, strict=True))

        for root in roots.values():
            (root / INSTANCE / "draft").mkdir()
            (root / INSTANCE / "draft/kept").write_bytes(b"kept")
            (root / INSTANCE / "draft/more").write_bytes(b"")
        found.before = each(STAYS)
        for kind, server in servers.items():
            server.meddle = faults_api.ALL[kind]
        found.stays = each(STAYS)
        found.asked = each({name: look for name, (look, _) in ASKED.items()})
        for server in servers.values():
            server.meddle = None

        def is_right() -> bool:
            found.later = each({name: look for name, (look, _) in ASKED.items()})
            return not wrong(found.later, BELIEVED | LEFT_ALONE)

        try:
            # A listing is believed for half a minute.
            wait_for(is_right, 90)
        except AssertionError:
            pass  # told cell by cell
        found.log = mount.log
    return found


def wrong(told: Mapping[tuple[str, str], object], but: set[str]) -> dict[tuple[str, str], object]:
    return {
        cell: value
        for cell, value in told.items()
        if cell[0] not in but and value != ASKED[cell[1]][1]
    }


def test_what_was_seen_stays_as_it_was(result: Result) -> None:
    assert len(KINDS) * len(STAYS) == len(result.stays)
    assert {} == {
        cell: (was, result.stays[cell])
        for cell, was in result.before.items()
        if was != result.stays[cell]
    }
    assert {} == {
        cell: value
        for cell, value in result.before.items()
        if isinstance(value, int)
        and cell[1] not in ("df answers", "the root answers")
        and cell[1] != "a draft is written"
    }
    assert {} == {
        cell: value
        for cell, value in result.before.items()
        if cell[1] in REFUSED and value != REFUSED[cell[1]]
    }


def test_what_is_asked_for_first_is_right_or_an_error(result: Result) -> None:
    assert {} == {
        cell: value for cell, value in wrong(result.asked, BELIEVED).items() if value not in ERRORS
    }
    # Their words are believed, but never more than names that a directory can hold, or an error.
    for (kind, name), value in result.asked.items():
        if kind in BELIEVED and value != ASKED[name][1] and value not in ERRORS:
            assert name != "bytes", (kind, value)
            texts = value if isinstance(value, list) else [str(value)]
            assert [] == [text for text in texts if name_fault(text)], (kind, value)


def test_all_is_right_once_the_fault_is_gone(result: Result) -> None:
    # A list of files that was told wrongly, in the registry's own words, stays with its version.
    assert {} == wrong(result.later, BELIEVED | LEFT_ALONE)


def test_the_log_says_no_secret(result: Result) -> None:
    assert "Traceback" not in result.log
    assert "canary" not in result.log
