"""Everything a server can do wrong, one row each, against a real server on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest

from hornet_convert.errors import HornetConvertError
from tests.download import faults_answers, faults_bodies, faults_resuming
from tests.download.fault import Fault
from tests.download.fault_server import FaultServer
from tests.download.setting import BODY, SHA256, Watcher, finished, get, pages, source, unfinished

FAMILIES = {**faults_resuming.FAULTS, **faults_bodies.FAULTS, **faults_answers.FAULTS}
ROWS = [(family, fault) for family, faults in FAMILIES.items() for fault in faults]


@pytest.mark.parametrize(
    "fault", [fault for _, fault in ROWS], ids=[f"{family}: {fault.name}" for family, fault in ROWS]
)
def test_fault(fault: Fault, tmp_path: Path) -> None:
    """The right file or the right error, nothing partial under a final name, no more than 100 %."""
    watcher = Watcher(fault.limits)
    with FaultServer(list(fault.answers), pages(fault.knows)) as server:
        if fault.code == 0:
            fetched = get(tmp_path, [source(server, fault.knows)], watcher)
            assert (BODY, SHA256, len(BODY)) == (
                fetched.path.read_bytes(),
                fetched.sha256,
                fetched.size,
            )
            assert [fetched.path] == finished(tmp_path)
            assert None is unfinished(tmp_path)
        else:
            with pytest.raises(HornetConvertError) as raised:
                get(tmp_path, [source(server, fault.knows)], watcher)
            message = str(raised.value)
            assert fault.code == raised.value.exit_code, message
            assert [] == [text for text in fault.says if text not in message], message
            assert message.isprintable()
            assert [] == finished(tmp_path)
            assert BODY[: fault.kept] == (unfinished(tmp_path) or b"")
        if fault.asked is not None:
            assert fault.asked == len(server.files)
        if fault.extra is not None:
            assert len(BODY) + fault.extra >= server.sent
    assert [] == [event for event in watcher.events if event.total and event.done > event.total]
    assert {"identity"} == {asked.headers["accept-encoding"] for asked in server.requests}
