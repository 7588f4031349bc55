"""`hornet-convert list`."""

from __future__ import annotations

from typing import Any

import click

from hornet_convert.cli import options
from hornet_convert.family import zoo


@click.command("list")
@options.as_json
def list_models(as_json: bool) -> int:
    """Show the nine published checkpoints, with parameters and FLOPs computed from the definition.

    \b
    Example:
      hornet-convert list --json
    """
    if as_json:
        import json

        click.echo(json.dumps({"status": "pass", "models": [row(m) for m in zoo.MODELS]}, indent=2))
    else:
        from hornet_convert.cli.render import print_models

        print_models([row(model) for model in zoo.MODELS])
    return 0


def row(model: zoo.Published) -> dict[str, Any]:
    """One of the nine as a JSON object; parameters and FLOPs are computed here, not copied."""
    architecture = model.architecture
    return {
        "name": model.name,
        "label": model.label,
        "file": model.file_name,
        "resolution": architecture.resolution,
        "pretraining": zoo.DATASETS[model.dataset],
        "parameters": architecture.parameters(model.published_classes),
        "parameters_classes": model.published_classes,
        "published_parameters_m": model.parameters_m,
        "published_parameters_right": model.parameters_are_right,
        "flops": architecture.flops(),
        "published_flops": model.flops_exact,
        "published_flops_g": model.flops_g,
        "top1": model.top1,
        "top5": model.top5,
        "errata": list(model.errata),
        "openmmlab_url": model.openmmlab_url,
        "official_urls": list(model.official_urls),
    }
