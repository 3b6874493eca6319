"""``models.yml``: what is known of the models that others published."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from mvector.config.plain_yaml import parse_plain_yaml
from mvector.config.section import PositiveInt, Section
from mvector.errors import CheckpointError
from mvector.files import SHA256

_TABLE = Path(__file__).with_name("models.yml")
_NEAR = 0.6

Sha256 = Annotated[str, Field(pattern=f"^{SHA256.pattern}$")]
Url = Annotated[str, Field(pattern="^https://[^ ]+$")]


class PublishedFile(Section):
    """A file that a model can be made of.

    Attributes:
        name: what it is saved as.
        urls: places that have this very file, the authors' own first.
        num_bytes: its size, where it is known.
        sha256: of its bytes, where it is known; else the first download decides.
    """

    name: str
    urls: Annotated[tuple[Url, ...], Field(min_length=1)]
    num_bytes: Annotated[int, Field(ge=1)] | None = None
    sha256: Sha256 | None = None


class PublishedModel(Section):
    """What is known of a model.

    Attributes:
        name: that it is called by here.
        family: as :mod:`mvector.compat.families` names its architecture.
        layout: that of the family, in few words.
        embd_dim: values of an embedding.
        parameters: millions of them, without classifier.
        languages: that it was trained on, as ISO 639-1 codes; ``multi`` is many.
        speakers: that it was trained on; ``None`` where that is not known.
        trained_on: corpora.
        source: key of :data:`mvector.compat.SOURCES`, whose front end it has.
        licence: of the weights, as told by who publishes them.
        eer: published equal error rates in per cent, by test set.
        eer_from: who tells these.
        cite: what to cite.
        note: what else there is to know.
        files: any one of them is enough; the first that can be had is taken.
    """

    name: str
    family: str
    layout: str
    embd_dim: PositiveInt
    parameters: Annotated[float, Field(gt=0)]
    languages: tuple[str, ...]
    speakers: PositiveInt | None = None
    trained_on: str
    source: str
    licence: str
    eer: dict[str, float] = Field(default_factory=dict)
    eer_from: str = ""
    cite: str
    note: str = ""
    files: Annotated[tuple[PublishedFile, ...], Field(min_length=1)]

    def place(self, language: str | None = None) -> tuple[int, float]:
        """What to sort models by: which test set it has a rate on, and the rate.

        Rates on CN-Celeb go before those on VoxCeleb1 where Chinese is asked for.
        """
        sets = ("CN-Celeb", "Vox1-O") if language == "zh" else ("Vox1-O", "CN-Celeb")
        found = [(n, self.eer[each]) for n, each in enumerate(sets) if each in self.eer]
        return found[0] if found else (len(sets), 0.0)


@cache
def published_models() -> dict[str, PublishedModel]:
    """All models of the table by name, in its order."""
    table: dict[str, Any] = parse_plain_yaml(_TABLE.read_text(encoding="utf-8"))
    return {
        name: PublishedModel.model_validate({"name": name, **entry})
        for name, entry in table["models"].items()
    }


def is_published(name: str) -> bool:
    """Whether a model has this name, without a look into the table where it can be none."""
    return re.fullmatch(r"[a-z0-9-]+", name) is not None and name in published_models()


def find_published(name: str) -> PublishedModel:
    """The model of a name, in any spelling that means the same.

    Raises:
        CheckpointError: there is none; the message has the nearest names.
    """
    models = published_models()
    plain = _plain(name)
    for model in models.values():
        if plain in (_plain(model.name), _plain(f"{model.source}-{model.name}")):
            return model
    near = near_names(name)
    cure = f"did you mean {' or '.join(near)}?" if near else "'mvector models' lists them."
    raise CheckpointError(
        f"There is no published model '{name}' in the table; {cure}", code="model-not-found"
    )


def near_names(name: str, most: int = 3) -> list[str]:
    """Names like one that was typed: those that a hub's id belongs to, that hold it, are near."""
    models = published_models()
    of_hub = [
        model.name
        for model in models.values()
        if len(name) > 9 and any(name in url for file in model.files for url in file.urls)
    ]
    plain, typed = {_plain(each): each for each in models}, _plain(name)
    longer = [plain[each] for each in plain if len(typed) > 3 and typed in each]
    close = [plain[each] for each in get_close_matches(typed, plain, most, cutoff=_NEAR)]
    return list(dict.fromkeys([*of_hub, *longer, *close]))[:most]


def _plain(name: str) -> str:
    spoken = name.lower().replace("++", "pplus")  # CAM++ is campplus
    return re.sub(r"[^a-z0-9]", "", spoken)
