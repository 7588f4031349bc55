"""One pass over a file: every byte once, cut so that each piece belongs to one tensor."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hornet_convert.checkpoint.tensors import DTYPES, Storage, Tensor, dense_strides
from hornet_convert.checks.fingerprint import fingerprint
from hornet_convert.checks.scan import ALIGNMENT, cut

F32 = DTYPES["F32"]


def tensor(offset: int, count: int, crc32: int | None = None) -> Tensor:
    """A dense float32 vector at a byte offset."""
    return Tensor(F32, (count,), (1,), 0, Storage(offset, 4 * count, crc32))


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 200)), max_size=12),
    st.integers(32, 300),
    st.integers(0, 50),
)
def test_chunks_cover_the_file_once(
    gaps_and_counts: list[tuple[int, int]], chunk: int, tail: int
) -> None:
    """Chunks and their pieces tile the file; each tensor's pieces are its bytes, in order."""
    tensors, position = {}, 0
    for number, (gap, count) in enumerate(gaps_and_counts):
        position += gap
        tensors[f"t{number}"] = tensor(position, count)
        position += 4 * count
    size = position + tail
    chunks, apart = cut(size, tensors, chunk)

    end = 0
    found: dict[str, list[int]] = {name: [] for name in tensors}
    for part in chunks:
        assert part.offset == end
        assert 0 < part.nbytes <= chunk
        for piece in part.pieces:
            assert part.offset + piece.start == end
            if piece.tensor is not None:
                found[piece.tensor] += range(end, part.offset + piece.stop)
                assert (end - tensors[piece.tensor].storage.offset) % ALIGNMENT == 0
            end = part.offset + piece.stop
        assert end == part.offset + part.nbytes
    assert size == end
    for name, bytes_of_it in found.items():
        start, nbytes = tensors[name].span or (0, 0)
        assert list(range(start, start + nbytes)) == bytes_of_it
    assert sorted(apart) == sorted(name for name, t in tensors.items() if t.nbytes == 0)


def test_tensors_that_share_bytes_are_read_apart() -> None:
    """An alias, an overlap and a transposed view cannot be streamed beside the first tensor."""
    storage = Storage(0, 64)
    tensors = {
        "whole": Tensor(F32, (4, 4), dense_strides((4, 4)), 0, storage),
        "alias": Tensor(F32, (16,), (1,), 0, storage),
        "part": Tensor(F32, (4,), (1,), 8, storage),
        "transposed": Tensor(F32, (4, 4), (1, 4), 0, storage),
    }
    _, apart = cut(64, tensors)
    assert 3 == len(apart)
    assert "transposed" in apart


@pytest.mark.parametrize(
    ("shape", "strides", "streams"),
    [((2, 3), (3, 1), True), ((2, 3), (1, 2), False), ((1, 3), (99, 1), True), ((0,), (7,), True)],
)
def test_a_dense_tensor_has_a_span(
    shape: tuple[int, ...], strides: tuple[int, ...], streams: bool
) -> None:
    """Strides of axes of length one do not matter, as in torch."""
    view = Tensor(F32, shape, strides, 2, Storage(100, 4096))
    assert streams == (view.span is not None)
    if view.span is not None:
        assert (108, view.nbytes) == view.span


def test_big_endian_bytes_have_no_span() -> None:
    """Bytes that must be swapped cannot be copied as they stand; single bytes can."""
    swapped = Storage(0, 16, big_endian=True)
    assert Tensor(F32, (4,), (1,), 0, swapped).span is None
    assert (0, 16) == Tensor(DTYPES["U8"], (16,), (1,), 0, swapped).span


def test_the_fingerprint_is_what_its_definition_says() -> None:
    """Recomputed here from the documented recipe alone: official names, sorted."""
    tensors = {
        "stem.0.bias": tensor(0, 2),
        "head.fc.bias": Tensor(DTYPES["F16"], (), (), 0, Storage(8, 2)),
        "head.norm.weight": Tensor(F32, (2, 3), (3, 1), 0, Storage(16, 24)),
    }
    digests = {name: f"{number}" * 64 for number, name in enumerate(tensors)}
    lines = (
        f"downsample_layers.0.0.bias F32 2 {'0' * 64}\n"
        f"head.bias F16  {'1' * 64}\n"
        f"norm.weight F32 2x3 {'2' * 64}\n"
    )
    assert hashlib.sha256(lines.encode()).hexdigest() == fingerprint(tensors, digests)
