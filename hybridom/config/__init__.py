"""The configuration: typed, strict and small.

Every file in `config/` is one `Config`. Unknown keys fail with the nearest known one, `1e-4` is a
number, `!include FILE` pulls in another file, and `a.b=c` overrides a single value. `narrow` keeps
the sections that one stage uses, so that a change elsewhere leaves that stage's outputs alone.
"""

from hybridom.config.base import Period, Section
from hybridom.config.data import (
    ClimatologyConfig,
    DownloadConfig,
    GridConfig,
    PathsConfig,
    PeriodsConfig,
    RegridConfig,
    SourceConfig,
    StoresConfig,
    TwinConfig,
)
from hybridom.config.differences import differences
from hybridom.config.experiments import load_experiments
from hybridom.config.files import (
    config_hash,
    json_schema,
    load,
    load_stage,
    merge,
    parse_override,
    read_mapping,
    read_yaml,
    validate,
    write_stage,
)
from hybridom.config.networks import GatingConfig, NetworkConfig, NetworksConfig
from hybridom.config.output import EvaluationConfig, FiguresConfig, ForecastConfig
from hybridom.config.region import DriverConfig, DriverForecastsConfig, RegionConfig, misfit
from hybridom.config.root import Config
from hybridom.config.skeleton import SkeletonConfig, SpongeConfig
from hybridom.config.stages import STAGES, StageConfig, narrow
from hybridom.config.training import (
    CheckpointConfig,
    CurriculumStage,
    DivergenceConfig,
    LossConfig,
    LossWeights,
    TrackingConfig,
    TrainingConfig,
    ValidationConfig,
    WandbConfig,
)

__all__ = [
    "STAGES",
    "CheckpointConfig",
    "ClimatologyConfig",
    "Config",
    "CurriculumStage",
    "DivergenceConfig",
    "DownloadConfig",
    "DriverConfig",
    "DriverForecastsConfig",
    "EvaluationConfig",
    "FiguresConfig",
    "ForecastConfig",
    "GatingConfig",
    "GridConfig",
    "LossConfig",
    "LossWeights",
    "NetworkConfig",
    "NetworksConfig",
    "PathsConfig",
    "Period",
    "PeriodsConfig",
    "RegionConfig",
    "RegridConfig",
    "Section",
    "SkeletonConfig",
    "SourceConfig",
    "SpongeConfig",
    "StageConfig",
    "StoresConfig",
    "TrackingConfig",
    "TrainingConfig",
    "TwinConfig",
    "ValidationConfig",
    "WandbConfig",
    "config_hash",
    "differences",
    "json_schema",
    "load",
    "load_experiments",
    "load_stage",
    "merge",
    "misfit",
    "narrow",
    "parse_override",
    "read_mapping",
    "read_yaml",
    "validate",
    "write_stage",
]
