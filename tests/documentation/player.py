"""Does what pages say, as a reader would: every block in its order, in a folder of its own.

`python -m tests.documentation.player small|full FOLDER PAGE...` runs pages in a world made in
FOLDER, and prints, as JSON, what was not as they say. The commands of this package run in this
process, and so does the `torch.load` that proves a small `.pth`: torch is imported once. Whatever
else a shell understands goes to a shell.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hornet_convert.model import forward, torch_load
from mutants.scenarios import here as loaded_here
from tests.documentation import world
from tests.documentation.narrow import VARIABLE
from tests.documentation.snippets import (
    ROOT,
    Block,
    Command,
    agrees,
    blocks,
    commands,
    is_like,
    together,
)
from tests.documentation.unrun import reason
from tests.hub_server import serving

FAILED = re.compile(r"(?m)^\s*(FAIL|Error:)")  # in the output shown: the exit code is not 0
_ASSIGNED = re.compile(r"[A-Z_]+=")
_JOINED = re.compile(r"(hornet-convert [^|]*)(\|\|?)([^|].*)", re.DOTALL)  # to another program
_SHELL = re.compile(r"[|<>;&`]|\$\(|\$[A-Z]")


class Player:
    """The reader of one page: a folder, the names defined so far, the last exit code."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.code = 0

    def play(self, page: Sequence[Block]) -> Iterator[str]:
        """Do what the blocks of a page say; what is not as they say is told, with the line."""
        for block, below in together(page):
            if block.language == "python":
                yield from self._program(block)
                continue
            *before, last = commands(block)
            for command in before:
                yield from self._command(command)
            yield from self._command(last, below)

    def _command(self, command: Command, below: Block | None = None) -> Iterator[str]:
        lacking = "| jq" in command.text and shutil.which("jq") is None
        if lacking or reason(command.text):
            yield from _parsed(command)
            return
        if command.text == "echo $?":
            if command.shown.strip() != str(self.code):
                yield f"{command.place}: the exit code is {self.code}, not {command.shown}"
            return
        self.code, out, err = run_line(command.text.replace("\\\n", " "))
        told = f"{command.place}: $ {command.text}\nexit code {self.code}\n{out}{err}"
        if below is not None:
            shown = json.loads(below.text)
            if written := re.search(r"--json (\S+\.json)", command.text):
                out = Path(written[1]).read_text()
            try:
                right = self.code == shown.get("exit_code", 0) and is_like(shown, json.loads(out))
            except json.JSONDecodeError:
                right = False
            if not right:
                yield f"{told}\nand shown is another document at {below.place}"
        elif bool(self.code) != bool(FAILED.search(command.shown)):
            yield told
        elif command.shown and not any(
            agrees(command.shown, text) for text in (out, err, out + err)
        ):
            yield f"{told}\nand shown is\n{command.shown}"

    def _program(self, block: Block) -> Iterator[str]:
        """Run a Python block; a literal behind an expression is what that gives."""
        if "timm" in block.text or "peft" in block.text:
            import tests.libraries.conftest  # noqa: F401 - torchvision, beside a CPU build of torch
        tree = ast.parse(block.text)
        unrun = reason(block.text)
        lines = block.text.splitlines()
        for node in tree.body:
            place = f"{block.page}:{block.line + node.lineno - 1}"
            if unrun and not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    if not isinstance(node, ast.Expr):
                        exec(compile(ast.Module([node], []), place, "exec"), self.names)
                        continue
                    value = eval(compile(ast.Expression(node.value), place, "eval"), self.names)
            except Exception:
                yield f"{place}: {traceback.format_exc()}"
                continue
            with contextlib.suppress(ValueError, SyntaxError):
                shown = ast.literal_eval(lines[(node.end_lineno or 1) - 1].partition("  # ")[2])
                if shown != value:
                    yield f"{place}: gives {value!r}, not {shown!r}"


def run_line(text: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    words = shlex.split(text, comments=True)
    if words[0] == "export" and not _SHELL.search(text):
        os.environ.update(dict(word.split("=", 1) for word in words[1:]))
        return 0, "", ""
    given = {}
    while words and _ASSIGNED.match(words[0]):
        name, _, given[name] = words.pop(0).partition("=")
    if (joined := _JOINED.fullmatch(text)) and not _SHELL.search(joined[1]):
        code, out, err = run_line(joined[1])
        if joined[2] == "||":
            after = _in_bash(joined[3]) if code else (0, "", "")
            return after[0], out + after[1], err + after[2]
        code, out, more = _in_bash(joined[3], out)
        return code, out, err + more
    bare = re.sub(r"'[^']*'|\"[^\"]*\"|#.*", "", text)
    if words[:1] != ["hornet-convert"] or _SHELL.search(bare):
        return _in_bash(text)
    from hornet_convert.cli import run

    with _environment(given):
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = run([name for word in words[1:] for name in _matching(word)])
    return code, output.getvalue(), errors.getvalue()


def _in_bash(text: str, given: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        ["bash", "-c", text], input=given, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def _matching(word: str) -> list[str]:
    """What a shell makes of a word with a * in it."""
    return sorted(map(str, Path().glob(word))) or [word] if "*" in word else [word]


def _parsed(command: Command) -> Iterator[str]:
    """What is wrong with a command that is not run, as far as that can be told."""
    text = command.text.replace("\\\n", " ")
    words = shlex.split(text, comments=True)
    if words[0] == "make":
        made = re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text())
        yield from (f"{command.place}: no target {word}" for word in words[1:] if word not in made)
    if "hornet-convert" in words and words[0] != "pip":
        from hornet_convert.cli import cli

        arguments = words[words.index("hornet-convert") + 1 :]
        context: click.Context | None = None
        called: click.Command = cli
        try:
            while isinstance(called, click.Group):
                context = called.make_context(arguments[0], list(arguments), parent=context)
                _, found, arguments = called.resolve_command(context, arguments)
                assert found is not None
                called = found
            called.make_context(called.name, list(arguments), parent=context)
        except click.UsageError as error:
            yield f"{command.place}: {error.format_message()}"


@contextlib.contextmanager
def _environment(given: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def main(kind: str, folder: Path, pages: list[str]) -> dict[str, list[str]]:
    """What was not as the pages say, by page."""
    wrong = {}
    with serving() as hub:
        programs = [str(folder / "bin"), str(Path(sys.executable).parent)]
        path = os.pathsep.join([*programs, *os.get_exec_path()])
        mirror = str(folder / "mirror")
        ours = {"PATH": path, "PYTHONPATH": str(ROOT), "HORNET_CONVERT_MIRROR": mirror}
        if kind == "small":
            ours[VARIABLE] = mirror
            vars(forward)["loaded_apart"] = loaded_here(torch_load.contents)
        os.environ.update(hub.environment(folder / "hub", **ours))
        (world.small_world if kind == "small" else world.full_world)(folder)
        world.fill(hub)
        for name in pages:
            here = folder / "pages" / name.replace("/", "-")
            shutil.copytree(folder / "files", here, copy_function=os.link, symlinks=True)
            home = here.with_suffix(".home")
            home.mkdir()
            os.chdir(here)
            with _environment({"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}):
                wrong[name] = list(Player().play(blocks(ROOT / name)))
    return wrong


if __name__ == "__main__":
    json.dump(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]), sys.stdout, indent=1)
