"""tinystyle: style-transfer networks small enough for an iOS app to carry dozens."""

__version__ = "0.1.0"
