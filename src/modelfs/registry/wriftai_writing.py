"""Publishing to WriftAI, or to a server that speaks its protocol.

A new version is one small request: there are no files. What may be sent is decided in
`wriftai_documents`. No state of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

from modelfs.errors import Exists, Forbidden, InvalidName, NotFound, Unsupported
from modelfs.model import Bundle, Document, Part, Traits
from modelfs.refs import Ref
from modelfs.registry import replies
from modelfs.registry import wriftai_documents as written
from modelfs.registry.wriftai import WriftAIRegistry


class WritableWriftAIRegistry(WriftAIRegistry):
    """WriftAI, read and written."""

    @cached_property
    def traits(self) -> Traits:
        return replace(super().traits, is_writable=True)

    def blank(self, ref: Ref) -> tuple[Document, ...]:
        return written.blank(ref)

    def check(self, bundle: Bundle) -> None:
        written.check(bundle)

    def begin(self, part: Part) -> str:
        raise Unsupported(f"{part.path}: this registry has no files")

    def send(self, session: str, part: Part, fd: int, progress: Callable[[int], None]) -> str:
        raise Unsupported(f"{part.path}: this registry has no files")

    def create(self, bundle: Bundle) -> Ref:
        message = written.new_version(bundle)
        for ref, own in sorted(bundle.parents, key=lambda parent: parent[0].depth):
            if ref.depth == 2:
                try:
                    self.add(ref, own)
                except Exists:
                    pass  # somebody was faster, or the first answer got lost
        model = bundle.ref.parent
        before = None if bundle.before is None else {int(name) for name in bundle.before}
        made = self._calls.create_version(model, message, before)
        return model.child(str(replies.number(made, "number")))

    def add(self, ref: Ref, documents: tuple[Document, ...]) -> None:
        if ref.depth != 2:
            raise Unsupported(f"{ref}: only models can be made without a version")
        message = written.new_model(ref, documents)
        self._check_ours(ref)
        try:
            self._calls.create("models", message=message)
        except InvalidName as exc:
            # Nobody tells in which words the service says that there is one already.
            if self._is_there(ref):
                raise Exists(f"there is one already: {ref}") from exc
            raise

    def _check_ours(self, ref: Ref) -> None:
        """A request for a new model names no owner: it becomes that of whoever asks."""
        name = self.account().name
        if name and name != ref.parts[0]:
            raise Forbidden(f"{ref}: a new model would be one of {name}, who is signed in")

    def update(self, ref: Ref, document: Document) -> None:
        current = self.documents(ref)
        if not current:
            raise InvalidName(f"{ref}: there is no {document.name} of it")
        if changed := written.changes(document, current[0], ref):
            self._calls.update("models", *ref.parts, message=changed)

    def delete(self, ref: Ref) -> None:
        if ref.depth not in (2, 3):
            raise Unsupported(f"{ref}: cannot be deleted, only what is in it")
        place = ("models", *ref.parts[:2], *(("versions", ref.name) if ref.depth == 3 else ()))
        try:
            self._calls.delete(*place)
        except NotFound:
            pass

    def _is_there(self, ref: Ref) -> bool:
        try:
            self.stat(ref)
        except NotFound:
            return False
        return True
