"""What a client reads: listings, facts, manifests, files."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelfs.api import Client
from modelfs.errors import InvalidName, NotFound, Unavailable, Usage, WrongState
from modelfs.refs import Ref
from sims.content import BERT, SAMPLE
from sims.kaggle import Kaggle

BASE = "alice/bert/pytorch/base"
WEIGHTS = BERT.instances[0].versions[0].files["weights.bin"]


def test_a_listing_gives_all_items_page_by_page(client: Client) -> None:
    listing = client.list("alice", page_size=2)
    assert sorted(m.slug for m in SAMPLE if m.owner == "alice") == sorted(
        item.ref.name for item in listing
    )
    assert all(len(page.items) <= 2 for page in listing.pages())
    assert len(list(listing.pages())) > 1


def test_a_listing_goes_on_at_a_token(client: Client) -> None:
    pages = list(client.list(BASE, page_size=1).pages())
    rest = client.list(BASE, page_size=1, page_token=pages[0].next_token)
    expected = [item.ref for page in pages[1:] for item in page.items]
    assert expected == [item.ref for item in rest]


def test_models_are_searched(client: Client) -> None:
    assert ["more-b"] == [i.ref.name for i in client.list(search="more-b", sort_by="createTime")]
    assert ["single"] == [i.ref.name for i in client.list(owner="bob-b")]


def test_latest_is_the_highest_number(client: Client) -> None:
    assert Ref.parse(f"{BASE}/3") == client.resolve(f"{BASE}/latest")
    assert (
        Ref.parse("alice/paged/jax/versions/12")
        == client.stat("alice/paged/jax/versions/latest").ref
    )
    assert (
        client.manifest(f"{BASE}/3") == client.manifest(BASE) == client.manifest(f"{BASE}/latest")
    )


def test_metadata_is_a_dictionary(client: Client) -> None:
    assert BERT.title == client.metadata("alice/bert")["title"]
    assert "MIT" == client.metadata(BASE)["licenseName"]
    with pytest.raises(NotFound):
        client.metadata("alice/bert/pytorch")


def test_who_we_are_is_told(simulated: Kaggle, make_client: Callable[..., Client]) -> None:
    assert "alice" == make_client(f"kaggle+{simulated.url}").account().name


@pytest.mark.parametrize("text", [f"{BASE}/1/config.json", "alice/bert"])
def test_what_is_no_version_has_no_manifest(client: Client, text: str) -> None:
    with pytest.raises(InvalidName):
        client.manifest(text)


def test_a_file_is_read_in_any_order(client: Client) -> None:
    with client.open(f"{BASE}/1/weights.bin") as file:
        assert len(WEIGHTS) == file.seek(0, io.SEEK_END)
        assert -1 != file.seek(700_000)
        assert WEIGHTS[700_000:700_100] == file.read(100)
        assert 12 == file.seek(12)
        buffer = bytearray(300_000)
        assert 300_000 == file.readinto(buffer)
        assert WEIGHTS[12:300_012] == buffer
        assert WEIGHTS[300_012:] == file.read()
        assert b"" == file.read()
        file.seek(2 << 20)
        assert b"" == file.read(5)
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_a_file_is_text_where_that_is_wanted(client: Client) -> None:
    with client.open(f"{BASE}/latest/config.json", "r") as file:
        assert ['{"code": 404}'] == list(file)
    with client.open(f"{BASE}/3/NOTES", "r") as file:
        assert "größer\n" == file.read()
    with client.open("alice/bert/model-metadata.json") as file:
        assert b"BERT" in file.read()


def test_an_empty_file_is_empty(client: Client) -> None:
    with client.open(f"{BASE}/2/empty") as file:
        assert b"" == file.read()


@pytest.mark.parametrize("path", [f"{BASE}/1/nothing", f"{BASE}/9/config.json", BASE, "alice"])
def test_what_is_not_there_cannot_be_opened(client: Client, path: str) -> None:
    with pytest.raises(NotFound):
        client.open(path)


def test_what_is_published_is_not_written(client: Client) -> None:
    with pytest.raises(ValueError, match="mode"):
        client.open(f"{BASE}/1/config.json", "w")  # type: ignore[call-overload]


def test_many_threads_read_one_file_object(client: Client) -> None:
    with client.open(f"{BASE}/1/weights.bin") as file, ThreadPoolExecutor(8) as threads:
        lock = threading.Lock()

        def read(number: int) -> bool:
            at = number * 31_000
            with lock:
                file.seek(at)
                data = file.read(500)
            return data == WEIGHTS[at : at + 500]

        assert all(threads.map(read, range(32)))


def test_only_what_is_read_is_asked_for(
    simulated: Kaggle, make_client: Callable[..., Client]
) -> None:
    client = make_client(f"kaggle+{simulated.url}")
    with client.open(f"{BASE}/1/weights.bin") as file:
        assert WEIGHTS[:100] == file.read(100)
        asked = simulated.calls()["GET"]
        file.seek(0)
        assert WEIGHTS[:100] == file.read(100)
    assert asked == simulated.calls()["GET"]


def test_what_was_read_is_there_offline(planted: Path, make_client: Callable[..., Client]) -> None:
    online = make_client(f"local:{planted}")
    with online.open(f"{BASE}/1/weights.bin") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    offline = make_client(f"local:{planted}", is_offline=True)
    with offline.open(f"{BASE}/1/weights.bin") as file:
        assert digest == hashlib.sha256(file.read()).hexdigest()
    with pytest.raises(Unavailable):
        list(offline.list("alice"))
    with pytest.raises(Unavailable):
        offline.delete(BASE)


def test_nothing_is_asked_of_a_closed_client(client: Client) -> None:
    client.account()
    client.close()
    client.close()
    with pytest.raises(WrongState):
        client.account()


def test_a_client_that_is_closed_while_it_starts_starts_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = client._parts

    def closed(self: Client) -> object:
        self.close()
        return parts

    monkeypatch.setattr(Client, "_parts", property(closed))
    with pytest.raises(WrongState):
        client._started  # noqa: B018 - a property
    assert client._crew is None


def test_a_spec_that_is_none_is_refused(make_client: Callable[..., Client]) -> None:
    with pytest.raises(Usage):
        make_client("nonsense").account()


def test_a_client_takes_its_settings_from_arguments(planted: Path, tmp_path: Path) -> None:
    with Client(f"local:{planted}", cache_dir=tmp_path / "here") as client:
        with client.open(f"{BASE}/2/config.json") as file:
            assert b'{"layers": 4}' == file.read()
        assert (tmp_path / "here").is_dir()
