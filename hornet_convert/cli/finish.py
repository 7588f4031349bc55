"""How a command ends: the report shown, the exit code chosen."""

from __future__ import annotations

from pathlib import Path

from hornet_convert.cli.documents import print_json
from hornet_convert.cli.streams import reader_may_go
from hornet_convert.verification.report import Report, summary_to_json, worst_exit_code


def finish(report: Report, as_json: bool, html: Path | None = None) -> int:
    """Show one report, also as a page if asked, and return its exit code."""
    if html is not None:
        from hornet_convert.cli.pages import write_page

        write_page(report, html)
    with reader_may_go():
        if as_json:
            print_json(report.to_json())
        else:
            _show(report)
    return report.exit_code


def finish_many(reports: list[Report], as_json: bool) -> int:
    """Show several reports and return the worst exit code."""
    with reader_may_go():
        if as_json:
            print_json(summary_to_json(reports))
        else:
            for report in reports:
                _show(report)
    return worst_exit_code(reports)


def _show(report: Report) -> None:
    from hornet_convert.cli.render import print_report

    print_report(report)
