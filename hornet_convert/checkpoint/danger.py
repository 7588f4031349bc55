"""What a plain `pickle.load` of a file would import, call or build, judged name by name.

Nothing here decides whether a file is read: this package runs none of it. It tells a user what
other programs would run. A table of names known to do no harm, a table of those known to do, and
everything else is unknown, which for code from a stranger is not a comfort.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final

from hornet_convert.checkpoint.torch_names import (
    ATTRIBUTE_NAMES,
    REFUSED_CALLS,
    STORAGE_MODULES,
    STORAGE_TYPES,
)
from hornet_convert.checkpoint.torch_objects import CALLS

# Spellings of Python 2, and of numpy before and after its 2.0.
_RENAMED: Final = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "cPickle": "pickle",
    "commands": "subprocess",
    "urllib2": "urllib.request",
    "numpy._core": "numpy.core",
}

# Module -> names in it that do nothing but make a value.
_HARMLESS_BY_MODULE: Final = {
    "_codecs": "encode",
    "argparse": "Namespace",
    "addict.addict": "Dict",
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice"
    " str tuple",
    "collections": "Counter OrderedDict defaultdict deque",
    "copyreg": "_reconstructor",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "mmcv.utils.config": "ConfigDict",
    "mmengine.config.config": "ConfigDict",
    "mmengine.logging.history_buffer": "HistoryBuffer HistoryBuffer.min HistoryBuffer.max"
    " HistoryBuffer.current HistoryBuffer.mean",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "numpy": "dtype ndarray bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16"
    " float32 float64 complex64 complex128",
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy.dtypes": "BoolDType Float32DType Float64DType Int32DType Int64DType UInt32DType",
    "numpy.random": "__RandomState_ctor",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64",
    "torch": "Tensor device FloatTensor DoubleTensor HalfTensor LongTensor IntTensor",
    "torch.cuda": "FloatTensor HalfTensor LongTensor",
    "torch._tensor": "Tensor",
    "torch.serialization": "_get_layout",
    "torch.storage": "TypedStorage _TypedStorage",
    "torch.torch_version": "TorchVersion",
    "types": "SimpleNamespace",
    "uuid": "UUID",
}
_HARMLESS: Final = frozenset(
    f"{module}.{name}" for module, names in _HARMLESS_BY_MODULE.items() for name in names.split()
)

# What they can be made to do -> modules with everything in them, or single names.
_DANGEROUS_BY_REASON: Final = {
    "runs commands and changes files": "os. posix. nt.",
    "runs commands": "subprocess. pty. popen2. numpy.distutils. torch.utils.collect_env.",
    "starts processes": "multiprocessing. torch.multiprocessing.",
    "starts processes and opens network connections": "asyncio. torch.distributed.",
    "starts programs": "webbrowser.",
    "opens network connections": "socket. ssl. http. urllib. requests. ftplib. smtplib.",
    "downloads and runs code": "torch.hub.",
    "changes files": "shutil. tempfile. pathlib. zipfile. tarfile.",
    "looks through files": "glob.",
    "opens files": "io. _io.",
    "opens files and runs code": "codecs.",
    "opens files and unpickles": "numpy.lib.npyio.",
    "reaches into the running program": "sys. gc. inspect.",
    "runs machine code": "ctypes. _ctypes. cffi.",
    "builds code": "marshal. types. codeop.",
    "builds and runs code": "cloudpickle. torch.fx.",
    "compiles and runs code": "torch.utils.cpp_extension. torch._inductor. torch._dynamo.",
    "runs code": "code. runpy. timeit. trace. cProfile. profile. pdb. bdb. doctest. unittest."
    " numpy.f2py. numpy.testing. torch.jit. torch.package.",
    "runs code or reaches any attribute": "builtins.",
    "installs and runs code": "pip. ensurepip. venv.",
    "imports anything": "importlib. imp. pkgutil.",
    "imports anything and starts programs": "pydoc.",
    "unpickles and thereby runs anything": "pickle. _pickle. dill. joblib. shelve. numpy.load"
    " torch.load torch.serialization.load torch.storage._load_from_bytes",
    "builds anything": "yaml.",
    "calls what it is given": "functools. itertools. operator. _operator. threading. concurrent."
    " signal. atexit.",
    "stands for a name that only the program that wrote the file knows": "copyreg.extension.",
}
_DANGEROUS: Final = {
    name: reason for reason, names in _DANGEROUS_BY_REASON.items() for name in names.split()
}

# How pickles before protocol 4 name a method of a class, getattr(class, name), is read as a name of
# its own. Otherwise unused, getattr does nothing, unless something harmless calls what it is given.
_GETATTR: Final = "builtins.getattr"
_CALLER: Final = "torch._tensor._rebuild_from_type_v2"

_HOW: Final = {
    "called": "would be called",
    "built": "would be made an instance of",
    "named": "would be imported, and may be handed to something that calls it",
}


def danger(globals_used: Mapping[str, str]) -> list[tuple[str, str]]:
    """The names in a file that a plain `pickle.load` should not meet, each with the reason.

    `globals_used` is that of a `Checkpoint`; names come back as the file has them, so escape them
    before showing. Empty if every name is known to do no harm.
    """
    found = []
    for name, way in globals_used.items():
        plain = _plain(name)
        if plain in _HARMLESS or plain in CALLS or plain in REFUSED_CALLS or _is_type(plain):
            continue
        if plain == _GETATTR and way == "named" and _CALLER not in globals_used:
            continue
        reason = _known(plain) or f"code of {plain.partition('.')[0]!r} that nothing is known about"
        found.append((name, f"{_HOW[way]}: {reason}"))
    return found


def _plain(name: str) -> str:
    for old, new in _RENAMED.items():
        if name.startswith(old + "."):
            return new + name[len(old) :]
    return name


def _is_type(name: str) -> bool:
    """A storage or an element type of torch, or another plain value in it."""
    module, _, last = name.rpartition(".")
    in_torch = module == "torch" and last in ATTRIBUTE_NAMES
    return in_torch or (module in STORAGE_MODULES and last in STORAGE_TYPES)


def _known(name: str) -> str | None:
    """Why a name is known to be dangerous: it, or the longest module it stands in."""
    parts = name.split(".")
    modules = (".".join(parts[:end]) + "." for end in range(len(parts) - 1, 0, -1))
    # Last, a dotted path through an innocent module: torch.serialization.os.system.
    ways = itertools.chain([name], modules, (f"{part}." for part in parts[1:-1]))
    return next((_DANGEROUS[way] for way in ways if way in _DANGEROUS), None)
