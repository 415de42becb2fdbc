"""A way from photographs to a published style through a stack, something on it killed, and what has to be so afterwards."""

from __future__ import annotations

import hashlib
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from botocore.exceptions import BotoCoreError, ClientError

from infra.processes import descendants
from tests.support.files import contents
from tests.support.flow_run import FINAL, FlowRun, processes_of_runs
from tests.support.models import different_weights
from tests.support.photos import synthetic_photo
from tests.support.rest import MLflow, Prefect, s3
from tests.support.runs import micro_config, micro_parameters
from tests.support.stack import Stack
from tinystyle.release.publishing import Index, check_published, read_index
from tinystyle.tracking import registry
from tinystyle.training.launch import prepare
from tinystyle.training.runner import fit

__all__ = ["PARTS", "SERVERS", "Kill", "Rounds", "Watch"]

PHOTOS, STEPS, EVERY, LOGGED = 48, 120, 20, 10
"""Photographs; steps of a training, between checkpoints, and between the losses that it logs."""
ROOT = "s3://models/chaos"
SERVERS = ("store", "mlflow", "prefect")
PARTS = {
    "ingest": ("ingest-coco", "plan", "merge"),
    "sync": ("train-style", "sync-dataset", "sync-dataset"),
    "train": ("train-style", "train", "train"),
    "export": ("train-style", "evaluate", "export-and-verify"),
    "register": ("train-style", "log-and-register", "log-and-register"),
    "publish": ("publish", "publish-files", "link-page"),
}
"""The parts of a round: the flow of each, and its first and last task."""
END_SECONDS = 900
T = TypeVar("T")
Window = tuple[float, float]


def patiently(ask: Callable[[], T], seconds: float = 240) -> T:
    """Return the answer of a server that may be down for a while."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except (httpx.HTTPError, ClientError, BotoCoreError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


@dataclass
class Kill:
    """What a round does to itself: in `part`, at the fraction `at` of its usual duration."""

    part: str
    at: float
    dice: random.Random
    victim: str = "nobody"
    seconds: float = 0.0
    """From the beginning of the part's flow run to the kill."""

    def strike(self, stack: Stack) -> None:
        """Kill one of what there is now."""
        found = processes_of_runs(stack)
        choices = [kind for kind, processes in found.items() if processes]
        self.victim = self.dice.choice([*choices, *SERVERS, *(["worker"] if found["flow"] else [])])
        if self.victim in SERVERS:
            killed = descendants(stack.folder, self.victim)
        else:
            killed = [self.dice.choice(found["flow" if self.victim == "worker" else self.victim])]
        if self.victim == "worker":
            killed = descendants(stack.folder, killed[0].environ()["TINYSTYLE_SERVER"])
        for process in killed:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)


class Watch:
    """Reads index.json all the time."""

    def __init__(self, stack: Stack) -> None:
        self.looks, self.faults = 0, set[str]()
        self._stack, self._over, self._seen = stack, threading.Event(), set[str]()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with s3(self._stack.environment) as store:
            there = False
            while not self._over.wait(0.2):
                try:
                    text = store.get_object(Bucket="models", Key="chaos/index.json")["Body"].read()
                    there = True
                    self._look(store, text)
                except ClientError as error:
                    if there and error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                        self.faults.add(f"gone: {error}")
                except BotoCoreError:
                    continue  # the store was killed

    def _look(self, store: Any, text: bytes) -> None:
        self.looks += 1
        try:
            index = Index.model_validate_json(text)
        except ValueError as error:
            self.faults.add(f"index.json is not valid: {error}")
            return
        files = {file.url: file.sha256 for style in index.styles for one in style.versions for file in one.files}
        for url in files.keys() - self._seen:
            body = store.get_object(Bucket="models", Key=f"chaos/{url}")["Body"].read()
            if hashlib.sha256(body).hexdigest() != files[url]:
                self.faults.add(f"index.json names {url}, which has other bytes")
            self._seen.add(url)


class Rounds:
    """Rounds on one stack. The first, which nothing is done to, says how long things take and what comes of them."""

    def __init__(self, stack: Stack, scratch: Path) -> None:
        self.stack, self.scratch = stack, scratch
        self.prefect, self.mlflow = Prefect(stack.environment), MLflow(stack.environment)
        self.windows: dict[str, Window] = {}
        self.usual: dict[str, float] = {}
        self.dataset: dict[str, str] = {}
        self._said: set[str] = set()

    def prepare(self) -> None:
        """Upload the photographs, and run the undisturbed round."""
        self.stack.deploy()
        with s3(self.stack.environment) as store:
            for number in range(PHOTOS):
                file = self.scratch / f"{number:02}.png"
                synthetic_photo(number).save(file)
                store.upload_file(str(file), "coco", f"raw/chaos/{file.name}")
        runs = self.run(0, None)
        assert not (problems := self.problems(0, runs)), problems
        for part, (flow, first, last) in PARTS.items():
            begun = runs[flow].shown()["start_time"]
            wanted = {"flow_runs": {"id": {"any_": [runs[flow].id]}}}
            tasks = {
                one["name"].rsplit("-", 1)[0]: one for one in self.prefect.ask("POST", "task_runs/filter", json=wanted)
            }
            self.windows[part] = (_seconds(begun, tasks[first]["start_time"]), _seconds(begun, tasks[last]["end_time"]))
        self.usual = {flow: _duration(run) for flow, run in runs.items()}

    def run(self, number: int, kill: Kill | None) -> dict[str, FlowRun]:
        """Run the flows of a round, one after the other, as long as they complete; kill once on the way."""
        name, dataset = f"chaos-{number}", f"s3://coco/datasets/chaos-{number}"
        trained = micro_parameters(
            dataset, name, steps=STEPS, checkpoint_every=EVERY, preview_every=1000, **{"seed": number}
        )
        given: dict[str, dict[str, Any]] = {
            "ingest-coco": {"source": "s3://coco/raw/chaos", "dataset": dataset, "partitions": 2, "size": 64},
            "train-style": trained,
            "publish": {"style": name, "version": "1", "root": ROOT},
        }
        runs = {}
        for flow, parameters in given.items():
            runs[flow] = run = patiently(lambda: FlowRun.start(self.stack, f"{flow}/default", **parameters))  # noqa: B023
            if kill and PARTS[kill.part][0] == flow:
                self._strike_in(run, kill)
            deadline = time.monotonic() + END_SECONDS
            while (state := patiently(run.state))["type"] not in FINAL and time.monotonic() < deadline:
                time.sleep(0.5)
            if state["type"] != "COMPLETED":
                break
        return runs

    def delay(self, runs: dict[str, FlowRun], kill: Kill) -> float:
        """Return by how many seconds the kill made a flow run longer."""
        flow = PARTS[kill.part][0]
        return _duration(runs[flow]) - self.usual[flow]

    def _strike_in(self, run: FlowRun, kill: Kill) -> None:
        while patiently(run.state)["type"] in ("SCHEDULED", "PENDING"):
            time.sleep(0.1)
        first, last = self.windows[kill.part]
        kill.seconds = first + kill.at * (last - first)
        time.sleep(kill.seconds)
        kill.strike(self.stack)

    def problems(self, number: int, runs: dict[str, FlowRun]) -> list[str]:
        """Return what is not as if nothing had happened, in a sentence each."""
        name, found = f"chaos-{number}", []
        for flow, run in runs.items():
            if (state := patiently(run.state))["type"] != "COMPLETED":
                found.append(f"{flow} is {state['type']}: {state['message']}")
        if found:
            self._said |= {run.id for run in runs.values()}
            return found
        dataset = patiently(lambda: self._fetched(f"datasets/chaos-{number}/"))
        written = {path: hashlib.sha256(body).hexdigest() for path, body in contents(dataset).items()}
        self.dataset = self.dataset or written
        if written != self.dataset:
            found.append(f"the dataset has other bytes: {sorted(written.items() ^ self.dataset.items())}")
        tracked = patiently(runs["train-style"].tracked)
        if [run["info"]["status"] for run in tracked] != ["FINISHED"]:
            found.append(f"MLflow runs: {[run['info']['status'] for run in tracked]}")
        steps = Counter(patiently(runs["train-style"].steps))
        if max(steps, default=0) != STEPS or sum(steps.values()) - len(steps) > EVERY // LOGGED:
            found.append(f"trained twice, or not to its end: {sorted(steps.items())}")
        if (versions := patiently(lambda: self.mlflow.versions(name))) != 1:
            found.append(f"{versions} versions of {name}")
        elif not self._same_weights(number, dataset):
            found.append("the weights differ from those of an undisturbed run")
        published = patiently(lambda: check_published(name, ROOT, 1))
        style = read_index(ROOT).style(name)
        if published.version != 1 or style is None or style.current != 1:
            found.append("index.json does not name version 1 as the current one")
        return found + self._left_over()

    def _left_over(self) -> list[str]:
        """What should have ended: processes within seconds, MLflow's and Prefect's runs at once."""
        deadline = time.monotonic() + 10
        while any((left := processes_of_runs(self.stack)).values()) and time.monotonic() < deadline:
            time.sleep(0.5)
        found = [f"a {kind} is left" for kind, processes in left.items() if processes]
        if running := self.mlflow.search("attributes.status = 'RUNNING'"):
            found.append(f"{len(running)} MLflow runs are RUNNING")
        state = {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING", "CRASHED", "FAILED"]}}
        wanted = {"flow_runs": {"state": state, "deployment_id": {"is_null_": False}}}
        unfinished = self.prefect.ask("POST", "flow_runs/filter", json=wanted)
        found += [f"{run['name']} is {run['state_type']}" for run in unfinished if run["id"] not in self._said]
        self._said |= {run["id"] for run in unfinished}  # of a later round they are not the fault
        return found

    def _fetched(self, prefix: str) -> Path:
        """A copy of every object below a prefix of the bucket coco; partial results of partitions included."""
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        with s3(self.stack.environment) as store:
            for one in store.list_objects_v2(Bucket="coco", Prefix=prefix)["Contents"]:
                file = folder / one["Key"].removeprefix(prefix)
                file.parent.mkdir(parents=True, exist_ok=True)
                store.download_file("coco", one["Key"], str(file))
        return folder

    def _same_weights(self, number: int, dataset: Path) -> bool:
        """Compare the registered network with one that is trained here from the same dataset."""
        out = Path(tempfile.mkdtemp(dir=self.scratch))
        config = micro_config(dataset, steps=STEPS, checkpoint_every=EVERY, preview_every=1000)
        prepare(config.model_copy(update={"seed": number}), out / "run", resume=True)
        fit(out / "run", show_progress=False)
        folder = patiently(lambda: registry.fetch(registry.find(f"chaos-{number}", 1), out / "fetched"))
        return not different_weights(out / "run" / "model.safetensors", folder / "model" / "model.safetensors")


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _duration(run: FlowRun) -> float:
    shown = patiently(run.shown)
    return _seconds(shown["start_time"], shown["end_time"]) if shown["end_time"] else END_SECONDS
