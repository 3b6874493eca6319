"""Published state dicts to ours: dict to dict, with every entry accounted for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from mvector.compat import idrnd, mvector1, nemo, palabra, speechbrain, three_d_speaker, wespeaker
from mvector.compat.containers import State
from mvector.compat.families import Architecture, UnreadableError, recognise_family
from mvector.compat.key_tables import KeyTable, Shape
from mvector.compat.source import Source
from mvector.errors import CheckpointError, ConfigError, shorten_list
from mvector.models import build_backbone

SOURCES: dict[str, Source] = {
    "wespeaker": wespeaker.SOURCE,
    "3dspeaker": three_d_speaker.SOURCE,
    "speechbrain": speechbrain.SOURCE,
    "mvector": mvector1.SOURCE,
    "idrnd": idrnd.SOURCE,
    "palabra": palabra.SOURCE,
    "nemo": nemo.SOURCE,
}

_COUNTER = "num_batches_tracked"  # counts training steps; of no use, but part of the state


@dataclass(frozen=True)
class Conversion:
    """A checkpoint under our names; its weights have the precision that they were published in."""

    source: str  # key of SOURCES
    family: str
    architecture: Architecture
    weights: State = field(repr=False)  # the state dict of that architecture
    dropped: tuple[str, ...] = ()  # published keys that have no part in an embedding
    # Published keys of step counters that were not of type int64.
    made_integers: tuple[str, ...] = field(default=(), repr=False)


def convert(
    state: Mapping[str, torch.Tensor],
    source: str | None,
    *,
    name: str = "the checkpoint",
    feature_dim: int | None = None,
    model_config: Mapping[str, Any] | None = None,
) -> Conversion:
    """Recognise a published state dict and rename its entries.

    Args:
        state: the published entries.
        source: key of :data:`SOURCES`; ``None`` if only one toolkit publishes such a checkpoint.
        name: what to call it in messages.
        feature_dim: bins, where the shapes leave them open; else they must agree.
        model_config: what the published file carries beside the weights, where it does.

    Raises:
        CheckpointError: there is no such source; the checkpoint is of no known family, of one that
            the source does not publish or several do; an entry is missing, left over or misshapen.
    """
    if source is not None and source not in SOURCES:
        raise CheckpointError(
            f"There is no source '{source}'; choose one of: {', '.join(SOURCES)}."
        )
    source, family, weights, dropped = _identify(_without_wrappers(dict(state)), source, name)
    published = SOURCES[source].families[family]
    title = SOURCES[source].title
    kind = family if family.startswith(f"{title}'s ") else f"{family} of {title}"
    what = f"'{name}' looks like {kind}"
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    try:
        architecture = published.read(shapes, feature_dim)
        if model_config is not None and published.apply_config is not None:
            architecture = published.apply_config(model_config, architecture)
    except (KeyError, IndexError) as error:
        raise CheckpointError(f"{what}, but has no entry {error}; it is incomplete.") from error
    except (UnreadableError, ValueError) as error:
        raise CheckpointError(f"{what}, but {error}; it is of another kind.") from error
    if feature_dim is not None and architecture.feature_dim != feature_dim:
        raise CheckpointError(
            f"{what} for {architecture.feature_dim} bins, not {feature_dim}; leave feature_dim out."
        )
    options = {**architecture.options, **published.constants}
    architecture = replace(architecture, options=options)
    table = published.table_for(architecture.options)
    expected = expected_entries(architecture, table, what)
    _check_entries(weights, expected, table, what)
    renamed, made_integers = _rename_entries(weights, expected, table)
    return Conversion(source, family, architecture, renamed, tuple(dropped), tuple(made_integers))


def expected_entries(
    architecture: Architecture, table: KeyTable, what: str
) -> dict[str, tuple[str, Shape, Shape]]:
    """For each entry of a backbone: published key and shape (or a head's), shape of ours.

    Raises:
        CheckpointError: there is no such backbone, or the table does not cover it.
    """
    try:
        with torch.device("meta"):
            backbone = build_backbone(
                architecture.backbone, architecture.feature_dim, **architecture.options
            )
        state = backbone.state_dict()
        published = table.published(state)
    except (ConfigError, RuntimeError, ZeroDivisionError) as error:
        raise CheckpointError(f"{what}, but no such backbone can be built: {error}") from error
    except KeyError as error:
        raise CheckpointError(f"{what}, but no published model has a layer {error}.") from error
    return {key: (*published[key], tuple(value.shape)) for key, value in state.items()}


def _identify(state: State, source: str | None, name: str) -> tuple[str, str, State, list[str]]:
    """Source and family, the entries that count, and the keys of the others."""
    recognised: list[str] = []
    fitting: dict[str, tuple[str, State, list[str]]] = {}
    for key, toolkit in SOURCES.items():
        weights, dropped = _without_heads(state, toolkit)
        weights = _without_common_prefix(weights, recognise_family)
        family = recognise_family(weights)
        if family is None:
            continue
        if family in toolkit.families:
            fitting[key] = (family, weights, dropped)
        recognised.append(family)
    if source is None and len(fitting) == 1:
        source = next(iter(fitting))
    if source is not None and source in fitting:
        return (source, *fitting[source])
    titles = " or ".join(fitting)
    if fitting and source is not None:
        family = next(iter(fitting.values()))[0]
        raise CheckpointError(
            f"'{name}' looks like {family}, which {SOURCES[source].title} does not publish in this "
            f"form; the source may be {titles}."
        )
    if fitting:
        raise CheckpointError(
            f"'{name}' may come from {titles}, which compute features differently; say which "
            "source it is."
        )
    if recognised:
        raise CheckpointError(
            f"'{name}' looks like {recognised[0]}, for which mvector has no backbone; choose "
            "another model."
        )
    raise CheckpointError(
        f"'{name}' is of no known family; its first entries are {shorten_list(list(state))}."
    )


def _without_wrappers(state: State) -> State:
    """The entries without what wrappers put in front of all keys (``module.``, ``model.`` …)."""
    return _without_common_prefix(
        state,
        lambda rest: any(
            recognise_family(_without_heads(rest, toolkit)[0]) for toolkit in SOURCES.values()
        ),
    )


def _without_common_prefix(state: State, is_known: Callable[[State], object]) -> State:
    """The entries without the shortest prefix of all keys behind which something known begins."""
    rest = state
    while not is_known(rest):
        first = {key.partition(".")[0] for key in rest}
        if len(first) != 1 or not all("." in key for key in rest):
            return state
        rest = {key.partition(".")[2]: value for key, value in rest.items()}
    return rest


def _without_heads(state: State, source: Source) -> tuple[State, list[str]]:
    prefix = source.backbone_prefix
    if prefix and not any(key.startswith(prefix) for key in state):
        return state, []  # a backbone alone
    dropped = [key for key in state if key.startswith(source.heads)]
    kept = {key: value for key, value in state.items() if not key.startswith(source.heads)}
    if prefix and all(key.startswith(prefix) for key in kept):
        kept = {key.removeprefix(prefix): value for key, value in kept.items()}
    return kept, dropped


def _check_entries(
    weights: State, expected: Mapping[str, tuple[str, Shape, Shape]], table: KeyTable, what: str
) -> None:
    """Every published entry is there once, has its shape, and nothing else is there."""
    wanted = {head: shapes for key, *shapes in expected.values() for head in table.heads_of(key)}
    missing = [key for key in wanted if key not in weights]
    unexpected = [key for key in weights if key not in wanted]
    misshapen = [
        f"{key} has shape {tuple(weights[key].shape)} where {wanted[key][0]} was expected"
        for key in wanted
        if key in weights and tuple(weights[key].shape) not in map(tuple, wanted[key])
    ]
    not_numbers = [
        f"{key} is {value.dtype} where floating-point numbers were expected"
        for key, value in weights.items()
        if not value.is_floating_point() and not key.endswith(_COUNTER)
    ]
    faults = [
        *([f"has the unexpected entries {shorten_list(unexpected)}"] if unexpected else []),
        *([f"lacks the entries {shorten_list(missing)}"] if missing else []),
        *misshapen[:3],
        *not_numbers[:3],
    ]
    if faults:
        raise CheckpointError(
            f"{what}, but {'; '.join(faults)}; it is damaged or of another kind.",
            code="checkpoint-mismatch",
        )
    for key, value in weights.items():
        if not (value.is_meta or value.isfinite().all()):
            raise CheckpointError(
                f"{what}, but its entry {key} holds NaN or infinite numbers; it was saved from a "
                "training that diverged, or damaged: take an earlier one.",
                code="checkpoint-damaged",
            )


def _rename_entries(
    weights: State, expected: Mapping[str, tuple[str, Shape, Shape]], table: KeyTable
) -> tuple[State, list[str]]:
    renamed: State = {}
    made_integers = []
    for ours, (theirs, _, shape) in expected.items():
        heads = [weights[key] for key in table.heads_of(theirs)]
        value = heads[0] if len(heads) == 1 else torch.cat(heads)
        if theirs.endswith(_COUNTER) and value.dtype != torch.int64:
            made_integers.append(theirs)
            value = value.round().to(torch.int64)
        renamed[ours] = table.turned(value).reshape(shape)
    return renamed, made_integers
