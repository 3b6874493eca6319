"""``mvector models``: models that others published, to be had by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvector.cli.common import JsonOption
from mvector.cli.options import Action, Command, Condition, OptionError, optional, required
from mvector.cli.terminal import in_columns
from mvector.errors import MVectorError

if TYPE_CHECKING:
    from mvector.compat.getting import GotModel
    from mvector.published import PublishedModel

_DESCRIPTION = """\
Models that others published: list them, tell what is known of one, or get it.

What is downloaded is compared with its published sum, or, where nobody publishes one, with that of
the first download here. Nothing of it is executed.
"""

_EPILOG = """\
examples:
  mvector models                              all of them
  mvector models --language zh                those for Chinese, the best published error rate first
  mvector models campplus-zh                  what is known of one
  mvector models get campplus-zh              download it
  mvector contrast a.wav b.wav --model_path campplus-zh --threshold 0.4

without a network: download the file elsewhere (mvector models NAME tells its address), then
  mvector models get campplus-zh --from campplus_cn_common.bin

The variables HTTPS_PROXY, NO_PROXY, HF_ENDPOINT (a mirror of Hugging Face) and MVECTOR_HOME (where
models are kept) are heeded. docs/published_models.md has the table and what is not known of it.
"""

_TRUST = {
    "published": "as published",
    "given": "as --sha256 says",
    "seen before": "as in the first download; nobody publishes it",
    "first seen": "seen for the first time: nobody publishes it; later ones have to be the same",
}
_NO_ONNX = "with PyTorch (mvector export_onnx makes it run without; that needs the package onnx)"


@dataclass(frozen=True, kw_only=True)
class _Word(JsonOption):
    word: str = required(
        "a name alone tells what is known of that model; get NAME downloads it",
        "get",
        positional=True,
    )


@dataclass(frozen=True, kw_only=True)
class Get(_Word):
    name: str = required("the model", "NAME", positional=True)
    file: str | None = optional(
        "take the published file from here, and do not download it", "FILE", flags=("--from",)
    )
    mirror: str | None = optional(
        "ask this address instead of the published ones: it has the same paths, or the files by "
        "their names",
        "URL",
    )
    out: str | None = optional(
        "model folder to write (default: one in the user's data folder, which NAME then stands "
        "for)",
        "DIR",
    )
    sha256: str | None = optional("sum that the file must have", "SUM")

    def conditions(self) -> tuple[Condition, ...]:
        return (*super().conditions(), ("mirror", self.file is None, "with --from"))


@dataclass(frozen=True, kw_only=True)
class Show(_Word):
    pass


@dataclass(frozen=True, kw_only=True)
class List(JsonOption):
    language: str | None = optional("only models for a language, such as zh or en", "LANGUAGE")


# ---- what it does -------------------------------------------------------------------------------


def _get(args: Get) -> int:
    from mvector.compat import get_published

    if args.word != "get":
        raise OptionError(
            f"'{args.name}' is one word too many; did you mean mvector models get {args.word}?"
        )
    got = get_published(
        args.name,
        file=args.file,
        mirror=args.mirror,
        out=args.out,
        sha256=args.sha256,
        progress=not args.json,
    )
    if args.json:
        print(json.dumps(_as_got(got), ensure_ascii=False))
        return 0
    print("\n".join(_lines_of(got)))
    return 0


def _show(args: Show) -> int:
    from mvector.published import find_published

    if args.word == "get":
        raise OptionError("Give the NAME of the model to get; 'mvector models' lists them.")
    model = find_published(args.word)
    if args.json:
        print(json.dumps(_as_object(model), ensure_ascii=False))
        return 0
    rates = ", ".join(f"{rate:g} % on {each}" for each, rate in model.eer.items())
    told = f"{rates} (told by {model.eer_from})" if rates else "not published"
    print(f"{model.name}: {model.family}, {model.layout}, {model.parameters:g} M parameters")
    print(f"Here:       {_place(model) or f'no: mvector models get {model.name}'}")
    print(f"Embedding:  {model.embd_dim} values")
    print(f"Trained on: {model.trained_on} ({_speakers(model)} speakers), {_languages(model)}")
    print(f"Equal err.: {told}")
    print(f"Front end:  that of {model.source}")
    print(f"Licence:    {model.licence}")
    print(f"Cite:       {model.cite}")
    if model.note:
        print(f"Note:       {model.note}")
    for file in model.files:
        size = "size not known" if file.num_bytes is None else f"{file.num_bytes:,} bytes"
        print(f"File:       {file.name}, {size}, sha256 {file.sha256 or 'not published'}")
        print("\n".join(f"            {url}" for url in file.urls))
    return 0


def _list(args: List) -> int:
    from mvector.published import published_models

    language = None if args.language is None else args.language.lower()
    models = [
        model
        for model in published_models().values()
        if language is None or language in model.languages or "multi" in model.languages
    ]
    if not any(language in model.languages for model in models) and language is not None:
        known = sorted({each for model in published_models().values() for each in model.languages})
        raise MVectorError(
            f"There is no published model for the language '{args.language}' in the table; choose "
            f"one of: {', '.join(known)}. A model of many languages (multi) may do."
        )
    models.sort(key=lambda model: (language not in (None, *model.languages), model.place(language)))
    if args.json:
        for model in models:
            print(json.dumps(_as_object(model), ensure_ascii=False))
        return 0
    print("\n".join(in_columns([_HEADER, *map(_row, models)])))
    print(
        "\nError rates are those that the authors tell, on test sets of theirs and with their "
        "scoring.\nmvector models NAME tells more of one; mvector models get NAME downloads it."
    )
    return 0


# ---- how it reads -------------------------------------------------------------------------------

_HEADER = ("name", "architecture", "params", "language", "speakers", "EER %", "licence", "source")


def _row(model: PublishedModel) -> tuple[str, ...]:
    rates = ", ".join(f"{each} {rate:g}" for each, rate in model.eer.items())
    return (
        model.name + ("*" if _place(model) else ""),
        model.family.removeprefix("WeSpeaker's "),
        f"{model.parameters:.1f} M",
        _languages(model),
        _speakers(model),
        rates or "–",
        model.licence.partition(",")[0].partition(" (")[0],
        model.source,
    )


def _languages(model: PublishedModel) -> str:
    return ", ".join(model.languages)


def _speakers(model: PublishedModel) -> str:
    return f"{model.speakers:,}" if model.speakers else "?"


def _place(model: PublishedModel) -> Path | None:
    """Where it lies, if it was downloaded."""
    from mvector.models.description import DESCRIPTION
    from mvector.published import models_folder

    folder = models_folder() / model.name
    return folder if (folder / DESCRIPTION).is_file() else None


def _as_object(model: PublishedModel) -> dict[str, Any]:
    place = _place(model)
    return {**model.model_dump(mode="json"), "folder": None if place is None else str(place)}


def _as_got(got: GotModel) -> dict[str, Any]:
    return {
        "name": got.model.name,
        "folder": str(got.folder),
        "fingerprint": got.fingerprint,
        "sha256": got.sha256,
        "trust": got.trust,
        "origin": got.origin,
        "licence": got.model.licence,
        "cite": got.model.cite,
    }


def _has_onnx(got: GotModel) -> bool:
    from mvector.models.onnx_file import ONNX_FILE

    return (got.folder / ONNX_FILE).is_file()


def _lines_of(got: GotModel) -> list[str]:
    from mvector.models.named import model_name

    model, named = got.model, model_name(got.folder)
    if got.trust is None:
        lines = [f"Here already: {got.folder} ({got.fingerprint}); delete it to get it anew"]
    else:
        lines = [
            f"Written:    {got.folder} ({got.fingerprint})",
            f"From:       {got.origin}",
            f"Sum:        sha256 {got.sha256}, {_TRUST[got.trust]}",
            f"Runs:       {'without PyTorch, too' if _has_onnx(got) else _NO_ONNX}",
        ]
    return [
        *lines,
        f"Licence:    {model.licence}",
        f"Cite:       {model.cite}",
        f"Thresholds: none for your recordings; mvector calibrate --clips DIR --model_path {named} "
        "measures them on clips of a few people. Until then give --threshold.",
    ]


COMMAND = Command(
    "mvector models",
    _DESCRIPTION,
    _EPILOG,
    (
        Action("get NAME", Get, _get),
        Action("one of them", Show, _show),
        Action("a list", List, _list),
    ),
    guesses={"lang": "--language LANGUAGE"},
)
