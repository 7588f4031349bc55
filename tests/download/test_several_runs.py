"""Whatever a run leaves behind, the same again gets better, or says exactly what to do."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fixtures import small
from hornet_convert.api.fetch import Download, fetch
from hornet_convert.api.pretrained import pretrained
from hornet_convert.cli import run
from hornet_convert.conversion.request import Request
from hornet_convert.download.cache import Cache
from hornet_convert.download.edges import Event
from hornet_convert.download.sources import Source
from hornet_convert.download.trust import TrustRecord
from hornet_convert.errors import DiskError, HornetConvertError, UsageError
from hornet_convert.family import zoo
from hornet_convert.report.report import Report
from tests.documents import only, parsed
from tests.download.behaviours import redirect
from tests.download.fault_server import Answer, Exchange, FaultServer
from tests.download.setting import LIMITS as SMALL
from tests.download.setting import absent

ROOT = Path(__file__).parents[2]
LIMITS = replace(SMALL, max_bytes=1 << 30)


def sends(data: bytes, *lines: str) -> Answer:
    """A good server with these bytes."""
    tag = f'ETag: "{hashlib.sha256(data).hexdigest()}"'
    return lambda exchange: exchange.ranged(data, tag, *lines)


@dataclass
class Setup:
    """A small published checkpoint, the cache and the result's folder of one user."""

    folder: Path
    server: FaultServer
    good: bytes
    row: zoo.Published
    events: list[Event] = field(default_factory=list)

    @property
    def cache(self) -> Cache:
        """The user's cache."""
        return Cache(self.folder / "cache")

    def settings(self, **more: object) -> Download:
        """The usual way: the authors' links alone, of which nothing is known."""
        usual = Download(self.cache, (), "official", forward=False, limits=LIMITS)
        return replace(usual, **more)  # type: ignore[arg-type]

    def fetch(self, settings: Download | None = None) -> Report:
        """One run."""
        request = Request(self.folder / "out", force=True)
        (report,) = fetch(
            [self.row], settings or self.settings(), request, events=self.events.append
        )
        return report


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    """The authors' links lead to a loopback server, which has the file; every user reads there."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        path = small.write(folder / "w8.pth", "official-zip", "w8", num_classes=1000)
        good = path.read_bytes()
        digits = hashlib.sha256(good).hexdigest()[:8]
        row = replace(zoo.find("tiny"), name="w8", sha8=digits, superseded=(), errata=("small",))
        with FaultServer([sends(good)], {"/index.json": absent}) as server:
            monkeypatch.setattr(zoo, "OFFICIAL_URL", server.url + "/f/{id}/?dl=1")
            monkeypatch.setattr(zoo, "OPENMMLAB_BASE_URL", server.url + "/openmmlab/")
            monkeypatch.setattr(zoo, "find", lambda name: row)
            monkeypatch.setitem(zoo.BY_NAME, "w8", row)
            yield Setup(folder, server, good, row)


def half(setup: Setup) -> bytes:
    """Half of the file."""
    return setup.good[: len(setup.good) // 2]


def another(setup: Setup) -> bytes:
    """A checkpoint of another model."""
    return small.write(setup.folder / "x.pth", "official-zip", "w16-gf").read_bytes()


@pytest.mark.parametrize(("bad", "code"), [(half, 4), (another, 1)])
def test_a_wrong_file_of_which_nothing_was_known_is_fetched_again(
    bad: Callable[[Setup], bytes], code: int, setup: Setup
) -> None:
    """Refused or failed, it is set aside; the next run asks again, and the good file ends it."""
    setup.server.pages[f"/f/{setup.row.official_links[0]}/?dl=1"] = absent
    setup.server.answers = [sends(bad(setup)), sends(setup.good)]
    first = setup.fetch()
    assert code == first.exit_code
    assert any("the next run fetches it again" in note for note in first.notes)
    (wrong,) = [problem for *_, problem in setup.cache.verify()]
    assert wrong
    setup.server.requests.clear()
    second = setup.fetch()
    assert second.exit_code == 0
    assert setup.server.files
    assert any("what came before was wrong" in note for note in second.notes)
    assert [None] == [problem for *_, problem in setup.cache.verify()]


def test_a_wrong_file_that_comes_twice_is_not_asked_for_a_third_time(setup: Setup) -> None:
    """Every run says what to do: --refetch asks again."""
    setup.server.answers = [sends(half(setup))]
    asked = []
    for _ in range(3):
        report = setup.fetch()
        assert report.exit_code == 4
        asked.append(len(setup.server.files))
    assert [1, 2, 2] == asked
    assert any("came 2 times: --refetch" in note for note in report.notes)
    setup.server.answers = [sends(setup.good)]
    assert setup.fetch(setup.settings(refetch=True)).exit_code == 0
    assert setup.cache.prune().files == 0


def read_only(folder: Path) -> None:
    """Take the right to write from everybody, root too."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)


FETCH = """
import os, sys
from dataclasses import replace
from pathlib import Path
from hornet_convert.api.fetch import Download, fetch
from hornet_convert.api.pretrained import pretrained
from hornet_convert.conversion.request import Request
from hornet_convert.download.cache import Cache
from hornet_convert.family import zoo
cache, out, mirror, digits, offline = sys.argv[1:]
row = replace(zoo.find("tiny"), name="w8", sha8=digits, superseded=(), errata=("small",))
# What is imported late, while this user can still read it.
import importlib.readers, tarfile, hornet_convert.conversion.convert, hornet_convert.download.remote
if os.geteuid() == 0:
    os.setuid(65534)
how = Download(Cache.at(cache), (mirror,), "mirror", offline=bool(offline), forward=False)
"""
REPORTED = """
for report in fetch([row], how, Request(Path(out), force=True)):
    print(report.exit_code, *report.notes, report.error, sep="|")
"""
LOADED = """
print(pretrained(row, how), pretrained(row, how), sep="|")
"""


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_cache_of_another_user(recorded: bool, offline: bool, setup: Setup) -> None:
    """Read-only, it serves all the same; what would have been recorded is said."""
    settings = setup.settings(mirrors=(setup.server.url,), choice="mirror")
    assert setup.fetch(settings).exit_code == 0
    if not recorded:
        setup.cache.trust_path.unlink()
    read_only(setup.cache.folder)
    before = sorted(setup.cache.folder.rglob("*"))
    result = run_as_another_user(setup, setup.cache.folder, setup.server.url, offline)
    assert result.startswith("0|")
    assert ("nothing could be recorded" in result) == (not recorded)
    assert before == sorted(setup.cache.folder.rglob("*"))


def test_a_model_out_of_a_cache_of_another_user(setup: Setup) -> None:
    """What is made of the download is kept in the user's own cache."""
    settings = setup.settings(mirrors=(setup.server.url,), choice="mirror")
    assert setup.fetch(settings).exit_code == 0
    read_only(setup.cache.folder)
    asked = len(setup.server.files)
    result = run_as_another_user(setup, setup.cache.folder, setup.server.url, program=LOADED)
    first, again = result.strip().split("|")
    assert first == again
    assert Path(first).is_relative_to(setup.folder / "theirs")
    assert asked == len(setup.server.files)


def test_a_home_that_cannot_be_written(setup: Setup) -> None:
    """A mirror on this machine needs no cache."""
    mirror = setup.folder / "mirror"
    mirror.mkdir()
    (mirror / setup.row.file_name).write_bytes(setup.good)
    home = setup.folder / "home"
    home.mkdir(mode=0o555)
    result = run_as_another_user(setup, home / "cache", str(mirror), offline=False)
    assert result.startswith("0|")
    assert "nothing could be recorded" in result


def run_as_another_user(
    setup: Setup, cache: Path, mirror: str, offline: bool = False, program: str = REPORTED
) -> str:
    """Fetch as somebody who owns nothing; by default exit code, notes and error."""
    out = setup.folder / "theirs"
    out.mkdir(mode=0o777, exist_ok=True)
    out.chmod(0o777)
    arguments = [str(cache), str(out), mirror, setup.row.sha8, "x" if offline else ""]
    command = [sys.executable, "-c", FETCH + program, *arguments]
    ours = {**os.environ, "XDG_CACHE_HOME": str(out), "XDG_DATA_HOME": str(out)}
    done = subprocess.run(command, cwd=ROOT, env=ours, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks(
    code: int, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything works, and what was good is recorded."""

    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert setup.fetch().exit_code == 0
    assert len(TrustRecord(setup.cache.trust_path).pins()) == 1


def test_nothing_is_written_when_nothing_is_new(setup: Setup) -> None:
    """The second run leaves the cache as it is, to the byte and to the minute."""
    setup.fetch()
    before = {path: path.stat().st_mtime_ns for path in setup.cache.folder.rglob("*")}
    setup.fetch()
    assert before == {path: path.stat().st_mtime_ns for path in setup.cache.folder.rglob("*")}


def test_a_secret_in_a_url_is_sent_and_never_written(setup: Setup) -> None:
    """Nor is it part of what a source is known by: a renewed token changes nothing."""
    url = setup.server.url.replace("//", "//user:hunter2@") + "/files"
    setup.server.answers = [
        sends(setup.good),
        redirect("ftp://user:hunter2@h/x?X-Amz-Signature=hunter2"),
    ]
    setup.server.pages = {}
    setup.server.answers.insert(0, absent)
    for token in ("hunter2", "renewed-hunter2"):
        settings = setup.settings(mirrors=(f"{url}?sig={token}",), choice="mirror")
        assert setup.fetch(settings).exit_code == 0
    assert any("sig=hunter2" in asked.path for asked in setup.server.requests)
    assert len(setup.cache.entries()) == 1
    assert len(TrustRecord(setup.cache.trust_path).pins()) == 1
    failed = setup.fetch(replace(settings, refetch=True))
    assert failed.exit_code == 3
    assert "ftp://h/x" in str(failed.error)
    everything = [repr(setup.events), str(failed.to_json()), str(failed.error)]
    for path in setup.folder.rglob("*"):
        everything += [str(path), path.read_text("latin-1") if path.is_file() else ""]
    assert not any("hunter2" in text for text in everything)


def test_headers_and_a_token_go_to_the_mirror_alone(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nowhere else: not to the host it sends us to, not to the next source, not to a file."""
    monkeypatch.setenv("HORNET_CONVERT_TOKEN", "hunter2")
    with FaultServer([sends(setup.good)]) as elsewhere:
        setup.server.answers = [redirect(f"{elsewhere.url}/x")]
        settings = setup.settings(
            mirrors=(setup.server.url,), choice="auto", headers=(("X-Key", "hunter2"),)
        )
        assert setup.fetch(settings).exit_code == 0
        (asked,) = elsewhere.requests
    assert not {"x-key", "authorization"} & asked.headers.keys()
    (index, file) = setup.server.requests
    for sent in (index.headers, file.headers):
        assert (sent["x-key"], sent["authorization"]) == ("hunter2", "Bearer hunter2")
    assert not any(
        b"hunter2" in path.read_bytes() for path in setup.folder.rglob("*") if path.is_file()
    )


def test_credentials_hold_for_an_absolute_location_on_the_same_server(setup: Setup) -> None:
    """A mirror that wants a password, and sends on within itself."""

    def guarded(answer: Answer) -> Answer:
        def checked(exchange: Exchange) -> None:
            if "authorization" in exchange.asked.headers:
                answer(exchange)
            else:
                exchange.whole(b"", status="401 Unauthorized")

        return checked

    setup.server.answers = [guarded(redirect("{url}/there")), guarded(sends(setup.good))]
    url = setup.server.url.replace("//", "//user:password@")
    assert setup.fetch(setup.settings(mirrors=(url,), choice="mirror")).exit_code == 0


def test_a_mirror_that_is_not_there_is_named_at_once(setup: Setup) -> None:
    """A slip of the pen must not end on the internet; nothing is asked."""
    with pytest.raises(UsageError, match="no such directory"):
        setup.fetch(setup.settings(mirrors=(str(setup.folder / "nosuch"),), choice="auto"))
    assert setup.server.requests == []


def test_a_result_folder_that_is_a_file_is_named_at_once(setup: Setup) -> None:
    """Before anything is downloaded."""
    (setup.folder / "out").write_bytes(b"precious")
    with pytest.raises(DiskError, match="is a file"):
        setup.fetch()
    assert setup.server.requests == []


def test_mirrors_are_asked_in_order(setup: Setup) -> None:
    """The next one where the first does not have it."""
    empty, full = setup.folder / "empty", setup.folder / "full"
    for folder in (empty, full):
        folder.mkdir()
    (full / setup.row.file_name).write_bytes(setup.good)
    report = setup.fetch(setup.settings(mirrors=(str(empty), str(full)), choice="auto"))
    assert report.exit_code == 0
    assert report.source is not None
    assert str(full) in report.source["url"]
    assert setup.server.requests == []


def test_a_mirror_whose_path_is_not_text(setup: Setup) -> None:
    """Is used, and recorded with escapes."""
    mirror = Path(os.fsdecode(bytes(setup.folder) + b"/m\xff"))
    mirror.mkdir()
    (mirror / setup.row.file_name).write_bytes(setup.good)
    report = setup.fetch(setup.settings(mirrors=(str(mirror),), choice="mirror"))
    assert report.exit_code == 0, report.error
    (pin,) = TrustRecord(setup.cache.trust_path).pins()
    assert pin.location.endswith(r"/m\xff")
    assert setup.fetch(setup.settings(mirrors=(str(mirror),), choice="mirror")).exit_code == 0


def test_the_environment_counts_for_models_by_name_too(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HORNET_CONVERT_MIRROR, and HORNET_CONVERT_OFFLINE, under which what is there is used."""
    monkeypatch.setenv("HORNET_CONVERT_MIRROR", setup.server.url)
    settings = Download(setup.cache, forward=False, limits=LIMITS)
    path = pretrained(setup.row, settings)
    assert setup.server.files
    monkeypatch.delenv("HORNET_CONVERT_MIRROR")
    monkeypatch.setenv("HORNET_CONVERT_OFFLINE", "1")
    setup.server.requests.clear()
    read_only(setup.cache.folder)
    assert path == pretrained(setup.row, Download(setup.cache, forward=False))
    with pytest.raises(HornetConvertError):
        pretrained(setup.row, Download(setup.cache, ("http://127.0.0.1:9",), forward=False))
    assert setup.server.requests == []


def test_the_trust_record_keeps_what_is_not_ours(setup: Setup) -> None:
    """Keys of another version, the mode, and the link that it is."""
    real = setup.folder / "real.json"
    record = TrustRecord(setup.cache.trust_path)
    record.record("tiny", Source("official", "x"), sha256="a" * 64, size=1, fingerprint=None)
    document = json.loads(record.path.read_text())
    document["pins"][0]["comment"] = "mine"
    real.write_text(json.dumps({**document, "version": 7}))
    real.chmod(0o600)
    record.path.unlink()
    record.path.symlink_to(real)
    assert setup.fetch().exit_code == 0
    after = json.loads(real.read_text())
    assert record.path.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    assert after["version"] == 7
    assert ["mine", None] == [pin.get("comment") for pin in after["pins"]]


HOLD = """
import fcntl, os, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(os.getpid(), "elsewhere", file=file, flush=True)
print("held", flush=True)
time.sleep(60)
"""


def test_a_lock_that_is_held_for_ever(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting says so, and for whom; the result comes without the record."""
    monkeypatch.setattr("hornet_convert.download.locks.PATIENCE", 0.1)
    monkeypatch.setattr("hornet_convert.download.trust._LONGEST_WAIT", 0.5)
    lock = setup.cache.folder / ".trust.json.lock"
    lock.parent.mkdir()
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.send_signal(signal.SIGSTOP)
        report = setup.fetch()
        holder.kill()
    assert report.exit_code == 0
    holding = f"process {holder.pid} on elsewhere"
    assert any(holding in note for note in report.notes)
    assert any(holding in (event.detail or "") for event in setup.events)


VALIDATE = """
import sys, time
from pathlib import Path
from hornet_convert.files.writing import temporary_folder
with temporary_folder(Path(sys.argv[1]), "validate-") as folder:
    (folder / "result.safetensors").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_what_a_killed_validation_leaves(number: signal.Signals, tmp_path: Path) -> None:
    """Is swept by whoever comes next; what one that lives uses is not."""
    command = [sys.executable, "-c", VALIDATE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        Cache(tmp_path).clear()
        assert left.is_dir()
        process.send_signal(number)
    assert left.is_dir()
    (tmp_path / f".hornet-convert-{'0' * 16}.tmp").write_bytes(b"left of a record")
    Cache(tmp_path).prune()
    assert [] == list(tmp_path.iterdir())


def test_a_model_folder_that_is_a_link_is_not_written_through(setup: Setup) -> None:
    """What would be neither listed nor cleared is refused, with what to do."""
    (setup.folder / "elsewhere").mkdir()
    setup.cache.folder.mkdir()
    (setup.cache.folder / "w8").symlink_to(setup.folder / "elsewhere")
    report = setup.fetch()
    assert report.exit_code == 5
    assert "Remove the link" in str(report.error)
    assert [] == list((setup.folder / "elsewhere").iterdir())


def test_the_commands_for_the_cache(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it is, what is in it as JSON, what is wrong, and what goes."""
    setup.server.answers = [sends(half(setup))]
    setup.fetch()
    cache = ["--cache", str(setup.cache.folder)]
    assert run(["cache", "path", *cache]) == 0
    assert capsys.readouterr().out == f"{setup.cache.folder}\n"
    assert run(["cache", "list", "--json", *cache]) == 0
    file = only(capsys.readouterr().out)
    assert (file["model"], file["kind"], file["size"]) == ("w8", "download", len(half(setup)))
    assert file["problem"]
    assert run(["cache", "verify", *cache]) == 1
    assert file["problem"] in capsys.readouterr().out
    assert run(["cache", "prune", *cache]) == 0
    assert "1 file removed" in capsys.readouterr().out
    assert run(["pins", "--json", *cache]) == 0
    assert parsed(capsys.readouterr().out)["results"] == []


def test_a_host_that_allows_one_connection(setup: Setup) -> None:
    """The file that is refused while another comes from there waits for it, however long."""
    busy: list[float] = []

    def one_at_a_time(exchange: Exchange) -> None:
        if busy:
            exchange.whole(b"", status="503 Too many connections")
            return
        busy.append(time.monotonic())
        exchange.head("200 OK", f"Content-Length: {len(setup.good)}")
        for at in range(0, len(setup.good), 20_000):
            exchange.body(setup.good[at : at + 20_000])
            time.sleep(0.02)
        time.sleep(0.2)  # a server notices late that a connection is over
        busy.clear()

    setup.server.answers = [one_at_a_time]
    rows = [setup.row, replace(setup.row, official_links=("other", "link"))]
    settings = setup.settings(limits=replace(LIMITS, retries=1))
    reports = list(fetch(rows, settings, Request(setup.folder / "out", force=True)))
    assert [0, 0] == [report.exit_code for report in reports]
