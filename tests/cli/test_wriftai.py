"""`modelfs wriftai`: models and versions of WriftAI from the command line."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.commands import Shell
from sims.raw import DROP
from sims.wriftai import SCHEMAS, WriftAI, digest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def service() -> Iterator[WriftAI]:
    with WriftAI(token="secret", user="alice", page=10) as service:
        for number in range(1, 13):
            service.add_version("alice", "bert", f"größer {number}")
        service.add_model("alice", "open", visibility="public", description="for all")
        yield service


@pytest.fixture
def run(shell: Shell, service: WriftAI) -> Run:
    def run(*words: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        spec = f"wriftai+{service.url}"
        done = shell.run("wriftai", *words, MODELFS_TOKEN="secret", MODELFS_REGISTRY=spec)
        assert status == done.returncode, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "version"
    folder.mkdir()
    (folder / "NOTES").write_text("from a folder\n")
    (folder / "schemas.json").write_text(json.dumps(SCHEMAS))
    (folder / "container_image_digest").write_text(f"{digest('c')}\n")
    return folder


def test_versions_are_listed_a_page_at_a_time(run: Run) -> None:
    first = run("versions", "list", "alice/bert", "--page-size", "5").stdout
    assert "Next Page Token = 5\n" in first
    assert ["number", "created", "notes"] == first.splitlines()[1].split()
    assert "größer 12" in first
    assert "größer 7" not in first
    second = run("versions", "list", "alice/bert", "--csv", "--page-token", "10").stdout
    rows = list(csv.DictReader(io.StringIO(second)))
    assert [("2", "größer 2"), ("1", "größer 1")] == [(row["number"], row["notes"]) for row in rows]


def test_models_are_listed_searched_and_sorted(run: Run) -> None:
    found = json.loads(run("models", "list", "alice", "--format", "json").stdout)
    assert [("alice/bert", "private"), ("alice/open", "public")] == [
        (row["name"], row["visibility"]) for row in found
    ]
    assert "alice/open" in run("models", "list", "--search", "op").stdout
    assert "No models found" in run("models", "list", "--search", "nothing").stdout
    options = ("--sort-by", "created_at", "--sort-direction", "asc", "--csv")
    assert "alice/open" in run("models", "list", *options).stdout
    assert "--sort-by" in run("models", "list", "--sort-direction", "asc", status=2).stderr


def test_a_version_is_created_shown_and_deleted(run: Run, folder: Path, service: WriftAI) -> None:
    done = run("versions", "create", "alice/bert", "-p", folder)
    assert "The version was created: alice/bert:13\n" == done.stdout
    told = json.loads(run("versions", "get", "alice/bert:13").stdout)
    assert ("from a folder", digest("c"), SCHEMAS) == tuple(
        told[key] for key in ("release_notes", "container_image_digest", "schemas")
    )
    (folder / "settings").write_text('{"compatibilities": {"openai_responses": true}}')
    given = ("-n", "given", "-d", digest("d"), "-s", folder / "schemas.json")
    run("versions", "create", "alice/bert", *given, "--settings", folder / "settings")
    made = service.models["alice", "bert"].versions[14]
    assert ("given", digest("d")) == (made["release_notes"], made["container_image_digest"])
    assert made["compatibilities"]["openai_responses"] is True
    run("versions", "delete", "alice/bert:14", "-y")
    assert 14 not in service.models["alice", "bert"].versions
    assert "not found" in run("versions", "delete", "alice/bert:14", "-y", status=1).stderr.lower()


def test_a_version_whose_answer_is_lost_is_made_once(
    run: Run, folder: Path, service: WriftAI
) -> None:
    service.lost.append([DROP])
    assert "alice/bert:13" in run("versions", "create", "alice/bert", "-p", folder).stdout
    assert 13 == len(service.models["alice", "bert"].versions)


def test_what_cannot_be_a_version_is_refused_before_it_is_sent(
    run: Run, folder: Path, service: WriftAI
) -> None:
    (folder / "NOTES").write_text("ü" * 256)
    assert "256" in run("versions", "create", "alice/bert", "-p", folder, status=1).stderr
    done = run("versions", "create", "alice/bert", "-n", "x", "-d", "sha256:1", status=1)
    assert "schemas.json is missing" in done.stderr
    assert not any(request.method == "POST" for request in service.requests)


def test_a_model_is_created_changed_and_deleted(run: Run, service: WriftAI) -> None:
    run("models", "create", "alice/new", "--description", "größer", "--category", "text")
    told = json.loads(run("models", "get", "alice/new").stdout)
    assert ("private", "größer") == (told["visibility"], told["description"])
    run("models", "update", "alice/new", "--visibility", "public", "--description", "")
    changed = service.models["alice", "new"].fields
    assert {"visibility": "public", "description": None, "category_slugs": ["text"]} == changed
    run("models", "delete", "alice/new", "--yes")
    assert ("alice", "new") not in service.models
    assert "exists" in run("models", "create", "alice/bert", status=1).stderr


def test_nobody_deletes_without_being_asked(run: Run, service: WriftAI) -> None:
    done = run("models", "delete", "alice/bert", status=1)
    assert "delete the model alice/bert?" in done.stdout
    assert ("alice", "bert") in service.models


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("versions", "get", "alice/bert"), 1),
        (("versions", "list", "alice/bert:1"), 1),
        (("models", "get", "alice"), 1),
        (("models", "list", "--page-size", "51"), 1),
        (("models", "update", "alice/bert"), 2),
        (("models", "get", "alice/bert", "--registry", "kaggle"), 2),
    ],
)
def test_what_makes_no_sense_is_a_sentence(
    run: Run, service: WriftAI, words: tuple[str, ...], status: int
) -> None:
    done = run(*words, status=status)
    assert done.stderr.startswith("modelfs: ")
    assert [] == service.requests


def test_who_is_not_signed_in_changes_nothing(shell: Shell) -> None:
    done = shell.run("wriftai", "models", "create", "alice/new")
    assert (1, True) == (done.returncode, "WRIFTAI_ACCESS_TOKEN" in done.stderr)
