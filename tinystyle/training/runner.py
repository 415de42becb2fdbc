"""Trains one run in this process, which may be one of several. Parses no command line."""

from __future__ import annotations

import os
from pathlib import Path

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed

from tinystyle.data.datamodule import PhotoDataModule
from tinystyle.data.processes import cpu_count
from tinystyle.training.callbacks import Checkpoints, CollapsedError, Previews, SaveFirst, StepReport
from tinystyle.training.checkpoint_files import CheckpointFiles
from tinystyle.training.module import GradientNotFiniteError, StyleTransferModule
from tinystyle.training.objective import build_criteria
from tinystyle.training.progress import Progress
from tinystyle.training.record import RunRecord
from tinystyle.training.run_folder import RunFolder
from tinystyle.training.style_list import load_styles
from tinystyle.training.work import ManyStyles, OneStyle
from tinystyle.training.worker import GROUP_FILE

__all__ = ["fit"]

EVALUATION_SIDE = 256
"""Short side, in pixels, to which held-out photos are scaled down, because an evaluation takes seconds of training."""


def fit(folder: Path, *, show_progress: bool = True) -> RunRecord:
    """Train the run recorded in `folder`, from its last checkpoint if any, to its end or until SIGTERM or SIGINT.

    Writes checkpoints, previews/, metrics.jsonl and, on completion, model.safetensors; the record says how the run
    ended.

    Raises:
        UserError: the dataset, the style image, the weights of the loss network or a checkpoint is missing or damaged.
        OSError: a file cannot be written.
    """
    record, files = RunRecord.read(folder), RunFolder(folder)
    config = record.config
    execution = config.execution
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    primary = os.environ.get("RANK", "0") == "0"
    device = _device()
    backend = "nccl" if device.type == "cuda" else "gloo"
    if world_size > 1 and (meeting := os.environ.get(GROUP_FILE)) and not distributed.is_initialized():
        # Before Lightning would do it, through a store that listens on all interfaces.
        distributed.init_process_group(
            backend, init_method=f"file://{meeting}", rank=int(os.environ["RANK"]), world_size=world_size
        )
    torch.set_num_threads(execution.threads or 1)
    torch.set_float32_matmul_precision("high")

    photos = PhotoDataModule(
        Path(record.dataset),
        config.data.size,
        config.data.batch_size,
        config.seed,
        zoom=config.data.zoom,
        workers=_decoding_processes(device, execution.processes),
        photos_after=config.photos_after,
    )
    styles = load_styles(config)
    criteria = build_criteria(config, photos, device, styles)
    work = (OneStyle if len(styles) == 1 else ManyStyles)(config, styles, criteria)
    module = work.module(record.rate_scale)

    with Progress(record, folder, active=primary, visible=show_progress) as progress:
        held_out = photos.held_out(work.judged_photos, EVALUATION_SIDE)
        steps = StepReport(files.metrics, [progress.step])
        checkpoint_files = CheckpointFiles(files.checkpoints(execution), record)
        checkpoints = Checkpoints(
            checkpoint_files,
            execution.checkpoint_every,
            work.judge(held_out),
            steps,
            [progress.held_out],
            progress.saved,
        )
        previews = Previews(files.previews, execution.preview_every, work.drawing(held_out), progress.preview)
        trainer = L.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=execution.processes,
            num_nodes=execution.nodes,
            strategy=DDPStrategy(process_group_backend=backend) if world_size > 1 else "auto",
            # The module switches the style network to bf16 itself; losses and evaluation stay in float32.
            precision="32-true",
            max_steps=config.optimizer.steps,
            max_epochs=-1,
            # Previews come before the check that stops the run, because a preview of a collapsed network is useful.
            callbacks=[steps, SaveFirst(checkpoints), previews, checkpoints],
            # Named, because Lightning would take a cluster's variables for those of this run.
            plugins=[checkpoint_files, TorchElasticEnvironment() if world_size > 1 else LightningEnvironment()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            limit_val_batches=0,
        )
        with steps.handling():
            state, message = "completed", ""
            try:
                resumes = checkpoint_files.load()
                if primary:
                    steps.resume(checkpoint_files.kept[1])
                _fit(trainer, module, photos, checkpoint_files if resumes else None)
            except (CollapsedError, GradientNotFiniteError) as error:
                state, message = "collapsed", str(error)
            if state == "completed" and trainer.global_step < config.optimizer.steps:
                state, message = "stopped", f"stopped at step {trainer.global_step} of {config.optimizer.steps}"
                if checkpoint_files.kept[1] < trainer.global_step:
                    message += f", without a checkpoint; it resumes from step {checkpoint_files.kept[1]}"
            # What a run that has not completed resumes from is its checkpoint.
            step = trainer.global_step if state == "completed" else checkpoint_files.kept[1]
            if primary:
                if state == "completed":
                    work.save(files.model, record.lineage)
                results = {
                    **checkpoints.results,
                    **module.final_weights,
                    "images_per_second": steps.mean_images_per_second,
                }
                record.update(folder, state=state, message=message, step=step, results=results)
                progress.finish()
    return record


def _fit(
    trainer: L.Trainer, module: StyleTransferModule, photos: PhotoDataModule, files: CheckpointFiles | None
) -> None:
    """Train, from the checkpoint that `files` has loaded, if any."""
    if files is None:
        trainer.fit(module, datamodule=photos)
        return
    try:
        trainer.fit(module, datamodule=photos, ckpt_path=files.last, weights_only=True)
    except (OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if not module.restoring:
            raise
        raise files.unusable("does not fit this run") from error


def _device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def _decoding_processes(device: torch.device, devices: int) -> int:
    """Return the number of processes that decode photos: 0 on a CPU, where decoding takes about 1% of a step."""
    return min(8, max(1, cpu_count() // devices - 1)) if device.type == "cuda" else 0
