"""The shape of the code: imports go one way, and each edge is touched in one place only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hornet_convert

PACKAGE = Path(hornet_convert.__file__).parent

# From the tables to the terminal: a folder, or a module beside them, imports only from rows above.
LAYERS = (
    *("text", "errors", "interrupts", "files", "family", "report", "checkpoint", "numbers"),
    *("checks", "comparison", "inspect", "conversion", "onnx", "download", "model", "images"),
    *("html", "publishing", "schema", "bars", "api", "timm", "__init__", "cli", "__main__"),
)
HOMES = {
    "torch": {"model", "images", "timm"},
    "timm": {"timm"},
    "requests": {"download"},
    "urllib3": {"download"},
    "click": {"cli"},
    "rich": {"cli"},
    "tqdm": {"bars"},
    "PIL": {"images"},
    "jinja2": {"html", "publishing"},
    "msgspec": {"files", "schema"},
    "onnx": {"onnx"},
    "onnxruntime": {"onnx"},
    "huggingface_hub": {"download"},
    "fsspec": {"download"},
    "securesystemslib": {"checks"},
    "cryptography": {"checks"},
    **{name: set[str]() for name in ("pickle", "marshal", "shelve", "dill")},
}
TREES = {
    path.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__"): ast.parse(
        path.read_text()
    )
    for path in PACKAGE.rglob("*.py")
}


def room(module: str) -> str:
    """The folder that a module of the package stands in, or its own name if it is in none."""
    return module.partition("/")[0]


def imports(tree: ast.Module) -> list[str]:
    """Every module imported anywhere in a module, also inside functions; / between the names."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name.replace(".", "/") for name in found]


def ours(tree: ast.Module) -> set[str]:
    """The rooms of this package that a module imports from."""
    inside = [name for name in imports(tree) if name.startswith("hornet_convert/")]
    names = [room(name.removeprefix("hornet_convert/")) for name in inside]
    return {name if name in LAYERS else "__init__" for name in names}


def test_imports_go_one_way() -> None:
    """No module imports one of a later row; within a folder it may import its neighbours."""
    later = {
        (module, other)
        for module, tree in TREES.items()
        for other in ours(tree)
        if LAYERS.index(other) > LAYERS.index(room(module))
    }
    assert later == set()


def test_every_room_has_a_row() -> None:
    """The list is the listing of the package, and ARCHITECTURE.md shows the same list."""
    assert {room(module) for module in TREES} == set(LAYERS)
    shown = (PACKAGE.parent / "ARCHITECTURE.md").read_text().splitlines()
    rows = [line.split("`")[1].rstrip("/") for line in shown if line.startswith("| `")]
    listed = [row.removesuffix(".py") for row in rows]
    rooms = [row for row in LAYERS if not row.startswith("__")]
    assert listed[: len(rooms)] == rooms


@pytest.mark.parametrize("edge", HOMES)
def test_each_edge_has_its_home(edge: str) -> None:
    """Only the model computes, only the download connects, only the CLI shows; nobody unpickles."""
    users = {room(name) for name, tree in TREES.items() if edge in map(room, imports(tree))}
    assert users <= HOMES[edge]


def test_nothing_unpickles_or_prints() -> None:
    """Nothing calls what could run a file's code, and only the CLI writes to the terminal.

    But for what reads a result of this package as its users will, in a process of its own.
    """
    forbidden = {"eval", "exec", "compile", "__import__", "print"}  # but not model.eval()
    loading = {"load", "loads", "Unpickler", "import_module"}
    found = [
        (module, ast.unparse(node))
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for called in [ast.unparse(node.func)]
        if called in forbidden
        or (called.rpartition(".")[2] in loading and not called.startswith("json."))
    ]
    ((module, call),) = found
    assert module == "model/torch_load"
    assert call.startswith("torch.load(")
    assert "weights_only=True" in call


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "list --json",
        *(f"{name} --help" for name in ("verify", "convert", "fetch", "predict", "eval")),
    ],
)
def test_light_commands_load_nothing_heavy(arguments: str) -> None:
    """Help and the list start without torch, requests, rich, numpy or jinja2."""
    code = (
        "import sys\n"
        "from hornet_convert.cli import run\n"
        f"code = run({arguments.split()!r})\n"
        "heavy = {'torch', 'requests', 'rich', 'numpy', 'tqdm', 'safetensors', 'PIL', 'jinja2'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
