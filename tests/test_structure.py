"""The shape of the code: imports go one way, and each edge is touched in one place only."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import hornet_convert

PACKAGE = Path(hornet_convert.__file__).parent

# From the tables to the terminal. A module imports from its own row or from rows above it.
LAYERS = (
    ("errors",),
    ("family",),
    ("checkpoint", "conversion.publish"),
    ("numbers.casting", "numbers.values", "verification.naming"),
    ("numbers",),
    (
        "images",
        "verification.fingerprint",
        "verification.identity",
        "verification.report",
        "verification.trace",
        "verification.verdict",
    ),
    ("inspect", "verification.scan", "conversion.edits", "conversion.result_name"),
    ("verification.checks", "verification.digest_checks", "conversion.plan"),
    ("model", "download"),
    ("verification",),
    ("comparison",),
    ("pages",),
    ("conversion",),
    ("fetch",),
    ("pretrained",),
    ("api",),
    ("validate",),
    ("__init__",),
    ("cli",),
    ("__main__",),
)


@functools.cache
def modules() -> list[tuple[str, ast.Module]]:
    """Every module of the package by its name below it, parsed."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found.append((name, ast.parse(path.read_text())))
    return found


def layer(module: str) -> int:
    """Row of a module, by its longest listed prefix."""
    rows = {name: row for row, names in enumerate(LAYERS) for name in names}
    name = module
    while name not in rows:
        assert "." in name, f"{module} stands in no layer: add it to LAYERS"
        name = name.rpartition(".")[0]
    return rows[name]


def imports(tree: ast.Module) -> list[str]:
    """Every module imported anywhere in a module, also inside functions."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            if node.module.startswith("hornet_convert"):
                found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def own(imported: list[str]) -> list[str]:
    """The imports of this package, as names below it, that are modules; not their packages too."""
    known = {name for name, _ in modules()}
    below = {name.removeprefix("hornet_convert.") for name in imported if "." in name} & known
    return sorted(name for name in below if not any(o.startswith(f"{name}.") for o in below))


@pytest.mark.parametrize(("name", "tree"), modules(), ids=[name for name, _ in modules()])
def test_imports_go_one_way(name: str, tree: ast.Module) -> None:
    """No module imports one of a later layer."""
    later = [other for other in own(imports(tree)) if layer(other) > layer(name)]
    assert [] == later


@pytest.mark.parametrize(
    ("edge", "home"),
    [
        ("torch", "model"),
        ("requests", "download"),
        ("click", "cli"),
        ("rich", "cli"),
        ("tqdm", "cli"),
        ("PIL", "model"),
    ],
)
def test_each_edge_has_one_home(edge: str, home: str) -> None:
    """Only the model computes, only the download connects, only the CLI shows."""
    users = {
        name
        for name, tree in modules()
        for imported in imports(tree)
        if imported.split(".")[0] == edge
    }
    assert set() == {name for name in users if name.split(".")[0] != home}


def test_nothing_unpickles_or_prints() -> None:
    """Nothing calls what could run a file's code, and only the CLI writes to the terminal."""
    running = {"eval", "exec", "compile", "__import__"}  # but not methods such as model.eval()
    loading = {"load", "loads", "Unpickler", "import_module"}
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                last = called.rpartition(".")[2]
                assert called not in running, f"{name}: {called}"
                assert last not in loading or called.startswith("json."), f"{name}: {called}"
                assert called != "print", f"{name} prints"
    assert not any(
        imported.split(".")[0] in ("pickle", "marshal", "shelve", "dill")
        for _, tree in modules()
        for imported in imports(tree)
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "list --json",
        *(f"{name} --help" for name in ("verify", "convert", "fetch", "predict", "eval")),
    ],
)
def test_light_commands_load_nothing_heavy(arguments: str) -> None:
    """Help and the list start without torch, requests, rich or numpy."""
    code = (
        "import sys\n"
        "from hornet_convert.cli import run\n"
        f"code = run({arguments.split()!r})\n"
        "heavy = {'torch', 'requests', 'rich', 'numpy', 'tqdm', 'safetensors', 'PIL'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
