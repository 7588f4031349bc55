"""What headers and first bytes mean, whatever they hold."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hornet_convert.download.answers import (
    Body,
    body_of,
    disguise,
    title,
    validator_of,
)

NAMES = ("content-length", "content-range", "content-encoding", "transfer-encoding", "etag")


@given(
    st.sampled_from([200, 206]),
    st.dictionaries(
        st.sampled_from(NAMES),
        st.text(st.characters(max_codepoint=255), max_size=20)
        | st.from_regex(r"bytes [0-9]{1,20}-[0-9]{1,20}/([0-9]{1,20}|\*)", fullmatch=True)
        | st.from_regex(r"[0-9]{1,40}", fullmatch=True),
    ),
)
def test_headers_never_lie_twice(status: int, headers: dict[str, str]) -> None:
    """Any headers give a consistent body or a printable sentence."""
    body = body_of(status, headers)
    if isinstance(body, str):
        assert body.isprintable()
        return
    assert body.start >= 0
    if body.length is not None:
        assert body.length >= 0
        assert body.total is None or body.start + body.length <= body.total
    assert body.validator is None or body.validator.isprintable()


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"etag": '"a"', "last-modified": "Wed"}, '"a"'),
        ({"etag": 'W/"a"', "last-modified": "Wed"}, "Wed"),
        ({"etag": "a", "last-modified": "Wed"}, "Wed"),
        ({"etag": '""'}, None),
        ({"etag": '"' + "x" * 9999 + '"'}, None),
        ({"last-modified": "x\x00"}, None),
        ({}, None),
    ],
)
def test_only_a_strong_validator_continues(headers: dict[str, str], validator: str | None) -> None:
    """A weak ETag does not promise the same bytes (RFC 9110, 13.1.5)."""
    assert validator == validator_of(headers)


def test_a_range_is_read() -> None:
    """Start, length and total of a 206."""
    headers = {"content-range": "bytes 5-9/20", "content-length": "5", "etag": '"a"'}
    assert Body(5, 5, 20, '"a"', True, True) == body_of(206, headers)


@given(st.binary(max_size=2000), st.none() | st.text(max_size=30))
def test_any_head_is_something_or_nothing(head: bytes, kind: str | None) -> None:
    """No bytes confuse it, and a title is always printable."""
    assert disguise(head, kind) is None or head is not None
    found = title(b"<title>" + head + b"</title>")
    assert found is None or found.isprintable()


HOSTILE_PAGES = {
    "unclosed titles": b"<html>" + b"<title" * 11_000,
    "unended titles": b"<html>" + b"<title>" * 9_000,
    "ends that are none": b"<html><title>" + b"</titl" * 11_000,
    "comments": b"<!---->" * 146,
    "comments and space": b"<!-- --> \n" * 100,
    "declarations": b"<?xml>" * 170,
}


@pytest.mark.parametrize("page", HOSTILE_PAGES.values(), ids=HOSTILE_PAGES.keys())
def test_a_hostile_page_takes_no_time(page: bytes) -> None:
    """Searching takes time in proportion to the length, whatever the page repeats."""
    since = time.process_time()
    disguise(page[:1024], None)
    assert None is title(page)
    assert 2.0 > time.process_time() - since


def test_comments_before_a_page() -> None:
    """Are part of it."""
    assert "an HTML page" == disguise(b"<!-- a --> <!-- b > -->\n<html>", None)


@pytest.mark.parametrize(
    "head",
    [
        b"PK\x03\x04\x00\x00\x08\x08\x00\x00",
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        b"\x58\x02\x00\x00\x00\x00\x00\x00{\"__metadata__\":{}",
        b"\x1f\x8b\x08\x00<html>\x00",
        bytes(20),
    ],
)  # fmt: skip
def test_a_checkpoint_is_no_page_whatever_it_is_called(head: bytes) -> None:
    """Every container this package reads begins with bytes that no text has."""
    for kind in (None, "text/html", "application/json", "text/plain"):
        assert None is disguise(head, kind)
