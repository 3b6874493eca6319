"""YAML from a stranger: plain values of a modest size, or an error."""

from __future__ import annotations

from typing import Any

import yaml

_MOST_CHARACTERS = 1_000_000
_MOST_VALUES = 100_000
_DEEPEST = 50


class _PlainLoader(yaml.SafeLoader):
    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge nothing: ``<<`` of ``<<`` would double the content from line to line."""


def parse_plain_yaml(text: str) -> Any:
    """What a text says; aliases may be used, merge keys not.

    Raises:
        YAMLError: it is no YAML, or describes more than a description needs.
    """
    if len(text) > _MOST_CHARACTERS:
        raise yaml.YAMLError(f"it has {len(text):,} characters, which is no description")
    try:
        content = yaml.load(text, _PlainLoader)
    except yaml.YAMLError:
        raise
    except Exception as error:  # whatever a strange text makes of the parser, RecursionError too
        raise yaml.YAMLError(f"it is no plain YAML ({type(error).__name__})") from error
    require_modest_size(content)
    return content


def require_modest_size(content: Any) -> None:
    """Refuse what aliases of aliases make of a short text; counted without writing it out.

    Raises:
        YAMLError: there are too many values, or they are nested too deeply or in themselves.
    """
    counts: dict[int, int] = {}

    def count(value: Any, depth: int) -> int:
        if not isinstance(value, (dict, list, tuple, set)):
            return 1
        if depth > _DEEPEST:
            raise yaml.YAMLError(f"values are nested more than {_DEEPEST} deep")
        if id(value) not in counts:
            parts = value.values() if isinstance(value, dict) else value
            counts[id(value)] = 1 + sum(count(part, depth + 1) for part in parts)
        if counts[id(value)] > _MOST_VALUES:
            raise yaml.YAMLError(f"its aliases stand for more than {_MOST_VALUES:,} values")
        return counts[id(value)]

    count(content, 0)
