"""Options of commands: one frozen dataclass for each thing that a command does.

A field made by :func:`option`, :func:`flag` or :func:`required` is an option. The parser of a
command has the fields of all its classes. What was given becomes an object of the first class whose
required options are there, and an option that this class does not own is refused::

    @dataclass(frozen=True, kw_only=True)
    class Remove(Options):
        remove: str = required("forget a person", "NAME")
        json: bool = flag("print one JSON object")

    COMMAND = Command("people.py", "Who is enrolled.", "", (Action("--remove", Remove, run), …))
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

from mvector.cli.guesses import option_cure, stray_flag, word_cure
from mvector.cli.words import as_typed, for_argparse
from mvector.errors import MVectorError

#: Names of options, whether they have a use, and where they have none, as the end of a sentence.
Condition = tuple[str, bool, str]

Parse = Callable[[str], object]
Metavar = str | tuple[str, ...] | None
_T = TypeVar("_T")


class OptionError(MVectorError):
    """An option that has no use where it was given, or one that is missing."""

    code = "option"


@dataclass(frozen=True)
class Options:
    """Base of all classes of options. ``TITLE`` heads the options of a class in ``--help``."""

    TITLE: ClassVar[str] = ""

    def conditions(self) -> tuple[Condition, ...]:
        """Options whose use depends on other values; only those that were given are looked at."""
        return ()


_O = TypeVar("_O", bound=Options)


def option(
    default: _T, text: str, metavar: Metavar = None, parse: Parse | None = None, **more: Any
) -> _T:
    """A field that is the option ``--<name>``.

    Args:
        default: value where it is not given.
        text: for ``--help``; ``%(default)s`` stands for the default.
        metavar: what ``--help`` calls its value.
        parse: turns a word into a value; ``None`` takes the word.
        more: what ``add_argument`` takes, and ``flags``, spellings other than the name.
    """
    typed = {} if parse is None else {"type": parse}
    named = {} if metavar is None else {"metavar": metavar}
    return field(default=default, metadata={"help": text, **named, **typed, **more})


def optional(
    text: str, metavar: Metavar = None, parse: Parse | None = None, **more: Any
) -> _T | None:
    """A field that is an option which is ``None`` where it is not given; see :func:`option`."""
    return option(None, text, metavar, parse, **more)


def flag(text: str) -> bool:
    """A field that is an option without a value."""
    return option(False, text, action="store_true")


def required(text: str, metavar: Metavar = None, **more: Any) -> Any:
    """A field that is an option which its class needs; ``positional=True``: known by its place."""
    return option(MISSING, text, metavar, **more)


@dataclass(frozen=True)
class Action(Generic[_O]):
    """One thing that a command does.

    Attributes:
        name: as it reads behind *with*: ``--list``, or ``the menu``.
        options: what it takes.
        run: does it, and returns the exit code.
    """

    name: str
    options: type[_O]
    run: Callable[[_O], int]

    def fields(self, *, required: bool = False) -> dict[str, Field[Any]]:
        """All options by name, or those that it needs."""
        own = {own.name: own for own in dataclasses.fields(self.options)}
        return {name: own[name] for name in own if not required or own[name].default is MISSING}


@dataclass(frozen=True)
class Command:
    """A command: what ``--help`` tells, and what it does; the last action may need no option.

    Attributes:
        shows_progress: it takes hours, and tells what it does beside what is wrong.
        stray: the option, by field name, that a word belongs to which has no place.
        guesses: what people type for an option that has another name -> what to type.
        reads_environment: ``--port`` may be given as ``MVECTOR_PORT``, and so may all options.
    """

    prog: str
    description: str
    epilog: str
    actions: tuple[Action[Any], ...]
    shows_progress: bool = False
    stray: str = ""
    guesses: Mapping[str, str] = field(default_factory=dict)
    reads_environment: bool = False

    def owners(self, name: str, *, required: bool = False) -> list[Action[Any]]:
        """The actions that take an option, or those that need it."""
        return [action for action in self.actions if name in action.fields(required=required)]

    def spelling(self, name: str) -> str:
        """An option as it is typed."""
        return _flag_of(self.owners(name)[0].fields()[name])

    def has_flag(self, name: str) -> bool:
        """Whether it has an option of that name that takes no value."""
        owners = self.owners(name)
        return bool(owners) and "action" in owners[0].fields()[name].metadata


def bind_options(command: Command, given: Mapping[str, Any]) -> tuple[Action[Any], Any]:
    """The action that is asked for, and its options, of the values ``given`` by field name.

    Raises:
        OptionError: an option is missing, or has no use.
    """
    ways = [action.fields(required=True) for action in command.actions]
    chosen = [a for a, way in zip(command.actions, ways, strict=True) if way.keys() <= given.keys()]
    if not chosen:
        words = [" and ".join(map(_flag_of, way.values())) for way in ways]
        raise OptionError(f"Give {', or '.join(words)}.")
    action, own = chosen[0], chosen[0].fields()
    for name in (name for name in given if name not in own):
        owners = command.owners(name)
        spelling = command.spelling(name)
        if command.owners(name, required=True):
            raise OptionError(f"{action.name} and {spelling} are two actions; give one of them.")
        whose = _owner_names(command, owners)
        where = "" if whose == f"all but {action.name}" else f"; it belongs to {whose}"
        raise OptionError(f"{spelling} has no use with {action.name}{where}.")
    options = action.options(**given)
    for names, has_use, where in options.conditions():
        for name in names.split():
            if name in given and not has_use:
                raise OptionError(f"{_flag_of(own[name])} has no use {where}.")
    return action, options


def _owner_names(command: Command, owners: Sequence[Action[Any]]) -> str:
    others = [action.name for action in command.actions if action not in owners]
    if len(others) < 3 < len(owners):
        return f"all but {' and '.join(others)}"
    *most, last = [action.name for action in owners]
    return f"{', '.join(most)} and {last}" if most else last


def _flag_of(own: Field[Any]) -> str:
    if "positional" in own.metadata:
        return str(own.metadata["metavar"])
    return str(own.metadata.get("flags", [f"--{own.name}"])[0])


# ---- the parser, and what --help shows ----------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser whose refusals are like all others."""

    command: Command

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print ``--help``; what cannot be printed is an error, which argparse would swallow."""
        print(message, end="", file=file)

    def error(self, message: str) -> NoReturn:
        """Refuse what was typed."""
        raise OptionError(f"{message[:1].upper()}{message[1:]}; --help tells more.")

    @property
    def spellings(self) -> list[str]:
        """All options as they are typed."""
        return [spelling for own in self._actions for spelling in own.option_strings]

    def parse_optionally(self, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Parse where no option is needed, to see what is unknown before what is missing."""
        needed = [own for own in self._actions if own.required and own.option_strings]
        try:
            for own in needed:
                own.required = False
            return self.parse_known_intermixed_args(words)
        finally:
            for own in needed:
                own.required = True


def parse_words(parser: _Parser, words: Sequence[str]) -> dict[str, Any]:
    """The options that were given, by name; clips and the like may stand between options.

    A dash in the name of an option is as good as an underscore.

    Raises:
        OptionError: there is no such option, or its value is none.
    """
    words = for_argparse(words, parser.spellings)
    try:
        given, unknown = parser.parse_known_intermixed_args(words)
    except OptionError:
        given, unknown = parser.parse_optionally(words)
        if not unknown:
            raise
    command = parser.command
    named = {name: as_typed(value) for name, value in vars(given).items()}
    for place, word in enumerate(unknown):
        spelled, equals, value = word.partition("=")
        if word.startswith("-"):
            value = value if equals else "".join(unknown[place + 1 : place + 2])
            cure = option_cure(command, spelled, value, parser.spellings)
            raise OptionError(f"There is no option {spelled}; {cure}")
    if unknown:
        word = as_typed(unknown[0])
        cure = word_cure(command, word, parser.spellings, stray_flag(command, named))
        raise OptionError(f"'{word}' is one word too many; {cure}")
    return named


def words_of_environment(command: Command, environment: Mapping[str, str]) -> list[str]:
    """Options that the environment gives a command that reads it, as words to stand before others.

    Raises:
        OptionError: an option without a value is given one that is neither true nor false.
    """
    words: list[str] = []
    for action in command.actions if command.reads_environment else ():
        for name, own in action.fields().items():
            value = environment.get(variable := f"MVECTOR_{name.upper()}", "")
            if not value:
                continue
            if "action" not in own.metadata:
                words.append(f"{_flag_of(own)}={value}")
            elif value.lower() in ("1", "true", "yes", "on"):
                words.append(_flag_of(own))
            elif value.lower() not in ("0", "false", "no", "off"):
                raise OptionError(f"{variable} is '{value}'; give true or false.")
    return words


def build_parser(command: Command) -> _Parser:
    """The parser of a command; what it parses holds the options that were given, and no default."""
    parser = _Parser(
        prog=command.prog,
        description=command.description,
        epilog=command.epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.command = command
    names = [name for action in command.actions for name in action.fields(required=True)]
    for action in command.actions:  # then an action's own options, before those that it shares
        names += [name for home in action.options.__mro__ for name in inspect.get_annotations(home)]
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for name in dict.fromkeys(names):
        owners = command.owners(name)
        if owners:
            title = _group_title(command, name, owners[0].options)
            if title not in groups:
                groups[title] = parser.add_argument_group(title)
            is_always_needed = command.owners(name, required=True) == [*command.actions]
            _add_option(groups[title], owners[0].fields()[name], is_always_needed)
    return parser


def _group_title(command: Command, name: str, options: type[Options]) -> str:
    """The heading that an option stands under: its class's title, and what it belongs to."""
    home = next(home for home in options.__mro__ if name in inspect.get_annotations(home))
    owners, last = command.owners(name), command.actions[-1]
    title = str(home.__dict__.get("TITLE", ""))
    if owners == [*command.actions]:
        return title
    if owners == command.owners(name, required=True):
        is_last_a_choice = bool(last.fields(required=True))
        return "what to do" + ("" if is_last_a_choice else f" (without any of these: {last.name})")
    whose = f"with {_owner_names(command, owners)}"
    return f"{title} ({whose})" if title else whose


def _add_option(group: argparse._ActionsContainer, own: Field[Any], is_always_needed: bool) -> None:
    more: dict[str, Any] = dict(own.metadata)
    flags = more.pop("flags", [f"--{own.name}"])
    default = f"{own.default:g}" if isinstance(own.default, float) else str(own.default)
    more["help"] = more["help"].replace("%(default)s", default)
    if not more.pop("positional", False):
        more |= {"dest": own.name, "required": is_always_needed}
        group.add_argument(*flags, **more)
    elif is_always_needed:
        group.add_argument(own.name, **more)
    else:
        group.add_argument(own.name, **{"nargs": "?", **more})
