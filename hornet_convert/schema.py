"""The JSON Schema of everything that is written as JSON, made from the types it is written by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

import msgspec

from hornet_convert.comparison.difference import Difference
from hornet_convert.comparison.document import ComparisonResult
from hornet_convert.comparison.outcome import BlockChange
from hornet_convert.conversion.record import Statement
from hornet_convert.download.pins import Compared, Pin, PinDocument
from hornet_convert.inspect import Inspection
from hornet_convert.report import results
from hornet_convert.report.document import SCHEMA_VERSION, Command, ErrorFacts, ExitCode, Result

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ID: Final = f"urn:hornet-convert:json:{SCHEMA_VERSION}"
NO_COMMAND: Final = "no command"

# What each command tells of every subject, by types whose members are put together; of them all.
_Row = tuple[tuple[type, ...], type | None]
_CHECKPOINT: Final[_Row] = ((results.CheckpointResult,), None)
_CACHED: Final[_Row] = ((results.CachedResult,), results.CacheFacts)
_FREED: Final[_Row] = ((results.FreedResult,), results.CacheFacts)
_PINS: Final[_Row] = ((Result, Pin), results.PinFacts)
COMMANDS: Final[Mapping[Command, _Row]] = {
    "list": ((results.PublishedResult,), None),
    "fetch": _CHECKPOINT,
    "validate": _CHECKPOINT,
    "publish": _CHECKPOINT,
    "convert": _CHECKPOINT,
    "verify": _CHECKPOINT,
    "compare": ((ComparisonResult,), None),
    "inspect": ((Result, Inspection), None),
    "predict": ((results.ImageResult,), results.ModelFacts),
    "eval": ((results.EvaluationResult,), None),
    "cache path": ((), results.CacheFacts),
    "cache list": _CACHED,
    "cache verify": _CACHED,
    "cache clear": _FREED,
    "cache prune": _FREED,
    "pins": _PINS,
    "pins export": _PINS,
    "pins merge": ((Result, Compared), results.PinFacts),
    "pins forget": _PINS,
}
FILES: Final[Mapping[str, type]] = {"record": Statement, "pins file": PinDocument}
"""What is written to files: the record beside a result, and what `pins export` gives to others."""

ON_ONE_THING: Final = ("publish", "compare", "inspect", "eval")  # that fail without any facts
_UNDEFINED_IS_NULL: Final = (Difference, BlockChange)

_Rules = Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
# Members that decide, and what others then are: in a result, and in a document.
_RESULT_RULES: Final[_Rules] = (
    ({"status": {"enum": ["pass", "skipped"]}}, {"exit_code": {"const": 0}}),
    ({"status": {"const": "pass"}}, {"error": {"type": "null"}}),
    ({"status": {"const": "fail"}}, {"exit_code": {"const": 1}}),
    ({"status": {"const": "error"}}, {"exit_code": {"minimum": 2}, "error": {"type": "object"}}),
)
_DOCUMENT_RULES: Final[_Rules] = (
    ({"exit_code": {"const": 0}}, {"error": {"type": "null"}}),
    ({"exit_code": {"minimum": 2}}, {"error": {"type": "object"}}),
)


def names() -> list[str]:
    """What there is a schema of: the documents of commands, and files."""
    return [*COMMANDS, *FILES, NO_COMMAND]


def schema(name: str | None = None) -> dict[str, Any]:
    """The JSON Schema of one of `names()`, or of all of them."""
    found = _definitions()
    of = ID if name is None else f"{ID}:{name.replace(' ', '-')}"
    about = {"$schema": DIALECT, "$id": of, "title": "What hornet-convert writes as JSON"}
    root = {"anyOf": [*map(_reference, names())]} if name is None else _reference(name)
    kept: list[str] = []
    waiting = _references(root)
    while waiting:
        kept.append(waiting.pop())
        waiting += {*_references(found[kept[-1]])} - {*kept, *waiting}
    return {**about, **root, "$defs": {each: found[each] for each in sorted(kept)}}


def _definitions() -> dict[str, dict[str, Any]]:
    """Every document, and every type in one, by name."""
    kinds = [kind for row, about in COMMANDS.values() for kind in (*row, about) if kind]
    kinds += [ErrorFacts, Result, *FILES.values()]
    _, found = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    whole = {name: _strict(body) for name, body in found.items()}
    for kind in _UNDEFINED_IS_NULL:
        for member in whole[kind.__name__]["properties"].values():
            if member == {"type": "number"}:
                member["type"] = ["number", "null"]
    alone = whole["Result"]
    facts = alone["properties"] | {"error": _reference("ErrorFacts")}
    whole["Failed"] = {**alone, "title": "Failed", "properties": facts}
    documents = {NO_COMMAND: _document(None, [], None)}
    for command, (row, about) in COMMANDS.items():
        items = [_merged([whole[kind.__name__] for kind in row])] if len(row) > 1 else []
        items += [_reference(kind.__name__) for kind in row if len(row) == 1]
        items += [_reference("Failed")] if command in ON_ONE_THING else []
        documents[command] = _document(command, items, about)
    return documents | {name: _reference(kind.__name__) for name, kind in FILES.items()} | whole


def _document(
    command: Command | None, items: Sequence[Mapping[str, Any]], about: type | None
) -> dict[str, Any]:
    """The envelope of one command."""
    members = {
        "schema_version": {"const": SCHEMA_VERSION},
        "command": {"const": command},
        "exit_code": {"enum": [*get_args(ExitCode)]},
        "about": _or_null(about),
        "results": {"type": "array", "items": {"anyOf": [*items]} if items else False},
        "error": _or_null(ErrorFacts),
    }
    return _strict(
        {
            "description": f"What `{command} --json` writes." if command else "No such command.",
            "type": "object",
            "properties": members,
            "required": [*members],
        }
    )


def _strict(body: dict[str, Any]) -> dict[str, Any]:
    """An object that has all its members, but for those that may be left out, and no other.

    What a dataclass has a default for is written too.
    """
    members: dict[str, dict[str, Any]] = body.get("properties", {})
    if not members:
        return body
    required = [*body["required"], *(name for name, each in members.items() if "default" in each)]
    plain = {
        name: {key: value for key, value in each.items() if key != "default"}
        for name, each in members.items()
    }
    rules: _Rules = _RESULT_RULES if "status" in members and "exit_code" in members else ()
    rules = _DOCUMENT_RULES if "schema_version" in members and "exit_code" in members else rules
    more = {"allOf": [{"if": _members(a), "then": _members(b)} for a, b in rules]} if rules else {}
    rest = {"properties": plain, "required": required, "additionalProperties": False}
    return {**body, **rest, **more}


def _merged(bodies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One object with the members of several; it has the rules of the first."""
    return {
        **bodies[0],
        **{key: bodies[-1][key] for key in ("title", "description")},
        "properties": {name: each for body in bodies for name, each in body["properties"].items()},
        "required": [name for body in bodies for name in body["required"]],
    }


def _members(members: Mapping[str, Any]) -> dict[str, Any]:
    return {"properties": members}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name.replace(' ', '%20')}"}


def _or_null(kind: type | None) -> dict[str, Any]:
    nothing = {"type": "null"}
    return nothing if kind is None else {"anyOf": [_reference(kind.__name__), nothing]}


def _references(body: object) -> list[str]:
    """The names of the definitions that one refers to."""
    if isinstance(body, list | tuple):
        return [name for item in body for name in _references(item)]
    if not isinstance(body, dict):
        return []
    if "$ref" in body:
        return [str(body["$ref"]).rpartition("/")[2].replace("%20", " ")]
    return [name for item in body.values() for name in _references(item)]
