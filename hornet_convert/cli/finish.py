"""How a command ends: the report shown, the exit code chosen."""

from __future__ import annotations

from hornet_convert.report import Report, summary_to_json, worst_exit_code


def finish(report: Report, as_json: bool) -> int:
    """Show one report and return its exit code."""
    from hornet_convert.cli import render

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
