"""Models on the Hub, fetched and uploaded by the real client, from and to one on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load

from fixtures import small
from hornet_convert import HorNet
from hornet_convert.checkpoint.folder import WEIGHTS
from hornet_convert.errors import SourceUnreachableError, UsageError
from tests.hub_server import Hub, serving
from tests.model.test_sharing import Evil, written

ROOT = Path(__file__).parents[2]

BEGIN = """
import sys
import torch
from hornet_convert import HorNet, create_model, load_model, load_state_dict
from hornet_convert.errors import HornetConvertError

def digest(model):
    return float(sum(each.detach().double().abs().sum() for each in model.parameters()))

def refused(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except HornetConvertError as error:
        print(error.code, error)
    else:
        print("not refused")
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub without repositories."""
    with serving() as served:
        yield served


def run(hub: Hub, home: Path, program: str, **environment: str) -> list[str]:
    """What a program prints; a process of its own, since the library reads its environment once."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program],
        cwd=ROOT,
        env=hub.environment(home, **environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr), done.stderr[-2000:]
    return done.stdout.splitlines()


def files(folder: Path) -> dict[str, bytes]:
    """The files of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_pushed_and_fetched(hub: Hub, tmp_path: Path) -> None:
    """The repository is made, then branch and pull request; all come back the same."""
    text = run(
        hub,
        tmp_path / "hf",
        """
model = create_model("w8-gf", 10, seed=0)
print(model.push_to_hub("org/w8", commit_message="First"))
other = create_model("w8-gf", 4, seed=1)
print(other.push_to_hub("org/w8", revision="dev"))
print(other.push_to_hub("org/w8", create_pr=True))
for found in (
    HorNet.from_pretrained("org/w8"),
    HorNet.from_pretrained("hf://org/w8", num_classes=3),
    HorNet.from_pretrained("org/w8", revision="dev", dtype=torch.bfloat16),
    load_model("hf://org/w8@dev"),
    load_model("hf://org/w8/model.safetensors"),
    HorNet.from_pretrained("org/w8", revision="refs/pr/1", num_classes=None),
):
    print(found.num_classes or 0, found.training, found.stem[0].weight.dtype)
assert digest(model) == digest(HorNet.from_pretrained("org/w8"))
assert len(load_state_dict("hf://org/w8", "official")) == 640
refused(model.push_to_hub, "org/w9", token="wrong")
refused(model.push_to_hub, "not a name")
""",
    )
    first, branch, request = text[:3]
    assert hub.url + "/org/w8/commit/" == first[:-40] == branch[:-40]
    assert f"{hub.url}/org/w8/discussions/1" == request
    kinds = ["10 False torch.float32", "3 False torch.float32", "4 False torch.bfloat16"]
    assert [*kinds, "4 False torch.float32", kinds[0], "0 False torch.float32"] == text[3:9]
    assert "unreachable the Hub does not take the model; where: hf://org/w9" in text[9]
    assert "HF_TOKEN" in text[9]
    assert "wrong" not in text[9]
    assert text[10].startswith("usage not the name of a repository")
    assert {"main", "dev", "refs/pr/1"} == set(hub.repos["org/w8"])
    assert {"config.json", "model.safetensors"} == set(hub.repos["org/w8"]["main"])
    pushed = load(hub.repos["org/w8"]["main"]["model.safetensors"])
    assert (10, 64) == pushed["head.fc.weight"].shape
    asked = [path for method, path, _ in hub.asked if method == "GET" and "/resolve/" in path]
    assert len(asked) == len(set(asked))


def test_shards_and_the_cache(hub: Hub, tmp_path: Path) -> None:
    """All of one commit, fetched once, then had without a network, in every way to be offline."""
    config = {"architecture": "hornet_w8", "num_classes": 10}
    shards = files(written(tmp_path / "x", "model.safetensors.index.json", **config))
    commit = hub.commit("org/w8", shards)
    first, second, third, *refusals = run(
        hub,
        tmp_path / "hf",
        f"""
import os
print(digest(HorNet.from_pretrained("org/w8")))
print(digest(HorNet.from_pretrained("org/w8", local_files_only=True)))
os.environ["HORNET_CONVERT_OFFLINE"] = "1"
print(digest(load_model("hf://org/w8")))
refused(HorNet.from_pretrained, "org/w8", cache_dir={str(tmp_path / "other")!r})
refused(HorNet.from_pretrained, "org/w8", revision="dev")
""",
    )
    total = sum(value.double().abs().sum() for value in small.tensors("w8").values())
    assert float(total) == pytest.approx(float(first), rel=1e-12)
    assert first == second == third
    for text in refusals:
        assert text.startswith("unreachable the Hub is not asked or does not answer")
    got = [path for method, path, _ in hub.asked if method == "GET"]
    assert len(shards) == len(got) == 4
    assert all(f"/resolve/{commit}/" in path for path in got if "config.json" not in path)
    assert {"Bearer hunter2"} == {token for _, _, token in hub.asked}
    asked, program = len(hub.asked), 'print(digest(load_model("hf://org/w8")))'
    assert [first] == run(hub, tmp_path / "hf", program, HF_HUB_OFFLINE="1")
    assert asked == len(hub.asked)


def test_a_hub_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for one file with the library's patience, not for each."""
    asked: list[tuple[str, bool]] = []

    def silent(repo: str, name: str, *, local_files_only: bool, **options: object) -> str:
        asked.append((name, local_files_only))
        raise LocalEntryNotFoundError("no connection.")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", silent)
    with pytest.raises(SourceUnreachableError, match=r"does not answer.*no connection\. Check"):
        HorNet.from_pretrained("org/w8")
    names = ("config.json", *WEIGHTS)
    assert [(name, name != "config.json") for name in names] == asked


def test_what_the_hub_does_not_have(hub: Hub, tmp_path: Path) -> None:
    """No repository, revision, weights or shard; weights of something else: each said."""
    hub.commit("org/empty", {"README.md": b""})
    shards = files(written(tmp_path / "x", "model.safetensors.index.json"))
    hub.commit("org/half", {name: data for name, data in shards.items() if "-1." not in name})
    hub.commit(
        "org/liar",
        {
            **files(written(tmp_path / "y", "model.safetensors")),
            "config.json": json.dumps({"architecture": "hornet_tiny"}).encode(),
        },
    )
    path = tmp_path / "evil"
    torch.save({"head.weight": Evil(tmp_path / "sprung")}, path)
    hub.commit("org/evil", {"pytorch_model.bin": path.read_bytes()})
    hub.commit("org/named", {"hornet/w8.pth": small.write(path, "bare-zip", "w8").read_bytes()})
    text = run(
        hub,
        tmp_path / "hf",
        """
for name in ("none", "empty@v2", "empty", "half", "liar", "evil", "named"):
    refused(HorNet.from_pretrained, f"hf://org/{name}")
refused(HorNet.from_pretrained, "org/empty@main", revision="main")
print(load_model("hf://org/named@main/hornet/w8.pth").num_classes)
""",
    )
    begin = [line.partition(";")[0] for line in text[:7]]
    assert [
        "unreachable the Hub does not give the model",
        "unreachable the Hub does not give the model",
        "unreachable the Hub has no such weights",
        "unreachable the Hub has no such weights",
        "check-failed config.json and the weights are not of the same model",
    ] == begin[:5]
    assert "hf://org/none" in text[0]
    assert "RevisionNotFoundError" in text[1]
    assert "model-1.safetensors" in text[3]
    assert not (tmp_path / "sprung").exists()
    assert "hf://ORG/REPO/FILE" in text[6]
    assert text[7].startswith("usage not a repository of the Hub")
    assert "10" == text[8]


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install; a folder needs none of it."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"hornet-convert\[hub\]"):
        HorNet.from_pretrained("org/w8")


TORCH_HUB = """
import sys
sys.meta_path = [each for each in sys.meta_path if "editable" not in repr(each)]
import torch
where, folder = sys.argv[1:]
torch.hub.set_dir(folder)
print(*torch.hub.list("org/hornet-convert:main", trust_repo=True, verbose=False))
print(torch.hub.help("org/hornet-convert:main", "hornet_tiny_gf", trust_repo=True))
model = torch.hub.load(where, "hornet_tiny_gf", source="local", device="meta", num_classes=3)
print(model.architecture.name, model.num_classes)
import hornet_convert
print(hornet_convert.__file__)
try:
    options = {"source": "local", "offline": True, "cache": folder}
    torch.hub.load(where, "hornet_base", pretrained=True, **options)
except Exception as error:
    print(error)
"""


@pytest.mark.filterwarnings("default")
def test_torch_hub(tmp_path: Path) -> None:
    """From the folder alone, with nothing installed: all nine, their help, and what is offered."""
    (tmp_path / "org_hornet-convert_main").symlink_to(ROOT)
    outside = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", TORCH_HUB, str(ROOT), str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, env=outside, capture_output=True, text=True, check=True
    )
    reason = done.stdout.splitlines()
    sizes = ("base", "base_gf", "large", "large_gf", "large_gf384")
    small_ones = ("small", "small_gf", "tiny", "tiny_gf")
    assert [f"hornet_{size}" for size in (*sizes, *small_ones)] == reason[0].split()
    assert "HorNet-T-GF, for images of 224 pixels a side." == reason[1]
    assert "tiny-gf 3" in reason
    assert str(tmp_path / "org_hornet-convert_main/hornet_convert/__init__.py") in reason
    assert reason[-1].startswith("base is not available offline")
    assert "`offline=True`" in reason[-1]
