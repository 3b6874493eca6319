"""YAML file -> :class:`Config`: every mistake at once, each with its key and the cure."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterable
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from mvector.config.augment_options import AugmentConf
from mvector.config.feature_options import MelSpectrogramArgs, MFCCArgs
from mvector.config.legacy_keys import translate_keys
from mvector.config.messages import describe_mistakes, join_mistakes
from mvector.config.reading import ConfigSource, parse_yaml, read_source
from mvector.config.schema import Config
from mvector.config.section import Section
from mvector.errors import ConfigError

logger = logging.getLogger(__name__)

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
    raw, name = read_source(path_or_dict, Config)
    overrides = list(overrides)
    _apply_overrides(raw, overrides)
    overridden = {text.partition("=")[0].strip() for text in overrides}
    origin, mistakes = translate_keys(raw, overridden)
    mistakes += _fill_sample_rate(raw)
    config, found = _validate(Config, raw, origin)
    if config is None or mistakes or found:
        raise ConfigError(join_mistakes(name, mistakes + found, overridden))
    _warn_of_empty_mel_bands(config, name)
    if config.augment_conf.volume.prob > 0 and config.dataset_conf.use_dB_normalization:
        logger.warning(
            f"{name}: augment_conf.volume changes little or nothing, as use_dB_normalization "
            "brings every clip to one level behind it; turn one of them off."
        )
    return config


def load_augment_config(path_or_dict: ConfigSource) -> AugmentConf:
    """Read and validate an augmentation file (``configs/augmentation.yml``).

    Raises:
        ConfigError: as :func:`load_config`.
    """
    raw, name = read_source(path_or_dict, AugmentConf)
    config, mistakes = _validate(AugmentConf, raw, {})
    if config is None or mistakes:
        raise ConfigError(join_mistakes(name, mistakes))
    return config


def with_augmentation(config: Config, path_or_dict: ConfigSource) -> Config:
    """A configuration with an augmentation file in the place of its ``augment_conf``.

    Raises:
        ConfigError: as :func:`load_config`; also where the two do not go together.
    """
    augment = load_augment_config(path_or_dict)
    sections = {name: getattr(config, name) for name in type(config).model_fields}
    changed, mistakes = _validate(Config, {**sections, "augment_conf": augment}, {})
    if changed is None:
        raise ConfigError(join_mistakes("The configuration with this augmentation", mistakes))
    return changed


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


# ---- overrides ------------------------------------------------------------------------------


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
            node[key] = parse_yaml(value)
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
        mistakes = describe_mistakes(section, error, raw, origin)
        rest = copy.deepcopy(raw)
        for detail in error.errors():
            _drop_key(rest, detail["loc"])
    try:  # what goes together with what is looked at last, and told all the same
        section.model_validate(rest)
    except ValidationError as error:
        told = describe_mistakes(section, error, rest, origin, contradictions_alone=True)
        mistakes += [mistake for mistake in told if mistake not in mistakes]
    return None, mistakes


def _drop_key(raw: dict[str, Any], location: tuple[str | int, ...]) -> None:
    """Take out the key that a mistake is in, as far as the location leads into mappings."""
    node = raw
    for place in location[:-1]:
        if not isinstance(node.get(str(place)), dict):
            node.pop(str(place), None)
            return
        node = node[str(place)]
    if location:
        node.pop(str(location[-1]), None)
