"""`publish`: a model as a repository of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hornet_convert.bars import Bars
from hornet_convert.cli import asked, completion, options, output
from hornet_convert.conversion.request import Onnx, Request
from hornet_convert.errors import UsageError


@click.command("publish")
@click.argument("what", metavar="NAME|FILE", shell_complete=completion.names_or_files)
@click.option(
    "--out",
    metavar="DIR",
    required=True,
    type=options.PATH,
    shell_complete=completion.folders,
    help="The folder; made if need be.",
)
@click.option("--onnx", is_flag=True, help="With onnx/model.onnx, the weights inside.")
@click.option(
    "--push",
    metavar="ORG/REPO",
    help="Upload it to this repository of the Hub, made if need be.  [env: HF_ENDPOINT, HF_TOKEN]",
)
@options.edits
@options.key
@options.ema
@options.known_by
@options.require
@options.download
@options.no_forward
@options.force
@options.verbose
@options.as_json
def publish_command(
    what: str,
    out: Path,
    onnx: bool,
    push: str | None,
    verbose: bool,
    as_json: bool,
    **values: Any,
) -> int:
    """Make a folder that is a repository of the Hub: weights, configurations, licence, model card.

    Of one of the nine, which is fetched, or of a checkpoint. The card says what was checked, and
    of what was not, why. What fails a check is neither written nor pushed.

    \b
    Examples:
      hornet-convert publish tiny-gf --out tiny-gf --onnx
      hornet-convert publish hornet_large_gf.pth --out lg --head in1k --push ORG/REPO
    """
    from hornet_convert.api import publish

    found = publish.meant(what)
    given = [name for name in ("sha256", "against", "signed_by") if values[name] is not None]
    if given and not isinstance(found, Path):
        raise UsageError(
            f"--{given[0].replace('_', '-')} is for a file, and {found.name} is fetched",
            hint="Leave it out: what is published is known, and --require asks for more.",
        )
    with output.about(what), Bars(values["quiet"]) as bars:
        request = Request(
            out=out,
            edits=asked.edits_from(values),
            onnx=Onnx(single_file=True) if onnx else None,
            claims=asked.claims_from(values, found, bars.show) if isinstance(found, Path) else (),
            require=values["require"],
            force=values["force"],
            **asked.which(values),
        )
        report = publish.publish(
            what,
            request,
            push=push,
            settings=asked.download_from(values),
            forward=not values["no_forward"],
            events=bars.download,
            progress=bars.conversion,
        )
    output.tell(report, as_json, verbose, what)
    return output.finish([report], as_json)
