"""A configuration file as plain Python values."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import yaml
from pydantic import BaseModel

from mvector.config.plain_yaml import require_modest_size
from mvector.errors import ConfigError
from mvector.files import read_errors_as, read_utf8
from mvector.shipped import find_config

ConfigSource: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: ``1e-6`` is a number, ``None`` is null, a key stands once.

    ``holders`` are the keys at the top under which something stands that is used elsewhere.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.holders: set[str] = set()
        self._used: list[yaml.Node] = []

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            name = self.peek_event().anchor
            self._used += [self.anchors[name]] if name in self.anchors else []
        return super().compose_node(parent, index)

    def get_single_node(self) -> yaml.Node | None:
        root = super().get_single_node()
        if isinstance(root, yaml.MappingNode):
            used = {id(node) for node in self._used}
            self.holders = {key.value for key, value in root.value if _holds(value, used)}
        return root


def _holds(node: yaml.Node, used: set[int]) -> bool:
    """Whether one of the used nodes stands below this one, or is it."""
    if id(node) in used:
        return True
    if isinstance(node, yaml.MappingNode):
        return any(_holds(value, used) for _, value in node.value)
    return isinstance(node, yaml.SequenceNode) and any(_holds(item, used) for item in node.value)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^None$"), ["N"])


def _mapping_without_repeated_keys(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, (str, int, float)):
            continue
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{key}' stands twice in one section", key_node.start_mark
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping_without_repeated_keys)


def parse_yaml(text: str) -> Any:
    """What a text of YAML says, as configurations read it; raises ``yaml.YAMLError``."""
    return _parse(text)[0]


def _parse(text: str) -> tuple[Any, set[str]]:
    loader = _Loader(text)
    try:
        return loader.get_single_data(), loader.holders
    finally:
        loader.dispose()


def read_source(path_or_dict: ConfigSource, section: type[BaseModel]) -> tuple[dict[str, Any], str]:
    """The content of a configuration, and what messages call it.

    A key at the top that ``section`` does not know may hold what other sections refer to
    (``shared: &shared {...}``); it is left out, unless it looks like a slip of a known one.

    Raises:
        ConfigError: the file is missing, no text, no YAML, or no mapping.
    """
    if isinstance(path_or_dict, BaseModel):
        path_or_dict = path_or_dict.model_dump(mode="json")
    if isinstance(path_or_dict, Mapping):
        return _none_words_to_null(dict(path_or_dict)), "The configuration"
    if not isinstance(path_or_dict, (str, os.PathLike)):
        kind = type(path_or_dict).__name__
        raise ConfigError(f"A configuration is a YAML file or a mapping; this is {kind}.")
    if not os.fspath(path_or_dict):
        raise ConfigError("The name of the configuration is empty; give a file, or ecapa_tdnn.")
    name = str(find_config(path_or_dict))
    with read_errors_as(ConfigError, f"The configuration file '{name}'"):
        text = read_utf8(name)
    try:
        raw, holders = _parse(text)
        require_modest_size(raw)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        plain = "it cannot be parsed" if isinstance(error, RecursionError) else error
        problem = getattr(error, "problem", None) or plain
        raise ConfigError(f"{name}{where} is not valid YAML: {problem}.") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{name} holds no 'key: value' sections; start from a file of configs/.")
    known = list(section.model_fields)
    for key in holders - set(known):
        if not difflib.get_close_matches(key, known, n=1, cutoff=0.8):
            raw.pop(key, None)
    return raw, name


def _none_words_to_null(node: Any) -> Any:
    """A copy in which the word None, as other YAML readers leave it, is null."""
    if isinstance(node, Mapping):
        return {key: _none_words_to_null(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_none_words_to_null(value) for value in node]
    return None if node == "None" else node
