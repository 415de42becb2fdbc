"""`--tls`: the three public servers speak HTTPS alone, and clients trust them by the file env alone."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest
from botocore.exceptions import BotoCoreError

from infra import processes, seaweedfs
from infra.settings import PUBLIC_CERTIFICATES
from tests.support.stack import new_stack

pytestmark = [pytest.mark.platform, pytest.mark.e2e]


def test_an_encrypted_stack(tmp_path: Path) -> None:
    stack = new_stack(tmp_path / "encrypted")
    try:
        started = stack.up("--tls", "--workers", "1")
        assert started.returncode == 0, started.stdout + started.stderr
        environment = stack.environment
        authority = stack.folder / "certificates" / PUBLIC_CERTIFICATES[0]
        assert environment["AWS_CA_BUNDLE"] == str(authority)
        context = ssl.create_default_context(cafile=authority)
        addresses = {
            f"https://localhost:{stack.ports['prefect']}/api/health": 200,
            f"https://127.0.0.1:{stack.ports['mlflow']}/health": 200,
            f"https://127.0.0.1:{stack.ports['s3']}/healthz": 200,
        }
        for address, status in addresses.items():
            assert httpx.get(address, verify=context, trust_env=False).status_code == status
            with pytest.raises(httpx.ConnectError, match="certificate"):
                httpx.get(address, trust_env=False)
            try:
                plain = httpx.get(address.replace("https", "http"), trust_env=False)
            except httpx.HTTPError:
                continue
            assert plain.status_code == 400, "told to use TLS"
        seaweedfs.client(environment).put_object(Bucket="models", Key="kept", Body=b"kept")
        distrusting = {name: value for name, value in environment.items() if name != "AWS_CA_BUNDLE"}
        with pytest.raises(BotoCoreError, match="CERTIFICATE_VERIFY_FAILED"):
            seaweedfs.client(distrusting).list_buckets()

        before = authority.read_bytes()
        assert stack.run("down").returncode == 0
        assert stack.run("up", "--workers", "0").returncode == 0, "it remembers"
        assert authority.read_bytes() == before, "other machines have a copy"
        assert stack.environment == environment
    finally:
        stack.run("down")
    assert not processes.descendants(stack.folder)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    stack = new_stack(tmp_path / "half")
    (tmp_path / "public.pem").touch()
    refused = stack.up("--tls-certificate", str(tmp_path / "public.pem"))
    assert refused.returncode == 2
    assert "--tls-certificate and --tls-key go together" in refused.stderr
    absent = stack.up("--tls-key", str(tmp_path / "absent.key"))
    assert absent.returncode == 2
    assert "does not exist" in absent.stderr
    assert not (stack.folder / "env").exists()
