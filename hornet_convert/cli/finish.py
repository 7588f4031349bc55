"""How a command ends: the report shown, the exit code chosen."""

from __future__ import annotations

from pathlib import Path

from hornet_convert.verification.report import Report, summary_to_json, worst_exit_code


def finish(report: Report, as_json: bool, html: Path | None = None) -> int:
    """Show one report, also as a page if asked, and return its exit code."""
    from hornet_convert.cli import render

    if html is not None:
        from hornet_convert.cli.pages import write_page

        write_page(report, html)
    if as_json:
        render.print_json(report.to_json())
    else:
        render.print_report(report)
    return report.exit_code


def finish_many(reports: list[Report], as_json: bool) -> int:
    """Show several reports and return the worst exit code."""
    from hornet_convert.cli import render

    if as_json:
        render.print_json(summary_to_json(reports))
    else:
        for report in reports:
            render.print_report(report)
    return worst_exit_code(reports)
