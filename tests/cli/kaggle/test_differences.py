"""Where the official client is wrong and ours is not; docs/kaggle-parity.md names these tests."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.kaggle.conftest import BASE, FILES, Type
from published import held
from serving import Served
from sims import faults
from sims.content import BERT
from sims.kaggle import Kaggle
from sims.raw import Request, Script, json_reply
from sims.relay import Answered, Relay

TOKEN = "KGAT_test"


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_failed_upload_makes_no_version(
    typed: Type, folder: Path, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "good").write_bytes(b"good")
    (folder / "bad").write_bytes(b"bad")

    def meddle(request: Request, hand_on: Callable[[Request], Answered]) -> Script:
        if request.path.endswith("/StartBlobUpload") and request.message["name"] == "bad":
            return json_reply({"code": 400, "message": "not this one"}, 400)
        return hand_on(request).script

    with Served(registry) as served, Relay(served.url, meddle) as relay:
        monkeypatch.setenv("MODELFS_REGISTRY", f"kaggle+{relay.url}")
        monkeypatch.setenv("MODELFS_TOKEN", served.token)
        said = typed("miv", "create", BASE, "-q")
        assert [] == relay.messages("CreateModelInstanceVersion")
    assert (1, "") == (said.status, said.stdout)
    assert said.stderr.startswith("modelfs: ")
    assert "not this one" in said.stderr
    with held(registry) as holdings:
        assert ["1", "2"] == holdings.names(BASE)


@pytest.mark.parametrize(
    "words", [("models", "create"), ("models", "update"), ("miv", "delete", f"{BASE}/1", "-y")]
)
def test_what_the_server_refuses_is_an_error(
    typed: Type,
    folder: Path,
    registry: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    slug = "new" if "create" in words else "bert"
    fields = {"ownerSlug": "alice", "slug": slug, "title": "x", "isPrivate": True}
    (folder / "model-metadata.json").write_text(json.dumps({**fields, "description": ""}))

    def meddle(request: Request, hand_on: Callable[[Request], Answered]) -> Script:
        if request.path.endswith(("/CreateModel", "/UpdateModel", "/DeleteModelInstanceVersion")):
            return json_reply({"error": "not on a Sunday", "errorCode": 400})
        return hand_on(request).script

    with Served(registry) as served, Relay(served.url, meddle) as relay:
        monkeypatch.setenv("MODELFS_REGISTRY", f"kaggle+{relay.url}")
        monkeypatch.setenv("MODELFS_TOKEN", served.token)
        said = typed(*words)
    assert (1, "") == (said.status, said.stdout)
    assert "not on a Sunday" in said.stderr


def test_what_programs_read_is_data(typed: Type) -> None:
    words = ("miv", "list", BASE, "--page-size", "1")
    table = typed(*words)
    first = table.stdout.splitlines()[0]
    assert first.startswith("Next Page Token = ")
    assert "" == table.stderr
    for layout, check in (("csv", str.splitlines), ("json", json.loads)):
        said = typed(*words, "--format", layout)
        assert f"{first}\n" == said.stderr
        assert check(said.stdout)
        assert "Token" not in said.stdout
    nothing = ("models", "list", "-s", "no such words")
    assert ("No models found\n", "") == (typed(*nothing).stdout, typed(*nothing).stderr)
    said = typed(*nothing, "--format", "json")
    assert ("[]\n", "No models found\n") == (said.stdout, said.stderr)
    said = typed(*nothing, "-v")
    assert "id,ref,title,subtitle,author\r\n" == said.stdout


def test_standard_output_has_the_result_alone(typed: Type, folder: Path) -> None:
    (folder / "w").write_bytes(b"w")
    (folder / "sub").mkdir()
    (folder / "sub/x").write_bytes(b"x")
    said = typed("miv", "create", BASE)
    assert said.stdout == "Your model instance version was created. Url=/models/" + (
        f"{BASE}/3\n".replace("pytorch", "PyTorch")
    )
    assert "Skipping folder: sub; use '--dir-mode' to upload folders\n" == said.stderr
    said = typed("miv", "create", BASE, "-q")
    assert (0, "") == (said.status, said.stderr)
    said = typed("miv", "download", f"{BASE}/4", "-p", "out")
    assert ("out/bert-pytorch-base-4.tar.gz\n", "") == (said.stdout, said.stderr)


def test_another_version_in_the_folder_is_no_reason_to_skip(typed: Type, folder: Path) -> None:
    for number in (1, 2):
        assert 0 == typed("miv", "download", f"{BASE}/{number}").status
    first, second = (folder / f"bert-pytorch-base-{number}.tar.gz" for number in (1, 2))
    before = first.read_bytes()
    assert before != second.read_bytes()
    first.write_bytes(b"something else, longer than it" * 10_000)
    assert 0 == typed("miv", "download", f"{BASE}/1").status
    assert before == first.read_bytes()
    typed("miv", "download", f"{BASE}/1", "--untar", "-p", "out")
    typed("miv", "download", f"{BASE}/2", "--untar", "-p", "out")
    assert {**FILES, "w": b"two"} == _files(folder / "out")


def test_single_files_can_be_downloaded(typed: Type, folder: Path) -> None:
    words = ("--file", "sub/config.json", "--file", "empty")
    said = typed("miv", "download", f"{BASE}/1", "-p", "out", *words)
    assert 0 == said.status
    assert {"sub/config.json": b"{}", "empty": b""} == _files(folder / "out")
    assert {f"{folder}/out/empty", f"{folder}/out/sub/config.json"} == set(said.stdout.split())


@pytest.mark.parametrize("words", [(), ("--untar",), ("--file", "config.json")])
def test_wrong_bytes_are_no_download(
    typed: Type, folder: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def wrong(request: Request, content: bytes) -> Script:
        return faults.good(request, content)[:-1] + [
            step.replace(b'{"layers"', b'{"lawyer"') if isinstance(step, bytes) else step
            for step in faults.good(request, content)[-1:]
        ]

    with Kaggle([BERT], token=TOKEN, user="alice") as kaggle:
        kaggle.storage = wrong
        monkeypatch.setenv("MODELFS_REGISTRY", f"kaggle+{kaggle.url}")
        monkeypatch.setenv("MODELFS_TOKEN", TOKEN)
        said = typed("miv", "download", f"{BASE}/2", *words, "-p", "out")
    assert (1, "") == (said.status, said.stdout)
    assert "do not have the md5" in said.stderr
    assert not [name for name in _files(folder) if name.endswith(("config.json", ".tar.gz"))]


def test_a_download_goes_through_no_link(typed: Type, folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "w").write_bytes(b"mine")
    (folder / "sub").symlink_to(elsewhere)
    (folder / "w").symlink_to(elsewhere / "w")
    said = typed("miv", "download", f"{BASE}/1", "--untar", "-f")
    assert (1, "") == (said.status, said.stdout)
    assert {"w": b"mine"} == _files(elsewhere)


def test_a_partial_file_empties_nothing(typed: Type, folder: Path, registry: Path) -> None:
    ref = {
        "ownerSlug": "alice",
        "modelSlug": "bert",
        "framework": "PyTorch",
        "instanceSlug": "base",
    }
    path = folder / "model-instance-metadata.json"
    path.write_text(json.dumps({**ref, "overview": "An overview", "usage": "# Usage"}))
    assert 0 == typed("mi", "update").status
    path.write_text(json.dumps({**ref, "licenseName": "MIT", "overview": None}))
    assert 0 == typed("mi", "update").status
    with held(registry) as holdings:
        told = holdings.metadata(BASE)
    assert ["An overview", "# Usage", "MIT"] == [
        told[key] for key in ("overview", "usage", "licenseName")
    ]


def test_a_model_with_a_publish_time_can_be_written_and_updated(
    typed: Type, folder: Path, registry: Path
) -> None:
    path = folder / "model-metadata.json"
    ref = {"ownerSlug": "alice", "slug": "bert"}
    path.write_text(json.dumps({**ref, "publishTime": "2024-02-29", "provenanceSources": "me"}))
    assert 0 == typed("models", "update").status
    path.unlink()
    said = typed("models", "get", "bert" if os.environ.get("USER") == "alice" else "alice/bert")
    assert "2024-02-29" in said.stdout
    assert (
        "Metadata file written to model-metadata.json\n"
        == typed("models", "get", "alice/bert", "-p", ".").stdout
    )
    told = json.loads(path.read_text())
    assert ["2024-02-29", "me", "Bert"] == [
        told[key] for key in ("publishTime", "provenanceSources", "title")
    ]
    path.write_text(json.dumps({**told, "title": "After"}))
    assert 0 == typed("models", "update").status
    with held(registry) as holdings:
        assert {**told, "title": "After"}.items() >= holdings.metadata("alice/bert").items()


def test_a_folder_is_taken_as_it_is(typed: Type, folder: Path, registry: Path) -> None:
    said = typed("miv", "create", BASE)
    assert 1 == said.status
    assert "nothing to publish" in said.stderr
    (folder / "w").write_bytes(b"w")
    (folder / "link").symlink_to("nowhere")
    said = typed("miv", "create", BASE)
    assert (1, "") == (said.status, said.stdout)
    assert "link cannot be published" in said.stderr
    assert 0 == typed("miv", "create", BASE, "--ignore-patterns", "link").status
    (folder / "link").unlink()
    (folder / "NOTES").write_text("what is new")
    (folder / ".DS_Store").write_bytes(b"junk")
    said = typed("miv", "create", BASE)
    assert (0, "Skipping .DS_Store\n") == (said.status, said.stderr)
    assert 0 == typed("miv", "create", BASE, "-n", "given").status
    with held(registry) as holdings:
        assert ["", "what is new", "given"] == [holdings.notes(f"{BASE}/{n}") for n in (3, 4, 5)]
        assert {"w": b"w"} == holdings.files(f"{BASE}/5")


def test_markup_arrives_as_it_was_written(typed: Type, folder: Path, registry: Path) -> None:
    text = "<b>bold</b> & <script>alert(1)</script>"
    fields = {"ownerSlug": "alice", "slug": "new", "title": "New", "isPrivate": True}
    (folder / "model-metadata.json").write_text(json.dumps({**fields, "description": text}))
    assert 0 == typed("models", "create").status
    with held(registry) as holdings:
        assert text == holdings.metadata("alice/new")["description"]


def test_archives_of_one_version_are_the_same_bytes(typed: Type, folder: Path) -> None:
    for name in ("a", "b"):
        assert 0 == typed("miv", "download", f"{BASE}/1", "-p", name).status
    first, second = _files(folder / "a"), _files(folder / "b")
    assert first == second
