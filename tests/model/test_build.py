"""Models by name, and models from weights."""

import pytest
import torch
from torch import Tensor

from fixtures import small
from hornet_convert import create_model
from hornet_convert.errors import CheckFailedError, UnknownModelError
from hornet_convert.family.architecture import Architecture
from hornet_convert.family.zoo import MODELS, Published
from hornet_convert.model.blocks import Block
from hornet_convert.model.load import model_from_weights


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_every_name_of_every_model(row: Published) -> None:
    """Short name, label, the authors' name and the file's, all mean the same architecture."""
    for name in (row.name, f"hornet-{row.name}", row.label, row.authors_name, row.file_name):
        model = create_model(name, 3, device="meta")
        assert row.architecture == model.architecture
        assert row.architecture.parameters(3) == sum(p.numel() for p in model.parameters())


def test_unknown_name() -> None:
    """A near miss gets suggestions; what nobody published can be built all the same."""
    with pytest.raises(UnknownModelError, match="large-gf384"):
        create_model("larg-gf384")
    assert Architecture(16, 96) == create_model("w16-gf96", device="meta").architecture


def test_fresh_model() -> None:
    """Weights small and random, biases zero, layer scales small, norms the identity."""
    state = create_model("w8-gf", 10).state_dict()
    for key, tensor in state.items():
        if key.endswith("bias"):
            assert not tensor.any(), key
        elif "gamma" in key:
            assert torch.equal(torch.full_like(tensor, 1e-6), tensor), key
        elif "norm" in key or tensor.ndim == 1:
            assert torch.equal(torch.ones_like(tensor), tensor), key
        else:
            assert 0.01 < tensor.std() < 0.03, key
    assert create_model("w8", 10).training


def test_seed_fixes_the_weights() -> None:
    """The same number, the same model; torch's global generator is neither used nor touched."""
    before = torch.get_rng_state()
    item = create_model("w8-gf", 10, seed=5).state_dict()
    with torch.random.fork_rng():
        torch.manual_seed(123)
        two = create_model("w8-gf", 10, seed=5).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(tensor, two[key]) for key, tensor in item.items())
    other = create_model("w8-gf", 10, seed=6).state_dict()
    assert not torch.equal(item["stem.0.weight"], other["stem.0.weight"])
    rounded = create_model("w8-gf", 10, seed=5, dtype=torch.bfloat16).state_dict()
    assert torch.equal(item["stem.0.weight"].bfloat16(), rounded["stem.0.weight"])
    key = "stages.3.blocks.0.gnconv.dwconv.complex_weight"
    assert torch.equal(item[key], rounded[key])


def test_without_seed_torchs_generator_decides() -> None:
    """As for every other module."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        item, two = (create_model("w8", 10).state_dict()["stem.0.weight"] for _ in range(2))
        torch.manual_seed(1)
        again = create_model("w8", 10).state_dict()["stem.0.weight"]
    assert torch.equal(item, again)
    assert not torch.equal(item, two)


def test_options_arrive() -> None:
    """Layer scale and drop path are those asked for; no classifier where none is wanted."""
    model = create_model("w8", None, seed=0, drop_path=0.5, layer_scale_init=0.125)
    assert isinstance(model.get_classifier(), torch.nn.Identity)
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    assert 0.5 == blocks[-1].drop_path
    assert {0.125} == {value for block in blocks for value in block.gamma1.tolist()}


@pytest.mark.parametrize("name", small.NAMES)
def test_weights_are_taken_not_copied(name: str) -> None:
    """The parameters are the given tensors, in eval mode, ready to be trained."""
    weights = small.tensors(name, "reference")
    model = model_from_weights(Architecture.from_name(name), small.NUM_CLASSES, weights)
    assert not model.training
    parameters = dict(model.named_parameters())
    assert weights.keys() == parameters.keys()
    for key, parameter in parameters.items():
        assert weights[key].data_ptr() == parameter.data_ptr()
        assert parameter.requires_grad


def test_other_dtypes_are_cast() -> None:
    """Lower-precision weights become float32 unless asked otherwise; spectra stay float32."""
    halves = {key: tensor.half() for key, tensor in small.tensors("w8-gf", "reference").items()}
    architecture = Architecture.from_name("w8-gf")
    model = model_from_weights(architecture, 10, halves)
    assert {torch.float32} == {parameter.dtype for parameter in model.parameters()}
    model = model_from_weights(architecture, 10, halves, dtype=torch.float16)
    for key, parameter in model.named_parameters():
        spectrum = key.endswith("complex_weight")
        assert (torch.float32 if spectrum else torch.float16) == parameter.dtype, key


FEWER, MORE = "stages.2.blocks.4.mlp.fc1.bias", "stages.2.blocks.18.gamma1"


@pytest.mark.parametrize(
    ("where", "given", "expected", "found"),
    [
        (FEWER, None, "shape (128,)", "no such tensor"),
        (MORE, torch.ones(32), "no such tensor", "shape (32,)"),
        ("stages.2.blocks.4.gamma2", torch.ones(32, 1), "shape (32,)", "shape (32, 1)"),
    ],
    ids=["missing", "unknown", "misshapen"],
)
def test_other_weights_are_refused(
    where: str, given: Tensor | None, expected: str, found: str
) -> None:
    """Missing, unknown and misshapen tensors are named."""
    weights = small.tensors("w8", "reference") | ({} if given is None else {where: given})
    if given is None:
        del weights[where]
    with pytest.raises(CheckFailedError) as caught:
        model_from_weights(Architecture.from_name("w8"), 10, weights)
    error = caught.value
    assert (where, expected, found) == (error.where, error.expected, error.found)
