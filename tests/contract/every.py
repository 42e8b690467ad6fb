"""What holds for every registry whatever its levels are: driven by its traits alone.

A subclass gives the fixture `registry`, with at least one version in it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modelfs.errors import NotFound
from modelfs.refs import Ref, name_fault
from modelfs.registry.base import Registry

# Of each level, so that a walk stays short.
_SOME = 3
_TOP = Ref()


def walked(registry: Registry, ref: Ref = _TOP) -> Iterator[Ref]:
    """Refs of every level, some of each."""
    yield ref
    if not registry.traits.is_version(ref):
        for entry in registry.children(ref)[:_SOME]:
            yield from walked(registry, ref.child(entry.name))


class EveryRegistry:
    """The part of the suite that knows no names."""

    def test_the_traits_agree_with_each_other(self, registry: Registry) -> None:
        traits = registry.traits
        assert traits.depth == len(traits.levels) == len(traits.is_listed) == len(traits.documents)
        assert traits.identity
        assert set(traits.reworded) <= set(traits.documents[-1])

    def test_a_walk_comes_to_versions(self, registry: Registry) -> None:
        refs = list(walked(registry))
        assert any(registry.traits.is_version(ref) for ref in refs)
        for ref in refs[1:]:
            assert not name_fault(ref.name)
            assert ref == registry.canonical(ref)
            assert ref.name == registry.stat(ref).name

    def test_a_listing_is_in_order(self, registry: Registry) -> None:
        for ref in walked(registry):
            if registry.traits.is_version(ref):
                continue
            names = [entry.name for entry in registry.children(ref)]
            is_numbered = ref.depth == registry.traits.depth - 1
            assert sorted(names, key=int if is_numbered else str) == names
            assert len(set(names)) == len(names)

    def test_documents_are_those_of_their_level(self, registry: Registry) -> None:
        traits = registry.traits
        for ref in walked(registry):
            if ref.parts and not traits.is_version(ref):
                found = tuple(document.name for document in registry.documents(ref))
                assert traits.documents_of(ref) == found

    def test_a_version_holds_what_its_registry_has(self, registry: Registry) -> None:
        traits = registry.traits
        for ref in walked(registry):
            if traits.is_version(ref):
                manifest = registry.manifest(ref)
                assert traits.has_files == bool(manifest.files)
                assert {item.name for item in manifest.documents} <= set(traits.documents_of(ref))
                with pytest.raises(NotFound):
                    registry.children(ref)

    def test_every_ref_tells_of_itself(self, registry: Registry) -> None:
        for ref in walked(registry):
            if ref.parts:
                assert ref == registry.item(ref).ref

    def test_pages_hold_what_is_listed(self, registry: Registry) -> None:
        depth = registry.traits.depth
        for ref in walked(registry):
            if ref.depth not in (1, depth - 1):
                continue
            found, token = set(), ""
            while True:
                page = registry.page(ref, size=5, token=token)
                found |= {item.ref.name for item in page.items}
                token = page.next_token
                if not token:
                    break
            assert {entry.name for entry in registry.children(ref)} == found

    @pytest.mark.parametrize("name", ["nothing-here", "99", "0", "01", "a b", "x%2e", "?", "é"])
    def test_what_is_not_there_is_not_found(self, registry: Registry, name: str) -> None:
        deepest = max(walked(registry), key=lambda ref: ref.depth)
        for above in deepest.ancestors():
            ref = above.child(name)
            asked = [registry.stat, registry.item]
            asked += [registry.manifest] if registry.traits.is_version(ref) else [registry.children]
            for ask in asked:
                with pytest.raises(NotFound):
                    ask(ref)
