"""Pickles that run code: live in pickle.load, inert here, in both containers."""

from __future__ import annotations

import contextlib
import copyreg
import io
import os
import pickle
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from hornet_convert.checkpoint.danger import danger
from hornet_convert.checkpoint.reader import open_checkpoint
from hornet_convert.checkpoint.state_dict import select_state_dict
from tests.reader.assemble import (
    call,
    integer,
    items,
    legacy_file,
    named,
    row,
    storage,
    tensor,
    text,
    zip_file,
)

VALUES = struct.pack("<4f", 1, 2, 3, 4)
EXTENSION = 0x7EADBEE
TRAP = named("tests.reader.trap", "Trap")


def short(value: str) -> bytes:
    """A string of protocol 4."""
    raw = value.encode()
    return b"\x8c" + bytes((len(raw),)) + raw


def touch(path: Path) -> bytes:
    """The command that creates the canary, as a pickled string."""
    return text(f"touch {path}")


def statement(path: Path) -> bytes:
    """The Python code that creates the canary, as a pickled string."""
    return text(f"__import__('pathlib').Path({str(path)!r}).touch()")


def opened(path: Path) -> tuple[bytes, bytes]:
    """Arguments of open() that create the canary."""
    return text(str(path)), text("w")


# Each makes an object that creates a file when unpickled, by another opcode or another name.
ATTACKS: dict[str, Callable[[Path], bytes]] = {
    "GLOBAL os.system": lambda p: call(named("os", "system"), touch(p)),
    "GLOBAL posix.system": lambda p: call(named("posix", "system"), touch(p)),
    "STACK_GLOBAL": lambda p: short("os") + short("system") + b"\x93" + row(touch(p)) + b"R",
    "STACK_GLOBAL dotted": lambda p: (
        b"\x80\x04"
        + short("torch.serialization")
        + short("os.system")
        + b"\x93"
        + row(touch(p))
        + b"R"
    ),
    "INST": lambda p: b"(" + touch(p) + b"ios\nsystem\n",
    "OBJ": lambda p: b"(" + named("os", "system") + touch(p) + b"o",
    "NEWOBJ": lambda p: TRAP + row(text(str(p))) + b"\x81",
    "NEWOBJ_EX": lambda p: TRAP + row(text(str(p))) + b"}\x92",
    "BUILD": lambda p: TRAP + b")\x81" + text(str(p)) + b"b",
    "BUILD of a called class": lambda p: TRAP + b")R" + text(str(p)) + b"b",
    "extension code": lambda p: b"\x84" + struct.pack("<i", EXTENSION) + row(touch(p)) + b"R",
    "eval": lambda p: call(named("builtins", "eval"), statement(p)),
    "exec, by its name in Python 2": lambda p: call(named("__builtin__", "eval"), statement(p)),
    "open": lambda p: call(named("builtins", "open"), *opened(p)),
    "io.open": lambda p: call(named("io", "open"), *opened(p)),
    "getattr": lambda p: call(
        call(
            named("builtins", "getattr"),
            call(named("importlib", "import_module"), text("os")),
            text("system"),
        ),
        touch(p),
    ),
    "operator": lambda p: (
        call(
            call(named("operator", "attrgetter"), text("system")),
            call(named("builtins", "__import__"), text("os")),
        )
        + row(touch(p))
        + b"R"
    ),
    "functools.partial": lambda p: call(
        call(named("functools", "partial"), named("os", "system"), touch(p))
    ),
    "map": lambda p: call(
        named("builtins", "list"),
        call(named("builtins", "map"), named("os", "system"), row(touch(p))),
    ),
    "subprocess": lambda p: call(
        named("subprocess", "call"), b"](" + text("touch") + text(str(p)) + b"e"
    ),
    "nested pickle": lambda p: call(
        named("pickle", "loads"),
        call(named("_codecs", "encode"), text(f"cos\nsystem\n(Vtouch {p}\ntR."), text("latin1")),
    ),
    "torch.load of bytes": lambda p: call(
        named("torch.storage", "_load_from_bytes"),
        call(
            named("_codecs", "encode"),
            text(legacy_file(call(named("os", "system"), touch(p)), {}).decode("latin1")),
            text("latin1"),
        ),
    ),
    "numpy's test runner": lambda p: call(
        named("numpy.testing._private.utils", "runstring"), statement(p), b"}"
    ),
    "torch's rebuilding": lambda p: call(
        named("torch._tensor", "_rebuild_from_type_v2"),
        named("os", "system"),
        named("builtins", "int"),
        row(touch(p)),
        b"N",
    ),
    "timeit": lambda p: call(
        named("timeit", "timeit"), statement(p), text("pass"), named("time", "time"), integer(1)
    ),
}


def pickle_load(data: bytes) -> None:
    """What other programs do with it."""
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        pickle.load(io.BytesIO(data))


@pytest.fixture(autouse=True)
def registered() -> object:
    """An extension code that stands for os.system, as a program might have registered it."""
    module = os.system.__module__
    copyreg.add_extension(module, "system", EXTENSION)
    yield
    copyreg.remove_extension(module, "system", EXTENSION)


@pytest.mark.parametrize("container", ["zip", "legacy"])
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_inert_here_and_live_elsewhere(
    name: str, container: str, tmp_path: Path
) -> None:
    """The canary appears with pickle.load and not here; tensors are offered, names listed."""
    attack, canary = ATTACKS[name], tmp_path / "canary"
    pickle_load(attack(canary) + b".")
    assert canary.exists(), "the attack does not work: the test would prove nothing"
    canary.unlink()

    where = storage("0", 4, extra=(b"N",) if container == "legacy" else ())
    weights = items((text("w"), tensor(where, (2, 2), (2, 1))))
    body = items((text("model"), weights), (text("meta"), attack(canary)))
    path = tmp_path / "x.pth"
    if container == "zip":
        path.write_bytes(zip_file(body, {"0": VALUES}))
    else:
        path.write_bytes(legacy_file(body, {"0": (4, VALUES)}))
    with open_checkpoint(path) as checkpoint:
        found = select_state_dict(checkpoint.root)
        assert VALUES == checkpoint.read(found.tensors["w"]).tobytes()
        reasons = dict(danger(checkpoint.globals_used))
    assert not canary.exists()
    assert reasons
    assert 1 == len(found.dropped)
    assert "foreign types" in found.dropped[0]


def test_reading_imports_nothing_a_file_names(tmp_path: Path) -> None:
    """A module that the file names is not imported, whatever is done with it."""
    body = items(
        (text("a"), named("tests.reader.tripwire", "x")),
        (text("b"), call(named("tests.reader.tripwire", "f"))),
        (text("c"), b"(itests.reader.tripwire\nX\n"),
        (text("d"), named("tests.reader.tripwire", "X") + b")\x81}b"),
        (text("model"), items((text("w"), tensor(storage("0", 4), (4,), (1,))))),
    )
    path, trace = tmp_path / "x.pth", tmp_path / "trace"
    path.write_bytes(zip_file(body, {"0": VALUES}))
    read = (
        "import sys\n"
        "from hornet_convert.checkpoint.reader import open_checkpoint\n"
        "from hornet_convert.checkpoint.state_dict import select_state_dict\n"
        "with open_checkpoint(sys.argv[1]) as c:\n"
        "    print(*select_state_dict(c.root).tensors)\n"
        "    sys.exit('numpy' in sys.modules)\n"
    )
    load = (
        "import pickle, sys, zipfile\n"
        "pickle.loads(zipfile.ZipFile(sys.argv[1]).read('archive/data.pkl'))\n"
    )
    environment = os.environ | {"HORNET_CONVERT_TRIPWIRE": str(trace)}
    for code, live in ((read, False), (load, True)):
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert live == trace.exists(), done.stderr
        if not live:
            assert (0, "w\n", "") == (done.returncode, done.stdout, done.stderr)
