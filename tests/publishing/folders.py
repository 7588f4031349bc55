"""What a folder holds."""

from pathlib import Path

NAMES = {
    "model.safetensors", "onnx/model.onnx", "config.json", "preprocessor_config.json", "LICENSE",
    "README.md", "model.json",
}  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by name."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
