"""The Kotlin and the Swift on the pages for app developers, read by parsers."""

from __future__ import annotations

import re

import pytest

from tests.support.places import REPOSITORY


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a language on a page."""
    text = (REPOSITORY / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("page", "language"), [("android.md", "kotlin"), ("ios.md", "swift")])
def test_a_parser_reads_the_code_without_a_fault(page: str, language: str) -> None:
    grammar = pytest.importorskip(f"tree_sitter_{language}")
    from tree_sitter import Language, Parser

    parser = Parser(Language(grammar.language()))
    found = blocks(page, language)
    assert found
    for block in found:
        assert not parser.parse(block.encode()).root_node.has_error, block
    assert parser.parse(found[-1].rstrip()[:-1].encode()).root_node.has_error, "a fault would be seen"


def test_the_kotlin_names_what_the_file_has() -> None:
    (block,) = blocks("android.md", "kotlin")
    assert '"image" to image' in block
    assert "longArrayOf(1, 3, height.toLong(), width.toLong())" in block
