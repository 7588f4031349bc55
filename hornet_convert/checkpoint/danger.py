"""What a plain `pickle.load` of a file would import, call or build, judged name by name.

Nothing here decides whether a file is read: this package runs none of it. It tells a user what
other programs would run. A table of names known to do no harm, a table of those known to do, and
everything else is unknown, which for code from a stranger is not a comfort.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hornet_convert.checkpoint.torch_names import (
    ATTRIBUTE_NAMES,
    REFUSED_CALLS,
    STORAGE_MODULES,
    STORAGE_TYPES,
    TENSOR_CALLS,
)

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
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice"
    " str tuple",
    "collections": "Counter OrderedDict defaultdict deque",
    "copyreg": "_reconstructor",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID",
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
}
_HARMLESS: Final = frozenset(
    f"{module}.{name}" for module, names in _HARMLESS_BY_MODULE.items() for name in names.split()
)

# Name, or a module and everything in it (ending in a dot) -> what it can be made to do.
_DANGEROUS: Final = {
    "os.": "runs commands and changes files",
    "posix.": "runs commands and changes files",
    "nt.": "runs commands and changes files",
    "subprocess.": "runs commands",
    "pty.": "runs commands",
    "popen2.": "runs commands",
    "multiprocessing.": "starts processes",
    "shutil.": "changes files",
    "tempfile.": "changes files",
    "pathlib.": "changes files",
    "glob.": "looks through files",
    "zipfile.": "changes files",
    "tarfile.": "changes files",
    "io.": "opens files",
    "_io.": "opens files",
    "codecs.": "opens files and runs code",
    "socket.": "opens network connections",
    "ssl.": "opens network connections",
    "http.": "opens network connections",
    "urllib.": "opens network connections",
    "requests.": "opens network connections",
    "ftplib.": "opens network connections",
    "smtplib.": "opens network connections",
    "asyncio.": "starts processes and opens network connections",
    "webbrowser.": "starts programs",
    "sys.": "reaches into the running program",
    "gc.": "reaches into the running program",
    "inspect.": "reaches into the running program",
    "ctypes.": "runs machine code",
    "_ctypes.": "runs machine code",
    "cffi.": "runs machine code",
    "marshal.": "builds code",
    "types.": "builds code",
    "code.": "runs code",
    "codeop.": "builds code",
    "runpy.": "runs code",
    "timeit.": "runs code",
    "trace.": "runs code",
    "cProfile.": "runs code",
    "profile.": "runs code",
    "pdb.": "runs code",
    "bdb.": "runs code",
    "doctest.": "runs code",
    "unittest.": "runs code",
    "pip.": "installs and runs code",
    "ensurepip.": "installs and runs code",
    "venv.": "installs and runs code",
    "importlib.": "imports anything",
    "imp.": "imports anything",
    "pkgutil.": "imports anything",
    "pydoc.": "imports anything and starts programs",
    "pickle.": "unpickles and thereby runs anything",
    "_pickle.": "unpickles and thereby runs anything",
    "dill.": "unpickles and thereby runs anything",
    "cloudpickle.": "builds and runs code",
    "joblib.": "unpickles and thereby runs anything",
    "shelve.": "unpickles and thereby runs anything",
    "yaml.": "builds anything",
    "functools.": "calls what it is given",
    "itertools.": "calls what it is given",
    "operator.": "calls what it is given",
    "_operator.": "calls what it is given",
    "threading.": "calls what it is given",
    "concurrent.": "calls what it is given",
    "signal.": "calls what it is given",
    "atexit.": "calls what it is given",
    "builtins.": "runs code or reaches any attribute",
    "copyreg.extension.": "stands for a name that only the program that wrote the file knows",
    "numpy.load": "unpickles and thereby runs anything",
    "numpy.f2py.": "runs code",
    "numpy.testing.": "runs code",
    "numpy.distutils.": "runs commands",
    "numpy.lib.npyio.": "opens files and unpickles",
    "torch.load": "unpickles and thereby runs anything",
    "torch.serialization.load": "unpickles and thereby runs anything",
    "torch.storage._load_from_bytes": "unpickles and thereby runs anything",
    "torch.hub.": "downloads and runs code",
    "torch.jit.": "runs code",
    "torch.package.": "runs code",
    "torch.utils.cpp_extension.": "compiles and runs code",
    "torch.utils.collect_env.": "runs commands",
    "torch._inductor.": "compiles and runs code",
    "torch._dynamo.": "compiles and runs code",
    "torch.fx.": "builds and runs code",
    "torch.distributed.": "starts processes and opens network connections",
    "torch.multiprocessing.": "starts processes",
}

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
    for name, how in globals_used.items():
        plain = _plain(name)
        if plain not in _HARMLESS and not _belongs_to_torch(plain):
            known = _known(plain)
            reason = known or f"code of {plain.partition('.')[0]!r} that nothing is known about"
            found.append((name, f"{_HOW[how]}: {reason}"))
    return found


def _plain(name: str) -> str:
    for old, new in _RENAMED.items():
        if name.startswith(old + "."):
            return new + name[len(old) :]
    return name


def _belongs_to_torch(name: str) -> bool:
    """One of the names a checkpoint cannot do without: rebuilding, storages, element types."""
    module, _, last = name.rpartition(".")
    if module in STORAGE_MODULES and last in STORAGE_TYPES:
        return True
    if module == "torch" and last in ATTRIBUTE_NAMES:
        return True
    return name in TENSOR_CALLS or name in REFUSED_CALLS


def _known(name: str) -> str | None:
    """Why a name is known to be dangerous: it, or the longest module it stands in."""
    if name in _DANGEROUS:
        return _DANGEROUS[name]
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        reason = _DANGEROUS.get(".".join(parts[:end]) + ".")
        if reason is not None:
            return reason
    # A dotted path through an innocent module: torch.serialization.os.system.
    return next((_DANGEROUS[f"{part}."] for part in parts[1:-1] if f"{part}." in _DANGEROUS), None)
