"""Running mutants: each in a process forked from one that has torch and not the package."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mutants import scenarios
from mutants.scenarios import FORWARD, READINGS, SCENARIOS, Outcome
from mutants.table import PACKAGE, Mutant

SECONDS = 600  # more than any mutant takes that does not hang
ENOUGH = 8  # scenarios that refuse a mutant, and none that does not

Outcomes = dict[str, Outcome]


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    `killed`, `second reader`, `survived`, `no difference`; the scenarios that it was killed and
    that it survived in.
    """

    mutant: Mutant
    word: str
    killed: list[str] = field(default_factory=list)
    survived: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        """Whether it is as it should be: caught, or explained."""
        return self.word in ("killed", "second reader") or self.mutant.explained is not None


class Bench:
    """Sources and the outcomes of the code as it is, in a folder; `names` limits the scenarios.

    A mutant is let go once it was refused `enough` times, and never not.
    """

    def __init__(self, folder: Path, names: Sequence[str] = (), enough: int = ENOUGH) -> None:
        self.folder, self.enough = folder, enough
        self.names = list(names or SCENARIOS)
        self.standing: str | None = None
        sources = {SCENARIOS[name][0] for name in self.names}
        self.readings = [name for name, row in READINGS.items() if row[0] in sources]
        misread = in_child(folder / "built", self._build, sorted(sources))
        if misread:
            raise ValueError(f"the code as it is misreads {misread}")
        first = self.names[0]
        facts = self._right([first], False)[first]["facts"]
        self.standing = next(name for name in facts if name.endswith(".safetensors"))
        self.right = self._right(self.names, False)
        self.computed = {} if names else self._right(FORWARD, True)

    def judge(self, mutant: Mutant, slot: int = 0) -> Verdict:
        """Run a mutant; a scenario is repeated with the forward check where it is not caught."""
        result = self.folder / f"outcomes-{slot}"
        found = in_child(result, self._outcomes, mutant.sources, slot)
        if isinstance(found, str):  # it does not even start, or hangs
            return Verdict(mutant, "killed", [found])
        killed, survived = found["killed"], found["survived"]
        if found["misread"]:
            return Verdict(mutant, "second reader", killed + found["misread"], survived)
        word = "survived" if survived else "killed" if killed else "no difference"
        return Verdict(mutant, word, killed, survived)

    def _outcomes(self, sources: Mapping[str, str], slot: int) -> dict[str, list[str]]:
        install(sources)
        out = self.folder / f"out-{slot}"
        killed, survived, misread = list[str](), list[str](), list[str]()
        names = list(self.right)
        random.Random(str(sorted(sources))).shuffle(names)
        for name in names:
            if len(killed) >= self.enough and not survived:
                break
            right = self.right[name]
            found = self._run(name, False, out)
            if not _same(found, right):
                caught = found["exit"] != 0 or self._run(name, True, out)["exit"] != 0
                (killed if caught else survived).append(name)
        if not killed and not survived:
            for name, right in self.computed.items():
                if not _same(found := self._run(name, True, out), right):
                    (killed if found["exit"] else survived).append(name)
        if survived or not killed:
            misread = self._misread()
        return {"killed": killed, "survived": survived, "misread": misread}

    def _build(self, names: Sequence[str]) -> list[str]:
        """Build the sources; the readings that are not the second reader's."""
        from mutants import sources

        sources.build(self.folder, names)
        return self._misread()

    def _misread(self) -> list[str]:
        return [name for name in self.readings if _read(self.folder, name) != "the same"]

    def _right(self, names: Sequence[str], forward: bool) -> Outcomes:
        def work() -> Outcomes:
            install({})
            return {name: self._run(name, forward, self.folder / "out") for name in names}

        found = in_child(self.folder / "right", work)
        if isinstance(found, str):
            raise TypeError(found)
        return dict(found)

    def _run(self, name: str, forward: bool, out: Path) -> Outcome:
        try:
            return scenarios.run(self.folder, out, name, forward, self.standing)
        except Exception as error:
            return {"exit": type(error).__name__, "facts": {}}


def _same(item: Outcome, other: Outcome) -> bool:
    """Whether two outcomes cannot be told apart; how a refusal is worded does not matter."""
    return bool(json.loads(json.dumps(item)) == json.loads(json.dumps(other)))


def _read(folder: Path, name: str) -> object:
    try:
        return scenarios.read(folder, name)["facts"]
    except Exception as error:
        return repr(error)


def install(sources: Mapping[str, str]) -> None:
    """Let the package be imported with other source texts, by path within it."""
    changed = {str(PACKAGE / file): text for file, text in sources.items()}
    right = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, name: str) -> Any:
        path = self.get_filename(name)
        if path in changed:
            return compile(changed[path], path, "exec", dont_inherit=True)
        return right(self, name)

    type.__setattr__(SourceFileLoader, "get_code", get_code)
    from hornet_convert.model import forward, torch_load

    vars(forward)["loaded_apart"] = scenarios.here(torch_load.contents)


def in_child(result: Path, work: Callable[..., Any], *args: Any) -> Any:
    """What work returns in a forked process; a sentence if it fails or takes too long."""
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.setsid()
            signal.alarm(SECONDS)
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
            result.write_text(json.dumps(work(*args)))
            code = 0
        except BaseException:
            result.write_text(json.dumps(traceback.format_exc(limit=-3)))
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return f"ended by signal {os.WTERMSIG(status)}"
    return json.loads(result.read_text())


def judged(
    mutants: Sequence[Mutant], names: Sequence[str] = (), jobs: int = 2, enough: int = ENOUGH
) -> Iterator[Verdict]:
    """The verdict on each mutant, as soon as it is there; so many processes at a time."""
    with TemporaryDirectory(prefix="mutants-") as name:
        bench = Bench(Path(name), names, enough)
        waiting = list(reversed(mutants))
        running: dict[int, tuple[int, Mutant]] = {}
        free = list(range(jobs))
        while waiting or running:
            while waiting and free:
                slot, mutant = free.pop(), waiting.pop()
                pid = os.fork()
                if not pid:
                    verdict = bench.judge(mutant, slot)
                    outcome = [verdict.word, verdict.killed, verdict.survived]
                    (bench.folder / f"verdict-{slot}").write_text(json.dumps(outcome))
                    os._exit(0)
                running[pid] = slot, mutant
            pid, _ = os.wait()
            slot, mutant = running.pop(pid)
            free.append(slot)
            yield Verdict(mutant, *json.loads((bench.folder / f"verdict-{slot}").read_text()))


def preload() -> None:
    """What takes long to import and is no part of the package."""
    import safetensors.torch  # noqa: F401
    import torch

    torch.set_num_threads(1)
