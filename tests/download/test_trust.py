"""The trust record: what was right once has to be the same ever after."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from hornet_convert.download.cache import Cache
from hornet_convert.download.pins import Pin, exported, packaged_pins, pins_from
from hornet_convert.download.sources import Source
from hornet_convert.download.trust import TrustRecord
from hornet_convert.download.wanted import ChecksumMismatchError
from hornet_convert.errors import CheckFailedError, DiskError, MalformedError
from tests.download.behaviours import TAG, whole
from tests.download.fault_server import FaultServer
from tests.download.setting import BODY, INDEX, MODEL, OTHER, SHA256, get, good, pages, source

MIRROR = Source("mirror", "http://user:secret@h/x?token=secret")
OFFICIAL = Source("official", "https://h/f")
PRINT = "f" * 64
PIN = Pin("tiny", "official", "https://h/f", "a" * 64, 5, PRINT, "2026-01-01")


def test_a_record_is_kept_readable_and_once(tmp_path: Path) -> None:
    """JSON with one entry per model and source, without credentials, and the first date kept."""
    record = TrustRecord(tmp_path / "deep/trust.json")
    for _ in range(2):
        record.record("tiny", MIRROR, sha256="a" * 64, size=5, fingerprint=PRINT)
    pin = record.expected_for("tiny", MIRROR)
    assert pin is not None
    (entry,) = json.loads(record.path.read_text())["pins"]
    assert entry == asdict(pin)
    assert pin.location == "http://h/x"
    assert None is record.expected_for("tiny", OFFICIAL)
    assert None is record.expected_for("small", MIRROR)


@pytest.mark.parametrize(
    "change", [{"sha256": "b" * 64}, {"size": 6}, {"fingerprint": "e" * 64}], ids=str
)
def test_another_file_is_an_error_that_shows_both(change: dict[str, Any], tmp_path: Path) -> None:
    """Nothing is overwritten, and all of what was to be merged stays out."""
    record = TrustRecord(tmp_path / "trust.json")
    record.merge([PIN])
    changed = replace(PIN, **change)
    with pytest.raises(CheckFailedError, match="pins forget tiny") as raised:
        record.merge([replace(PIN, model="small"), changed])
    assert 1 == raised.value.exit_code
    assert PIN.sha256 in raised.value.message
    assert changed.sha256 in raised.value.message
    assert (PIN,) == record.pins()


def test_a_fingerprint_may_come_later(tmp_path: Path) -> None:
    """A pin without one takes it over and keeps its date."""
    record = TrustRecord(tmp_path / "trust.json")
    record.merge([replace(PIN, fingerprint=None)])
    for fingerprint in (PRINT, None):
        record.record("tiny", OFFICIAL, sha256=PIN.sha256, size=5, fingerprint=fingerprint)
    assert (PIN,) == record.pins()


def test_forgetting(tmp_path: Path) -> None:
    """One source of a model, or all of them."""
    record = TrustRecord(tmp_path / "trust.json")
    other = replace(PIN, source="mirror")
    record.merge([PIN, other, replace(PIN, model="small")])
    assert (other,) == record.forget("tiny", "mirror")
    assert (PIN,) == record.forget("tiny")
    assert () == record.forget("tiny")
    assert ["small"] == [pin.model for pin in record.pins()]


def test_shipped_pins_count_and_are_not_written(tmp_path: Path) -> None:
    """What comes with the package or a mirror is expected too; the user's own record is apart."""
    record = TrustRecord(tmp_path / "trust.json", shipped=[PIN])
    assert PIN == record.expected_for("tiny", OFFICIAL)
    with pytest.raises(CheckFailedError):
        record.record("tiny", OFFICIAL, sha256="b" * 64, size=5, fingerprint=PRINT)
    record.record("tiny", OFFICIAL, sha256=PIN.sha256, size=5, fingerprint=PRINT)
    assert () == TrustRecord(record.path).pins()


def test_pins_of_the_package(tmp_path: Path) -> None:
    """A file in the package's data, if there is one."""
    assert () == packaged_pins(tmp_path)
    (tmp_path / "pins.json").write_text(exported([replace(PIN, by="Ada")]))
    assert (replace(PIN, by="Ada"),) == packaged_pins(tmp_path)


def test_export_and_import(tmp_path: Path) -> None:
    """What is exported can be read, and merged elsewhere, where only what is new is added."""
    pins = (PIN, replace(PIN, model="small", sha256="b" * 64, fingerprint=None))
    read = pins_from(exported(reversed(pins)).encode(), "x")
    assert sorted(pins, key=lambda pin: pin.place) == list(read)
    record = TrustRecord(tmp_path / "trust.json")
    assert (pins[0],) == record.merge([pins[0]])
    assert (pins[1],) == record.merge(read)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[]", b"{}", b'{"pins": 5}', b'{"pins": [5]}', b"[" * 99999,
        *(
            json.dumps({"pins": [{**PIN.__dict__, name: value}]}).encode()
            for name, value in (
                ("model", 5), ("sha256", "x"), ("sha256", "A" * 64), ("size", True), ("size", None),
                ("fingerprint", "x"), ("first_seen", None), ("location", []),
            )
        ),
    ],
)  # fmt: skip
def test_a_damaged_record_is_not_an_empty_one(text: bytes, tmp_path: Path) -> None:
    """Taking it for empty would trust anything: it is an error that names the file."""
    record = TrustRecord(tmp_path / "trust.json")
    record.path.write_bytes(text)
    with pytest.raises(MalformedError, match=r"trust\.json"):
        record.pins()
    with pytest.raises(MalformedError):
        record.merge([PIN])
    assert text == record.path.read_bytes()


def test_a_record_that_cannot_be_written(tmp_path: Path) -> None:
    """A file where its folder should be: 5."""
    (tmp_path / "file").write_bytes(b"")
    record = TrustRecord(tmp_path / "file/trust.json")
    with pytest.raises(DiskError):
        record.merge([PIN])


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    """Processes that record at the same time all get their pin in."""
    code = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from tests.download.test_trust import PIN; from hornet_convert.download.trust import *\n"
        "for n in range(5):\n"
        "    pin = replace(PIN, location=f'{sys.argv[2]}-{n}')\n"
        "    TrustRecord(Path(sys.argv[1])).merge([pin])\n"
    )
    path = tmp_path / "trust.json"
    writers = [subprocess.Popen([sys.executable, "-c", code, path, str(n)]) for n in range(3)]
    assert [0, 0, 0] == [writer.wait() for writer in writers]
    assert 15 == len(TrustRecord(path).pins())


def test_fetch_expects_what_is_recorded(tmp_path: Path) -> None:
    """A source of which nothing is published is held to what it gave before."""
    with FaultServer([good], pages("nothing")) as server:
        asked = source(server, "nothing")
        first = get(tmp_path, [asked])
        assert first.expected is None
        record = TrustRecord(Cache(tmp_path).trust_path)
        record.record(MODEL.name, asked, sha256=SHA256, size=len(BODY), fingerprint=None)
        again = get(tmp_path, [asked], force=True)
        assert again.expected is not None
        assert SHA256 == again.expected.digest
        assert again.expected.origin.startswith("the trust record (first seen here on 2")
        server.answers = [whole(OTHER, TAG)]
        with pytest.raises(ChecksumMismatchError, match="pins forget") as raised:
            get(tmp_path, [asked], force=True)
    assert SHA256 == raised.value.expected_digest
    assert raised.value.found_digest not in (None, SHA256)
    assert BODY == again.path.read_bytes()


def test_an_index_that_contradicts_the_record(tmp_path: Path) -> None:
    """A mirror that lists another file than before is stopped before anything is downloaded."""
    with FaultServer([good], pages("index")) as server:
        asked = source(server, "index")
        get(tmp_path, [asked])
        record = TrustRecord(Cache(tmp_path).trust_path)
        record.record(MODEL.name, asked, sha256=SHA256, size=len(BODY), fingerprint=PRINT)
        get(tmp_path, [asked])
        server.pages["/index.json"] = whole(INDEX.replace(SHA256.encode(), b"0" * 64))
        server.restart()
        with pytest.raises(ChecksumMismatchError) as raised:
            get(tmp_path, [asked])
        assert [] == server.files
    assert (SHA256, "0" * 64) == (raised.value.expected_digest, raised.value.found_digest)


def test_a_cached_file_has_to_be_the_recorded_one(tmp_path: Path) -> None:
    """A consistent cache is not enough if the record knows better."""
    with FaultServer([good], pages("nothing")) as server:
        asked = source(server, "nothing")
        get(tmp_path, [asked])
        record = TrustRecord(Cache(tmp_path).trust_path)
        record.record(MODEL.name, asked, sha256="0" * 64, size=len(BODY), fingerprint=None)
        with pytest.raises(ChecksumMismatchError):
            get(tmp_path, [asked], offline=True)
        with pytest.raises(ChecksumMismatchError):
            get(tmp_path, [asked])
