"""What a run is made of, and the one list of its parameters that every way to start a run is made from. Imports no torch."""

from __future__ import annotations

from tinystyle.config.parameters import PARAMETERS, Parameter, flat, read_config, run_config
from tinystyle.config.run import (
    MAX_REDUCTION,
    STYLE_WEIGHT_START,
    DataConfig,
    ExecutionConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    RunConfig,
)

__all__ = [
    "MAX_REDUCTION", "PARAMETERS", "STYLE_WEIGHT_START", "DataConfig", "ExecutionConfig", "LossConfig", "NetworkConfig",
    "OptimizerConfig", "Parameter", "RunConfig", "flat", "read_config", "run_config",
]  # fmt: skip
