"""The look of the HTML reports: one style sheet, for the screen and for paper."""

STYLE = """
:root { color-scheme: light; --ink: #1f2328; --quiet: #57606a; --line: #d0d7de; }
* { box-sizing: border-box; }
body { margin: 0; background: #f6f8fa; color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; }
main { max-width: 1020px; margin: 0 auto; padding: 24px 16px 48px; }
header { margin-bottom: 16px; }
h1 { margin: 8px 0 0; font-size: 28px; line-height: 1.2; }
h2 { margin: 0 0 10px; font-size: 18px; }
section { background: #fff; border: 1px solid var(--line); border-radius: 8px;
  padding: 16px 20px; margin: 16px 0; }
section.alarm { border-color: #cf222e; background: #fff5f5; }
p { margin: 0 0 10px; max-width: 75ch; }
.lead { font-size: 16px; color: var(--quiet); margin-top: 8px; }
.path { margin: 4px 0 0; font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 13px;
  overflow-wrap: anywhere; }
.quiet { color: var(--quiet); font-size: 13px; }
.bad { color: #cf222e; }
.badge, .chip { display: inline-block; border-radius: 999px; color: #fff; background: #6e7781;
  white-space: nowrap; font-weight: 600; }
.badge { padding: 3px 14px; font-size: 15px; }
.chip { padding: 0 9px; font-size: 12px; }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 3px;
  background: #6e7781; }
.authentic, .pass { background: #1a7f37; }
.identified { background: #0a6c74; }
.consistent { background: #9a6700; }
.not-checked { background: #8c959f; }
.unreachable { background: #6e7781; }
.failed, .fail, .error { background: #cf222e; }
dl { display: grid; grid-template-columns: minmax(140px, max-content) 1fr; gap: 4px 18px;
  margin: 0; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
ul { margin: 8px 0; padding-left: 20px; }
li { overflow-wrap: anywhere; }
.scroll, figure { overflow-x: auto; }
figure { margin: 8px 0 14px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; vertical-align: top; padding: 5px 12px 5px 0;
  border-top: 1px solid var(--line); }
th { border-top: 0; color: var(--quiet); font-weight: 600; white-space: nowrap; }
td { overflow-wrap: anywhere; }
.checks td:nth-child(2) { min-width: 250px; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
svg { display: block; font-family: inherit; }
svg .halo { paint-order: stroke; stroke: #fff; stroke-width: 4px; }
svg .mark:hover circle { r: 7; }
svg .cell:hover { stroke: #000; }
summary { cursor: pointer; color: #0969da; margin-top: 12px; }
a { color: #0969da; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
