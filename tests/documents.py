"""What the commands write as JSON, held to its published schema."""

from __future__ import annotations

import functools
import json
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from hornet_convert.schema import NO_COMMAND, schema


@functools.cache
def validator(name: str) -> Draft202012Validator:
    """Of a command's document, or of a file."""
    return Draft202012Validator(schema(name))


def conforms(name: str, value: object) -> None:
    """Assert that a JSON value is what the schema says; the first difference is the message."""
    wrong = best_match(validator(name).iter_errors(value))
    assert wrong is None, f"{name}: {wrong.json_path}: {wrong.message}"


def parsed(text: str | bytes) -> dict[str, Any]:
    """The one document in a text; it has only numbers that JSON has, and follows its schema."""
    _follows_its_schema(text)
    document: dict[str, Any] = json.loads(text)
    return document


@functools.lru_cache(maxsize=8)  # when it is printed, and when the test reads it
def _follows_its_schema(text: str | bytes) -> None:
    def refuse(number: str) -> None:
        raise AssertionError(f"{number} is no JSON")

    document = json.loads(text, parse_constant=refuse)
    conforms(document["command"] or NO_COMMAND, document)


def only(text: str | bytes) -> dict[str, Any]:
    """The one result of the document in a text."""
    (result,) = parsed(text)["results"]
    assert isinstance(result, dict)
    return result


def provenance(text: str | bytes) -> dict[str, Any]:
    """The record beside a result."""
    statement: dict[str, Any] = json.loads(text)
    conforms("record", statement)
    return statement
