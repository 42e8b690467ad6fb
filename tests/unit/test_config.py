"""Settings: a flag wins over the environment, that over the file, and the file over nothing."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import NoReturn

import pytest

from modelfs.config import Mount, load, parse_registries, parse_size
from modelfs.errors import Usage


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "config.toml"
    file.write_text('registry = "local:/file"\ncache_size = "1GB"\nowners = ["alice"]\n')
    return {"HOME": str(tmp_path), "MODELFS_CONFIG": str(file)}


def test_the_nearest_setting_wins(environ: dict[str, str]) -> None:
    assert "local:/file" == load({}, environ).registry
    environ["MODELFS_REGISTRY"] = "local:/environ"
    assert "local:/environ" == load({"registries": None}, environ).registry
    assert "local:/flag" == load({"registries": ("local:/flag",)}, environ).registry
    assert 10**9 == load({}, environ).cache_size
    assert ("alice",) == load({}, environ).owners


def test_without_any_setting_the_registry_is_kaggle(tmp_path: Path) -> None:
    config = load({}, {"HOME": str(tmp_path)})
    assert (Mount("", "kaggle"),) == config.registries
    assert tmp_path == config.home


def test_the_environment_is_kept_and_never_shown(environ: dict[str, str]) -> None:
    config = load({}, environ | {"MODELFS_TOKEN": "secret-token"})
    assert "secret-token" == config.environ["MODELFS_TOKEN"]
    assert "secret-token" not in repr(config)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("50GB", 50 * 10**9),
        ("50gb", 50 * 10**9),
        ("1.5 GiB", 3 << 29),
        ("500MiB", 500 << 20),
        ("2T", 2 * 10**12),
        (7, 7),
    ],
)
def test_sizes_are_read_as_people_write_them(text: int | str, size: int) -> None:
    assert size == parse_size(text)


@pytest.mark.parametrize("text", ["", "GB", "-1", "5 parsecs", "1e9", "0x10", "5i", "5 iB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(Usage, match="not a size"):
        parse_size(text)


def test_registries_can_have_names() -> None:
    expected = (Mount("a", "kaggle"), Mount("b", "kaggle+http://host:1"))
    assert expected == parse_registries(("a=kaggle", "b=kaggle+http://host:1"))
    assert (Mount("", "local:/x=y"),) == parse_registries("local:/x=y")


@pytest.mark.parametrize("specs", [("kaggle", "local:/x"), ("a=kaggle", "a=local:/x")])
def test_several_registries_need_a_name_each(specs: tuple[str, ...]) -> None:
    with pytest.raises(Usage):
        parse_registries(specs)


@pytest.mark.parametrize(
    "text",
    [
        *("nonsense = 1", "cache_size = ", "cache_size = 'much'", "cache_size = true"),
        *("cache_size = -1", "cache_dir = 5", "cache_dir = ''", "token_file = true"),
        *("owners = 'alice'", "owners = 5", "owners = [5]", "license = 3", "verify = 3"),
        *("registry = 5", "registry = ['a=kaggle', 5]", "registry = true", "registry = {}"),
    ],
)
def test_a_bad_configuration_file_is_told(environ: dict[str, str], text: str) -> None:
    Path(environ["MODELFS_CONFIG"]).write_text(text)
    with pytest.raises(Usage):
        load({}, environ)


def test_a_named_configuration_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="no such configuration file"):
        load({}, {"MODELFS_CONFIG": str(tmp_path / "none.toml")})


def test_without_a_home_directory_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> NoReturn:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Usage, match=r"no home directory: user [0-9]+") as caught:
        load({}, {})
    assert "set HOME to a directory of yours" == caught.value.hint


def test_how_to_verify_is_one_of_three_words() -> None:
    assert "quick" == load({}, {}).verify
    assert "first" == load({}, {"MODELFS_VERIFY": "first"}).verify
    with pytest.raises(Usage, match="not a way to verify: 'never'"):
        load({"verify": "never"}, {})


@pytest.mark.parametrize("name", ["cache_dir", "state_dir", "token_file", "pin"])
def test_the_home_of_somebody_who_is_not_there_is_told(name: str) -> None:
    with pytest.raises(Usage, match="no such home directory: ~nobody-of-that-name/x"):
        load({name: "~nobody-of-that-name/x"}, {})
