"""Models, instances, versions and files: create, list, change, delete."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select, update

from modelfs.errors import Exists, InvalidName, NotFound, WrongState
from modelfs.model import Digests, File
from modelfs.registry.local import Bundle, Store, UploadedDirectory, UploadedFile, writing
from modelfs.registry.local.schema import schema_version, used_uploads
from unit.registry.local.filling import BASE, NOW, Clock, Filling


def blobs(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "blobs").glob("??/*"))


def test_a_model_keeps_its_metadata(store: Store) -> None:
    made = store.create_model(
        "alice", "bert", title="BERT", is_private=False, publish_time=5, description="d"
    )
    assert made == store.model("alice", "bert")
    assert ("BERT", False, 5.0, "d", NOW) == (
        made.title,
        made.is_private,
        made.publish_time,
        made.description,
        made.created,
    )
    assert made.id


def test_a_taken_name_is_refused(store: Store, fill: Filling) -> None:
    fill.instance({"w": b"w"})
    with pytest.raises(Exists):
        store.create_model("alice", "bert", title="again")
    with pytest.raises(Exists):
        store.create_instance(*BASE, bundle=Bundle(), fields={})
    with pytest.raises(Exists):
        store.create_instance("alice", "bert", "PyTorch", "base", bundle=Bundle(), fields={})


@pytest.mark.parametrize("slug", ["", ".", "..", ".git", "Thumbs.db", "a/b", "a\nb", "x" * 256])
def test_impossible_slugs_are_refused(store: Store, slug: str) -> None:
    store.create_model("alice", "bert", title="")
    with pytest.raises(InvalidName):
        store.create_model("alice", slug, title="")
    with pytest.raises(InvalidName):
        store.create_model(slug, "bert", title="")
    with pytest.raises(InvalidName):
        store.create_instance("alice", "bert", "jax", slug, bundle=Bundle(), fields={})


def test_half_a_surrogate_pair_is_refused_wherever_it_comes(store: Store) -> None:
    with pytest.raises(InvalidName):
        store.create_model("alice", "bert", title="\ud800")
    with pytest.raises(InvalidName):
        store.model("alice", "\ud800")


def test_changes_change_only_what_they_name(store: Store, clock: Clock) -> None:
    made = store.create_model("alice", "bert", title="BERT", subtitle="s", publish_time=1.0)
    clock.now += 10
    changed = store.update_model("alice", "bert", {"title": "New", "publish_time": None})
    assert ("New", "s", None) == (changed.title, changed.subtitle, changed.publish_time)
    assert (made.created, made.created + 10) == (changed.created, changed.updated)
    assert ["bert"] == [model.slug for model in store.models(search="new").items]


@pytest.mark.parametrize(
    "changes",
    [{"slug": "x"}, {"id": 3}, {"title": 3}, {"is_private": "yes"}, {"publish_time": True}],
)
def test_changes_of_the_wrong_kind_are_refused(store: Store, changes: dict[str, object]) -> None:
    store.create_model("alice", "bert", title="BERT")
    with pytest.raises(InvalidName):
        store.update_model("alice", "bert", changes)


def test_an_instance_keeps_its_metadata_and_starts_at_version_1(fill: Filling) -> None:
    made = fill.instance(
        {"w": b"12345", "d/x": b"6"}, training_data=["a", "b"], instance_type="BaseModel"
    )
    assert (("a", "b"), "BASE_MODEL", "pytorch") == (
        made.training_data,
        made.instance_type,
        made.framework,
    )
    assert made.version
    assert (1, "first", 2, 6, NOW) == (
        made.version.number,
        made.version.notes,
        made.version.file_count,
        made.version.total_bytes,
        made.version.created,
    )


def test_an_instance_changes_by_mask(store: Store, fill: Filling) -> None:
    fill.instance({"w": b"w"}, overview="o", usage="u")
    changed = store.update_instance(*BASE, {"usage": "", "training_data": ("x",)})
    assert ("o", "", ("x",)) == (changed.overview, changed.usage, changed.training_data)
    with pytest.raises(InvalidName):
        store.update_instance(*BASE, {"framework": "jax"})


def test_the_current_version_is_the_highest(store: Store, fill: Filling) -> None:
    fill.instance({"w": b"1"})
    fill.version({"w": b"2"}, notes="second")
    assert 2 == store.version(*BASE).number
    assert store.instance(*BASE).version == store.version(*BASE, 2)
    assert [1, 2] == [version.number for version in store.versions(*BASE).items]


def test_a_number_is_never_given_twice(store: Store, fill: Filling) -> None:
    fill.instance({"w": b"1"})
    fill.version({"w": b"2"})
    store.delete_version(*BASE, 2)
    assert 1 == store.version(*BASE).number
    assert 3 == fill.version({"w": b"3"}).number
    for number in (1, 3):
        store.delete_version(*BASE, number)
    assert store.instance(*BASE).version is None
    with pytest.raises(NotFound):
        store.version(*BASE)
    assert 4 == fill.version({}).number


@pytest.mark.parametrize("number", [0, -1, 2, 10**30])
def test_other_numbers_are_not_found(store: Store, fill: Filling, number: int) -> None:
    fill.instance({"w": b"1"})
    with pytest.raises(NotFound):
        store.version(*BASE, number)
    with pytest.raises(NotFound):
        store.delete_version(*BASE, number)


def test_deleting_takes_everything_below(store: Store, fill: Filling) -> None:
    version = fill.instance({"w": b"1"}).version
    assert version
    store.delete_instance(*BASE)
    with pytest.raises(NotFound):
        store.instance(*BASE)
    with pytest.raises(NotFound):
        store.all_files(version)
    store.delete_model("alice", "bert")
    assert () == store.owners()
    with pytest.raises(NotFound):
        store.delete_model("alice", "bert")


def test_a_framework_that_is_none_is_refused(store: Store, fill: Filling) -> None:
    fill.instance({"w": b"1"})
    with pytest.raises(InvalidName):
        store.instance("alice", "bert", "sklearn", "base")


def test_the_same_content_is_stored_once(store: Store, fill: Filling, directory: Path) -> None:
    fill.instance({"a": b"same", "b": b"same", "d/c": b"same", "e": b"other"})
    fill.version({"a": b"same", "e": b"third"})
    assert 3 == len(blobs(directory))


def test_a_create_that_is_repeated_makes_nothing_and_answers_the_same(
    store: Store, fill: Filling
) -> None:
    fill.instance({})
    bundle = fill.bundle({"w": b"w", "d/x": b"x"})
    first = store.create_version(*BASE, bundle=bundle, notes="the first time")
    fill.version({"later": b""})
    assert first == store.create_version(*BASE, bundle=bundle, notes="again")
    assert [1, 2, 3] == [version.number for version in store.all_versions(*BASE)]


def test_an_instance_that_is_created_again_of_the_same_uploads_is_that_one(
    store: Store, fill: Filling
) -> None:
    fill.instance({})
    bundle = fill.bundle({"w": b"w"})
    name = (*BASE[:3], "other")
    first = store.create_instance(*name, bundle=bundle, fields={})
    assert first == store.create_instance(*name, bundle=bundle, fields={})
    with pytest.raises(Exists):
        store.create_instance(*name, bundle=fill.bundle({"w": b"w"}), fields={})
    with pytest.raises(Exists):
        store.create_instance(*BASE, bundle=Bundle(), fields={})


def test_an_upload_goes_into_one_version_only(store: Store, fill: Filling) -> None:
    fill.instance({})
    file = fill.put("w", b"w")
    store.create_version(*BASE, bundle=Bundle((file,)))
    with pytest.raises(WrongState):
        store.create_version(*BASE, bundle=Bundle((file, fill.put("x", b"x"))))
    with pytest.raises(WrongState):
        store.create_instance(*BASE[:3], "other", bundle=Bundle((file,)), fields={})
    assert [1, 2] == [version.number for version in store.all_versions(*BASE)]


def test_versions_without_files_are_each_their_own(store: Store, fill: Filling) -> None:
    fill.instance({})
    for _ in range(2):
        store.create_version(*BASE, bundle=Bundle())
    assert [1, 2, 3] == [version.number for version in store.all_versions(*BASE)]


def test_what_was_used_is_forgotten_after_its_session(
    store: Store, fill: Filling, clock: Clock
) -> None:
    fill.instance({"w": b"w"})
    clock.now += 30 * 86400
    store.sweep()
    with store._database.read() as connection:
        assert [] == connection.execute(select(used_uploads)).all()


def test_a_registry_of_the_first_layout_is_brought_up(store: Store, fill: Filling) -> None:
    fill.instance({"w": b"w"})
    with store._database.write() as connection:
        used_uploads.drop(connection)
        connection.execute(update(schema_version).values(version=1))
    store._database.check()
    store.start()
    assert 2 == fill.version({"x": b"x"}).number


@pytest.mark.parametrize(
    "paths", [("a", "a"), ("a", "a/b"), ("caf\u00e9", "cafe\u0301"), (".modelfs/x",)]
)
def test_a_tree_that_no_directory_can_hold_is_refused(
    store: Store, fill: Filling, paths: tuple[str, ...]
) -> None:
    fill.instance({})
    files, directories = [], []
    for path in paths:
        *above, name = path.split("/")
        file = fill.put(name, b"x")
        if above:
            directories.append(UploadedDirectory(above[0], (file,)))
        else:
            files.append(file)
    with pytest.raises(InvalidName):
        store.create_version(*BASE, bundle=Bundle(tuple(files), tuple(directories)))
    with pytest.raises(InvalidName):
        store.create_version(*BASE, bundle=Bundle((), (UploadedDirectory("..", ()),)))
    assert 1 == store.version(*BASE).number


def test_an_unknown_or_unfinished_upload_makes_no_version(store: Store, fill: Filling) -> None:
    fill.instance({})
    with pytest.raises(NotFound):
        store.create_version(*BASE, bundle=Bundle((UploadedFile("0" * 48),)))
    token = store.uploads.begin("w", 3, NOW, "alice").token
    with pytest.raises(WrongState, match="0 of 3"):
        store.create_version(*BASE, bundle=Bundle((UploadedFile(token),)))
    assert 1 == store.version(*BASE).number


def test_what_others_keep_private_is_not_listed(store: Store) -> None:
    store.create_model("alice", "secret", title="")
    store.create_model("alice", "open", title="", is_private=False)
    store.create_model("bob", "own", title="")

    def seen(viewer: str | None) -> set[str]:
        return {model.slug for model in store.models(viewer=viewer).items}

    assert {"secret", "open", "own"} == seen(None)
    assert {"open"} == seen("")
    assert {"open", "own"} == seen("bob")


def test_search_finds_parts_whatever_their_case(store: Store) -> None:
    store.create_model("alice", "one", title="GROẞE Modelle")
    store.create_model("alice", "two", title="", subtitle="100% sure_thing")

    def found(search: str) -> list[str]:
        return [model.slug for model in store.models(search=search).items]

    assert ["one"] == found("grosse")
    assert ["one"] == found("ONE")
    assert ["two"] == found("0% SURE_")
    assert [] == found("0_ sure")
    assert [] == found("alice")


def test_orders_are_what_they_say(store: Store, clock: Clock) -> None:
    for slug, published in (("a", 30.0), ("b", None), ("c", 90.0)):
        clock.now += 1
        store.create_model("alice", slug, title="", publish_time=published)
    clock.now += 1
    store.update_model("alice", "a", {"title": "changed"})

    def listed(order: str) -> str:
        return "".join(model.slug for model in store.models(order=order).items)

    assert "acb" == listed("hotness") == listed("LIST_MODELS_ORDER_BY_UPDATE_TIME")
    assert "cba" == listed("createTime") == listed("create_time")
    assert "cab" == listed("publishTime")
    with pytest.raises(InvalidName):
        listed("beauty")


@pytest.mark.parametrize("order", ["hotness", "createTime", "publishTime"])
def test_pages_of_models_join_to_the_whole(store: Store, order: str) -> None:
    for number in range(7):  # all at the same moment: only the ids tell them apart
        store.create_model("alice", f"m{number}", title="")
    seen: list[str] = []
    token = ""
    while True:
        page = store.models(order=order, size=3, token=token)
        seen += [model.slug for model in page.items]
        token = page.next_token
        if not token:
            break
    assert [f"m{number}" for number in reversed(range(7))] == seen


def test_a_page_that_is_just_full_is_the_last(store: Store, fill: Filling) -> None:
    fill.instance({"a": b"", "b": b""})
    assert "" == store.files(*BASE, size=2).next_token
    page = store.files(*BASE, size=1)
    assert ["a"] == [file.path for file in page.items]
    rest = store.files(*BASE, size=1, token=page.next_token)
    assert (["b"], "") == ([file.path for file in rest.items], rest.next_token)


def test_instances_and_versions_come_in_pages(store: Store, fill: Filling) -> None:
    fill.instance({})
    store.create_instance("alice", "bert", "jax", "z", bundle=Bundle(), fields={})
    fill.version({})
    first = store.instances("alice", "bert", size=1)
    assert ["jax"] == [instance.framework for instance in first.items]
    second = store.instances("alice", "bert", size=1, token=first.next_token)
    assert ["pytorch"] == [instance.framework for instance in second.items]
    page = store.versions(*BASE, size=1)
    following = store.versions(*BASE, size=1, token=page.next_token)
    assert [1, 2] == [version.number for version in (*page.items, *following.items)]


@pytest.mark.parametrize("token", ["x", "!!", "bnVsbA==", "W10=", "WyJ2ZXJzaW9ucyIsICJ4Il0=", "é"])
def test_a_token_of_somebody_else_is_refused(store: Store, fill: Filling, token: str) -> None:
    fill.instance({})
    for listing in (store.versions, store.files):
        with pytest.raises(InvalidName):
            listing(*BASE, token=token)
    with pytest.raises(InvalidName):
        store.models(token=token)
    with pytest.raises(InvalidName):
        store.models(size=0)


def test_a_hundred_thousand_files_list_by_pages(store: Store, fill: Filling) -> None:
    fill.instance({})
    digests = Digests("0" * 32, "0" * 8, "0" * 64)
    content = [File(f"d{i % 10}/f{i:06d}", i, None, digests) for i in range(100_000)]
    with store._database.write() as connection:
        writing.insert_version(connection, store.instance(*BASE).id, content, "", NOW)
    assert 100_000 == store.version(*BASE).file_count
    page = store.files(*BASE, size=200)
    assert ["d0/f000000", "d0/f000010"] == [file.path for file in page.items[:2]]
    count, token = len(page.items), page.next_token
    while token:
        page = store.files(*BASE, size=5000, token=token)
        count, token = count + len(page.items), page.next_token
    assert 100_000 == count


def test_sweeping_takes_old_contents_that_nothing_names(
    store: Store, fill: Filling, clock: Clock, directory: Path
) -> None:
    fill.instance({"w": b"kept"})
    fill.version({"w": b"dropped"})
    store.archive(store.version(*BASE, 1))
    store.archive(store.version(*BASE, 2))
    store.delete_version(*BASE, 2)
    clock.now = (directory / "registry.db").stat().st_mtime + 8.5 * 86400
    store.sweep()
    assert 2 == len(blobs(directory)), "what is young stays"
    clock.now += 86400
    store.sweep()
    record = store.file(*BASE, 1, "w")
    assert [record.sha256] == blobs(directory)
    assert ["1.tar.gz"] == [path.name for path in (directory / "archives").iterdir()]


def test_content_that_came_again_is_young_again(
    store: Store, fill: Filling, clock: Clock, directory: Path
) -> None:
    fill.instance({})
    sha256 = store.uploads.find(fill.put("w", b"w").token).sha256
    before = store.blob_path(sha256).stat()
    fill.put("v", b"w")
    after = store.blob_path(sha256).stat()
    assert before.st_ctime_ns < after.st_ctime_ns


def test_an_upload_whose_content_is_gone_makes_no_version(store: Store, fill: Filling) -> None:
    fill.instance({})
    file = fill.put("w", b"w")
    store.blob_path(store.uploads.find(file.token).sha256).unlink()
    with pytest.raises(WrongState):
        store.create_version(*BASE, bundle=Bundle((file,)))


def test_a_damaged_content_is_healed_by_sending_it_again(store: Store, fill: Filling) -> None:
    fill.instance({"w": b"weights"})
    blob = store.blob_path(store.file(*BASE, 1, "w").sha256)
    blob.chmod(0o600)
    blob.write_bytes(b"")
    fill.put("v", b"weights")
    assert b"weights" == blob.read_bytes()
