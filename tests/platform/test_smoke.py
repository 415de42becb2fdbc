"""From photographs in S3 to a published file, by the commands of the pages in docs/, on a stack of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import commands
from tests.support.platform_story import check_run_and_version, publish_first, start_and_ingest
from tests.support.stack import platform_in

pytestmark = [pytest.mark.platform, pytest.mark.timeout(700)]


def test_from_photographs_in_s3_to_a_published_file(tmp_path: Path) -> None:
    with platform_in(tmp_path / "checkout") as checkout:
        start_and_ingest(checkout, tmp_path)
        page = commands("engineer.md")
        for block in page["Train a style"] + page["Look at it"]:
            checkout.run(block)
        check_run_and_version(checkout)
        publish_first(checkout)
