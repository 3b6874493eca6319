"""What every section of a configuration is, and arguments held to one.

Model folders are read with this and little more of the configuration: comparing two clips does not
wait for sections of the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mvector.errors import ConfigError

PositiveInt = Annotated[int, Field(ge=1, le=1_000_000)]
PathText = Annotated[str, Field(min_length=1)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A frozen part of the configuration that knows all of its keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_booleans_as_numbers(cls, values: Any) -> Any:
        # pydantic would take True for 1: a slip in a YAML file that must not pass
        if isinstance(values, dict):
            for name, field in cls.model_fields.items():
                if isinstance(values.get(name), bool) and field.annotation in (int, float):
                    values = {**values, name: str(values[name])}
        return values


def check_options(section: type[Section], values: Mapping[str, Any], name: str) -> None:
    """Hold keyword arguments, as they stand in a file, to names, types and bounds of a section.

    Nothing is converted: ``"8"`` is no number. A list passes for a tuple.

    Raises:
        ConfigError: what is wrong, each key with what is allowed.
    """
    try:
        read = section.model_validate(dict(values))
    except ValidationError as error:
        from mvector.config.messages import describe_mistakes, join_mistakes  # knows all sections

        found = describe_mistakes(section, error, {}, {})
        raise ConfigError(join_mistakes(name, found)) from error
    found = [
        f"{key}: {short(value)} is not valid; it must be {short(getattr(read, key))}"
        for key, value in values.items()
        if not _is_as_read(value, getattr(read, key))
    ]
    if found:
        from mvector.config.messages import join_mistakes

        raise ConfigError(join_mistakes(name, found))


def _is_as_read(value: Any, read: Any) -> bool:
    if isinstance(read, tuple):
        return isinstance(value, list | tuple) and all(map(_is_as_read, value, read))
    if isinstance(read, float):
        return type(value) in (int, float)
    return type(value) is type(read)


def short(value: Any, width: int = 60) -> str:
    """A value as Python writes it, cut at so many characters."""
    text = repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"
