"""What there is to know of a toolkit whose checkpoints are imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mvector.compat.families import Architecture, Reader
from mvector.compat.key_tables import KeyTable
from mvector.errors import CheckpointError
from mvector.features.front_end import FrontEnd

SAMPLE_RATE = 16000


@dataclass(frozen=True)
class Published:
    """How a toolkit publishes one family."""

    read: Reader  # sizes from shapes
    # names of the layers, where need be by the arguments of the backbone
    table: KeyTable | Callable[[Mapping[str, Any]], KeyTable]
    constants: Mapping[str, Any] = field(default_factory=dict)  # what shapes do not show
    # Where the pooling may be SAP, TAP or TSP: names of it and of the normalisation behind it.
    other_pooling: tuple[str, str] | None = None
    # Joins the model_config that comes with the weights to what was read from shapes.
    apply_config: Callable[[Mapping[str, Any], Architecture], Architecture] | None = None

    def table_for(self, options: Mapping[str, Any]) -> KeyTable:
        """The names of the layers of a backbone with these arguments."""
        if not isinstance(self.table, KeyTable):
            return self.table(options)
        if self.other_pooling is None or options["pooling_type"] == "ASP":
            return self.table
        pooling, pooling_norm = self.other_pooling
        others = {
            "pooling.hidden": f"{pooling}.linear1",
            "pooling.attention": f"{pooling}.linear2",
            "pooling_norm": pooling_norm,
        }
        return replace(self.table, layers={**self.table.layers, **others})


@dataclass(frozen=True)
class Hints:
    """What files beside a checkpoint say of it; ``None`` where they say nothing."""

    sample_rate: int | None = None
    feature_dim: int | None = None
    embd_dim: int | None = None
    preprocess: Mapping[str, Any] | None = None
    use_dB_normalization: bool | None = None  # noqa: N815 - the key of the YAML file
    target_dB: float | None = None  # noqa: N815 - the key of the YAML file
    model_config: Mapping[str, Any] | None = None  # that the checkpoint itself carries
    origin: str = ""


@dataclass(frozen=True)
class Source:
    """A toolkit whose checkpoints are imported."""

    title: str
    files: tuple[str, ...]  # names and patterns of checkpoints in a folder, most telling first
    families: Mapping[str, Published]  # by the names of mvector.compat.families.FINGERPRINTS
    front_end: Callable[[int, int, Hints], FrontEnd]  # of the number of bins, and the rate in Hz
    heads: tuple[str, ...] = ()  # prefixes of keys that inference has no use for
    backbone_prefix: str = ""  # of the backbone's keys where a head may stand beside it
    read_hints: Callable[[Path], Hints] | None = None  # reads the files beside a checkpoint


def kaldi_front_end(
    feature_dim: int, sample_rate: int, *, window_type: str, **settings: Any
) -> FrontEnd:
    """A front end of mean-normalised Kaldi filter banks from 20 Hz to half of the rate.

    ``settings`` are other fields of it; levels are not normalised unless they say so.
    """
    method_args = {
        "sample_frequency": float(sample_rate),
        "num_mel_bins": feature_dim,
        "window_type": window_type,
    }
    preprocess = mean_normalised("Fbank", method_args)
    return FrontEnd(sample_rate, preprocess, **{"use_dB_normalization": False, **settings})


def mean_normalised(feature_method: str, method_args: Mapping[str, Any]) -> dict[str, Any]:
    """Features of which each clip's mean is subtracted, as ``preprocess_conf`` describes them."""
    return {
        "feature_method": feature_method,
        "method_args": dict(method_args),
        "normalize_mean": True,
        "normalize_variance": False,
        "log_spectrum": False,
    }


def features_unknown(key: str, value: object) -> CheckpointError:
    """What to say of a ``model_config`` with such a setting of features."""
    return CheckpointError(
        f"The checkpoint's model_config says {key} {value!r} of its features, which mvector does "
        "not compute; choose another model."
    )
