"""Metadata files in a folder: templates, reading, writing.

What is in them is `registry/metadata`'s and `registry/described`'s; here they meet the disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from modelfs.errors import Error
from modelfs.model import Document
from modelfs.refs import Ref
from modelfs.registry import described, metadata, proposals

# What a person has to replace, in the words of the official template.
_PLACEHOLDERS = {
    metadata.MODEL: {
        "ownerSlug": "INSERT_OWNER_SLUG_HERE",
        "title": "INSERT_TITLE_HERE",
        "slug": "INSERT_SLUG_HERE",
    },
    metadata.INSTANCE: {
        "ownerSlug": "INSERT_OWNER_SLUG_HERE",
        "modelSlug": "INSERT_EXISTING_MODEL_SLUG_HERE",
        "instanceSlug": "INSERT_INSTANCE_SLUG_HERE",
        "framework": "INSERT_FRAMEWORK_HERE",
    },
}
_BLANK = {
    metadata.MODEL: Ref.parse("owner/model"),
    metadata.INSTANCE: Ref.parse("owner/model/other/instance"),
}

Fields = Mapping[str, Any]
Command = Callable[..., Any]


def folder_option(text: str) -> Callable[[Command], Command]:
    """`-p FOLDER`, the current one by default."""
    return click.option(
        "-p",
        "--path",
        "folder",
        metavar="FOLDER",
        type=click.Path(path_type=Path),
        help=text,
    )


def existing(folder: Path | None) -> Path:
    """`folder`, or the current one; Error if it is none."""
    folder = folder or Path.cwd()
    if not folder.is_dir():
        raise Error(f"not a folder: {folder}")
    return folder


def template(name: str, license_name: str) -> Fields:
    """A metadata file to be filled in."""
    (document,) = proposals.blank(_BLANK[name], license_name)
    return {**json.loads(document.content), **_PLACEHOLDERS[name]}


def read(folder: Path, name: str, *, is_new: bool = False) -> tuple[Ref, Fields]:
    """What the metadata file in `folder` is about, and what it says.

    InvalidName if it cannot be right, also for what it lacks if that is to be new.
    """
    path = folder / name
    try:
        document = Document(name, path.read_bytes())
    except FileNotFoundError:
        raise Error(f"metadata file not found: {path}") from None
    ref, told = described.subject(document)
    if is_new:
        described.complete(document, ref)
    return ref, told


def write(folder: Path, name: str, fields: Mapping[str, Any]) -> Path:
    """Write a metadata file into `folder`, whole or not at all, in place of another; its path."""
    path = folder / name
    content = (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode(errors="replace")
    temporary = folder / f".{name}.{os.getpid()}"
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path
