"""`hornet-convert verify`."""

from __future__ import annotations

from pathlib import Path

import click

from hornet_convert.cli import options


@click.command()
@options.ckpt
@options.model
@click.option(
    "--sha256",
    metavar="HEX",
    help="The SHA-256 the file should have, or its first 8 digits or more.",
)
@options.ema
@options.no_forward
@options.as_json
def verify(
    ckpt: Path, model: str | None, sha256: str | None, ema: bool, no_forward: bool, as_json: bool
) -> int:
    r"""Tell the truth about any file: what it is, and whether it is right. Writes nothing.

    \b
    Example:
      hornet-convert verify --ckpt hornet-tiny_3rdparty_in1k_20220915-0e8eedff.pth
    """
    from hornet_convert import verify as verification
    from hornet_convert.checks import Expected
    from hornet_convert.cli.finish import finish
    from hornet_convert.cli.progress import progress_bars

    expected = []
    if sha256 is not None:
        digits = sha256.strip().lower()
        if not 8 <= len(digits) <= 64 or set(digits) - set("0123456789abcdef"):
            raise click.BadParameter("give 8 to 64 hex digits", param_hint="--sha256")
        expected.append(Expected(digits, "--sha256"))
    with progress_bars() as bars:
        report = verification.verify(
            ckpt,
            model=model,
            expected=expected,
            ema=ema,
            forward=not no_forward,
            progress=bars.show,
        )
    return finish(report, as_json)
