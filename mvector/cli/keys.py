"""``mvector keys``: who may ask a service, and for what."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from mvector.cli.common import JsonOption
from mvector.cli.options import Action, Command, Condition, OptionError, option, required

_EPILOG = """\
examples:
  mvector keys add "the app" --keys keys.json --scope enrol   prints the key, once
  mvector keys list --keys keys.json                          ids, scopes, names
  mvector keys remove 1f0c93aa --keys keys.json               it counts no more at once

scopes: read compares, recognises, verifies and lists; enrol adds clips too; admin changes and
removes people too. The file holds hashes of the keys and no key.
"""


@dataclass(frozen=True, kw_only=True)
class Keys(JsonOption):
    action: str = required(
        "add, list or remove", "ACTION", positional=True, choices=("add", "list", "remove")
    )
    name: str = option(
        "", "what a new key is for, or the id of one to remove", "NAME", positional=True, nargs="?"
    )
    keys: str = required("the file of keys", "FILE")
    scope: Literal["read", "enrol", "admin"] = option(
        "read", "what the key may do (default: %(default)s)", choices=("read", "enrol", "admin")
    )

    def conditions(self) -> tuple[Condition, ...]:
        return (
            *super().conditions(),
            ("scope", self.action == "add", f"with {self.action}"),
            ("name", self.action != "list", "with list"),
        )


def _run(args: Keys) -> int:
    from mvector.service.keys import KeyFile

    if args.action != "list" and not args.name:
        raise OptionError("add and remove need NAME: what a new key is for, or the id of one.")
    file = KeyFile(args.keys, must_exist=args.action != "add")
    if args.action == "add":
        token = file.add(args.name, args.scope)
        _print(args, f"{token}\nKeep it: it is shown this once.", key=token, scope=args.scope)
    elif args.action == "remove":
        removed = file.remove(args.name)
        _print(args, f"Removed {removed.id} ({removed.name})", removed=removed.id)
    else:
        keys = [
            {"id": key.id, "scope": key.scope, "added_at": key.added_at, "name": key.name}
            for key in file.all_keys()
        ]
        lines = [f"{k['id']}  {k['scope']:5}  {k['added_at'][:10]}  {k['name']}" for k in keys]
        _print(args, "\n".join(lines) or f"There is no key in {args.keys}", keys=keys)
    return 0


def _print(args: Keys, text: str, **values: object) -> None:
    print(json.dumps(values, ensure_ascii=False) if args.json else text)


COMMAND = Command(
    "mvector keys",
    "Keys of a service: add one, list them, remove one.",
    _EPILOG,
    (Action("a key", Keys, _run),),
)
