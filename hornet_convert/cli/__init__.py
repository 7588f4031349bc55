"""The command line: parses, calls one function, renders, chooses the exit code."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from hornet_convert.cli.cache import cache
from hornet_convert.cli.convert import convert
from hornet_convert.cli.fetch import fetch
from hornet_convert.cli.inspect import inspect
from hornet_convert.cli.list import list_models
from hornet_convert.cli.pins import pins
from hornet_convert.cli.validate import validate
from hornet_convert.cli.verify import verify
from hornet_convert.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    HornetConvertError,
    UsageError,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="hornet-convert")
def cli() -> None:
    r"""Fetch, check, convert and verify the nine published HorNet checkpoints.

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


for command in (list_models, fetch, convert, verify, validate, inspect, cache, pins):
    cli.add_command(command)


def main() -> NoReturn:
    """Entry point: runs the command line and exits with the documented code, never a traceback."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        code = cli.main(arguments, prog_name="hornet-convert", standalone_mode=False)
        return code if isinstance(code, int) else EXIT_OK
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return EXIT_USAGE
    except click.UsageError as error:
        context = error.ctx.command_path if error.ctx else "hornet-convert"
        problem = UsageError(error.format_message(), hint=f"See `{context} -h`.")
        return _report_error(problem, arguments)
    except HornetConvertError as error:
        return _report_error(error, arguments)
    except (KeyboardInterrupt, click.Abort):
        click.echo("\nInterrupted.", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, which is its right
        sys.stderr.close()
        return EXIT_OK


def _report_error(error: HornetConvertError, arguments: list[str]) -> int:
    if "--json" in arguments and "validate" not in arguments[:1]:
        from hornet_convert.cli.render import print_json
        from hornet_convert.report import Report

        print_json(Report(error=error).to_json())
    else:
        click.echo(f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(f"Hint: {error.hint}", err=True)
    return error.exit_code
