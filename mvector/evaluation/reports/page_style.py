"""How the page of a report looks: on a screen, in the dark, on a telephone, on paper."""

STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --muted: #5c6670; --line: #dfe3e8;
        --page: #fff; --tile: #f5f7f9; --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ec; --muted: #9aa4ae; --line: #343b43; --page: #15181c; --tile: #1e2329;
          --accent: #56b4e9; }
}
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
       color: var(--text); background: var(--page); max-width: 66rem; margin: 0 auto;
       padding: 3rem 1.5rem 4rem; overflow-wrap: break-word; }
header { border-top: 4px solid var(--accent); padding-top: 1.2rem; }
.kind { margin: 0; color: var(--accent); font-size: .8rem; font-weight: 600; letter-spacing: .08em;
        text-transform: uppercase; }
h1 { font-size: 2rem; line-height: 1.2; letter-spacing: -.015em; margin: .3rem 0; }
h2 { font-size: 1.25rem; line-height: 1.3; letter-spacing: -.01em; margin: 3.2rem 0 .4rem; }
p { margin: .3rem 0; max-width: 46rem; }
.muted, .note, figcaption, dt { color: var(--muted); }
.note { font-size: .875rem; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .85em; }
code { overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem;
         margin: 1.8rem 0 1.2rem; padding: 0; list-style: none; }
.tiles li { background: var(--tile); border-radius: .6rem; padding: .9rem 1rem 1rem; }
.tiles b { display: block; font-size: 1.9rem; line-height: 1.25; font-weight: 650;
           letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
.tiles li:first-child b { color: var(--accent); }
.tiles .name { font-size: .85rem; font-weight: 600; }
.tiles .about { display: block; font-size: .8rem; line-height: 1.4; color: var(--muted);
                overflow-wrap: anywhere; }
pre { background: var(--tile); border-radius: .6rem; padding: .7rem 1rem; margin: .4rem 0;
      white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--accent); margin: .6rem 0; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .42rem 0 .42rem 1.6rem; text-align: right; vertical-align: baseline;
         border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; color: var(--muted); border-bottom-color: var(--muted); }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: pre; }
tbody tr:hover td { background: var(--tile); }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(27rem, 100%), 1fr));
            gap: 1.2rem; align-items: start; }
.pictures .pictures { grid-template-columns: 1fr; }
.pictures th { white-space: normal; vertical-align: bottom; }
.pictures :is(th, td):not(:first-child) { padding-left: 1.1rem; }
figure { margin: .8rem 0; max-width: 40rem; }
figcaption { font-size: .875rem; margin-top: .4rem; }
img { display: block; width: 100%; height: auto; background: #fff; border-radius: .4rem;
      padding: .3rem; }
.trials table { width: 100%; table-layout: fixed; }
.trials th, .trials td { text-align: left; white-space: normal; vertical-align: top; }
.trials th:first-child, .trials td:first-child { width: 4.5rem; }
.trials td:first-child { font-weight: 600; }
.trials .path { display: block; font-size: .8rem; line-height: 1.4; color: var(--muted);
                overflow-wrap: anywhere; }
audio { display: block; width: 100%; max-width: 22rem; height: 2.2rem; margin: .1rem 0 .3rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.4rem; font-size: .875rem; }
dd { margin: 0; min-width: 0; }
@media (max-width: 40rem) {
  body { padding: 1.2rem 1rem 3rem; }
  h1 { font-size: 1.55rem; } h2 { margin-top: 2.4rem; }
  .tiles { grid-template-columns: 1fr 1fr; gap: .6rem; }
  .tiles li:first-child { grid-column: 1 / -1; }
  .tiles li { padding: .7rem .8rem; } .tiles b { font-size: 1.5rem; }
  .tiles li:first-child b { font-size: 2.2rem; }
  table { font-size: .82rem; }
  :is(th, td):not(:first-child), .pictures :is(th, td):not(:first-child) { padding-left: .8rem; }
  th { white-space: normal; vertical-align: bottom; }
  .scroll:not(.trials) td:first-child { white-space: pre-wrap; min-width: 7rem; }
  .pictures .scroll td:first-child { min-width: 0; }
  .trials thead { display: none; }
  .trials table, .trials tbody, .trials tr, .trials td { display: block; width: auto; }
  .trials td { border: 0; padding: .15rem 0; }
  .trials td:first-child { width: auto; font-size: 1rem; }
  .trials tr { border-bottom: 1px solid var(--line); padding: .6rem 0; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .6rem; }
}
@media print {
  :root { color-scheme: light; --text: #000; --muted: #444; --line: #ccc; --page: #fff;
          --tile: #fff; --accent: #0072b2; }
  @page { margin: 16mm; }
  html { font-size: 9.5pt; }
  body { font-size: 1rem; max-width: none; padding: 0; }
  .pictures:has(> * + *) { grid-template-columns: 1fr 1fr; }
  .tiles { grid-template-columns: repeat(5, minmax(0, 1fr)); }
  .tiles li { border: 1px solid var(--line); }
  .tiles b { font-size: 1.5rem; }
  audio, details { display: none; }
  .scroll { overflow: visible; }
  th, td { padding: .25rem 0 .25rem .8rem; }
  h2 { break-after: avoid; margin-top: 1.6rem; }
  .tiles, tr, figure, pre { break-inside: avoid; }
}
"""
