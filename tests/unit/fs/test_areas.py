"""Which registry the drafts of a directory are for, as another version of this program has it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from modelfs.errors import WrongState
from modelfs.fs.areas import areas, describe
from modelfs.fs.staging import Staging
from modelfs.refs import Ref
from sims.desk import Desk

DRAFT = Ref(("alice", "bert", "1"))


def test_what_another_version_says_of_the_drafts_stays(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "drafts/ab", 3)
    staging.start()
    traits = replace(Desk().traits, identity="desk")
    described = staging.directory / "registry.json"
    for found in ({}, {"identity": "old", "depth": 1, "more": [1]}):
        described.write_text(json.dumps(found))
        describe(staging, traits)
        told = json.loads(described.read_text())
        assert found | {"identity": "desk", "depth": traits.depth} == told
    before = described.stat().st_mtime_ns
    describe(staging, traits)
    assert before == described.stat().st_mtime_ns
    described.write_text("damaged")
    describe(staging, traits)
    assert "desk" == json.loads(described.read_text())["identity"]
    staging.stop()


def test_a_draft_that_another_version_is_publishing_is_told_and_not_discarded(
    tmp_path: Path,
) -> None:
    staging = Staging(tmp_path / "drafts/ab", 3)
    staging.start()
    staging.make(DRAFT)
    theirs = {"format": 9, "phase": "nobody knows"}
    staging.write_journal(DRAFT, theirs)
    staging.stop()
    (staging.directory / "registry.json").write_text('{"identity": "desk", "depth": 3, "new": 1}')
    (area,) = areas(tmp_path)
    assert [DRAFT] == area.drafts()
    told = area.status(DRAFT)
    assert "failed" == told["state"]
    assert "journal format 9" in told["reason"]
    with pytest.raises(WrongState, match="another version of modelfs"):
        area.discard(DRAFT)
    assert theirs == staging.read_journal(DRAFT)


def test_what_a_link_beside_the_versions_leads_to_is_no_draft_and_stays(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    (theirs / "weights.bin").write_bytes(b"w")
    staging = Staging(tmp_path / "drafts/ab", 3)
    staging.start()
    staging.make(DRAFT.parent)
    link = DRAFT.parent.child("run-42")
    staging.path(link).symlink_to(theirs)
    staging.note(link)
    assert [] == staging.drafts()
    (tmp_path / "drafts/ab/trash/1").symlink_to(theirs)  # as a crash leaves it
    staging.stop()
    staging.start()
    staging.stop()
    assert [] == list((tmp_path / "drafts/ab/trash").iterdir())
    assert (b"w", 0o755) == ((theirs / "weights.bin").read_bytes(), theirs.stat().st_mode & 0o777)
