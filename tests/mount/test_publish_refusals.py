"""What cannot be published is refused with one sentence: at the close, in the draft, in the log."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelfs.errors import NotFound
from mount.conftest import Serve
from mounting import Mounted
from polling import wait_for
from published import BASE, SETTLE, held, settled, state, status
from serving import own_environ
from sims.content import BERT, plant
from sims.raw import Request, Script, json_reply
from sims.relay import Relay

FAILURE = "PUBLISH_FAILED.txt"
WORDS = "what this version is"


class Desk:
    """A mount, and a shell."""

    def __init__(self, folder: Path, mount: Mounted, registry: Path) -> None:
        self.mount = mount
        self.registry = registry
        self._home = folder / "home"
        self._words = folder / "words"
        self._numbers = itertools.count()

    def shell(self, script: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """What a shell says to a script; the shell has ended then."""
        return subprocess.run(
            ["bash", "-ec", script],
            cwd=cwd or self.mount.path,
            env=own_environ(self._home),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def draft(self, script: str = "", path: str = "") -> Path:
        """A new draft with one file, made and then changed by programs that have ended."""
        draft = self.mount.path / (path or f"{BASE}/draft-{next(self._numbers)}")
        words = f"mkdir -p '{draft}'; cp /etc/hostname '{draft}/f'; cd '{draft}'; {script}"
        # A child of its own: what a shell wrote itself, it could go on writing.
        done = self.shell(f"({words})")
        assert 0 == done.returncode, done.stderr
        return draft

    def save(self, draft: Path, words: str = WORDS) -> str:
        """Save notes by a program that looks at what its close says; what that is, if anything.

        Shells do not look: `echo > NOTES` ends well whatever comes of it.
        """
        self._words.write_text(words)
        return self.shell(f"cp {self._words} NOTES", cwd=draft).stderr

    def versions(self) -> list[str]:
        with held(self.registry) as holdings:
            return holdings.names(BASE)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("refusals")
    plant(folder / "registry", [BERT])
    with Mounted(folder, f"local:{folder / 'registry'}", "--settle", str(SETTLE)) as mount:
        yield Desk(folder, mount, folder / "registry")


def assert_told(desk: Desk, draft: Path, reason: str) -> None:
    """The reason is wherever somebody may look for it."""
    told = settled(draft, "failed")
    assert reason in told["reason"]
    text = (draft / FAILURE).read_text()
    assert told["reason"] in text
    assert "save NOTES again" in text
    assert told["reason"] in desk.mount.log


# What is wrong, how it is said, and how it is put right.
WRONG = {
    "a symbolic link": (
        "ln -s f link",
        "link cannot be published: it is a symbolic link",
        "rm link",
    ),
    "a name on two": (
        "cp f Readme.md; cp f README.md",
        "are one name on some systems",
        "rm Readme.md",
    ),
    "a directory of two names": (
        "mkdir Data data; cp f Data/a; cp f data/b",
        "are one name on some systems",
        "rm -r Data",
    ),
    "one name in two Unicode forms": (
        "cp f $'caf\\u00e9'; cp f $'cafe\\u0301'",
        "are one name on some systems",
        "rm $'caf\\u00e9'",
    ),
    "an archive at the top": (
        "cp f data.zip",
        "data.zip: the registry would unpack an archive",
        "rm data.zip",
    ),
    "notes that nobody filled in": ("", "placeholder", ""),
    "notes of nothing but space": ("", "NOTES is missing or empty", ""),
    "notes that are too long": ("", "the registry takes", ""),
}
NOTES_OF = {
    "notes that nobody filled in": "INSERT_NOTES_HERE",
    "notes of nothing but space": "   ",
    "notes that are too long": "x" * 1_100_000,
}


@pytest.mark.parametrize("kind", [kind for kind in WRONG if "long" not in kind])
def test_what_is_wrong_is_said_and_can_be_put_right(desk: Desk, kind: str) -> None:
    wrong, reason, right = WRONG[kind]
    before = desk.versions()
    draft = desk.draft(wrong)
    said = desk.save(draft, NOTES_OF.get(kind, WORDS))
    assert "Invalid argument" in said
    assert_told(desk, draft, reason)
    assert before == desk.versions()
    assert "failed" == state(draft)
    (draft / "more").write_text("a failed draft can be written to")
    done = desk.shell(f"({right or ':'}); rm -f more", cwd=draft)
    assert 0 == done.returncode, done.stderr
    assert "" == desk.save(draft)
    version = settled(draft)["version"]
    with held(desk.registry) as holdings:
        assert FAILURE not in holdings.files(version)
    assert not os.path.exists(desk.mount.path / version / FAILURE)


def test_notes_without_end_are_refused(desk: Desk) -> None:
    draft = desk.draft("yes | head -c 1200000 > notes.txt; mv notes.txt NOTES || true")
    assert_told(desk, draft, "longer than 1048576 bytes")


def test_a_draft_without_files_is_refused_once_none_follow(desk: Desk) -> None:
    draft = desk.draft("rm f")
    assert "" == desk.save(draft)
    assert_told(desk, draft, "there is nothing to publish: there are no files")
    assert "" == desk.shell("(echo f > f)", cwd=draft).stderr
    assert "" == desk.save(draft)
    settled(draft)


def test_a_refused_move_says_so(desk: Desk) -> None:
    draft = desk.draft("ln -s f link")
    done = desk.shell("(echo words > .new); mv .new NOTES", cwd=draft)
    assert 1 == done.returncode
    assert_told(desk, draft, "it is a symbolic link")
    # Some programs remove what they could not move: the words must not be lost.
    notes = draft / "NOTES"
    wait_for(notes.exists, 5.0, "what the kernel took for missing is seen")
    assert "words\n" == notes.read_text()


def test_a_shell_ends_well_and_the_draft_tells(desk: Desk) -> None:
    draft = desk.draft("ln -s f link")
    assert 0 == desk.shell("echo words > NOTES", cwd=draft).returncode
    assert_told(desk, draft, "it is a symbolic link")


def test_a_failed_draft_is_put_right_by_an_editor_in_place(desk: Desk) -> None:
    draft = desk.draft()
    assert "Invalid argument" in desk.save(draft, "INSERT_NOTES_HERE")
    done = desk.shell("(sed -i s/INSERT_NOTES_HERE/words/ NOTES)", cwd=draft)
    assert 0 == done.returncode, done.stderr
    settled(draft)


# New models.


def test_an_instance_without_a_licence_is_refused(desk: Desk) -> None:
    draft = desk.draft(path="alice/unlicensed/jax/it/1")
    document = draft.parent / "model-instance-metadata.json"
    done = desk.shell(f"(sed -i '/licenseName/d' {document})")
    assert 0 == done.returncode, done.stderr
    assert "Invalid argument" in desk.save(draft)
    assert_told(desk, draft, "licenseName")
    done = desk.shell(f"""(sed -i '1a "licenseName": "MIT",' {document})""")
    assert 0 == done.returncode, done.stderr
    assert "" == desk.save(draft)
    settled(draft)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        ('s/"title": ".*"/"title": "INSERT_TITLE_HERE"/', "placeholder"),
        ('s/"title": ".*"/"title": "/', "JSON"),
        ('s/"isPrivate": true/"isPrivate": "maybe"/', "isPrivate"),
    ],
)
def test_metadata_of_a_new_model_that_makes_no_sense(desk: Desk, edit: str, reason: str) -> None:
    name = f"alice/wrong-{abs(hash(edit)) % 10**8}"
    draft = desk.draft(path=f"{name}/jax/it/1")
    document = desk.mount.path / name / "model-metadata.json"
    before = document.read_text()
    assert 0 == desk.shell(f"(sed -i '{edit}' {document})").returncode
    assert "Invalid argument" in desk.save(draft)
    assert_told(desk, draft, reason)
    document.write_text(before)
    assert "" == desk.save(draft)
    settled(draft)
    with held(desk.registry) as holdings:
        assert name.removeprefix("alice/") in holdings.names("alice")


# A registry that says no.


class Choosy(Relay):
    """A way to a server on which calls of some methods are refused, or held up."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.refusing: dict[str, tuple[int, str]] = {}
        self.holding = ""
        self.released = threading.Event()

    def _answer(self, request: Request) -> Script:
        method = request.path.rpartition("/")[2]
        if method in self.refusing:
            status, words = self.refusing[method]
            return json_reply({"code": status, "message": words}, status)
        if method == self.holding:
            self.released.wait(60)
        return super()._answer(request)


@dataclass
class Remote:
    """A desk whose registry is asked over HTTP, through somebody choosy."""

    desk: Desk
    way: Choosy


@pytest.fixture
def remote(serve: Serve, ending: ExitStack, tmp_path: Path) -> Remote:
    served = serve()
    way = ending.enter_context(Choosy(served.url))
    spec, options = f"kaggle+{way.url}", ("--settle", str(SETTLE))
    mount = ending.enter_context(Mounted(tmp_path / "m", spec, *options, token=served.token))
    return Remote(Desk(tmp_path, mount, served.directory), way)


def test_another_owner_is_refused_in_the_registrys_words(remote: Remote) -> None:
    draft = remote.desk.draft(path="bob/theirs/jax/it/1")
    assert "Permission denied" in remote.desk.save(draft)
    assert_told(remote.desk, draft, "bob")


@pytest.mark.parametrize("method", ["StartBlobUpload", "CreateModel", "CreateModelInstance"])
def test_a_refusal_is_quoted_and_a_retry_works(remote: Remote, method: str) -> None:
    desk, way = remote.desk, remote.way
    draft = desk.draft(path="alice/new/jax/it/1")
    way.refusing[method] = (400, "Not on a Friday")
    assert "Invalid argument" in desk.save(draft)
    assert_told(desk, draft, "Not on a Friday")
    way.refusing.clear()
    assert "" == desk.save(draft)
    assert "alice/new/jax/it/1" == settled(draft)["version"]
    assert 1 == len(way.messages("StartBlobUpload")) - (method == "StartBlobUpload")
    with held(desk.registry) as holdings:
        assert ["1"] == holdings.names("alice/new/jax/it")


@pytest.mark.parametrize("status_code", [503, 429])
def test_a_registry_that_is_busy_is_asked_again(remote: Remote, status_code: int) -> None:
    desk, way = remote.desk, remote.way
    draft = desk.draft(path="alice/new/jax/it/1")
    way.refusing["StartBlobUpload"] = (status_code, "Not now")
    with saving(desk, draft):
        wait_for(lambda: way.messages("StartBlobUpload"), 20.0, "the upload is asked for")
        assert "uploading" == state(draft)
        way.refusing.clear()
        settled(draft)
    with held(desk.registry) as holdings:
        assert ["1"] == holdings.names("alice/new/jax/it")


def test_nothing_changes_while_it_is_being_published(remote: Remote) -> None:
    desk, way = remote.desk, remote.way
    draft = desk.draft("mkdir d", path="alice/new/jax/it/1")
    way.holding = "StartBlobUpload"
    with saving(desk, draft):
        wait_for(lambda: way.messages("StartBlobUpload"), 20.0, "the upload is asked for")
        told = status(draft)
        assert ("uploading", 1, 0) == (told["state"], told["files"], told["bytes_sent"])
        for change in (
            lambda: (draft / "f").write_text("not now"),
            lambda: (draft / "new").touch(),
            lambda: os.rename(draft / "f", draft / "g"),
            lambda: os.mkdir(draft / "e"),
            lambda: os.rmdir(draft / "d"),
            lambda: os.symlink("f", draft / "link"),
            lambda: os.link(draft / "f", draft / "h"),
            lambda: os.truncate(draft / "f", 0),
            lambda: os.chmod(draft / "f", 0o600),
            lambda: os.utime(draft / "f"),
            lambda: os.setxattr(draft / "f", "user.x", b"y"),
            lambda: os.rename(draft, draft.with_name("name")),
        ):
            with pytest.raises(OSError) as caught:
                change()
            assert errno.EBUSY == caught.value.errno
        assert Path("/etc/hostname").read_bytes() == (draft / "f").read_bytes()
        way.released.set()
        settled(draft)


def test_removing_a_draft_ends_its_publishing(remote: Remote) -> None:
    desk, way = remote.desk, remote.way
    draft = desk.draft(path="alice/new/jax/it/1")
    way.holding = "StartBlobUpload"
    with saving(desk, draft):
        wait_for(lambda: way.messages("StartBlobUpload"), 20.0, "the upload is asked for")
        done = desk.shell(f"rm -r {draft}")
        assert 0 == done.returncode, done.stderr
        way.released.set()
    assert not draft.exists()
    with held(desk.registry) as holdings, pytest.raises(NotFound):
        holdings.names("alice/new")


@contextmanager
def saving(desk: Desk, draft: Path) -> Iterator[None]:
    """While a program waits for what comes of its notes."""
    with ThreadPoolExecutor(1) as threads:
        saved = threads.submit(desk.save, draft)
        yield
        saved.result(60)
