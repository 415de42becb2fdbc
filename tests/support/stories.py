"""What publishing promises of any root, local or S3: the tests of both run these."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from tinystyle.release.publishing import PublishedVersion, check_published, publish_folder, read_index

PUBLISHERS = 8
WRITES = 14
"""Of a first publication of an assembled folder: SHA256SUMS, two Core ML files with cards and previews, Swift file,
network; schema; index."""
_KILLED = """
import os, signal, sys
from pathlib import Path
from tinystyle.release.publishing import places, publish_folder

left = int(sys.argv[3])

def dying(write):
    def write_or_die(*arguments):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return write(*arguments)
    return write_or_die

for place in (places.LocalPlace, places.S3Place):
    place.write = dying(place.write)
publish_folder(Path(sys.argv[1]), style="mosaic", version=1, root=sys.argv[2])
"""


def race(folder: Path, root: str) -> None:
    """Publish as many styles at once as there are publishers, twice over, so that the index is there the second time."""
    barrier = Barrier(PUBLISHERS)

    def publish(number: int) -> None:
        for version in (1, 2):
            barrier.wait()
            publish_folder(folder, style=f"style-{number}", version=version, root=root)

    with ThreadPoolExecutor(PUBLISHERS) as pool:
        list(pool.map(publish, range(PUBLISHERS)))
    index = read_index(root)
    assert [style.name for style in index.styles] == [f"style-{number}" for number in range(PUBLISHERS)]
    for style in index.styles:
        assert (style.current, len(style.versions), len(style.history)) == (2, 2, 2)
        check_published(style.name, root)


def kill_after(writes: int, folder: Path, root: str) -> None:
    """A process that publishes dies by SIGKILL after so many writes; what the index then names is whole."""
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(folder), root, str(writes)], check=False)
    assert killed.returncode == (-9 if writes < WRITES else 0)
    styles = read_index(root).styles
    assert len(styles) == (writes == WRITES)
    for style in styles:
        check_published(style.name, root)


def complete(folder: Path, root: str) -> PublishedVersion:
    """What the same command makes of it afterwards."""
    publish_folder(folder, style="mosaic", version=1, root=root)
    return check_published("mosaic", root)
