"""What there is to know of a toolkit whose checkpoints are imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mvector.compat.families import Reader
from mvector.compat.key_tables import KeyTable
from mvector.features.front_end import FrontEnd

SAMPLE_RATE = 16000


@dataclass(frozen=True)
class Published:
    """How a toolkit publishes one family.

    Attributes:
        read: sizes from shapes.
        table: names of the layers.
        constants: arguments of the backbone that shapes do not show.
        table_without_asp: names of the layers where the pooling is not ASP, if that occurs.
    """

    read: Reader
    table: KeyTable
    constants: Mapping[str, Any] = field(default_factory=dict)
    table_without_asp: KeyTable | None = None

    def table_for(self, options: Mapping[str, Any]) -> KeyTable:
        """The names of the layers of a backbone with these arguments."""
        if self.table_without_asp is not None and options["pooling_type"] != "ASP":
            return self.table_without_asp
        return self.table


@dataclass(frozen=True)
class Hints:
    """What files beside a checkpoint say of it; ``None`` where they say nothing."""

    sample_rate: int | None = None
    feature_dim: int | None = None
    embd_dim: int | None = None
    preprocess: Mapping[str, Any] | None = None
    use_dB_normalization: bool | None = None  # noqa: N815 - the key of the YAML file
    target_dB: float | None = None  # noqa: N815 - the key of the YAML file
    origin: str = ""


class MakeFrontEnd(Protocol):
    """Builds the front end that a toolkit computes its features with."""

    def __call__(self, feature_dim: int, sample_rate: int, hints: Hints) -> FrontEnd:
        """The front end for so many bins, at this rate in Hz."""


@dataclass(frozen=True)
class Source:
    """A toolkit.

    Attributes:
        title: what people call it.
        files: names and patterns of its checkpoints in a folder, the most telling first.
        families: what it publishes, by family; see :data:`mvector.compat.families.FINGERPRINTS`.
        front_end: how it computes features.
        heads: prefixes of keys that inference has no use for.
        backbone_prefix: what stands before the backbone's keys where a head may stand beside it.
        read_hints: reads the files beside a checkpoint.
    """

    title: str
    files: tuple[str, ...]
    families: Mapping[str, Published]
    front_end: MakeFrontEnd
    heads: tuple[str, ...] = ()
    backbone_prefix: str = ""
    read_hints: Callable[[Path], Hints] | None = None


def kaldi_front_end(
    feature_dim: int, sample_rate: int, *, window_type: str, **settings: Any
) -> FrontEnd:
    """A front end of mean-normalised Kaldi filter banks from 20 Hz to half of the rate.

    Args:
        feature_dim: number of bands.
        sample_rate: in Hz.
        window_type: see :class:`mvector.features.Fbank`.
        settings: other fields of :class:`FrontEnd`; levels are not normalised unless they say so.
    """
    method_args = {
        "sample_frequency": float(sample_rate),
        "num_mel_bins": feature_dim,
        "window_type": window_type,
    }
    preprocess = preprocessing("Fbank", method_args)
    return FrontEnd(sample_rate, preprocess, **{"use_dB_normalization": False, **settings})


def preprocessing(feature_method: str, method_args: Mapping[str, Any]) -> dict[str, Any]:
    """Features of which each clip's mean is subtracted, as ``preprocess_conf`` describes them."""
    return {
        "feature_method": feature_method,
        "method_args": dict(method_args),
        "normalize_mean": True,
        "normalize_variance": False,
        "log_spectrum": False,
    }
