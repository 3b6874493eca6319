"""``model.yml``: what a folder says of its model, checked before anything is built of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, ValidationError

from mvector.config.plain_yaml import parse_plain_yaml
from mvector.config.section import Section
from mvector.errors import CheckpointError, MVectorError
from mvector.features.front_end import FrontEnd
from mvector.files import recover_folder, write_atomically, write_errors_as
from mvector.models.named import BOX, model_folder
from mvector.models.onnx_file import ONNX_FILE
from mvector.models.weight_files import how_to_import, require_weights
from mvector.published.places import published_name

FORMAT_VERSION = 1
WEIGHTS, DESCRIPTION, TRAINING_CONFIG = "model.safetensors", "model.yml", "config.yml"


@dataclass(frozen=True)
class ModelInfo:
    """What ``model.yml`` says beside how to build the model.

    Attributes:
        fingerprint: ties embeddings to this model; other weights or another front end differ.
        provenance: where the weights come from (corpora, licence, epochs …).
        metrics: what was measured, by name.
        calibration: thresholds and score-to-LLR mapping, or ``None`` if never measured; see
            :class:`mvector.evaluation.Calibration`.
        listening: how much of clips is heard, as it was for the calibration; ``None`` in older
            folders; see :class:`mvector.embedding.listening.Listening`.
        folder: that was read.
    """

    fingerprint: str
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    listening: dict[str, Any] | None = None
    folder: Path | None = None


class _Backbone(Section):
    name: str
    options: dict[str, Any]


class _Description(Section):
    """The parts that every version has read; what else there is, is left as it is."""

    model_config = ConfigDict(extra="ignore", strict=True)

    front_end: dict[str, Any]
    backbone: _Backbone
    fingerprint: str
    provenance: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    listening: dict[str, Any] | None = None


def read_description(folder: Path) -> dict[str, Any]:
    """The content of a model folder's ``model.yml``, with the parts there that a model needs.

    Raises:
        CheckpointError: the folder is missing, or its description is damaged, of a newer format,
            or lacks something; the message has the key.
    """
    if os.path.isfile(folder):  # which takes a path that is too long, too
        raise _not_a_model_folder(folder)
    recover_folder(folder)
    if not os.path.isdir(folder):
        raise _missing(folder)
    file = folder / DESCRIPTION
    best = folder / "best_model"
    if not file.is_file() and (best / DESCRIPTION).is_file():
        raise _not_found(f"'{folder}' is the folder of a training run; give its model, '{best}'.")
    if not file.is_file():
        raise _not_found(
            f"'{folder}' is not a model folder: it has no {DESCRIPTION}; give the folder that "
            "holds it, such as models/EcapaTdnn_Fbank/best_model."
        )
    try:
        description = parse_plain_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"'{file}' cannot be read: {error}.") from error
    if not isinstance(description, dict) or "format_version" not in description:
        raise CheckpointError(f"'{file}' does not describe a model; the folder is damaged.")
    if description["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"'{file}' has format version {description['format_version']}, this mvector reads "
            f"{FORMAT_VERSION}; update mvector."
        )
    with description_errors(folder):
        _Description.model_validate(description)
    return description


def _missing(folder: Path) -> CheckpointError:
    """What to say of a model folder that does not exist; a published model may be meant."""
    from mvector.published.table import is_published, near_names

    name = published_name(folder)
    if name is not None and is_published(name):
        return CheckpointError(
            f"The model '{name}' is not here yet: 'mvector models get {name}' downloads it.",
            code="model-not-downloaded",
        )
    near = near_names(folder.name) if len(folder.parts) == 1 else []
    cure = "train a model with train.py or give another --model_path."
    if near:
        names = " or ".join(f"'{each}'" for each in near)
        cure = f"did you mean the published model {names} (mvector models)?"
    return _not_found(f"The model folder '{folder}' does not exist; {cure}")


def _not_a_model_folder(file: Path) -> CheckpointError:
    """What to say of a file that was given in place of a model folder."""
    folder = file.parent
    is_its_graph = file.name == ONNX_FILE and (folder / DESCRIPTION).is_file()
    if is_its_graph or file.name in (WEIGHTS, DESCRIPTION, TRAINING_CONFIG):
        return _not_found(f"'{file}' is a file of a model folder; give the folder '{folder}'.")
    try:
        reader = require_weights(file)
    except CheckpointError as error:
        return _not_found(str(error))
    if reader == "torch" and folder.name == "checkpoints":
        run = folder.parent
        return _not_found(
            f"'{file}' is a checkpoint of a training run, to resume it from; give a model of the "
            f"run, such as '{run / 'last_model'}'."
        )
    return _not_found(f"'{file}' is a checkpoint and not a model folder; {how_to_import(file)}.")


def _not_found(message: str) -> CheckpointError:
    return CheckpointError(message, code="model-not-found")


def info_of(description: dict[str, Any], folder: Path) -> ModelInfo:
    """What a description says beside how to build the model."""
    return ModelInfo(
        fingerprint=description["fingerprint"],
        provenance=description.get("provenance") or {},
        metrics=description.get("metrics") or {},
        calibration=description.get("calibration"),
        listening=description.get("listening"),
        folder=folder,
    )


@contextmanager
def description_errors(folder: Path) -> Iterator[None]:
    """Within the block, what a description makes fail is an error that names it, with the key.

    Raises:
        CheckpointError: the description is damaged or edited.
    """
    try:
        yield
    except ValidationError as error:
        from mvector.config.messages import describe_mistakes, ended  # knows all sections

        mistake = describe_mistakes(_Description, error, {}, {})[0]
        raise _description_error(folder, ended(mistake)) from error
    except (MVectorError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise _description_error(folder, str(error)) from error


def _description_error(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"'{folder / DESCRIPTION}' does not describe a model: {reason.rstrip('.')}; the folder is "
        "damaged or edited: copy it again."
    )


def read_model_info(path: str | os.PathLike[str]) -> ModelInfo:
    """What a model folder says of its model, without loading the weights.

    Raises:
        CheckpointError: the folder is missing, damaged or of a newer format.
    """
    folder = model_folder(path)
    return info_of(read_description(folder), folder)


def read_front_end(path: str | os.PathLike[str]) -> FrontEnd:
    """The front end of a model folder, without loading the weights.

    Raises:
        CheckpointError: the folder is missing, damaged or of a newer format.
    """
    folder = model_folder(path)
    return front_end_of(read_description(folder), folder)


def front_end_of(description: dict[str, Any], folder: Path) -> FrontEnd:
    """The front end that a description tells of.

    Raises:
        CheckpointError: it tells of none, or of none that there is.
    """
    with description_errors(folder):
        return FrontEnd(**description["front_end"])


def load_training_config(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The configuration that the model was trained with, or ``None`` if the folder has none."""
    file = model_folder(path) / TRAINING_CONFIG
    if not file.is_file():
        return None
    try:
        config = parse_plain_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"'{file}' cannot be read; name one with --configs.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"'{file}' is no configuration; name one with --configs.")
    data = config.get("dataset_conf")
    evaluation = data.get("eval_conf") if isinstance(data, dict) else None
    if not isinstance(evaluation, dict):
        return config
    if evaluation.get("max_duration") == 20.0 and read_model_info(path).listening is None:
        # the default of versions that wrote no listening, and no wish of the user
        del evaluation["max_duration"]
    return config


def update_model_folder(
    path: str | Path,
    *,
    calibration: dict[str, Any],
    listening: dict[str, Any],
    metrics: dict[str, Any],
) -> None:
    """Replace calibration, listening and metrics of a model folder, leaving all else as it is.

    See :class:`ModelInfo`; of the metrics, others stay.

    Raises:
        CheckpointError: the folder is missing, damaged or cannot be written to.
    """
    folder = Path(path)
    description = read_description(folder)
    description.update(listening=listening, calibration=calibration)
    description["metrics"] = {**(description.get("metrics") or {}), **metrics}
    with write_errors_as(CheckpointError, f"'{folder / DESCRIPTION}'"):
        write_atomically(folder / DESCRIPTION, lambda file: write_yaml(file, description))


def new_model_folder(path: str | os.PathLike[str]) -> Path:
    """The folder to write a model into that is made at once, such as an import.

    Raises:
        CheckpointError: something else is there, the process is in it, or it is ``box``.
    """
    if path == BOX:
        raise CheckpointError(
            f"'{BOX}' stands for the model in the box; give another name, or './{BOX}' for a "
            "folder of that name."
        )
    if Path.cwd().is_relative_to(os.path.abspath(path)):
        raise CheckpointError(
            f"'{path}' is the current folder, or holds it; give the model a folder of its own."
        )
    folder = Path(path)
    is_free = not os.path.exists(folder) or (folder.is_dir() and not any(folder.iterdir()))
    if not is_free and not (folder / DESCRIPTION).is_file():
        raise CheckpointError(f"'{folder}' is there and is not a model folder; give a new name.")
    return folder


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    """Write plain values as a file of a model folder."""
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
