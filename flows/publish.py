"""The flow `publish`: uploads the files of a registered version for apps, verifies them, and links to them."""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.faults import FLOW_ERRORS, NETWORK, failed
from flows.notifications import ON_FAILURE, notify
from flows.outside import admit, title
from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.release.publishing import DEFAULT_ROOT, PublishedVersion, check_published, presign, read_index
from tinystyle.tracking.publish import publish_version

__all__ = ["publish"]


def _run_name() -> str:
    given = flow_run.parameters
    return title(given.get("style", "publish"), given.get("version", ""))


@task(name="publish-files", **NETWORK)
def publish_files(style: str, version: str, root: str) -> PublishedVersion:
    """Fetch the files from the model registry, upload them and add them to the index; a retry resumes the upload."""
    from tinystyle.tracking import registry

    found = registry.find(style, version)
    published = publish_version(found, root, reason=f"as {version}")
    get_run_logger().info("version %d of %s: %d files at %s", found.version, style, len(published.files), root)
    return published


@task(name="check-files", **NETWORK)
def check_files(style: str, version: int, root: str) -> PublishedVersion:
    """Download all published files of the version and compare them with their checksums.

    Raises:
        UserError: a file is missing or differs.
    """
    published = check_published(style, root, version)
    get_run_logger().info("every file of version %d of %s matches its verified checksum", version, style)
    return published


@task(name="link-page", **NETWORK)
def link_page(published: PublishedVersion, root: str, hours: int) -> str:
    """Create the flow run's artifact, a table of the files with links that last `hours` hours; return its Markdown."""
    page = markdown(published, root, hours)
    create_markdown_artifact(
        key=f"published-{published.style}",
        markdown=page,
        description=f"Version {published.version} of {published.style}; its links last {hours} hours",
    )
    return page


@flow(name="publish", flow_run_name=_run_name, **ON_FAILURE)
def publish(style: str, version: str = "champion", root: str = DEFAULT_ROOT, presign_hours: int = 24) -> Any:
    """Publish the files of a style for apps, and make them the current version.

    Published files never change: publishing a version again does nothing, and does not undo a rollback.

    Args:
        style: Name of the style in the model registry.
        version: Version number, or an alias such as champion.
        root: Location to publish to, s3://BUCKET[/PREFIX].
        presign_hours: Number of hours, 1 to 168, for which anyone can open the links in this run's artifact.

    Returns:
        A dictionary with style, version (a number), current (the version that the index points to) and files (their
            number).
    """
    try:
        admit({}, {"root": root})
        if not 1 <= presign_hours <= 168:
            raise UserError(f"presign_hours {presign_hours}: links last from 1 hour to a week (168)")
        published = publish_files(style, version, root)
        check_files(style, published.version, root)
        link_page(published, root, presign_hours)
        current = read_index(root).style(style)
    except FLOW_ERRORS as error:
        return failed(error)
    assert current is not None
    if current.current == published.version:
        text = f"{len(published.files)} files at {root}"
        facts: dict[str, str | int | None] = {"style": style, "version": published.version, "run_id": published.run_id}
        notify(f"{style} version {published.version}: published", text, event="publication", **facts)
    return {"style": style, "version": published.version, "current": current.current, "files": len(published.files)}


def markdown(published: PublishedVersion, root: str, hours: int) -> str:
    """Return the files of a version as a Markdown table with presigned links."""

    def link(url: str) -> str:
        return f"[{url.rpartition('/')[2]}]({presign(storage.join(root, url), hours * 3600)})"

    lines = [
        f"# {published.style}, version {published.version}",
        "",
        f"At `{storage.join(root, published.style, str(published.version))}`. The links last {hours} hours.",
        "",
        "| file | runs on | bits | bytes | image sizes | PSNR, dB | verified by | card | SHA-256 |",
        "|---|---|---:|---:|---|---:|---|---|---|",
    ]
    for file in published.files:
        lines.append(
            f"| {link(file.url)} | {file.runs_on} | {file.bits} | {file.bytes:,} | {file.sizes} | {file.psnr:.1f} "
            f"| {file.verified_by} | {link(file.card)} | `{file.sha256}` |"
        )
    swift = f"{link(published.swift)} runs the first Core ML file in an app; " if published.swift else ""
    lines += ["", f"{swift}{link(published.model)}; {link(published.checksums)}"]
    previews = [file.preview for file in published.files if file.preview]
    if previews:
        lines += ["", f"![photos and stylized photos]({presign(storage.join(root, previews[0]), hours * 3600)})"]
    return "\n".join(lines) + "\n"
