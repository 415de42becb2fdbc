"""Why a file is not used as a picture. Knows nothing of how files are decoded."""

from __future__ import annotations

__all__ = ["EMPTY", "NO_IMAGE", "TRUNCATED", "UNREADABLE", "Refused", "Unusable"]

UNREADABLE = "unreadable"
"""How the reason begins for which a photo is not used that may be readable at another time."""
EMPTY, NO_IMAGE, TRUNCATED = "empty file", "not an image", "truncated"
"""Three of the reasons of `Unusable`; the second may be followed by what the file is."""


class Unusable(ValueError):  # noqa: N818  an expected outcome, not a bug
    """A file that cannot be used as a picture; the message is the reason, short enough for a list."""


class Refused(Unusable):
    """A sound file of a kind that is not read; the message begins with the kind, then a colon.

    Attributes:
        kind: what the file is, with an article, such as "an HEIC image".
        advice: what to do, as an imperative.
    """

    def __init__(self, kind: str, advice: str) -> None:
        super().__init__(kind, advice)  # both, or it would not survive its way out of a worker process
        self.kind, self.advice = kind, advice

    def __str__(self) -> str:
        return f"{self.kind.split(' ', 1)[1]}: {self.advice}"
