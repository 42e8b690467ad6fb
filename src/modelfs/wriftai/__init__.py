"""WriftAI's own Python interface, for programs that were written for it.

A program that uses models, versions and users runs when `wriftai` becomes `modelfs.wriftai` in its
imports. Errors are those of `modelfs.errors`, each with the `status` that it stands for, instead
of httpx's; docs/wriftai.md has them side by side. Predictions, files and webhooks are not here.
"""

from __future__ import annotations

from modelfs.wriftai.client import Client
from modelfs.wriftai.identifiers import InvalidIdentifier
from modelfs.wriftai.pagination import PaginatedResponse, PaginationOptions

__all__ = ["Client", "InvalidIdentifier", "PaginatedResponse", "PaginationOptions"]
