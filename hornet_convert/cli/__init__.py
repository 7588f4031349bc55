"""The command line: parses, calls one function, renders, chooses the exit code."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from hornet_convert.cli import streams
from hornet_convert.cli.cache import cache
from hornet_convert.cli.compare import compare
from hornet_convert.cli.convert import convert
from hornet_convert.cli.eval import evaluate
from hornet_convert.cli.fetch import fetch
from hornet_convert.cli.inspect import inspect
from hornet_convert.cli.list import list_models
from hornet_convert.cli.pins import pins
from hornet_convert.cli.predict import predict
from hornet_convert.cli.validate import validate
from hornet_convert.cli.verify import verify
from hornet_convert.errors import (
    EXIT_OK,
    EXIT_USAGE,
    DiskError,
    HornetConvertError,
    InternalError,
    InterruptedByUserError,
    UsageError,
    printable,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="hornet-convert")
def cli() -> None:
    """Fetch, check, convert and verify the nine published HorNet checkpoints.

    No code from a checkpoint is ever run.

    \b
    Examples:
      hornet-convert list
      hornet-convert fetch large-gf384
      hornet-convert verify --ckpt hornet_tiny_gf.pth

    \b
    Exit codes: 0 every check made has passed, 1 a check failed, 2 usage, 3 source unreachable,
    4 file refused, 5 disk, permission or lock, 130 interrupted.
    """


for command in (
    list_models,
    fetch,
    convert,
    verify,
    compare,
    validate,
    inspect,
    predict,
    evaluate,
    cache,
    pins,
):
    cli.add_command(command)


def main() -> NoReturn:
    """Entry point: runs the command line and exits with the documented code, never a traceback."""
    streams.prepare()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        code = cli.main(arguments, prog_name="hornet-convert", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else EXIT_OK
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return EXIT_USAGE
    except BrokenPipeError:  # the reader of our output has gone, which is its right
        streams.give_up_stdout()
        return EXIT_OK
    except (Exception, KeyboardInterrupt) as error:
        if "HORNET_CONVERT_TRACEBACK" in os.environ:
            raise
        return _report_error(_as_ours(error), arguments)


def _as_ours(error: BaseException) -> HornetConvertError:
    """Any exception as one with a message, a hint and an exit code."""
    if isinstance(error, HornetConvertError):
        return error
    if isinstance(error, click.UsageError):
        context = error.ctx.command_path if error.ctx else "hornet-convert"
        return UsageError(error.format_message(), hint=f"See `{context} -h`.")
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return InterruptedByUserError("interrupted", hint="Run the same command again to go on.")
    if isinstance(error, MemoryError):
        return DiskError("there is not enough memory", hint="Free some, or use --no-forward.")
    if isinstance(error, OSError):
        where = None if error.filename is None else str(error.filename)
        return DiskError(error.strerror or str(error), where=where, hint="Check the path.")
    return InternalError(
        f"an error in hornet-convert itself: {type(error).__name__}: {error}",
        hint="Please report it, with the output of the same command with the environment variable "
        "HORNET_CONVERT_TRACEBACK set.",
    )


def _report_error(error: HornetConvertError, arguments: list[str]) -> int:
    try:
        _show_error(error, arguments)
        sys.stdout.flush()
    except OSError:  # nobody can be told; the exit code still tells
        streams.give_up_stdout()
    return error.exit_code


def _show_error(error: HornetConvertError, arguments: list[str]) -> None:
    if "--json" in arguments and "validate" not in arguments[:1]:
        from hornet_convert.cli.documents import print_json
        from hornet_convert.verification.report import Report

        print_json(Report(error=error).to_json())
    else:
        click.echo(f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(f"Hint: {printable(error.hint, 4000)}", err=True)
