"""YAML file -> :class:`Config`: every mistake at once, each with its key and the cure."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mvector.config.augment_options import AugmentConf
from mvector.config.feature_options import MelSpectrogramArgs, MFCCArgs
from mvector.config.legacy_keys import translate_keys
from mvector.config.messages import describe_mistake, join_mistakes
from mvector.config.options import Section
from mvector.config.schema import Config
from mvector.errors import ConfigError
from mvector.files import read_errors_as
from mvector.shipped import find_config

logger = logging.getLogger(__name__)

ConfigSource: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"
S = TypeVar("S", bound=Section)


def load_config(path_or_dict: ConfigSource, overrides: Iterable[str] = ()) -> Config:
    """Read, translate and validate a configuration.

    Args:
        path_or_dict: a YAML file, the name of one that comes with the package (``ecapa_tdnn``), or
            its content as a mapping. The spellings of the 1.0 and 1.1 generation of configuration
            files are accepted too.
        overrides: ``dotted.key=value`` strings that win over the file, values in YAML.

    Returns:
        The frozen configuration, defaults filled in.

    Raises:
        ConfigError: names the file and lists every mistake: key, value, what is allowed.
    """
    raw, name = _read(path_or_dict)
    _apply_overrides(raw, overrides)
    origin, mistakes = translate_keys(raw)
    mistakes += _fill_sample_rate(raw)
    config, found = _validate(Config, raw, origin)
    if config is None or mistakes or found:
        raise ConfigError(join_mistakes(name, mistakes + found))
    _warn_of_empty_mel_bands(config, name)
    return config


def load_augment_config(path_or_dict: ConfigSource) -> AugmentConf:
    """Read and validate an augmentation file (``configs/augmentation.yml``).

    Raises:
        ConfigError: as :func:`load_config`.
    """
    raw, name = _read(path_or_dict)
    config, mistakes = _validate(AugmentConf, raw, {})
    if config is None or mistakes:
        raise ConfigError(join_mistakes(name, mistakes))
    return config


def config_to_dict(config: Section) -> dict[str, Any]:
    """Plain Python values, ready for YAML; :func:`load_config` reads them back unchanged."""
    return config.model_dump(mode="json")


def log_config(config: Section) -> None:
    """Log the settings that differ from the defaults, and every one at level DEBUG."""
    logger.info("Settings other than the defaults:")
    for key, value in changed_settings(config).items():
        logger.info("  %s: %s", key, value)
    logger.debug("----------- Configuration -----------")
    for line in yaml.safe_dump(config_to_dict(config), allow_unicode=True).splitlines():
        logger.debug("  %s", line)
    logger.debug("-------------------------------------")


def changed_settings(section: Section, default: Section | None = None) -> dict[str, Any]:
    """Settings by dotted key that have no default, or another value.

    ``default`` has the defaults; ``None``: those of the section's class.
    """
    changed: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        usual = field.get_default(call_default_factory=True)
        usual = usual if default is None else getattr(default, name)
        if isinstance(value, Section):
            same_kind = usual if type(usual) is type(value) else None
            inner = changed_settings(value, same_kind)
            changed |= {f"{name}.{key}": own for key, own in inner.items()}
        elif value != usual:  # a required setting differs from any
            changed[name] = value
    return changed


# ---- reading --------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: ``1e-6`` is a number, ``None`` is null, a key stands once."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^None$"), ["N"])


def _mapping_without_repeated_keys(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, (str, int, float)):
            continue
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{key}' stands twice in one section", key_node.start_mark
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping_without_repeated_keys)


def _read(path_or_dict: ConfigSource) -> tuple[dict[str, Any], str]:
    if isinstance(path_or_dict, BaseModel):
        path_or_dict = path_or_dict.model_dump(mode="json")
    if isinstance(path_or_dict, Mapping):
        return _none_words_to_null(dict(path_or_dict)), "The configuration"
    name = str(find_config(path_or_dict))
    with read_errors_as(ConfigError, f"The configuration file '{name}'"):
        text = Path(name).read_text(encoding="utf-8-sig")
    try:
        raw = yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ConfigError(f"{name}{where} is not valid YAML: {problem}.") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{name} holds no 'key: value' sections; start from a file of configs/.")
    return raw, name


def _none_words_to_null(node: Any) -> Any:
    """A copy in which the word None, as other YAML readers leave it, is null."""
    if isinstance(node, Mapping):
        return {key: _none_words_to_null(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_none_words_to_null(value) for value in node]
    return None if node == "None" else node


def _apply_overrides(raw: dict[str, Any], overrides: Iterable[str]) -> None:
    for text in overrides:
        dotted, equals, value = text.partition("=")
        if not equals or not dotted.strip():
            raise ConfigError(f"The override '{text}' is not of the form section.key=value.")
        *parents, key = dotted.strip().split(".")
        node = raw
        for parent in parents:
            child = node.setdefault(parent, {})
            if child is None:
                child = node[parent] = {}
            if not isinstance(child, dict):
                raise ConfigError(f"The override '{text}' goes through '{parent}', a plain value.")
            node = child
        try:
            node[key] = yaml.load(value, _Loader)
        except yaml.YAMLError as error:
            raise ConfigError(f"The override '{text}' has a value that is not YAML.") from error


# ---- checks across sections -----------------------------------------------------------------


def _fill_sample_rate(raw: dict[str, Any]) -> list[str]:
    """The front end works at the rate that clips are read at, whether it is said twice or once."""
    dataset, preprocess = raw.get("dataset_conf"), raw.get("preprocess_conf")
    if not isinstance(dataset, dict) or not isinstance(preprocess, dict):
        return []
    rate = _number(dataset.get("sample_rate", 16000))
    args = preprocess.get("method_args") or {}
    if not isinstance(args, dict) or rate is None:
        return []
    key = "sample_frequency" if preprocess.get("feature_method") == "Fbank" else "sample_rate"
    holders = [(key, args)]
    if isinstance(args.get("melkwargs"), dict) or preprocess.get("feature_method") == "MFCC":
        mel = args.setdefault("melkwargs", {})
        if isinstance(mel, dict):
            holders.append((f"melkwargs.{key}", mel))
    preprocess["method_args"] = args
    mistakes = []
    for dotted, holder in holders:
        given = _number(holder.setdefault(key, rate))
        if given is not None and given != rate:
            mistakes.append(
                f"preprocess_conf.method_args.{dotted}: {given:g} contradicts "
                f"dataset_conf.sample_rate {rate:g}; give both the same value"
            )
    return mistakes


def _number(value: Any) -> float | None:
    """A number, also one that is written as text; anything else is for the schema to refuse."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _warn_of_empty_mel_bands(config: Config, name: str) -> None:
    args = config.preprocess_conf.method_args
    mel = args.melkwargs if isinstance(args, MFCCArgs) else args
    if not isinstance(mel, MelSpectrogramArgs) or mel.f_max is None:
        return
    nyquist = mel.sample_rate / 2
    if mel.f_max > nyquist:
        logger.warning(
            f"{name}: preprocess_conf.method_args.f_max {mel.f_max:g} Hz is above the Nyquist "
            f"frequency {nyquist:g} Hz: {count_empty_mel_bands(mel)} of {mel.n_mels} mel bands "
            f"are empty; set f_max to {nyquist:g} or less."
        )


def count_empty_mel_bands(mel: MelSpectrogramArgs) -> int:
    """How many mel triangles hold no frequency of the FFT and so are always zero."""
    top_hz = mel.sample_rate / 2 if mel.f_max is None else mel.f_max
    low, high = _to_mel(mel.f_min, mel.mel_scale), _to_mel(top_hz, mel.mel_scale)
    bins_hz = [k * mel.sample_rate / mel.n_fft for k in range(mel.n_fft // 2 + 1)]
    # Triangle i reaches from i to i + 2 on an axis of equal steps in mel.
    steps = [(_to_mel(hz, mel.mel_scale) - low) / (high - low) * (mel.n_mels + 1) for hz in bins_hz]
    return sum(not any(i < step < i + 2 for step in steps) for i in range(mel.n_mels))


def _to_mel(hz: float, scale: str) -> float:
    if scale == "htk":
        return 2595.0 * math.log10(1.0 + hz / 700.0)
    # Slaney: linear to 1 kHz (15 mel), logarithmic above
    return hz * 3 / 200 if hz < 1000 else 15.0 + math.log(hz / 1000.0) / (math.log(6.4) / 27.0)


def _validate(
    section: type[S], raw: dict[str, Any], origin: dict[str, str]
) -> tuple[S | None, list[str]]:
    try:
        return section.model_validate(raw), []
    except ValidationError as error:
        return None, [describe_mistake(section, detail, raw, origin) for detail in error.errors()]
