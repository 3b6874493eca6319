"""A checkpoint of another toolkit as a model that saves, loads and embeds like any other."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from mvector.compat import mvector1
from mvector.compat.containers import (
    extract_model_config,
    extract_state_dict,
    find_checkpoint_file,
    read_checkpoint,
)
from mvector.compat.conversion import SOURCES, Conversion, convert
from mvector.compat.source import SAMPLE_RATE, Hints
from mvector.errors import CheckpointError, ConfigError
from mvector.features import build_featurizer
from mvector.features.front_end import FrontEnd
from mvector.models.description import new_model_folder
from mvector.models.folder import save_model_folder
from mvector.models.speaker_model import SpeakerModel

logger = logging.getLogger(__name__)

# Self-supervised networks give hundreds of values; filter banks of so many bins do not exist.
_MOST_BINS = 200


@dataclass(frozen=True)
class ImportedModel:
    """A model and where it comes from."""

    model: SpeakerModel  # in evaluation mode, on the CPU
    provenance: dict[str, Any]  # what the model folder will say of the weights' origin
    conversion: Conversion = field(repr=False)  # how the checkpoint was read, without its tensors

    @property
    def dropped(self) -> tuple[str, ...]:
        """Published keys that have no part in an embedding."""
        return self.conversion.dropped

    def save(self, path: str | Path) -> str:
        """Write a model folder, in place of an earlier one; gives the model's fingerprint.

        Raises:
            CheckpointError: the folder holds something else, or cannot be written.
        """
        return save_model_folder(new_model_folder(path), self.model, provenance=self.provenance)


def import_checkpoint(
    checkpoint: str | Path | Mapping[str, torch.Tensor],
    source: str | None = None,
    *,
    sample_rate: int | None = None,
    feature_dim: int | None = None,
    front_end: str | FrontEnd | None = None,
    configs: str | Path | None = None,
) -> ImportedModel:
    """Read a checkpoint of another toolkit.

    The architecture is recognised from keys and shapes. Which toolkit trained it cannot be: several
    publish the same keys with different features.

    Args:
        checkpoint: file, folder or state dict.
        source: a key of :data:`SOURCES`, such as ``wespeaker``; ``None`` if only one of them
            publishes such a checkpoint.
        sample_rate: rate that the model was trained at, in Hz; by default what the files beside
            the checkpoint say, or 16000.
        feature_dim: bins of the features, where shapes leave them open.
        front_end: another source whose front end the model was trained with (``3dspeaker`` for the
            "200k" models of WeSpeaker), or a front end.
        configs: configuration that an mvector 1.x model was trained with.

    Returns:
        The model; its ``save`` writes a model folder.

    Raises:
        CheckpointError: the checkpoint cannot be read, would have to execute code, is ambiguous,
            or does not fit, with the entries at fault.
    """
    if isinstance(checkpoint, Mapping):
        file, name = None, "the state dict"
        state = extract_state_dict(checkpoint, name)
        model_config = extract_model_config(checkpoint)
    else:
        file = find_checkpoint_file(Path(checkpoint), _checkpoint_names(source))
        name = str(file)
        state, model_config = read_checkpoint(file)
    conversion = convert(
        state, source, name=name, feature_dim=feature_dim, model_config=model_config
    )
    toolkit = SOURCES[conversion.source]
    hints = Hints()
    if configs is not None:
        hints = _read_configuration_hints(conversion, Path(configs))
    elif file is not None and toolkit.read_hints is not None:
        hints = toolkit.read_hints(file)
    hints = replace(hints, model_config=model_config)
    _check_hints(conversion, hints, name)
    if not isinstance(front_end, FrontEnd):
        front_end = _default_front_end(front_end, conversion, sample_rate, hints)
    _check_front_end(conversion, front_end, name)
    _warn_of_assumptions(conversion, name)
    model = SpeakerModel(
        front_end, conversion.architecture.backbone, conversion.architecture.options
    )
    model.backbone.load_state_dict(conversion.weights, strict=True)
    provenance = _provenance(conversion, file, hints)
    return ImportedModel(model.eval(), provenance, replace(conversion, weights={}))


def _checkpoint_names(source: str | None) -> tuple[str, ...]:
    toolkits = [SOURCES[source]] if source in SOURCES else list(SOURCES.values())
    names = [name for toolkit in toolkits for name in toolkit.files]
    return tuple(sorted(dict.fromkeys(names), key=lambda name: "*" in name))  # exact ones first


def _read_configuration_hints(conversion: Conversion, configs: Path) -> Hints:
    if conversion.source != "mvector":
        raise CheckpointError(
            f"'{configs}': configurations are read for mvector 1.x only, and this checkpoint is of "
            f"{SOURCES[conversion.source].title}; leave configs out."
        )
    return mvector1.read_configuration(configs)


def _check_hints(conversion: Conversion, hints: Hints, name: str) -> None:
    found = {
        "feat_dim": (hints.feature_dim, conversion.architecture.feature_dim),
        "embed_dim": (hints.embd_dim, conversion.architecture.options["embd_dim"]),
    }
    for key, (said, read) in found.items():
        if said is not None and said != read:
            raise CheckpointError(
                f"'{hints.origin}' says {key} {said}, and '{name}' has {read}; the files do not "
                "belong together."
            )


def _default_front_end(
    of_source: str | None, conversion: Conversion, sample_rate: int | None, hints: Hints
) -> FrontEnd:
    of_source = of_source or conversion.source
    if of_source not in SOURCES:
        raise CheckpointError(
            f"There is no front end of '{of_source}'; choose one of: {', '.join(SOURCES)}."
        )
    rate = sample_rate or hints.sample_rate or SAMPLE_RATE
    return SOURCES[of_source].front_end(conversion.architecture.feature_dim, rate, hints)


def _check_front_end(conversion: Conversion, front_end: FrontEnd, name: str) -> None:
    bins = conversion.architecture.feature_dim
    if bins > _MOST_BINS:
        raise CheckpointError(
            f"'{name}' hears {bins} values per frame, which no filter bank gives but a "
            "self-supervised network may; choose a model of filter-bank features."
        )
    try:
        featurizer = build_featurizer(front_end.preprocess)
    except ConfigError as error:
        raise CheckpointError(f"The front end of '{name}' cannot be built: {error}") from error
    if featurizer.feature_dim != bins:
        raise CheckpointError(
            f"'{name}' hears {bins} bins and its front end has {featurizer.feature_dim}; give the "
            "front end that it was trained with, or its feature_dim.",
            code="front-end-mismatch",
        )
    if featurizer.sample_rate != front_end.sample_rate:
        raise CheckpointError(
            f"The front end of '{name}' reads clips at {front_end.sample_rate} Hz and computes "
            f"features for {featurizer.sample_rate} Hz; make the two rates equal."
        )


def _warn_of_assumptions(conversion: Conversion, name: str) -> None:
    for assumption in conversion.architecture.assumed:
        logger.warning("%s: assumed %s.", name, assumption)
    if any(key.startswith("frontend.") for key in conversion.dropped):
        logger.warning(
            "%s was trained behind a network of its own (its entries frontend.*), which is "
            "dropped: with filter banks in its place the embeddings may be worthless.",
            name,
        )


def _provenance(conversion: Conversion, file: Path | None, hints: Hints) -> dict[str, Any]:
    assumed = conversion.architecture.assumed
    return {
        "source": conversion.source,
        "file": None if file is None else file.name,
        **({"read_beside": Path(hints.origin).name} if hints.origin else {}),
        "family": conversion.family,
        "dropped": list(conversion.dropped),
        "made_integers": len(conversion.made_integers),
        **({"assumed": list(assumed)} if assumed else {}),
    }
