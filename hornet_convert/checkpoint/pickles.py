"""A pickle machine that builds descriptions: it imports nothing, calls nothing, hashes nothing.

Carries out every opcode of protocols 0 to 5 on inert values. What a few names mean is told to it
by a `Meaning`; everything else becomes a `Global` or a `Call`. Only pickles that `pickle_scan`
passed are carried out.
"""

from __future__ import annotations

from typing import Final

from hornet_convert.checkpoint.inert import Call, Global, describe
from hornet_convert.checkpoint.opcodes import STOP
from hornet_convert.checkpoint.pickle_actions import ACTIONS
from hornet_convert.errors import FileRefusedError, MalformedError, printable

_RANK: Final = {"named": 0, "built": 1, "called": 2}


class Meaning:
    """What persistent ids and calls mean; by default nothing."""

    def persistent(self, pid: object) -> object:
        """The object that a persistent id stands for."""
        raise MalformedError("an object stored outside the pickle, where there can be none")

    def call(self, call: Call) -> object:
        """What calling a Global gives: `call` itself if that is unknown."""
        return call

    def build(self, target: object, state: object) -> None:
        """Take note of a state given to something that is no Call and no Dict."""
        raise MalformedError(f"a state is given to {describe(target)}, which has none")


class Machine:
    """One pickle being carried out; `globals_used` maps each name in it to how it is used."""

    meaning: Meaning
    stack: list[object]

    def __init__(self, data: bytes, start: int, meaning: Meaning) -> None:
        self.data = data
        self.pos = start
        self.meaning = meaning
        self.stack = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}
        self.globals_used: dict[str, str] = {}

    def run(self) -> object:
        """Carry out the opcodes to the end and return the value left on top of the stack."""
        data, actions = self.data, ACTIONS
        at = self.pos
        try:
            while (op := data[self.pos]) != STOP:
                at = self.pos
                self.pos = at + 1
                actions[op](self)
        except FileRefusedError as error:
            where = f"byte {at} of the pickle{self._near()}"
            error.where = where if error.where is None else f"{where}, {error.where}"
            raise
        self.pos += 1
        return self.stack[-1]

    def _near(self) -> str:
        """The innermost text on the stack before a mark or at the top: likely the key in work."""
        for end in (len(self.stack), *reversed(self.marks)):
            for value in self.stack[max(end - 1, 0) : end]:
                if isinstance(value, str) and value != "storage":
                    return f", near {printable(value)!r}"
        return ""

    def byte(self) -> int:
        """The next byte of the argument."""
        self.pos += 1
        return self.data[self.pos - 1]

    def take(self, count: int) -> bytes:
        """The next bytes of the argument."""
        start = self.pos
        self.pos = start + count
        return self.data[start : self.pos]

    def line(self) -> bytes:
        """The next line of the argument, without its end."""
        end = self.data.index(b"\n", self.pos)
        text = self.data[self.pos : end]
        self.pos = end + 1
        return text

    def to_mark(self) -> list[object]:
        """Take everything above the last mark off the stack."""
        mark = self.marks.pop()
        taken = self.stack[mark:]
        del self.stack[mark:]
        return taken

    def named(self, module: object, name: object) -> Global:
        """Note a name that the file asks to import."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise MalformedError("a name to import that is not text")
        found = Global(module, name)
        self.globals_used.setdefault(found.dotted, "named")
        return found

    def made(self, function: object, args: object, how: str, kwargs: object = None) -> object:
        """The outcome of a call or of building an instance."""
        if not isinstance(args, tuple):
            raise MalformedError("the arguments of a call are not a tuple", found=describe(args))
        call = Call(function, args, how, kwargs)
        if isinstance(function, Global):
            name = function.dotted
            if _RANK[self.globals_used.get(name, "named")] < _RANK[how]:
                self.globals_used[name] = how
            return self.meaning.call(call)
        if not isinstance(function, Call):
            raise MalformedError(
                "a call of something that cannot be called", found=describe(function)
            )
        return call
