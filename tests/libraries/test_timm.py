"""The nine in timm: what its users and its tools ask of a model, against the real library."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import timm.data
import timm.optim
import torch
from torch import Tensor, nn

import hornet_convert.timm as registration
from fixtures import small
from hornet_convert import data_config
from hornet_convert.errors import HornetConvertError
from hornet_convert.family import zoo
from hornet_convert.family.labels import IN1K_CLASSES, IN21K_CLASSES
from hornet_convert.images.preprocess import preprocess
from hornet_convert.model.blocks import Block
from hornet_convert.model.hornet import HorNet
from tests.usage.pictures import picture

NAMES = [zoo.timm_name(row.architecture) for row in zoo.MODELS]
SMALL = "w8-gf"
NAME = "hornet_w8_gf"
IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small published model, which timm is told of as of the nine."""
    folder = tmp_path_factory.mktemp("mirror")
    registration.register(small.published(folder, "openmmlab-legacy", SMALL))
    return folder


@pytest.fixture
def create(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., HorNet]:
    """`timm.create_model` of the small model, in evaluation mode; pretrained from the mirror."""
    monkeypatch.setenv("HORNET_CONVERT_MIRROR", str(mirror))

    def create(**options: Any) -> HorNet:
        model: HorNet = timm.create_model(NAME, cache_dir=tmp_path / "cache", **options)
        return model.eval()

    return create


def weights(num_classes: int | None = 1000) -> dict[str, Tensor]:
    """What the mirror's file holds, by reference name."""
    return small.tensors(SMALL, "reference", num_classes=num_classes)


def test_the_nine_are_listed() -> None:
    """With their datasets as tags, and with weights."""
    assert set(NAMES) <= set(timm.list_models("hornet*"))
    tagged = [f"{name}.{row.dataset}" for name, row in zip(NAMES, zoo.MODELS, strict=True)]
    assert set(tagged) <= set(timm.list_pretrained("hornet*"))
    assert set(NAMES) <= set(registration.__all__)
    assert all(callable(getattr(registration, name)) for name in registration.__all__)


@pytest.mark.parametrize("row", zoo.MODELS, ids=lambda row: row.name)
def test_each_of_the_nine(row: zoo.Published) -> None:
    """Built by both names; the published classes, images, layers, licence and paper are told."""
    name = zoo.timm_name(row.architecture)
    model = timm.create_model(f"{name}.{row.dataset}", device="meta")
    assert isinstance(model, HorNet)
    assert row.architecture == model.architecture
    classes = IN1K_CLASSES if row.dataset == "in1k" else IN21K_CLASSES
    assert classes == model.num_classes == model.default_cfg["num_classes"]
    assert row.architecture.shapes(classes).keys() == model.state_dict().keys()
    cfg = model.pretrained_cfg
    assert {f"{cfg[key]}.weight" for key in ("first_conv", "classifier")} < set(model.state_dict())
    assert (name, row.dataset) == (cfg["architecture"], cfg["tag"])
    assert ("mit", "arXiv:2207.14284") == (cfg["license"], cfg["paper_ids"])
    side = row.architecture.resolution
    assert timm.data.resolve_data_config(model=model) == {
        "input_size": (3, side, side),
        "interpolation": "bicubic",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "crop_pct": 1.0 if side == 384 else 0.875,
        "crop_mode": "squash" if side == 384 else "center",
    }
    # Our own class says the same, but for where timm would find weights.
    ours = HorNet(row.architecture, device="meta").default_cfg
    assert ours == {key: cfg[key] for key in ours}


@pytest.mark.parametrize("resolution", [64, 224, 384])
def test_timms_transform_is_ours(resolution: int, tmp_path: Path) -> None:
    """What timm makes of an image by our configuration is what `predict` gives the model."""
    path = tmp_path / "a.png"
    picture(1, (317, 240)).save(path)
    model = HorNet(f"w8-gf{resolution}", device="meta")
    config = timm.data.resolve_data_config(model=model)
    found = timm.data.create_transform(**config)(picture(1, (317, 240)))
    assert torch.allclose(found[None], torch.from_numpy(preprocess(path, resolution)), atol=1e-6)


def test_pretrained(create: Callable[..., HorNet], mirror: Path, tmp_path: Path) -> None:
    """Fetched, checked and converted once; fitted to other classes and channels as timm does."""
    model = create(pretrained=True)
    for name, tensor in weights().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    assert (tmp_path / "cache" / SMALL / "converted").is_dir()
    [path] = mirror.iterdir()
    away = path.rename(tmp_path / "away.pth")  # from now on there is only the cache
    try:
        other = create(pretrained=True, num_classes=3, in_chans=1)
        maps = create(pretrained=True, features_only=True, out_indices=(1, 3))(IMAGES)
    finally:
        away.rename(path)
    assert (2, 3) == other(IMAGES[:, :1]).shape
    assert torch.allclose(
        weights()["stem.0.weight"].sum(1, keepdim=True), other.get_parameter("stem.0.weight")
    )
    key = "stages.2.blocks.5.mlp.fc1.weight"
    assert torch.equal(weights()[key], other.state_dict()[key])
    expected = model.feature_maps(IMAGES)
    assert all(torch.equal(expected[at], a) for at, a in zip((1, 3), maps, strict=True))


def test_pretrained_without_a_source(
    create: Callable[..., HorNet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is our error that says so."""
    monkeypatch.delenv("HORNET_CONVERT_MIRROR")
    monkeypatch.setenv("HORNET_CONVERT_OFFLINE", "1")
    with pytest.raises(HornetConvertError):
        create(pretrained=True)


@pytest.mark.parametrize(
    "form", ["official-zip", "openmmlab-legacy", "module-zip", "safetensors-reference"]
)
def test_files_of_every_form(
    form: small.Form, create: Callable[..., HorNet], tmp_path: Path
) -> None:
    """A file is read in any container and layout, and says how many classes there are."""
    path = small.write(tmp_path / f"a.{form[:11]}", form, SMALL, num_classes=7)
    model = create(pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    assert 7 == model.num_classes
    for name, tensor in weights(7).items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    headless = small.write(tmp_path / "b.pth", form, SMALL, num_classes=None)
    bare = create(pretrained=True, pretrained_cfg_overlay={"file": str(headless)})
    assert (2, 64) == bare(IMAGES).shape


@pytest.mark.parametrize("layout", ["reference", "official", "openmmlab"])
def test_state_dicts_of_every_layout(layout: Any, create: Callable[..., HorNet]) -> None:
    """As timm's other ways bring them; an unknown name is not passed over."""
    state = small.tensors(SMALL, layout, num_classes=1000)
    model = create(pretrained=True, pretrained_cfg_overlay={"state_dict": {"model": state}})
    assert torch.equal(weights()["head.fc.bias"], model.state_dict()["head.fc.bias"])
    with pytest.raises(RuntimeError, match="surplus"):
        create(pretrained=True, pretrained_cfg_overlay={"state_dict": {**state, "surplus": 1}})


def test_checkpoint_path(create: Callable[..., HorNet], tmp_path: Path) -> None:
    """Our safetensors are what timm's own loader takes."""
    path = small.write(tmp_path / "a.safetensors", "safetensors-reference", SMALL, num_classes=4)
    model = create(num_classes=4, checkpoint_path=str(path))
    assert torch.equal(weights(4)["head.fc.weight"], model.state_dict()["head.fc.weight"])


@torch.no_grad()
def test_head(create: Callable[..., HorNet]) -> None:
    """Pooling, features before the classifier, and another classifier or none."""
    model = create(pretrained=True)
    last = model.forward_features(IMAGES)
    before = model.forward_head(last, pre_logits=True)
    assert (2, model.head_hidden_size) == before.shape == (2, model.num_features)
    assert torch.equal(model(IMAGES), model.get_classifier()(before))
    assert torch.equal(before, create(pretrained=True, num_classes=0)(IMAGES))
    model.double().requires_grad_(False)
    model.reset_classifier(5)
    assert 5 == model.num_classes == len(model.get_classifier().get_parameter("bias"))
    assert {torch.float64} == {p.dtype for p in model.get_classifier().parameters()}
    assert not model.get_classifier().training
    model.reset_classifier(0)
    assert isinstance(model.get_classifier(), nn.Identity)
    assert torch.allclose(before.double(), model(IMAGES.double()), atol=1e-5)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(ValueError, match="num_classes"):
        model.reset_classifier(-1)


@torch.no_grad()
def test_global_pool(create: Callable[..., HorNet]) -> None:
    """Each way of pooling is what its name says; without, logits of every pixel."""
    model = create(pretrained=True, num_classes=3)
    last = model.forward_features(IMAGES)
    pooled = {"avg": last.mean((2, 3)), "max": last.amax((2, 3))}
    pooled["avgmax"] = (pooled["avg"] + pooled["max"]) / 2
    for pool, expected in pooled.items():
        model.reset_classifier(3, pool)
        assert torch.equal(model.head.fc(model.head.norm(expected)), model(IMAGES))
        model.reset_classifier(3)
        assert pool == model.head.global_pool
    model.reset_classifier(3, "")
    assert (2, 3, 2, 3) == model(IMAGES).shape
    item = model.head.fc(model.head.norm(last[:, :, 1, 2]))
    assert torch.allclose(item, model(IMAGES)[:, :, 1, 2], atol=1e-6)
    assert (2, 64, 2, 3) == create(num_classes=0, global_pool="")(IMAGES).shape
    with pytest.raises(ValueError, match="global_pool"):
        create(global_pool="catavgmax")


@torch.no_grad()
def test_intermediates(create: Callable[..., HorNet]) -> None:
    """The maps asked for, stopping early or not; pruned to them, nothing needless is left."""
    model = create(pretrained=True)
    maps = model.feature_maps(IMAGES)
    for indices, stages in ((None, (0, 1, 2, 3)), (2, (2, 3)), ([0, 2], (0, 2)), ([-3], (1,))):
        last, found = model.forward_intermediates(IMAGES, indices=indices)
        assert torch.equal(maps[3], last)
        early = model.forward_intermediates(IMAGES, indices, stop_early=True)
        alone = model.forward_intermediates(IMAGES, indices, intermediates_only=True)
        for each in (found, early[1], alone):
            assert all(torch.equal(maps[s], a) for s, a in zip(stages, each, strict=True))
        assert torch.equal(maps[max(stages)], early[0])
    for wrong in ([], [4], [-5], 0, 5):
        with pytest.raises(ValueError, match="indices"):
            model.forward_intermediates(IMAGES, wrong)
    with pytest.raises(ValueError, match="output_fmt"):
        model.forward_intermediates(IMAGES, output_fmt="NHWC")
    logits = model(IMAGES)
    assert [3] == model.prune_intermediate_layers([-1], prune_head=False)
    assert torch.equal(logits, model(IMAGES))
    assert [0, 1] == model.prune_intermediate_layers([0, 1])
    assert torch.equal(maps[1], model(IMAGES))
    assert {"stem", "stages"} == {name.partition(".")[0] for name, _ in model.named_parameters()}
    assert 16 == model.num_features == model.head_hidden_size
    assert not any(module.training for module in model.modules())
    model.reset_classifier(3, "avg")
    assert (2, 3) == model(IMAGES).shape


@pytest.mark.parametrize("cls", ["list", "getter", "fx"])
@torch.no_grad()
def test_features_only(cls: str, create: Callable[..., HorNet]) -> None:
    """Timm's ways to get at maps give those of the whole model, and describe them."""
    maps = create(pretrained=True).feature_maps(IMAGES)
    model: Any = create(pretrained=True, features_only=True, feature_cls=cls, out_indices=(0, 2, 3))
    found = model(IMAGES)
    assert all(torch.equal(maps[at], a) for at, a in zip((0, 2, 3), found, strict=True))
    assert [8, 32, 64] == model.feature_info.channels()
    assert [4, 16, 32] == model.feature_info.reduction()


def test_grad_checkpointing(create: Callable[..., HorNet]) -> None:
    """Blocks are computed twice, and nothing else changes."""
    model, calls = create(num_classes=3).train(), list[nn.Module]()
    for block in (each for each in model.modules() if isinstance(each, Block)):
        block.norm1.register_forward_hook(lambda module, args, output: calls.append(module))
    gradients = []
    for enable, times in ((False, 1), (True, 2), (False, 1)):
        calls.clear()
        model.set_grad_checkpointing(enable)
        gradients.append(torch.autograd.grad(model(IMAGES).sum(), list(model.parameters())))
        assert 25 * times == len(calls)
    assert all(torch.equal(a, b) for a, b in zip(*gradients[:2], strict=True))


def test_layer_decay_and_weight_decay(create: Callable[..., HorNet]) -> None:
    """Timm's optimiser learns slower the nearer to the image, and leaves norms and γ alone."""
    model = create(num_classes=3)
    optimizer = timm.optim.create_optimizer_v2(
        model, "adamw", lr=1.0, weight_decay=0.05, layer_decay=0.5
    )
    rate, decay = {}, {}
    names = {parameter: name for name, parameter in model.named_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            rate[names[parameter]] = group["lr_scale"]
            decay[names[parameter]] = group["weight_decay"]
    blocks = [
        f"stages.{s}.blocks.{b}" for s, depth in enumerate((2, 3, 18, 2)) for b in range(depth)
    ]
    order = ["stem.0", *(f"{block}.mlp.fc1" for block in blocks), "head.fc"]
    assert [0.5**at for at in range(26, -1, -1)] == [rate[f"{name}.weight"] for name in order]
    assert rate["stages.1.downsample.1.weight"] == rate["stages.1.blocks.0.gamma1"]
    undecayed = {name for name, value in decay.items() if value == 0}
    assert model.no_weight_decay() == undecayed
    assert {"head.fc.bias", "stem.1.weight", "stages.3.blocks.1.gamma2"} < undecayed
    assert "stages.3.blocks.1.gnconv.dwconv.complex_weight" not in undecayed
    coarse = timm.models.group_parameters(model, model.group_matcher(coarse=True))
    assert 6 == len(coarse)


def test_rates_of_dropping(create: Callable[..., HorNet]) -> None:
    """`drop_rate` before the classifier, `drop_path_rate` growing over the blocks."""
    model = create(drop_rate=0.25, drop_path_rate=0.24)
    assert 0.25 == model.head.drop.p
    rates = [each.drop_path for each in model.modules() if isinstance(each, Block)]
    assert [0.01 * block for block in range(25)] == pytest.approx(rates)
    with pytest.raises(TypeError, match="strange"):
        create(strange=1)


@torch.no_grad()
def test_saved_by_timm(create: Callable[..., HorNet], tmp_path: Path) -> None:
    """A folder that timm saves for the Hub is a model again by its `local-dir:`."""
    saved = create(pretrained=True, num_classes=3)
    timm.models.save_for_hf(saved, tmp_path)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert torch.equal(saved(IMAGES), loaded(IMAGES))
    headless = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=0).eval()
    before = saved.forward_head(saved.forward_features(IMAGES), pre_logits=True)
    assert torch.equal(before, headless(IMAGES))


@pytest.mark.usefixtures("shallow")
@torch.no_grad()
def test_torchscript(create: Callable[..., HorNet]) -> None:
    """Scripted, also after a trace by torch.fx, it computes the same, and refuses the same."""
    model = create(num_classes=3)
    with warnings.catch_warnings(action="ignore"):  # deprecated, and still used
        script: Any = torch.jit.script
        scripted = [script(model), script(torch.fx.symbolic_trace(model))]
    for each in scripted:
        for size in ((224, 224), (64, 96)):
            x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
            assert torch.allclose(model(x), each(x), rtol=1e-5, atol=1e-6)
        with pytest.raises(Exception, match="at least 32"):
            each(torch.zeros(1, 3, 16, 64))
    getter: Any = create(features_only=True, feature_cls="getter", out_indices=(0, -2))
    with warnings.catch_warnings(action="ignore"):
        maps = torch.jit.script(getter)(IMAGES)
    assert all(torch.allclose(a, b) for a, b in zip(getter(IMAGES), maps, strict=True))


@torch.no_grad()
def test_saved_by_either_side(create: Callable[..., HorNet], tmp_path: Path) -> None:
    """`save_pretrained` writes what timm loads, and `from_pretrained` reads what timm saves."""
    saved = create(pretrained=True, num_classes=3)
    saved.save_pretrained(tmp_path / "ours")
    loaded = timm.create_model(f"local-dir:{tmp_path / 'ours'}", pretrained=True).eval()
    assert torch.equal(saved(IMAGES), loaded(IMAGES))
    told = timm.data.resolve_data_config(model=loaded)
    assert json.loads(json.dumps(data_config(SMALL))) == json.loads(json.dumps(told))
    timm.models.save_for_hf(loaded, tmp_path / "timm")
    assert torch.equal(saved(IMAGES), HorNet.from_pretrained(tmp_path / "timm")(IMAGES))
