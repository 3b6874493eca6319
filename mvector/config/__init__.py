"""Configuration: YAML in, one frozen and validated :class:`Config` out."""

from mvector.config.augment_options import AugmentConf
from mvector.config.load import (
    config_to_dict,
    load_augment_config,
    load_config,
    log_config,
    with_augmentation,
)
from mvector.config.schema import Config
from mvector.errors import ConfigError

__all__ = [
    "AugmentConf",
    "Config",
    "ConfigError",
    "config_to_dict",
    "load_augment_config",
    "load_config",
    "log_config",
    "with_augmentation",
]
