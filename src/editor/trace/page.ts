/** What a page may load: its own script and style, nothing from anywhere else. */
export interface PageParts {
  readonly nonce: string;
  /** Of the webview, for the policy. */
  readonly source: string;
  readonly script: string;
  readonly style: string;
}

const button = (id: string, label: string, title: string): string =>
  `<button id="${id}" type="button" title="${title}">${label}</button>`;

const tab = (id: string, label: string, selected: boolean): string =>
  `<button id="tab-${id}" type="button" role="tab" aria-controls="${id}" aria-selected="${selected}" tabindex="${selected ? 0 : -1}">${label}</button>`;

/** The trace's page; everything in it is filled in by its script. */
export const tracePage = ({ nonce, source, script, style }: PageParts): string => `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src ${source}; script-src 'nonce-${nonce}';">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hypercall trace</title>
<link rel="stylesheet" href="${style}">
</head>
<body>
<header>
<div id="filter-box">
<input id="filter" type="text" role="combobox" aria-label="Filter" aria-autocomplete="list" aria-expanded="false" aria-controls="suggestions" aria-describedby="filter-problem" placeholder="Filter: mmu_update &amp;&amp; refused, dom == 1, rip in FUNCTION, count > 4 (Ctrl+F)" spellcheck="false" autocomplete="off">
<ul id="suggestions" role="listbox" aria-label="Completions" hidden></ul>
<div id="filter-problem" role="alert"></div>
</div>
<div id="actions" role="toolbar" aria-label="Trace">
${button('go-current', 'Go to Current', 'The last record of where the machine stands (Alt+C)')}
${button('export', 'Export…', 'What the filter shows as NDJSON, CSV or a Perfetto trace')}
${button('open', 'Open File…', 'A trace that was exported')}
${button('compare', 'Compare…', 'With a trace in a file: where they diverge')}
</div>
</header>
<div id="status" role="status" aria-live="polite"><span id="title"></span> <span id="count"></span> <progress id="progress" max="1" hidden></progress> <button id="stop" type="button" hidden>Stop</button></div>
<canvas id="timeline" tabindex="0" role="img" aria-label="Timeline"></canvas>
<div id="timeline-hint"><span id="span"></span><button id="zoom-all" type="button" title="Show all of it (0)" hidden>Show All</button><button id="axis" type="button" title="Instructions or virtual time"></button></div>
<div id="tabs" role="tablist" aria-label="Parts">
${tab('records', 'Records', true)}${tab('totals', 'Totals', false)}${tab('differences', 'Differences', false)}
</div>
<main>
<section id="records" role="tabpanel" aria-labelledby="tab-records"></section>
<section id="totals" role="tabpanel" aria-labelledby="tab-totals" tabindex="0" hidden></section>
<section id="differences" role="tabpanel" aria-labelledby="tab-differences" hidden></section>
</main>
<script nonce="${nonce}" src="${script}"></script>
</body>
</html>`;
