"""The command: what it prints, how it ends, what it refuses."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from modelfs.cli.reporting import report
from modelfs.cli.serve import serve
from modelfs.errors import Usage
from modelfs.server.app import Settings, running
from serving import Served
from unit.server.client import Client


def test_it_says_where_it_is_and_how_to_use_it(tmp_path: Path) -> None:
    with Served(tmp_path / "registry") as served:
        lines = served.log.splitlines()
        assert f"serving {served.directory} at {served.url}" == lines[0]
        assert str(served.directory / "token") in lines[1]
        assert f"kaggle+{served.url}" in lines[2]
        assert f"HTTP_PROXY={served.url}" in lines[3]
        assert served.token not in served.log
        assert 200 == Client(served.url, served.token).rpc("ListModels").status
    assert served.log.splitlines()[-1].endswith(" ms")
    # `Served` asserts that SIGTERM ends it with status 0.


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status and the one sentence that `modelfs serve` ends with."""
    words = [str(argument) for argument in arguments]
    status = report(lambda: serve.main(words, standalone_mode=False))
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith("  ") for line in lines[1:])  # hints
    return status, lines[0]


@pytest.mark.parametrize(
    ("options", "status", "word"),
    [
        (["--open", "--host", "0.0.0.0"], 2, "open"),
        (["--user", "Not A Slug"], 2, "user"),
        (["--host", "no.such.host.invalid"], 1, "listen"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    directory: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    status: int,
    word: str,
) -> None:
    ended, sentence = refused(capsys, directory, "--port", "0", *options)
    assert status == ended
    assert word in sentence
    assert not directory.exists()


def test_a_taken_port_is_refused_in_a_sentence(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(capsys, directory, "--port", port)
    expected = f"modelfs: cannot listen on 127.0.0.1:{port}: the port is in use"
    assert (1, expected) == said


def test_somebody_elses_files_are_not_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    for path in (tmp_path, tmp_path / "thesis.tex"):
        status, sentence = refused(capsys, path, "--port", "0")
        assert 2 == status
        assert str(path) in sentence
    assert ["thesis.tex"] == [path.name for path in tmp_path.iterdir()]


def test_the_log_holds_no_secrets(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with running(Settings(directory, "alice")) as url:
        client = Client(url, (directory / "token").read_text().strip())
        client.create_model()
        client.create_instance({"w": b"weights"})
        location = client.location(path="w")
        assert b"weights" == client.request("GET", location).body
        begun = client.begin("x", 1)
    assert "GET /storage/w 200" in caplog.text
    for secret in (client.token, begun["token"], location.rpartition("=")[2]):
        assert secret not in caplog.text


def test_the_token_stays_the_same(directory: Path) -> None:
    tokens = set()
    for _ in range(2):
        with running(Settings(directory, "alice")):
            tokens.add((directory / "token").read_text())
    assert 1 == len(tokens)


def test_an_open_registry_makes_no_token(directory: Path) -> None:
    with running(Settings(directory, "alice", is_open=True)):
        assert not (directory / "token").exists()


def test_an_error_at_the_start_reaches_the_caller(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Usage), running(Settings(tmp_path / "file", "alice")):
        pass
