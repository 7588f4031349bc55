"""The command line: parses, calls one function, renders, chooses the exit code."""

from __future__ import annotations

import os
import sys

import click

from hornet_convert.cli import cache, checkpoints, images, output, pins, publish, published, schema
from hornet_convert.errors import EXIT_OK, EXIT_USAGE, UsageError, as_ours
from hornet_convert.report.document import command_of, document, result, so_far, wants_document

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


@click.group(context_settings=_SETTINGS)
@click.version_option(package_name="hornet-convert")
def cli() -> None:
    """Fetch, check, convert and verify the nine published HorNet checkpoints.

    No code from a checkpoint is ever run.

    \b
    Examples:
      hornet-convert list
      hornet-convert fetch large-gf384
      hornet-convert verify hornet_tiny_gf.pth

    \b
    Exit codes: 0 all checks made have passed, 1 a check failed, 2 usage, 3 source unreachable,
    4 file refused (not a checkpoint, malformed, unsafe, ambiguous), 5 disk, permission or lock,
    6 out of memory, a lost process or an internal error, 130 interrupted.
    """


for _command in (
    *(published.list_command, published.fetch_command, published.validate_command),
    publish.publish_command,
    *(checkpoints.convert_command, checkpoints.verify_command),
    *(checkpoints.compare_command, checkpoints.inspect_command),
    *(images.predict_command, images.eval_command, cache.cache, pins.pins),
    schema.schema_command,
):
    cli.add_command(_command)


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code; never raises.

    It handles no signals, see `__main__`: Ctrl-C is a KeyboardInterrupt here, and exit code 130.
    """
    so_far.clear()
    try:
        code = cli.main(arguments, prog_name="hornet-convert", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else EXIT_OK
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return EXIT_USAGE
    except (BrokenPipeError, SystemExit):  # click's too: the reader of our output has gone
        output.give_up_stdout()
        return EXIT_OK
    except (Exception, KeyboardInterrupt) as error:
        if "HORNET_CONVERT_TRACEBACK" in os.environ:
            raise
        return _tell(error, arguments)


def _tell(error: BaseException, arguments: list[str]) -> int:
    """Say what went wrong, on stderr or as the document that was asked for; the exit code."""
    if isinstance(error, click.UsageError):
        context = error.ctx.command_path if error.ctx else "hornet-convert"
        if not error.ctx and arguments[0] in cli.commands:
            context += f" {arguments[0]}"
        error = UsageError(error.format_message(), hint=f"See `{context} -h`.")
    ours = as_ours(KeyboardInterrupt() if isinstance(error, click.Abort) else error)
    try:
        if wants_document(arguments):
            results = [*so_far] if ours.subject is None else [result(ours.subject, error=ours)]
            output.print_json(document(command_of(arguments), results, error=ours))
        else:
            output.print_error(ours)
    except OSError:  # nobody can be told; the exit code still tells
        output.give_up_stdout()
    return ours.exit_code
