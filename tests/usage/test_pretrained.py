"""A model by name: fetched and converted once, used again only while it is what its record says."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures import small
from hornet_convert import create_model
from hornet_convert.api.fetch import Download
from hornet_convert.api.pretrained import pretrained
from hornet_convert.cli import run
from hornet_convert.download.cache import Cache
from hornet_convert.download.edges import Event
from hornet_convert.errors import CheckFailedError, HornetConvertError, SourceUnreachableError
from hornet_convert.family import zoo
from hornet_convert.model.load import load_model
from tests.documents import parsed
from tests.usage.pictures import picture


def publish(folder: Path, label: str = "w8") -> zoo.Published:
    """A mirror with one small checkpoint in it, and the row that stands for it."""
    return small.published(folder, "openmmlab-legacy", "w8", label=label)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """Where the mirror lies."""
    return tmp_path / "mirror"


@pytest.fixture
def settings(tmp_path: Path, mirror: Path) -> Download:
    """A cache of its own, and the mirror alone."""
    return Download(Cache.at(tmp_path / "cache"), (str(mirror),), "mirror", forward=False)


def test_it_is_fetched_and_converted_once(mirror: Path, settings: Download) -> None:
    """The second time the kept result is used, even when the source has gone."""
    row = publish(mirror)
    path = pretrained(row, settings)
    assert settings.cache.folder / "w8/converted" == path.parent
    assert "w8" == load_model(path).architecture.name
    written = path.stat()
    (mirror / row.file_name).unlink()
    again = pretrained(row, settings)
    assert (path, written.st_ino, written.st_mtime_ns) == (
        again, again.stat().st_ino, again.stat().st_mtime_ns,
    )  # fmt: skip


def test_a_damaged_result_is_made_again(mirror: Path, settings: Download) -> None:
    """One changed byte is seen, and never loaded."""
    row = publish(mirror)
    path = pretrained(row, settings)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert path == pretrained(row, settings)
    assert whole == path.read_bytes()


def test_a_record_that_is_damaged_is_no_record(mirror: Path, settings: Download) -> None:
    """The result is made again."""
    row = publish(mirror)
    path = pretrained(row, settings)
    record = path.parent / ".entry.json"
    written = json.loads(record.read_text())
    for text in ("", "{", '{"file": "../a"}', json.dumps({**written, "file": "w9"})):
        record.write_text(text)
        assert path == pretrained(row, settings)
        again = json.loads(record.read_text())
        assert {**written, "fetched": None} == {**again, "fetched": None}


def test_a_result_of_another_source_is_not_used(
    mirror: Path, settings: Download, tmp_path: Path
) -> None:
    """Who names a mirror gets that mirror's file, not what another one gave before."""
    row = publish(mirror)
    pretrained(row, settings)
    (tmp_path / "empty").mkdir()
    for other in (str(tmp_path / "empty"), str(mirror)[:-1]):
        with pytest.raises(HornetConvertError):
            pretrained(row, replace(settings, mirrors=(other,)))
    with pytest.raises(SourceUnreachableError):
        pretrained(row, replace(settings, mirrors=(str(tmp_path / "empty"),), offline=True))


def test_refetch_asks_the_source_again(mirror: Path, settings: Download) -> None:
    """And without the source there is nothing."""
    row = publish(mirror)
    path = pretrained(row, settings)
    assert path == pretrained(row, replace(settings, refetch=True))
    (mirror / row.file_name).unlink()
    with pytest.raises(HornetConvertError):
        pretrained(row, replace(settings, refetch=True))
    assert path == pretrained(row, settings)


def test_a_checkpoint_that_is_not_right_is_not_loaded(mirror: Path, settings: Download) -> None:
    """A missing tensor: refused, with the check that failed; nothing is kept."""
    import torch

    from fixtures import containers

    weights = small.tensors("w8", "openmmlab", num_classes=1000)
    weights.pop("backbone.stages.2.7.gamma1.weight")
    mirror.mkdir()
    with (mirror / "new.pth").open("wb") as file:
        torch.save(containers.openmmlab(weights), file)
    digits = hashlib.sha256((mirror / "new.pth").read_bytes()).hexdigest()[:8]
    row = replace(zoo.find("tiny"), name="w8", sha8=digits)
    (mirror / "new.pth").rename(mirror / row.file_name)
    with pytest.raises(CheckFailedError) as caught:
        pretrained(row, settings)
    assert "stages.2.blocks.7.gamma1" in str(caught.value)
    assert [] == list(settings.cache.folder.rglob("*.safetensors"))


def test_a_second_process_waits_for_the_first(
    mirror: Path, settings: Download, tmp_path: Path
) -> None:
    """As under torchrun: while one converts, the others say that they wait."""
    row = publish(mirror)
    lock = settings.cache.folder / "w8/converted/.lock"
    lock.parent.mkdir(parents=True)
    program = (
        "import filelock, sys\n"
        "with filelock.FileLock(sys.argv[1]):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    text: list[Event] = []
    command = [sys.executable, "-c", program, str(lock)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        release = holder.stdin.close

        def told(event: Event) -> None:
            text.append(event)
            if event.phase == "waiting":
                assert not list(lock.parent.glob("*.safetensors"))
                release()

        assert "held" == holder.stdout.readline().strip()
        path = pretrained(row, settings, events=told)
    assert path.is_file()
    (waiting,) = [event.detail for event in text if event.phase == "waiting"]
    assert "is converting it" in (waiting or "")


def test_create_model_says_how_it_goes(
    mirror: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """On stderr, unless it is not to, or everything is in the cache; `refetch` asks again."""
    row = publish(mirror)
    monkeypatch.setattr(zoo, "find", lambda name: {"w8": row}[name])

    def text(cache: str, *, progress: bool = True, refetch: bool = False) -> str:
        create_model(
            "w8", 3, pretrained=True, mirror=mirror, source="mirror",
            cache=tmp_path / cache, progress=progress, refetch=refetch,
        )  # fmt: skip
        captured = capsys.readouterr()
        assert "" == captured.out
        return captured.err

    assert "bytes at hand" in text("a")
    assert "" == text("a")
    assert "bytes at hand" in text("a", refetch=True)
    assert "" == text("b", progress=False)


def test_predict_by_name_uses_it(
    mirror: Path, settings: Download, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The whole way on the command line: name, mirror, cache, image, classes."""
    row = publish(mirror)
    monkeypatch.setattr(zoo, "find", lambda name: {"w8": row}[name])
    picture(0).save(tmp_path / "a.jpg")
    arguments = [
        "predict", str(tmp_path / "a.jpg"), "--model", "w8", "--json",
        "--mirror", str(mirror), "--source", "mirror", "--cache", str(settings.cache.folder),
    ]  # fmt: skip
    for _ in range(2):
        assert 0 == run(arguments)
        found = parsed(capsys.readouterr().out)
        assert ("w8", 1000) == (found["about"]["model"], found["about"]["num_classes"])
        assert str(pretrained(row, settings)) == found["about"]["checkpoint"]
        assert 5 == len(found["results"][0]["predictions"])
