"""Models by name, their feature maps, and gnConv, as imported from the package."""

from pathlib import Path

import pytest
import torch

import hornet_convert
from fixtures import small, zoo
from hornet_convert import create_model, gnConv, load_model
from hornet_convert.errors import SourceUnreachableError, UnknownModelError
from hornet_convert.model.blocks import Block
from hornet_convert.model.features import FeatureMaps
from hornet_convert.model.hornet import HorNet
from hornet_convert.model.load import OWN, Own, load_for_training

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    """A small checkpoint as OpenMMLab writes them."""
    return small.write(tmp_path / "w8-gf.pth", "openmmlab-legacy", "w8-gf")


def test_all_that_is_promised_is_there() -> None:
    """Every public name, and no other, is found on the package."""
    assert set(hornet_convert.__all__) <= set(dir(hornet_convert))
    found = [getattr(hornet_convert, name) for name in hornet_convert.__all__]
    assert [hornet_convert.__version__] == [item for item in found if not callable(item)]
    assert not hasattr(hornet_convert, "other")


@pytest.mark.parametrize(
    ("num_classes", "outputs"), [(OWN, 1000), (1000, 1000), (7, 7), (0, 64), (None, 64)]
)
def test_classes_of_a_fresh_model(num_classes: int | Own | None, outputs: int) -> None:
    """As many as asked for, 1000 if nothing is said; without a classifier, features."""
    assert (2, outputs) == create_model("w8", num_classes, seed=0)(IMAGES).shape


@pytest.mark.parametrize(
    "indices", [(0, 1, 2, 3), (2,), (1, 3), (3, 0), (-1, -4)], ids=lambda i: str(i)
)
def test_features_only(indices: tuple[int, ...]) -> None:
    """The maps of the chosen stages, in the order asked for, as the whole model computes them."""
    whole = create_model("w8-gf", seed=1)
    model = create_model("w8-gf", seed=1, features_only=True, out_indices=indices)
    expected, found = whole.feature_maps(IMAGES), model(IMAGES)
    assert isinstance(found, list)
    assert all(torch.equal(expected[index], a) for index, a in zip(indices, found, strict=True))
    stages = [index % 4 for index in indices]
    info = model.feature_info
    assert [[8, 16, 32, 64][stage] for stage in stages] == info.channels()
    assert [[4, 8, 16, 32][stage] for stage in stages] == info.reduction()
    assert info.channels() == [a.shape[1] for a in found]
    assert info.reduction() == [64 // a.shape[2] for a in found]
    assert info.reduction() == [96 // a.shape[3] for a in found]
    assert info.get_dicts() == [
        {"num_chs": 8 << stage, "reduction": 4 << stage, "module": f"stages.{stage}"}
        for stage in stages
    ]
    modules = dict(model.named_modules())
    assert all(name in modules for name in info.module_name())


def test_features_have_no_parameters_to_spare() -> None:
    """Nothing beyond the last stage: every parameter gets a gradient."""
    model = create_model("w8", seed=0, features_only=True, out_indices=(1,))
    sum(a.sum() for a in model(IMAGES)).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert {"stem", "stages"} == {name.split(".")[0] for name in model.state_dict()}
    assert {"0", "1"} == {key.split(".")[1] for key in model.state_dict() if key[:6] == "stages"}


@pytest.mark.parametrize("indices", [(), (4,), (-5, 0)])
def test_stages_that_there_are_not(indices: tuple[int, ...]) -> None:
    """Named, and refused."""
    with pytest.raises(ValueError, match="out_indices are stages, -4 to 3"):
        create_model("w8", features_only=True, out_indices=indices, device="meta")


def test_features_compile_and_autocast() -> None:
    """One graph for the compiler; under autocast the maps stay near; any memory format."""
    model = create_model("w8-gf", seed=0, features_only=True, out_indices=(0,)).eval()
    with torch.no_grad():
        [expected] = model(IMAGES)
        torch.compiler.reset()
        [compiled] = torch.compile(model, fullgraph=True, backend="eager")(IMAGES)
        [last] = model(IMAGES.contiguous(memory_format=torch.channels_last))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            [low] = model(IMAGES)
    assert torch.equal(expected, compiled)
    torch.testing.assert_close(last, expected)
    torch.testing.assert_close(low.float(), expected, rtol=0.05, atol=0.05)


def test_gnconv_is_a_layer_of_its_own() -> None:
    """Any order and width, with gradients."""
    for dim, order, spectrum in ((12, 3, None), (64, 5, (8, 5)), (6, 1, None)):
        layer = gnConv(dim, order, spectrum=spectrum)
        x = torch.randn(2, dim, 8, 8, requires_grad=True)
        y = layer(x)
        y.square().sum().backward()
        assert x.shape == y.shape
        assert x.grad is not None
        assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("num_classes", "outputs"), [(OWN, 10), (10, 10), (3, 3), (0, 64), (None, 64)]
)
def test_classifier_of_a_loaded_model(
    num_classes: int | Own | None, outputs: int, ckpt: Path
) -> None:
    """The checkpoint's own where it fits; else a fresh one, or none. The rest is kept."""
    model = load_for_training(ckpt, num_classes, seed=4, drop_path=0.5)
    assert model.training
    assert 0.5 == [module for module in model.modules() if isinstance(module, Block)][-1].drop_path
    model.eval()
    assert (2, outputs) == model(IMAGES).shape
    ours = load_model(ckpt)
    assert torch.equal(ours.forward_features(IMAGES), model.forward_features(IMAGES))
    if outputs == 10:
        assert torch.equal(ours(IMAGES), model(IMAGES))
    if outputs == 3:
        again = load_for_training(ckpt, 3, seed=4).state_dict()
        assert torch.equal(again["head.fc.weight"], model.state_dict()["head.fc.weight"])
        assert 0.015 < float(again["head.fc.weight"].std()) < 0.025
    with pytest.raises(ValueError, match="negative"):
        load_for_training(ckpt, -1)


def test_pretrained_needs_a_published_model(tmp_path: Path) -> None:
    """A width that nobody trained has no weights; without source or network it says so."""
    with pytest.raises(UnknownModelError):
        create_model("w16-gf", pretrained=True, cache=tmp_path)
    with pytest.raises(SourceUnreachableError):
        create_model("tiny", pretrained=True, cache=tmp_path, offline=True)


@pytest.mark.full_size
def test_pretrained(tmp_path: Path) -> None:
    """Fetched from a mirror once, then from the cache: whole, with another head, as features."""
    mirror = tmp_path / "mirror"
    path = zoo.build(mirror, "tiny", "openmmlab")
    expected = load_model(path)

    def tiny(num_classes: int | Own | None = OWN, dtype: torch.dtype | None = None) -> HorNet:
        return create_model(
            "hornet_tiny_7x7", num_classes, pretrained=True,
            mirror=mirror, source="mirror", cache=tmp_path / "cache", dtype=dtype,
        )  # fmt: skip

    with torch.no_grad():
        assert torch.equal(expected(IMAGES), tiny()(IMAGES))
        path.unlink()  # from now on there is only the cache
        last = expected.forward_features(IMAGES)
        model = tiny(5)
        assert (2, 5) == model(IMAGES).shape
        assert torch.equal(last, model.forward_features(IMAGES))
        half = tiny(0, torch.bfloat16)
        assert {torch.bfloat16} == {parameter.dtype for parameter in half.parameters()}
        features = create_model(
            "tiny", pretrained=True, features_only=True, out_indices=(3, 1),
            mirror=mirror, source="mirror", cache=tmp_path / "cache",
        )  # fmt: skip
        assert isinstance(features, FeatureMaps)
        found = features(IMAGES)
    assert torch.equal(last, found[0])
    assert [512, 128] == features.feature_info.channels()
