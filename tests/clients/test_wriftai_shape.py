"""`modelfs.wriftai` has the classes, types and signatures of the official package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clients.official import CLIENTS

_SCRIPT = Path(__file__).with_name("wriftai_shape.py")
# Of files and predictions, which are not there.
_ELSEWHERE = {"common_types.File", "common_types.UploadCompletionResult"}
_OFFICIAL = CLIENTS / "wriftai" / "bin" / "python"


def shapes(program: Path, package: str) -> dict[str, Any]:
    done = subprocess.run(
        [program, _SCRIPT, package], check=True, capture_output=True, text=True, timeout=60
    )
    return {key: value for key, value in json.loads(done.stdout).items() if key not in _ELSEWHERE}


@pytest.mark.skipif(not _OFFICIAL.exists(), reason="no wriftai in .clients: run scripts/clients")
def test_every_type_and_signature_is_the_official_one() -> None:
    official = shapes(_OFFICIAL, "wriftai")
    ours = shapes(Path(sys.executable), "modelfs.wriftai")
    assert official["model_versions.ModelVersions"]
    assert official == {key: ours[key] for key in official}
