"""Names what stands in the place of a file that was not fetched: a Git LFS pointer, an error page, nothing at all."""

from __future__ import annotations

import re

__all__ = ["HEAD", "placeholder"]

HEAD = 1024
"""Number of bytes from the beginning of a file that `placeholder` looks at."""

_LFS = b"version https://git-lfs.github.com/spec/"
_LFS_OLD = b"version https://hawser.github.com/spec/"
_ANNEX = re.compile(rb"(\.\./)*(/annex/objects/|\.git/annex/objects/)")
_MARKUP = re.compile(rb"<!doctype html|<html|<head|<\?xml[^>]*>\s*<error", re.IGNORECASE)


def placeholder(data: bytes) -> str | None:
    """Return what the content is instead of a file, and what to do, or None if it may be the file itself.

    Args:
        data: content of the file, or at least its first HEAD bytes.
    """
    head = data[:HEAD].removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith((_LFS, _LFS_OLD)):
        return "a Git LFS pointer, not the file itself; fetch that with `git lfs pull`"
    if _ANNEX.match(head):
        return "a git-annex pointer, not the file itself; fetch that with `git annex get`"
    if _MARKUP.match(head):
        return "a web page or a server's error message, not the file itself; download that again"
    if not data:
        return "an empty file; fetch it again"
    return None
