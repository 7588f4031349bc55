"""Coverage-guided fuzzing of the pickle reader, where atheris is installed (`pip install atheris`).

    python -m fuzz.pickles [seconds] [libFuzzer options]

Whatever the bytes, the outcome is one of the package's refusals, or tensors within their storage.
"""

from __future__ import annotations

import argparse
import importlib
import pickle
import sys
import tempfile
from pathlib import Path

from tests.reader.assemble import call, items, named, pickled, storage, tensor, text

MAX_LENGTH = 600
STORAGE = 64  # bytes of each storage there is


def seeds() -> list[bytes]:
    """Pickles to start from: plain data of every protocol, tensors, calls, instances."""
    plain = {"a": [1, 2.5, None, True, 2**70], "b": ("x", b"y", {1, 2}), "c": frozenset("z")}
    weights = items(
        (text("model"), items((text("w"), tensor(storage("0", 16), (4, 2), (1, 4))))),
        (text("model_ema"), items((text("w"), tensor(storage("1", 16), (16,), (1,))))),
        (text("args"), named("argparse", "Namespace") + b")\x81}" + text("lr") + b"K\x01sb"),
    )
    untyped = storage("2", 64, "torch.storage\nUntypedStorage")
    shape = (
        b"K\x00",
        b"K\x04\x85",
        b"K\x01\x85",
        b"\x89",
        call(named("collections", "OrderedDict")),
    )
    newer = call(
        named("torch._utils", "_rebuild_tensor_v3"), untyped, *shape, named("torch", "uint16")
    )
    parameter = call(named("torch._utils", "_rebuild_parameter"), newer, b"\x88", b"N")
    return [
        *(pickle.dumps(plain, protocol) for protocol in range(6)),
        *(pickle.dumps(argparse.Namespace(a=1), protocol) for protocol in range(6)),
        pickled(weights),
        pickled(items((text("p"), parameter))),
        pickled(call(named("os", "system"), text("id"))),
        b"(ios\nsystem\n.",
        b"(cos\nsystem\nS'id'\no.",
    ]


def target(data: bytes) -> None:
    """Carry out a pickle, and take the weights out of it."""
    from hornet_convert.checkpoint.pickle_stream import Stream
    from hornet_convert.checkpoint.pickles import Machine
    from hornet_convert.checkpoint.state_dict import select_state_dict
    from hornet_convert.checkpoint.tensors import Storage
    from hornet_convert.checkpoint.torch_objects import TorchMeaning
    from hornet_convert.errors import HornetConvertError

    stream = Stream(lambda at, count: data[at : at + count], 0, len(data))
    meaning = TorchMeaning(5, lambda found: Storage(0, STORAGE))
    try:
        root = Machine(stream, meaning).run()
        found = select_state_dict(root)
    except HornetConvertError as error:
        message = str(error)
        if not message.isprintable():
            raise AssertionError("a message that is not fit to print") from error
        return
    assert all(line.isprintable() for line in found.dropped)
    for value in found.tensors.values():
        if value.numel:
            steps = zip(value.shape, value.strides, strict=True)
            last = value.first + sum((size - 1) * stride for size, stride in steps)
            assert 0 <= value.first <= last
            assert (last + 1) * value.dtype.itemsize <= value.storage.nbytes


def main() -> None:
    """Fuzz for some seconds; libFuzzer ends the process."""
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        print("atheris is not installed: `pip install atheris` first")
        sys.exit(0)
    seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
    with atheris.instrument_imports(include=["hornet_convert"]):
        target(b"N.")
    corpus = Path(tempfile.mkdtemp(prefix="fuzz-pickles-"))
    for number, data in enumerate(seeds()):
        (corpus / str(number)).write_bytes(data)
    print(f"corpus: {corpus}")
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_LENGTH}", *sys.argv[2:], str(corpus)]
    atheris.Setup([sys.argv[0], *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
