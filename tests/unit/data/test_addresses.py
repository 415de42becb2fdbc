"""Addresses by their text: which are refused, how one is shown, and what a configuration keeps of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinystyle.config import run_config
from tinystyle.data import addresses, storage
from tinystyle.data.permission import ALLOW, Permission, is_public
from tinystyle.errors import UserError, sentence

SIGNED = "https://user:SECRET@example.org/a/vangogh.jpg?X-Amz-Signature=SECRET&w=1#SECRET"


@pytest.mark.parametrize(
    "address",
    [
        "zip://a::file:///etc/passwd", "zip://x", "dir://s3/x", "reference://x", "ftp://h/x", "HTTP+unix://x", "data://x",
        "simplecache::s3://b/k", "http://h/a.zip::file:///etc/passwd", "s3://b/k::file:///etc", "://x",
        "http://", "http:///x", "http://h:99999/x", "http://h\\@evil/x", "http://[::1", "http://a b/x",
        "s3://", "s3:///k", "s3://key:HUSH@b/k", "s3://../b", "s3://b/../other/k", "s3://b/k?versionId=1", "S3://b/k",
        "s3:/b/k", "HTTPS://h/x", "hf://m/x", "az://b/k",
        "s3://arn:aws:s3:x/k", "memory://a/./b", "a\0b", "a\nb", "http://h/\r\nX: y", "s3://b/\x1b[2J", "a\u202egpj.exe",
        "http://h/" + "x" * 5000, "gs://b/k",
    ],
)  # fmt: skip
def test_what_is_refused_is_one_sentence(address: str) -> None:
    with pytest.raises(UserError) as caught:
        addresses.check(address)
    text = sentence(caught.value) or ""
    assert text.isprintable()
    assert len(text) < 350
    assert "HUSH" not in text
    with pytest.raises(UserError):
        run_config({"photos": "photos", "style": address})
    if "://" in address or "\0" in address:
        for function in (storage.exists, storage.read_bytes, storage.remove):
            with pytest.raises(UserError):
                function(address)


@pytest.mark.parametrize(
    "address",
    ["a.jpg", "/a/b c/ü.jpg", "~/x", "file:///a/b", "FILE:///a", "file:/a", "C:odd", "a:b", "s3://b/k#1", "s3://b/a?b%20",
     "s3://bucket/a b/ü+&.jpg", "s3a://b/k", "http://h:1/a?b=1#c",
     "https://[2001:db8::1]/a", "memory://x/y"],
)  # fmt: skip
def test_what_is_accepted(address: str) -> None:
    assert addresses.check(address) == address


def test_an_address_is_shown_without_secrets() -> None:
    assert addresses.public(SIGNED) == addresses.shown(SIGNED) == "https://example.org/a/vangogh.jpg"
    assert addresses.has_secrets(SIGNED)
    for plain in ("s3://b/k", "memory://", "/a?b#c@d", "file:///a?b", "http://h", "s3://b/a?b"):
        assert addresses.public(plain) == plain
        assert not addresses.has_secrets(plain)


def test_a_configuration_keeps_no_secret_and_readers_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(addresses.WITHHELD, "{}")
    config = run_config({"style": SIGNED, "photos": SIGNED.replace("vangogh", "photos"), "perceptual_weights": SIGNED})
    assert "SECRET" not in config.model_dump_json()
    assert config.style == "https://example.org/a/vangogh.jpg"
    assert addresses.full(config.style) == SIGNED
    assert "SECRET" in os.environ[addresses.WITHHELD], "child processes read it too"
    assert type(config).model_validate_json(config.model_dump_json()) == config
    with pytest.raises(Exception, match="was given before with another query") as caught:
        run_config({"style": SIGNED.replace("w=1", "w=2"), "photos": "p"})
    assert "SECRET" not in str(caught.value)
    assert "given before" in (sentence(caught.value) or "")


def test_a_sentence_repeats_no_secret_and_no_endless_value() -> None:
    told = sentence(UserError(f"(postgresql://u:SECRET@h/db) and {SIGNED}, or '{SIGNED}'; \x1b[31m"))
    assert told == (
        "(postgresql://h/db) and https://example.org/a/vangogh.jpg, or 'https://example.org/a/vangogh.jpg'; \ufffd[31m"
    )
    with pytest.raises(Exception, match="precision") as caught:
        run_config({"style": "a", "photos": "p", "precision": "x" * 100_000})
    assert len(sentence(caught.value) or "") < 500


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1", True), ("64:ff9b::808:808", True), ("::ffff:8.8.8.8", True),
        ("127.0.0.1", False), ("10.1.2.3", False), ("172.31.0.1", False), ("192.168.0.1", False), ("169.254.169.254", False),
        ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False), ("240.0.0.1", False),
        ("168.63.129.16", False), ("198.18.0.1", False), ("192.0.2.1", False), ("::", False), ("::1", False),
        ("fe80::1%eth0", False), ("fc00::1", False), ("fec0::1", False), ("ff02::1", False), ("fd00:ec2::254", False),
        ("::ffff:127.0.0.1", False), ("::127.0.0.1", False), ("64:ff9b::7f00:1", False), ("64:ff9b:1::7f00:1", False),
        ("2002:7f00:1::", False), ("2001:0:7f00:1::", False),
    ],
)  # fmt: skip
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_the_operator_s_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "styles"
    folder.mkdir()
    (folder / "out").symlink_to(tmp_path)
    monkeypatch.delenv(ALLOW, raising=False)
    assert Permission.given().path("/etc/passwd")
    monkeypatch.setenv(ALLOW, f"file:{folder}, http://10.0.0.5:8000,https://Inside.example,http://[fd00::1]:1")
    given = Permission.given()
    assert given.path(folder / "a.jpg")
    assert given.path(f"file://{folder}/a.jpg")
    assert not any(map(given.path, ("/etc/passwd", f"{folder}/../x", f"{folder}/out/x", f"{folder}2/x", "a.jpg")))
    assert given.lists("inside.example", 443)
    assert given.refusal("inside.example", 443, "10.0.0.9") is None
    assert given.refusal("10.0.0.5", 8000, "10.0.0.5") is None
    assert given.refusal("fd00::1", 1, "fd00::1") is None
    assert given.refusal("inside.example", 80, "10.0.0.9")
    assert given.refusal("10.0.0.5", 22, "10.0.0.5")
    for wrong in ("/data", "http://", "ftp://h", "file:data", "http://h:x"):
        monkeypatch.setenv(ALLOW, wrong)
        with pytest.raises(UserError, match=r"is neither file:/FOLDER nor http://HOST:PORT"):
            Permission.given()
