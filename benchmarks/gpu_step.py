"""Times the training step on a GPU, and says where its time goes.

    python benchmarks/gpu_step.py --weights VGG16_FILE [--size 256] [--batch 16 64]

`small` 0.3 with VGG16, in bfloat16: images/s of the step as it is and with the losses compiled by torch.compile,
interleaved; the share of the rate of a matrix product of 8192x8192, measured in the same run; and of one step, the
kernels that take longest, and how much of the time any kernel runs.
"""

from __future__ import annotations

import argparse
from functools import partial
from statistics import median
from time import perf_counter

import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from train_step import operations, our_step

from tinystyle.config import DataConfig, LossConfig, NetworkConfig, RunConfig
from tinystyle.nets import build_network
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.losses import StyleTarget
from tinystyle.nets.perceptual.references import ReferenceStatistics

ROUNDS, STEPS = 5, 10


def seconds(step: partial[None], steps: int = STEPS) -> float:
    """Mean time of a step."""
    torch.cuda.synchronize()
    began = perf_counter()
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    return (perf_counter() - began) / steps


def matrix_rate(side: int = 8192) -> float:
    """Floating-point operations per second of a product of two square matrices in bfloat16."""
    a, b = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product = partial(torch.mm, a, b)
    seconds(product, 3)
    return 2 * side**3 / min(seconds(product) for _ in range(3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64])
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda")
    rate = matrix_rate()
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}: product {rate / 1e12:.0f} TFLOP/s", flush=True)
    vgg, same = (load_perceptual_network("vgg16", arguments.weights).prepare(device, torch.bfloat16) for _ in range(2))
    same.forward = torch.compile(same.forward)  # type: ignore[method-assign]
    for batch in arguments.batch:
        config = RunConfig(
            style="",
            photos="",
            network=NetworkConfig(architecture="small", alpha=0.3),
            loss=LossConfig(style_weight=3.0),
            data=DataConfig(size=arguments.size, batch_size=batch),
        )
        size = arguments.size
        fields = torch.rand(batch, 3, 16, 16, device=device)
        photos = F.interpolate(fields, size=size, mode="bicubic").clamp(0, 1).mul(255).round()
        style = F.interpolate(torch.rand(1, 3, 64, 64, device=device), size=2 * size, mode="bicubic").mul(255)
        statistics = ReferenceStatistics.measure(vgg, photos[:16].split(1))
        target = StyleTarget.measure(vgg, style, statistics, None, 0.25)
        steps = {
            name: partial(our_step(build_network("small", 0.3).to(device).train(), config, network, target), photos)
            for name, network in (("as it is", vgg), ("loss network compiled", same))
        }
        work = operations(steps["as it is"])
        times: dict[str, list[float]] = {name: [] for name in steps}
        for step in steps.values():
            seconds(step, 3)
        for _ in range(ROUNDS):
            for name, step in steps.items():
                times[name].append(seconds(step))
        for name, each in times.items():
            speed = median(each)
            print(
                f"batch {batch}, {name}: {speed * 1e3:.1f} ms, {batch / speed:.0f} images/s, "
                f"{work / speed / 1e12:.0f} TFLOP/s, {work / speed / rate:.0%} of the product's rate; "
                f"rounds {', '.join(f'{one * 1e3:.1f}' for one in each)}",
                flush=True,
            )
        with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiled:
            steps["as it is"]()
            torch.cuda.synchronize()
        kernels = sorted(profiled.key_averages(), key=lambda row: -row.self_device_time_total)
        busy = sum(row.self_device_time_total for row in kernels if row.device_type.name == "CUDA") / 1e3
        print(f"batch {batch}: kernels run for {busy:.1f} ms of a step")
        print(profiled.key_averages().table(sort_by="self_cuda_time_total", row_limit=14, max_name_column_width=60))


if __name__ == "__main__":
    main()
