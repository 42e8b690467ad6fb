"""The metadata files, key by key as the official templates have them."""

from __future__ import annotations

import json

import pytest

from modelfs.errors import InvalidName
from modelfs.registry import metadata


def test_a_model_document_has_the_template_s_keys_in_its_order() -> None:
    content = metadata.model_document(
        owner="alice", slug="bert", title="Bert ü", publish_time=1704153600.0, is_private=False
    )
    assert content.startswith(b'{\n  "ownerSlug": "alice",\n  "title": "Bert \xc3\xbc",\n')
    assert content.endswith(b"}\n")
    assert {
        "ownerSlug": "alice",
        "title": "Bert ü",
        "slug": "bert",
        "subtitle": "",
        "isPrivate": False,
        "description": "",
        "publishTime": "2024-01-02",
        "provenanceSources": "",
    } == json.loads(content)


def test_an_instance_document_spells_framework_and_type_as_the_files_do() -> None:
    content = metadata.instance_document(
        owner="alice",
        model="bert",
        slug="base",
        framework="pytorch",
        license_name="MIT",
        training_data=("a", "b"),
        instance_type="MODEL_INSTANCE_TYPE_BASE_MODEL",
        base_model_instance="bob/x/jax/y",
    )
    assert {
        "ownerSlug": "alice",
        "modelSlug": "bert",
        "instanceSlug": "base",
        "framework": "pyTorch",
        "overview": "",
        "usage": "",
        "licenseName": "MIT",
        "fineTunable": False,
        "trainingData": ["a", "b"],
        "modelInstanceType": "BaseModel",
        "baseModelInstance": "bob/x/jax/y",
        "externalBaseModelUrl": "",
    } == json.loads(content)


@pytest.mark.parametrize("moment", [None, 1e30, float("nan")])
def test_a_moment_without_a_date_is_left_empty(moment: float | None) -> None:
    content = metadata.model_document(owner="a", slug="b", title="c", publish_time=moment)
    assert "" == json.loads(content)["publishTime"]


def test_half_a_surrogate_pair_from_a_registry_does_not_break_the_document() -> None:
    assert b'"?"' in metadata.model_document(owner="a", slug="b", title="\ud800")


@pytest.mark.parametrize("text", ["BaseModel", "BASE_MODEL", "baseModel", "base_model"])
def test_instance_types_are_taken_in_any_spelling(text: str) -> None:
    assert "BASE_MODEL" == metadata.parse_instance_type(text)
    assert "MODEL_INSTANCE_TYPE_BASE_MODEL" == metadata.wire_instance_type(text)


def test_an_unknown_instance_type_is_refused_and_an_empty_one_is_unspecified() -> None:
    assert "Unspecified" == metadata.instance_type_title("")
    with pytest.raises(InvalidName):
        metadata.parse_instance_type("Base Model")
