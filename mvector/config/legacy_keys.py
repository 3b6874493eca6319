"""Other spellings of the same configuration: one table from their keys to ours."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

_IN_DATASET = (
    "min_duration",
    "max_duration",
    "sample_rate",
    "do_vad",
    "use_dB_normalization",
    "target_dB",
)

# Their dotted key -> ours. Keys of the 1.1 files, then those of the 1.0 log that have moved.
RENAMED: dict[str, str] = {
    **{f"dataset_conf.dataset.{key}": f"dataset_conf.{key}" for key in _IN_DATASET},
    "dataset_conf.sampler.batch_size": "dataset_conf.dataLoader.batch_size",
    "dataset_conf.sampler.drop_last": "dataset_conf.dataLoader.drop_last",
    "model_conf.model": "use_model",
    "model_conf.model_args": "model_conf.backbone",
    "model_conf.classifier.num_speakers": "dataset_conf.num_speakers",
    "loss_conf.loss": "loss_conf.use_loss",
    "loss_conf.loss_args": "loss_conf.args",
    "loss_conf.args.lanbuda": "loss_conf.args.positive_weight",
    "loss_conf.args.K": "loss_conf.args.num_centers",
    "optimizer_conf.optimizer_args.lr": "optimizer_conf.learning_rate",
    "optimizer_conf.optimizer_args.weight_decay": "optimizer_conf.weight_decay",
    "optimizer_conf.optimizer_args.momentum": "optimizer_conf.momentum",
    "optimizer_conf.scheduler_args.eta_min": "optimizer_conf.scheduler_args.min_lr",
    "dataset_conf.noise_aug_prob": "augment_conf.noise.prob",
    "dataset_conf.noise_dir": "augment_conf.noise.noise_dir",
}

# Switches of features that are not here: accepted when off, a mistake when on.
ONLY_OFF: dict[str, str] = {
    "preprocess_conf.use_hf_model": "pretrained self-supervised front ends are not supported",
}

# Switches that have become values: our key, its value when on, when off, and which values are on.
SWITCHES: dict[str, tuple[str, Any, Any, Callable[[Any], bool]]] = {
    "dataset_conf.speed_perturb": ("augment_conf.speed.prob", 1.0, 0.0, lambda prob: prob != 0),
    "dataset_conf.is_use_pksampler": (
        "dataset_conf.batch_sampler",
        "speakers",
        "random",
        lambda sampler: sampler == "speakers",
    ),
    "train_conf.allow_tf32": (
        "train_conf.matmul_precision",
        "high",
        "highest",
        lambda precision: precision == "high",
    ),
}

# Sections that the moves above leave empty.
EMPTIED = ("dataset_conf.dataset", "dataset_conf.sampler", "optimizer_conf.optimizer_args")


def translate_keys(
    raw: dict[str, Any], overridden: Collection[str] = ()
) -> tuple[dict[str, str], list[str]]:
    """Move every foreign key of the parsed YAML to its place.

    Args:
        raw: the parsed YAML, which is changed.
        overridden: keys given beside the file; ours win there over the same setting by a foreign
            key of the file, and contradict one that is given beside it too.

    Returns:
        Which of our keys came from which of theirs (for messages), and the mistakes found.
    """
    origin: dict[str, str] = {}
    mistakes: list[str] = []
    for old, new in RENAMED.items():
        found, value = _take_key(raw, old)
        if not found:
            continue
        if new in overridden and old not in overridden:
            continue
        if _has_key(raw, new):
            mistakes.append(f"{old}: the same setting is given again as {new}; keep one")
        else:
            _put_key(raw, new, value)
            origin[new] = old
    for old, (new, when_on, when_off, is_on) in SWITCHES.items():
        found, value = _take_key(raw, old)
        if not found:
            continue
        if not isinstance(value, bool):
            mistakes.append(f"{old}: {value!r} is neither True nor False")
        elif not _has_key(raw, new):
            _put_key(raw, new, when_on if value else when_off)
            origin[new] = old
        elif new in overridden and old not in overridden:
            continue
        elif is_on(given := _get_key(raw, new)) != value:
            mistakes.append(f"{old}: {value} contradicts {new} {given}; keep one of them")
    for key, reason in ONLY_OFF.items():
        found, value = _take_key(raw, key)
        if found and value:
            mistakes.append(f"{key}: {value!r} is not possible: {reason}; set it to False")
    for section in EMPTIED:
        if _get_key(raw, section) == {}:
            _take_key(raw, section)
    return origin, mistakes


def _get_key(raw: dict[str, Any], dotted: str) -> Any:
    node: Any = raw
    for key in dotted.split("."):
        if not isinstance(node, dict) or key not in node:
            return None
        node = node[key]
    return node


def _has_key(raw: dict[str, Any], dotted: str) -> bool:
    parent, _, key = dotted.rpartition(".")
    node = _get_key(raw, parent) if parent else raw
    return isinstance(node, dict) and key in node


def _take_key(raw: dict[str, Any], dotted: str) -> tuple[bool, Any]:
    if not _has_key(raw, dotted):
        return False, None
    parent, _, key = dotted.rpartition(".")
    return True, (_get_key(raw, parent) if parent else raw).pop(key)


def _put_key(raw: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, key = dotted.split(".")
    node = raw
    for parent in parents:
        child = node.get(parent)
        if not isinstance(child, dict):
            child = node[parent] = {}
        node = child
    node[key] = value
