"""What each part of a checkpoint means to torch and to us: the tables of `docs/reading.md`.

    python -m tests.reader.meanings      # writes the document anew, from what both readers do

Every row has its fixture: a file with just that part in it, or with it changed.
"""

from __future__ import annotations

import io
import pickletools
import struct
import sys
import tempfile
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from hornet_convert.errors import HornetConvertError
from tests.reader import test_legacy, test_safetensors, test_zip, zip_fields
from tests.reader.assemble import items, text, zip_file
from tests.reader.named_values import NAMES, ORDERED, UNSEEN, VALUES, W

DOCUMENT = Path(__file__).parents[2] / "docs" / "reading.md"
ARCHIVE = zip_file(items((text("w"), W)), {"0": VALUES})
A8 = struct.pack("<Q", 1) + b"a"

# What puts a value on the stack with the opcode in it; it stands beside the weights.
OPCODES: dict[str, bytes] = {
    "INT": b"I5\n", "BININT": b"J\5\0\0\0", "BININT1": b"K\5", "BININT2": b"M\5\0",
    "LONG": b"L5L\n", "LONG1": b"\x8a\1\5", "LONG4": b"\x8b\1\0\0\0\5",
    "STRING": b"S'a'\n", "BINSTRING": b"T\1\0\0\0a", "SHORT_BINSTRING": b"U\1a",
    "BINBYTES": b"B\1\0\0\0a", "SHORT_BINBYTES": b"C\1a", "BINBYTES8": b"\x8e" + A8,
    "BYTEARRAY8": b"\x96" + A8, "NEXT_BUFFER": b"\x97", "READONLY_BUFFER": b"N\x98",
    "NONE": b"N", "NEWTRUE": b"\x88", "NEWFALSE": b"\x89",
    "UNICODE": b"Va\n", "SHORT_BINUNICODE": b"\x8c\1a", "BINUNICODE": text("a"),
    "BINUNICODE8": b"\x8d" + A8, "FLOAT": b"F1.5\n", "BINFLOAT": b"G" + struct.pack(">d", 1.5),
    "EMPTY_LIST": b"]", "APPEND": b"]Na", "APPENDS": b"](NNe", "LIST": b"(Nl",
    "EMPTY_TUPLE": b")", "TUPLE": b"(Nt", "TUPLE1": b"N\x85", "TUPLE2": b"NN\x86",
    "TUPLE3": b"NNN\x87", "EMPTY_DICT": b"}", "DICT": b"(" + text("a") + b"Nd",
    "SETITEM": b"}" + text("a") + b"Ns", "SETITEMS": b"}(" + text("a") + b"Nu",
    "EMPTY_SET": b"\x8f", "ADDITEMS": b"\x8f(K\1\x90", "FROZENSET": b"(K\1\x91",
    "POP": b"NN0", "DUP": b"](N2e", "MARK": b"(Nl", "POP_MARK": b"N(N1",
    "GET": b"](Np7\ng7\ne", "BINGET": b"](Nq\x07h\x07e", "LONG_BINGET": b"](Nr\7\0\0\0j\7\0\0\0e",
    "PUT": b"Np7\n", "BINPUT": b"Nq\7", "LONG_BINPUT": b"Nr\7\0\0\0", "MEMOIZE": b"N\x94",
    "EXT1": b"\x82\1", "EXT2": b"\x83\1\0", "EXT4": b"\x84\1\0\0\0",
    "GLOBAL": b"ctorch\nfloat32\n", "STACK_GLOBAL": text("torch") + text("float32") + b"\x93",
    "REDUCE": ORDERED + b")R", "BUILD": ORDERED + b")R}b",
    "INST": b"(icollections\nOrderedDict\n", "OBJ": b"(" + ORDERED + b"o",
    "NEWOBJ": ORDERED + b")\x81", "NEWOBJ_EX": ORDERED + b")}\x92", "PROTO": b"\x80\2N",
    "STOP": b"N", "FRAME": b"\x95" + struct.pack("<Q", 1) + b"N",
    "PERSID": b"Pabc\n", "BINPERSID": W,
}  # fmt: skip


def _saved(value: Callable[[], Any]) -> Callable[[], bytes]:
    def save() -> bytes:
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save({"model": {"w": torch.ones(2)}, "x": value()}, file)
        return file.getvalue()

    return save


class _Subclass(torch.Tensor):
    pass


# Values as torch.save writes them, by what they are.
VALUES_SAVED: dict[str, Callable[[], Any]] = {
    "a sparse tensor (`_rebuild_sparse_tensor`)": lambda: torch.eye(2).to_sparse(),
    "a quantized tensor (`_rebuild_qtensor`)": lambda: torch.quantize_per_tensor(
        torch.ones(2), 0.1, 0, torch.qint8
    ),
    "a tensor on meta (`_rebuild_meta_tensor_no_storage`)": lambda: torch.ones(2, device="meta"),
    "a nested tensor (`_rebuild_nested_tensor`)": lambda: torch.nested.nested_tensor(
        [torch.ones(2), torch.ones(3)]
    ),
    "a conjugated view": lambda: torch.ones(2, dtype=torch.complex64).conj(),
    "a negated view": lambda: torch.ones(2, dtype=torch.complex64).conj().imag,
    "a buffer": lambda: torch.nn.Buffer(torch.ones(2)),
    "a subclass of Tensor (`_rebuild_from_type_v2`)": lambda: torch.ones(2).as_subclass(_Subclass),
    "a tensor with an attribute": lambda: _with_attribute(),
    "a numpy scalar": lambda: np.float64(1.5),
    "a numpy array": lambda: np.ones(2),
    "a counter": lambda: Counter("aab"),
    "a state dict with `_metadata`": lambda: torch.nn.Linear(2, 2).state_dict(),
    "an ordered dict": lambda: OrderedDict(a=1),
}


def _with_attribute() -> torch.Tensor:
    found = torch.ones(2)
    found.note = "x"  # type: ignore[attr-defined]
    return found


def _beside(body: bytes) -> Callable[[], bytes]:
    whole = b"}(" + text("model") + items((text("w"), W)) + text("x") + body + b"u"
    return lambda: zip_file(whole, {"0": VALUES, "1": VALUES, "2": 2 * VALUES})


def _as_it_is(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def tables() -> dict[str, Mapping[str, Callable[[], bytes]]]:
    """The rows of each table: what is in the file, and the file."""
    return {
        "Opcodes of the pickle": {name: _beside(body) for name, body in OPCODES.items()},
        "Names, called or named": {f"`{name}`": _beside(body) for name, body in NAMES.items()},
        "Values as torch.save writes them": {n: _saved(v) for n, v in VALUES_SAVED.items()},
        "Beside the values": {name: _beside(body) for name, body in UNSEEN.items()},
        "The zip container": {
            **{name: archive.build for name, archive in test_zip.SOUND.items()},
            **{name: archive.build for name, (archive, _) in test_zip.BROKEN.items()},
        },
        "The fields of a zip archive, one more each": {
            name: _as_it_is(data)
            for name, data in zip_fields.changed(ARCHIVE, b"archive/data/0").items()
        },
        "The legacy container": {
            "whole": lambda: test_legacy.SOUND,
            **{name: _as_it_is(data) for name, (data, _) in test_legacy.BROKEN.items()},
        },
        "The safetensors header": {
            "whole": lambda: safetensors.torch.save({"w": torch.ones(2)}),
            **{name: _as_it_is(data) for name, (data, _) in test_safetensors.BROKEN.items()},
        },
    }


def by_torch(path: Path) -> str:
    """What torch's restricted loader, or the safetensors library, does with a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if path.read_bytes()[8:9] == b"{":
                safetensors.torch.load_file(path)
            else:
                torch.load(path, weights_only=True)
    except Exception:  # of which class is an accident: torch reads bytes that nobody has set
        return "refuses"
    return "reads"


def by_us(path: Path) -> str:
    """What we do with it."""
    try:
        with open_checkpoint(path) as checkpoint:
            beside = select_state_dict(checkpoint.root).dropped
    except HornetConvertError as error:
        return f"refuses: {error.what}"
    told = "; ".join(line.partition(": ")[2] for line in beside)
    return f"reads; beside the weights: {told}" if told else "reads"


def document() -> str:
    """The document, from what both readers do now."""
    lines = [INTRODUCTION]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        for title, rows in tables().items():
            lines += ["", f"## {title}", "", "| fixture | torch or safetensors | hornet-convert |"]
            lines.append("|---|---|---|")
            for name, made in rows.items():
                path.write_bytes(made())
                cells = (name, by_torch(path), by_us(path))
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


INTRODUCTION = """\
# Reading: what each part means to torch, and to us

A file must not mean one thing here and another in torch: where torch would make something else of
it, or where two readers of torch's own disagree, it is refused. Here is every opcode of the pickle,
every name that torch's restricted loader calls, and every field of the containers, each with a file
that has it, or has it changed. "torch" is `torch.load(weights_only=True)` of torch 2.13; the
safetensors library stands in its place for its own format.

What torch refuses and we read cannot be taken for other weights by it: opcodes of protocol 4, which
only torch's unrestricted loader knows, names of plain things beside the weights, such as
`argparse.Namespace`, of which we make a description and nothing else, and flags that bear on no
value. Nothing in a file is ever called here. What a call under the name of a weight would give, be
it `torch.FloatTensor(…)`, is never taken for one, and is a rival of weights elsewhere in the file.

Written by `python -m tests.reader.meanings`; the test suite holds it to what both readers do.
`python -m fuzz.readers` looks for files that belong in it and are not there yet."""


def missing_opcodes() -> set[str]:
    """The opcodes of Python's pickle without a row."""
    return {op.name for op in pickletools.opcodes} - OPCODES.keys()


if __name__ == "__main__":
    from tests.reader import meanings  # by its name, which pickles of its classes hold

    DOCUMENT.write_text(meanings.document())
    sys.exit(bool(missing_opcodes()))
