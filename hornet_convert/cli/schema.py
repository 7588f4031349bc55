"""`schema`: the JSON Schema of what the commands write."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from hornet_convert.cli import output
from hornet_convert.errors import UsageError
from hornet_convert.text import printable


def _next_words(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What may follow the words already typed, in a name that there is a schema of."""
    from hornet_convert.schema import names

    given = [*(context.params.get(parameter.name or "") or ())]
    longer = (words for words in map(str.split, names()) if len(words) > len(given))
    follow = dict.fromkeys(w[len(given)] for w in longer if w[: len(given)] == given)
    return [CompletionItem(word) for word in follow if word.startswith(incomplete)]


@click.command("schema")
@click.argument("command", nargs=-1, metavar="[COMMAND]", shell_complete=_next_words)
def schema_command(command: tuple[str, ...]) -> int:
    """Print the JSON Schema (2020-12) of what a command writes with --json.

    COMMAND is a command, such as `verify` or `cache list`; `record`, for what lies beside a result;
    or `pins file`, for what `pins export` writes. Without one it is the schema of all of them.

    \b
    Examples:
      hornet-convert schema verify > verify.schema.json
      hornet-convert schema cache list
    """
    from hornet_convert.schema import names, schema

    name = " ".join(command) or None
    if name not in (None, *names()):
        raise UsageError(
            "no JSON has this name",
            expected=", ".join(names()),
            found=printable(name or ""),
            hint="Name one of these, or none for all.",
        )
    return output.print_json(schema(name))
