"""Configuration: YAML in, one frozen and validated :class:`Config` out.

The names below load on first use: a model folder is read without the sections of a training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvector.errors import ConfigError
from mvector.lazy import lazy_names

if TYPE_CHECKING:
    from mvector.config.augment_options import AugmentConf
    from mvector.config.load import (
        config_to_dict,
        load_augment_config,
        load_config,
        log_config,
        with_augmentation,
    )
    from mvector.config.schema import Config

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

__getattr__ = lazy_names(
    __name__,
    {
        "AugmentConf": "mvector.config.augment_options",
        "Config": "mvector.config.schema",
        **dict.fromkeys(
            (
                "config_to_dict",
                "load_augment_config",
                "load_config",
                "log_config",
                "with_augmentation",
            ),
            "mvector.config.load",
        ),
    },
)
