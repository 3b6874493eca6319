"""Mistakes of a configuration in words: key, value, what is allowed, the nearest known key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mvector.config.backbone_options import BACKBONE_OPTIONS
from mvector.config.conditions import ContradictionsError
from mvector.config.feature_options import FEATURE_ARGS
from mvector.config.options import LOSS_ARGS, SCHEDULER_ARGS
from mvector.config.section import Section, short


def join_mistakes(name: str, mistakes: list[str], overridden: Collection[str] = ()) -> str:
    """One message of all mistakes in ``name``; those of ``overridden`` keys lie elsewhere."""
    options = tuple(f"{key}{end}" for key in overridden for end in (":", "."))
    mistakes = [f"--set {each}" if each.startswith(options) else each for each in mistakes]
    if all(each.startswith("--set ") for each in mistakes):
        name = "The command line"
        if len(mistakes) == 1:
            return ended(mistakes[0])
    if len(mistakes) == 1:
        return ended(f"{name}: {mistakes[0]}")
    return "\n  - ".join([f"{name} has {len(mistakes)} mistakes:", *mistakes])


def ended(sentence: str) -> str:
    """A sentence with its full stop, which a question has no need of."""
    return sentence if sentence.endswith("?") else f"{sentence}."


_EXPECTED = {
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "finite_number": "expected a finite number",
    "bool_parsing": "expected True or False",
    "bool_type": "expected True or False",
    "string_type": "expected text",
    "model_type": "expected a section of 'key: value' lines",
    "model_attributes_type": "expected a section of 'key: value' lines",
    "dict_type": "expected a section of 'key: value' lines",
    "tuple_type": "expected a list",
}


def describe_mistakes(
    section: type[Section],
    error: ValidationError,
    raw: dict[str, Any],
    origin: dict[str, str],
    *,
    contradictions_alone: bool = False,
) -> list[str]:
    """A sentence for each mistake, with the keys that the file has (``origin``: ours -> theirs)."""
    told: list[str] = []
    for detail in error.errors():
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, ContradictionsError):
            for mistake in cause.mistakes:
                for ours, theirs in origin.items():
                    mistake = mistake.replace(f"{ours} ", f"{theirs} ")
                told.append(mistake)
        elif not contradictions_alone:
            told.append(_describe_mistake(section, detail, raw, origin))
    return told


def _describe_mistake(
    section: type[Section], detail: ErrorDetails, raw: dict[str, Any], origin: dict[str, str]
) -> str:
    location = [str(part) for part in detail["loc"]]
    key = ".".join(location)
    for ours, theirs in origin.items():
        if key == ours or key.startswith(ours + "."):
            key = theirs + key[len(ours) :]
            break
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        example = f", for example '{_EXAMPLES[key]}'" if key in _EXAMPLES else ""
        return f"{key} is missing; add it{example}"
    if kind == "string_too_short" or (kind == "string_type" and detail["input"] is None):
        example = f"for example '{_EXAMPLES[key]}'" if key in _EXAMPLES else "or null for none"
        return f"{key} is empty; give a path, {example}"
    if kind == "extra_forbidden":
        known = _keys_of_section(section, location[:-1], raw)
        near = _nearest_name(location[-1], known)
        if near != location[-1]:
            near = " or ".join(full_keys(section, location[-1])) or near
        hint = f"did you mean '{near}'?" if near else f"known here: {', '.join(known)}"
        return f"{key}: unknown key (value {short(detail['input'])}); {hint}"
    if kind == "literal_error":
        wanted = str(context["expected"])
        near = _nearest_name(str(detail["input"]), re.findall(r"'([^']+)'", wanted))
        hint = f"; did you mean '{near}'?" if near else ""
        return f"{key}: {short(detail['input'])} is not allowed; allowed: {wanted}{hint}"
    if kind == "value_error":
        return f"{key}: {context['error']}" if key else str(context["error"])
    what = _EXPECTED.get(kind) or detail["msg"].replace("Input should be", "must be")
    return f"{key}: {short(detail['input'])} is not valid; {what}"


_EXAMPLES = {
    "use_model": "use_model: EcapaTdnn",
    "dataset_conf.train_list": "train_list: dataset/train_list.txt",
    "preprocess_conf.feature_method": "feature_method: Fbank",
    "loss_conf.use_loss": "use_loss: AAMLoss",
    "train_conf.max_epoch": "max_epoch: 30",
}


def _keys_of_section(section: type[Section], parents: list[str], raw: dict[str, Any]) -> list[str]:
    choices: dict[str, tuple[Mapping[str, type[Section]], Any, str]] = {
        "method_args": (FEATURE_ARGS, raw.get("preprocess_conf"), "feature_method"),
        "backbone": (BACKBONE_OPTIONS, raw, "use_model"),
        "args": (LOSS_ARGS, raw.get("loss_conf"), "use_loss"),
        "scheduler_args": (SCHEDULER_ARGS, raw.get("optimizer_conf"), "scheduler"),
    }
    node: type[BaseModel] = section
    for part in parents:
        if part in choices:
            table, holder, choice = choices[part]
            node = table.get(str((holder or {}).get(choice, "CosineAnnealingLR"))) or node
        else:
            field = node.model_fields.get(part)
            inner = field.annotation if field else None
            if isinstance(inner, type) and issubclass(inner, Section):
                node = inner
    return list(node.model_fields)


# Settings as other toolkits call them -> the last part of the key here
_SYNONYMS = {**dict.fromkeys(("epoch", "epochs", "num_epochs"), "max_epoch"), "lr": "learning_rate"}


def full_keys(section: type[BaseModel], last: str) -> list[str]:
    """The dotted keys of a section that end in ``last``, or in what it is called here.

    Those that a choice decides on, such as options of a backbone, are not looked at.
    """
    last, found = _SYNONYMS.get(last, last), []
    for name, field in section.model_fields.items():
        inner = field.annotation
        if name == last:
            found.append(name)
        elif isinstance(inner, type) and issubclass(inner, Section):
            found += [f"{name}.{key}" for key in full_keys(inner, last)]
    return found


def _nearest_name(word: str, known: list[str]) -> str | None:
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.5)
    return by_lower[near[0]] if near else None
