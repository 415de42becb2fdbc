"""What a run is made of, and the one list of its parameters that every way to start a run is made from. Imports no torch."""

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

__all__ = [
    "PARAMETERS", "STYLE_WEIGHT_START", "DataConfig", "ExecutionConfig", "LossConfig", "NetworkConfig",
    "OptimizerConfig", "Parameter", "RunConfig", "flat", "run_config",
]  # fmt: skip
