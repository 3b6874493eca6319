"""Our models as checkpoints that other toolkits load."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from mvector.compat.containers import State
from mvector.compat.conversion import SOURCES, convert, expected_entries
from mvector.compat.families import Architecture
from mvector.compat.source import Hints, Published
from mvector.config.backbone_options import tdnn_pooling
from mvector.errors import CheckpointError
from mvector.files import write_atomically, write_errors_as
from mvector.models import BACKBONES, redimnet, redimnet2
from mvector.models.ecapa_tdnn import LAYOUTS
from mvector.models.redimnet_body import form_of
from mvector.models.speaker_model import SpeakerModel
from mvector.models.tdnn import TDNN

logger = logging.getLogger(__name__)

TARGETS = ("wespeaker", "3dspeaker", "speechbrain")

_REDIM_SIZES: dict[str, Mapping[str, Any]] = {
    "ReDimNet": redimnet.SIZES,
    "ReDimNet2": redimnet2.SIZES,
}

# Which families a backbone may be published as.
_FAMILIES = {
    "CAMPPlus": ("CAM++",),
    "ERes2Net": ("ERes2Net", "WeSpeaker's ERes2Net"),
    "ERes2NetV2": ("ERes2NetV2",),
    "Res2Net34": ("Res2Net",),
    "ResNet": ("ResNet",),
    "SimAMResNet": ("SimAM-ResNet",),
    "DFResNet": ("Gemini DF-ResNet",),
    "EcapaTdnn": ("ECAPA-TDNN", "WeSpeaker's ECAPA-TDNN"),
    "TDNN": ("x-vector", "WeSpeaker's x-vector", "SpeechBrain's x-vector"),
    "PreActResNet": ("SpeechBrain's ResNet",),
    "ReDimNet": ("WeSpeaker's ReDimNet",),
}


def export_checkpoint(model: SpeakerModel, target: str) -> State:
    """The backbone's weights under the names of another toolkit.

    Args:
        model: a model whose architecture and constants the toolkit has as well.
        target: one of :data:`TARGETS`.

    Returns:
        A state dict that the toolkit's own class loads strictly, and that gives there the model's
        embeddings of the same features.

    Raises:
        CheckpointError: the toolkit has no such model.
    """
    if target not in TARGETS:
        raise CheckpointError(
            f"There is no target '{target}'; choose one of: {', '.join(TARGETS)}."
        )
    toolkit, name = SOURCES[target], model.backbone_name
    family = next((key for key in _FAMILIES.get(name, ()) if key in toolkit.families), None)
    if family is None:
        raise CheckpointError(f"{toolkit.title} has no {name}; choose another target.")
    what = f"The model is no {name} of {toolkit.title}"
    about = f"{toolkit.title} publishes models of the kind {name}"
    state = _published_state(model, toolkit.families[family], about)
    differences = _differences(model, state, target)
    if differences:
        raise CheckpointError(f"{what}: {differences}; choose another target.")
    _warn_of_other_features(model, target)
    return state


def save_state(state: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Write a state dict in PyTorch's format, or in safetensors' if the name ends so.

    Raises:
        CheckpointError: the file cannot be written.
    """
    file = Path(path)

    def write(temporary: Path) -> None:
        if file.suffix == ".safetensors":
            save_file(dict(state), temporary)
        else:
            torch.save(dict(state), temporary)

    with write_errors_as(CheckpointError, f"'{file}'", also=(RuntimeError, SafetensorError)):
        write_atomically(file, write)


def _published_state(model: SpeakerModel, published: Published, what: str) -> State:
    feature_dim = model.featurizer.feature_dim
    architecture = Architecture(model.backbone_name, feature_dim, model.backbone_options)
    options = options_in_full(model.backbone_name, model.backbone_options)
    table = published.table_for(options)
    expected = expected_entries(architecture, table, what)
    state = model.backbone.state_dict()
    exported: State = {}
    for ours, (theirs, shape, _) in expected.items():
        heads = table.heads_of(theirs)
        value = table.turned(state[ours]).detach().cpu().reshape(len(heads), *shape)
        exported.update(
            {
                key: part.clone(memory_format=torch.contiguous_format)
                for key, part in zip(heads, value, strict=True)
            }
        )
    return exported


def _differences(model: SpeakerModel, state: State, target: str) -> str:
    """What the toolkit would compute otherwise; nothing if what is read back is the model."""
    try:
        back = convert(state, target).architecture
    except CheckpointError:
        return f"its layers are not those that {SOURCES[target].title} publishes"
    ours = options_in_full(model.backbone_name, model.backbone_options)
    theirs = options_in_full(back.backbone, back.options)
    bins = model.featurizer.feature_dim
    if back.feature_dim != bins:
        return f"it has {bins} bins, and {back.feature_dim} would be read from its shapes"
    return ", ".join(
        f"{key} is {ours[key]} here and {theirs[key]} there"
        for key in ours
        if ours[key] != theirs[key]
    )


def options_in_full(backbone: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a backbone, what is left open decided, in a form that can be compared."""
    known = inspect.signature(BACKBONES[backbone]).parameters
    full = {key: known[key].default for key in known if key != "feature_dim"} | dict(options)
    if backbone == "EcapaTdnn":
        layout, channels = LAYOUTS[full["layout"]], full["channels"]
        width = channels if isinstance(channels, int) else channels[0]
        if isinstance(channels, int):
            full["channels"] = [width] * 4 + [layout.aggregated or 3 * width]
        for key in [key for key, value in full.items() if value is None]:
            full[key] = getattr(layout, key)
        full["se_channels"] = full["se_channels"] or width // 2
    elif backbone == "TDNN":
        with torch.device("meta"):
            built: Any = TDNN(4, **full)
        full["channels"] = [layer.conv.out_channels for layer in built.frame_layers]
        is_xvector = full["layout"] != "mvector"
        full["pooling_type"] = tdnn_pooling(full["pooling_type"], full["layout"])
        full["attention_channels"] = None if is_xvector else full["attention_channels"]
    elif backbone in _REDIM_SIZES:
        sizes, size = _REDIM_SIZES[backbone], full.pop("size")
        chosen = {each.name: full[each.name] for each in fields(sizes[size])}
        full.update(asdict(form_of(backbone, sizes, size, **chosen)))
    if full["pooling_type"] != "TSTP":
        full.pop("pooling_eps", None)  # no other pooling looks at it
    return {key: _with_lists(value) for key, value in full.items()}


def _with_lists(value: Any) -> Any:
    return [_with_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _warn_of_other_features(model: SpeakerModel, target: str) -> None:
    bins, rate = model.featurizer.feature_dim, model.front_end.sample_rate
    theirs = SOURCES[target].front_end(bins, rate, Hints()).to_dict()
    ours = model.front_end.to_dict()
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    # how much of a clip is heard is no matter of features
    heard = ("min_duration", "drop_silence", "do_vad", "vad_method", "channel")
    relevant = [key for key in keys if key not in heard]
    if relevant:
        logger.warning(
            "The model hears other features than %s computes (%s): give it those of this model.",
            SOURCES[target].title,
            ", ".join(sorted(relevant)),
        )
