"""Registries and mounts, as in the tests of mounts; and drafts in them."""

from __future__ import annotations

from mount.conftest import ending as ending
from mount.conftest import mounted as mounted
from mount.conftest import serve as serve
