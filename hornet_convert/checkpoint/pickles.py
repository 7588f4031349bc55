"""A pickle machine that builds descriptions: it imports nothing, calls nothing, hashes nothing.

Carries out every opcode of protocols 0 to 5 on inert values. What a few names mean is told to it
by a `Meaning`; everything else becomes a `Global` or a `Call`.
"""

from __future__ import annotations

from typing import Final

from hornet_convert.checkpoint.inert import Call, Dict, Global, describe
from hornet_convert.checkpoint.pickle_actions import STEPS
from hornet_convert.checkpoint.pickle_stream import Stream, TooLargeError
from hornet_convert.errors import FileRefusedError, MalformedError
from hornet_convert.text import printable

MAX_OPCODES: Final = 2_000_000
MAX_MEMORY: Final = 64 << 20  # bytes of objects, beyond the size of the file

_STOP: Final = ord(".")
_GETATTR: Final = frozenset({"__builtin__.getattr", "builtins.getattr"})
_RANK: Final = {"named": 0, "built": 1, "called": 2}


class Meaning:
    """What persistent ids, calls and states mean; by default nothing."""

    def persistent(self, pid: object) -> object:
        """The object that a persistent id stands for."""
        raise MalformedError("an object stored outside the pickle, where there can be none")

    def call(self, call: Call) -> object:
        """What calling a Global gives: `call` itself if that is unknown."""
        return call

    def build(self, target: object, state: object) -> None:
        """Take note of a state given to something that is no Call and no dict."""
        raise MalformedError(f"a state is given to {describe(target)}, which has none")


class Machine:
    """One pickle being carried out; `globals_used` maps each name in it to how it is used.

    `memory` is how many bytes the objects it makes may take.
    """

    def __init__(self, stream: Stream, meaning: Meaning, memory: int = MAX_MEMORY) -> None:
        self.stream: Stream = stream
        self.meaning = meaning
        self.memory = memory
        self.start = stream.tell()
        self.stack: list[object] = []
        self.below: list[list[object]] = []  # what lies under each mark
        self.memo: dict[int, object] = {}
        self.globals_used: dict[str, str] = {}

    def run(self) -> object:
        """Carry out the opcodes to the end and return the value left on top of the stack."""
        try:
            return self._run()
        except IndexError as error:
            raise MalformedError("the pickle's stack runs empty", where=self._where()) from error
        except FileRefusedError as error:
            error.where = ", ".join(filter(None, (self._where(), error.where)))
            raise

    def _run(self) -> object:
        stream, steps, next_opcode = self.stream, STEPS, self.stream.opcode
        for _ in range(MAX_OPCODES):
            code = next_opcode()
            if code == _STOP:
                return self.stack.pop()
            if code not in steps:
                raise MalformedError(f"not a pickle opcode: 0x{code:02x}")
            cost, read, act = steps[code]
            raw = b"" if read is None else read(stream)
            self.memory -= cost + len(raw)
            if self.memory < 0:
                self.spend(0)
            act(self, raw)
        raise TooLargeError("the pickle has too many opcodes", expected=f"at most {MAX_OPCODES}")

    def _where(self) -> str:
        """The place in the pickle, and the innermost text before it: likely the key in work."""
        where = f"byte {self.stream.opcode_at - self.start} of the pickle"
        for stack in (self.stack, *reversed(self.below)):
            if stack and isinstance(stack[-1], str) and stack[-1] != "storage":
                return f"{where}, near {printable(stack[-1])!r}"
        return where

    def spend(self, count: int) -> None:
        """Count bytes of memory before they are taken."""
        self.memory -= count
        if self.memory < 0:
            raise TooLargeError("the pickle makes too many objects for the size of its file")

    def to_mark(self) -> list[object]:
        """Take everything above the last mark off the stack, and the mark."""
        if not self.below:
            raise MalformedError("the pickle takes a mark off a stack without one")
        taken, self.stack = self.stack, self.below.pop()
        return taken

    def named(self, module: object, name: object) -> Global:
        """Note a name that the file asks to import."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise MalformedError("a name to import that is not text")
        self.spend(4 * (len(module) + len(name)))  # put together, of parts that may be shared
        found = Global(module, name)
        self.globals_used.setdefault(found.dotted, "named")
        return found

    def make(self, function: object, args: object, way: str, kwargs: object = None) -> None:
        """Push the outcome of a call or of building an instance."""
        if not isinstance(args, tuple):
            raise MalformedError("the arguments of a call are not a tuple", found=describe(args))
        if not isinstance(function, Global | Call):
            what = "a call of something that cannot be called"
            raise MalformedError(what, found=describe(function))
        call = Call(function, args, way, kwargs)
        self.stack.append(self._of_name(call, function) if isinstance(function, Global) else call)

    def _of_name(self, call: Call, function: Global) -> object:
        name = function.dotted
        match call.args:
            # How protocols before 4 write the name of a method.
            case (Global() as cls, str() as attribute) if call.way == "called" and name in _GETATTR:
                return self.named(cls.module, f"{cls.name}.{attribute}")
        if _RANK[self.globals_used.get(name, "named")] < _RANK[call.way]:
            self.globals_used[name] = call.way
        result = self.meaning.call(call)
        if isinstance(result, Dict):
            self.spend(8 * len(result.flat))  # copied from an argument
        return result
