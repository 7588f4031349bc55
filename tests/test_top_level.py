"""What `import hornet_convert` gives."""

import tomllib
from pathlib import Path

import pytest

import hornet_convert
from hornet_convert import errors

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())


def test_every_error_can_be_caught_by_its_name() -> None:
    """All exceptions are there, listed, and the same as in their module."""
    raised = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.HornetConvertError)
    }
    assert raised == {name: vars(hornet_convert).get(name) or getattr(hornet_convert, name)
                      for name in hornet_convert.__all__ if name.endswith("Error")}  # fmt: skip
    assert {"UsageError", "__version__", "load_model"} <= set(dir(hornet_convert))


def test_every_name_that_is_listed_is_there() -> None:
    """And one that is not is an AttributeError, also if it looks like an error of ours."""
    assert all(getattr(hornet_convert, name) for name in hornet_convert.__all__)
    for name in ("nothing", "NothingError"):
        with pytest.raises(AttributeError, match=name):
            getattr(hornet_convert, name)


def test_the_version_is_that_of_the_installed_package() -> None:
    """Which is the one in pyproject.toml."""
    assert PYPROJECT["project"]["version"] == hornet_convert.__version__
