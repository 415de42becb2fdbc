"""Configuration of a run, and the one list of parameters from which every way to start a run is derived.

Does not import torch.
"""

from __future__ import annotations

from tinystyle.config.parameters import PARAMETERS, Parameter, flat, run_config
from tinystyle.config.run import (
    STYLE_WEIGHT_START,
    DataConfig,
    ExecutionConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    RunConfig,
)
from tinystyle.config.values import AUTO, RANDOM, named_address

__all__ = [
    "AUTO", "PARAMETERS", "RANDOM", "STYLE_WEIGHT_START", "DataConfig", "ExecutionConfig", "LossConfig",
    "NetworkConfig", "OptimizerConfig", "Parameter", "RunConfig", "flat", "named_address",
    "run_config",
]  # fmt: skip
