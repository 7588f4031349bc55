"""What the shell offers after Tab: names of models, files, folders."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

from hornet_convert.family import zoo


class _Bash(BashComplete):
    """Bash makes three words of `--model=tiny`; click knows of the = only where it is the last."""

    def get_completion_args(self) -> tuple[list[str], str]:
        words, incomplete = super().get_completion_args()
        return [word for word in words if word != "="], incomplete


add_completion_class(_Bash)


def names(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The nine that begin so, each with its label; those already named are not offered again."""
    given = context.params.get(parameter.name or "") or ()
    return [
        CompletionItem(model.name, help=model.label)
        for model in zoo.MODELS
        if model.name.startswith(incomplete.lower()) and model.name not in given
    ]


def names_or_all(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """As `names`, and `all` where nothing is named yet."""
    given = context.params.get(parameter.name or "")
    every = [CompletionItem("all", help="all nine")] if "all".startswith(incomplete) else []
    return names(context, parameter, incomplete) + ([] if given else every)


def names_or_files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The nine that begin so; where none does, a path."""
    return names(context, parameter, incomplete) or files(context, parameter, incomplete)


def files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """A path: which there are, the shell knows."""
    return [CompletionItem(incomplete, type="file")]


def folders(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The path of a folder."""
    return [CompletionItem(incomplete, type="dir")]
