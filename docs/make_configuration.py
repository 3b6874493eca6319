"""Write docs/configuration.md: every key of a configuration, with type, default and meaning.

Type and default come from the schema; the meaning from the comments of configs/ecapa_tdnn.yml and
augmentation.yml, and from the docstrings of the sections and of the classes that they configure.
When any of these has changed: ``python docs/make_configuration.py``, where mvector is installed.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from mvector.config.backbone_options import BACKBONE_OPTIONS
from mvector.config.feature_options import FEATURE_ARGS
from mvector.config.options import LOSS_ARGS, SCHEDULER_ARGS
from mvector.config.schema import Config
from mvector.config.section import Section
from mvector.features.featurizer import FEATURE_METHODS
from mvector.losses import LOSSES
from mvector.models.backbones import BACKBONES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "configuration.md"
#: Sections that the value of another key decides: which key, the choices, and their classes.
DECIDED: dict[str, tuple[str, Mapping[str, type[Section]], Mapping[str, type]]] = {
    "preprocess_conf.method_args": (
        "preprocess_conf.feature_method",
        FEATURE_ARGS,
        FEATURE_METHODS,
    ),
    "model_conf.backbone": ("use_model", BACKBONE_OPTIONS, BACKBONES),
    "loss_conf.args": ("loss_conf.use_loss", LOSS_ARGS, LOSSES),
    "optimizer_conf.scheduler_args": ("optimizer_conf.scheduler", SCHEDULER_ARGS, {}),
}
INTRODUCTION = """\
# Configuration: every key

<!-- Written by docs/make_configuration.py: change the schema, comments and docstrings instead. -->

What a configuration may hold, with type, default and meaning.
[configs/ecapa_tdnn.yml](../configs/ecapa_tdnn.yml) shows most of it as a file to copy. A missing
key has its default; one that is unknown, or would have no effect, is refused at the start.
`--set section.key=value` changes one on the command line. `null` stands for nothing given.
"""

_WORDS = {int: "integer", float: "number", bool: "true or false", str: "text"}
_BOUNDS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}"}


def comments_of(path: Path, prefix: str = "") -> dict[str, str]:
    """The comment above or behind each key of a YAML file, by its dotted name."""
    found: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    above: list[str] = []
    before = explained = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        comment = re.fullmatch(r"\s*# ?(.*)", line)
        key = re.match(r"(\s*)([\w-]+):([^#]*?)(?:\s+# *(.*))?$", line)
        if comment:
            above.append(comment[1].strip())
        elif key is None:
            above, before = [], ""
        else:
            depth = len(key[1])
            parents = [(at, name) for at, name in parents if at < depth] + [(depth, key[2])]
            text = " ".join(above or [key[4] or ""]).strip()
            text = re.sub(r"^REQUIRED[:;]? ?|^---- .*", "", text)
            name = ".".join([*prefix.split(), *(own for _, own in parents)])
            if above or name.rpartition(".")[0] != before.rpartition(".")[0]:
                explained = key[2]
            elif not text and found.get(before):
                text = f"see `{explained}`"
            found[name], before = text, name
            above = []
    return found


def all_comments() -> dict[str, str]:
    """Meanings by dotted name, of sections too."""
    augmentation = comments_of(ROOT / "configs" / "augmentation.yml", "augment_conf")
    return comments_of(ROOT / "configs" / "ecapa_tdnn.yml") | augmentation


def arguments_of(own: type | None) -> dict[str, str]:
    """Meanings of a constructor's arguments, from the docstrings of its class and those above."""
    found: dict[str, str] = {}
    for each in reversed(own.__mro__ if own else ()):
        _, _, text = inspect.cleandoc(each.__doc__ or "").partition("Args:\n")
        for names, meaning in re.findall(r"^    ([\w, ]+): (.*(?:\n {8}.*)*)", text, re.M):
            for name in names.split(", "):
                found[name] = " ".join(meaning.split()).replace("``", "`")
    return found


def type_of(annotation: Any, metadata: typing.Iterable[Any] = ()) -> str:
    """A type in words, with its bounds."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return type_of(arguments[0], [*arguments[1:], *metadata])
    if isinstance(annotation, FieldInfo):
        return type_of(annotation.annotation, annotation.metadata)
    metadata = [part for own in metadata for part in getattr(own, "metadata", [own])]
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_of(part, metadata) for part in arguments)
    if annotation is type(None):
        return "null"
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in arguments)
    if origin in (tuple, list, dict):
        inner = " and ".join(dict.fromkeys(type_of(part) for part in arguments if part is not ...))
        return f"{'mapping' if origin is dict else 'list'} of {inner}"
    bounds = [
        words.format(getattr(part, name))
        for part in metadata
        for name, words in _BOUNDS.items()
        if annotation in (int, float) and getattr(part, name, None) is not None
    ]
    name = _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
    return ", ".join([name, *bounds])


def default_of(field: FieldInfo) -> str:
    """A default as a YAML file has it."""
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return f"`{words[value]}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a field holds, or may hold beside null."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, Section):
            return part
    return None


def explanation(section: type[Section], name: str, text: str) -> str:
    """What the docstrings say of a key: that above the table, or that of the class it is from."""
    told = re.compile(rf"`[^`]*\b{name}\b[^`]*`")
    if told.search(text):
        return "see above"
    declaring = next(
        own for own in reversed(section.__mro__) if name in vars(own).get("__annotations__", {})
    )
    inherited = text_of(declaring)
    return inherited if told.search(inherited) else ""


def row(
    section: type[Section], key: str, field: FieldInfo, text: str, meanings: Mapping[str, str]
) -> str:
    """The row of a plain key; what stands above its table need not be said again."""
    name = key.rpartition(".")[2]
    meaning = meanings.get(key) or explanation(section, name, text)
    cells = [f"`{name}`", type_of(field), default_of(field), meaning.replace("<TAB>", "⇥")]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(section: type[Section], path: str, text: str, meanings: Mapping[str, str]) -> list[str]:
    """What a section is, and the rows of its plain keys."""
    fields = {f"{path}.{name}".lstrip("."): field for name, field in section.model_fields.items()}
    plain = {k: f for k, f in fields.items() if k not in DECIDED and not section_of(f.annotation)}
    rows = [row(section, key, field, text, meanings) for key, field in plain.items()]
    head = ["| key | type | default | meaning |", "|---|---|---|---|"]
    return [text, "", *([*head, *rows, ""] if rows else [])]


def text_of(section: type[Section]) -> str:
    """The docstring of a section, in one paragraph."""
    return " ".join((section.__doc__ or "").split()).replace("``", "`")


def chapters(section: type[Section], path: str, meanings: Mapping[str, str]) -> list[str]:
    """A section, and those within it behind it."""
    comment = meanings.get(path, "")
    text = text_of(section)
    if comment and not comment.startswith("see "):  # which says more than a docstring without keys
        text = f"{text} {comment}" if "`" in text else comment
    lines = [f"## `{path}`" if path else "## At the top", ""]
    lines += table(section, path, text, meanings)
    for name, field in section.model_fields.items():
        key = f"{path}.{name}".lstrip(".")
        if key in DECIDED:
            decider, choices, classes = DECIDED[key]
            lines += [f"## `{key}`", "", f"Depends on `{decider}`.", ""]
            for choice, own in choices.items():
                arguments = arguments_of(classes.get(choice))
                shown = meanings if choice in classes else {}
                known = {**shown} | {f"{key}.{name}": text for name, text in arguments.items()}
                lines += [f"### {choice}", "", *table(own, key, text_of(own), known)]
        elif inner := section_of(field.annotation):
            lines += chapters(inner, key, meanings)
    return lines


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *chapters(Config, "", all_comments())]).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
