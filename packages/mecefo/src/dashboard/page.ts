import { escapeHtml } from "../report/page.ts";

const faultTitles: { readonly [fault: string]: readonly [label: string, help: string] } = {
  kill: ["Kill", "kill -9: the process is gone at once; a neighbour takes its stage over"],
  stop: ["Stop", "SIGSTOP: the process freezes without a word; its heartbeats end"],
  cut: ["Cut links", "closes its connections to its peers"],
  slow: ["Slow down", "holds its outgoing frames back for a while"],
  corrupt: ["Corrupt", "flips bits in its next frames"],
};

/** The live page; what it shows comes from /events. */
export function pageHtml({ title, faults }: { readonly title: string; readonly faults: readonly string[] }): string {
  const buttons = faults.map((fault) => {
    const [label, help] = faultTitles[fault] ?? [fault, fault];
    const text = `<b>${escapeHtml(label)}</b><span>${escapeHtml(help)}</span>`;
    return `<button type="button" class="fault" data-fault="${escapeHtml(fault)}">${text}</button>`;
  });
  const hint = faults.length === 0 ? "" : "<p class=\"hint\">Choose a worker to see what it does, and to bring a fault about.</p>";
  const tiles = [
    ["steps", "step"], ["loss", "loss"], ["tokens/s", "speed"], ["goodput", "goodput"], ["workers", "workers"], ["epoch", "epoch"],
    ["recoveries", "recoveries"], ["last recovery", "recovery"],
  ].map(([label, id]) => `<div><dt>${label}</dt><dd id="${id}">–</dd></div>`);
  const legend = [
    ["healthy", "healthy"], ["neighbour", "neighbour: hosts others' stages"], ["healing", "healing"], ["idle", "idle: pipeline lost"],
    ["failed", "failed"],
  ].map(([state, label]) => `<li><i class="${state}"></i>${label}</li>`);
  const recoveryHeads = ["time", "epoch", "step", "cause", "ms", "bytes", "what happened"].map((head) => `<th scope="col">${head}</th>`);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)} · MeCeFO</title><link rel="stylesheet" href="/page.css"><link rel="icon" href="data:,"></head>
<body>
<header><div><h1>${escapeHtml(title)}</h1><p id="subtitle"></p></div>
<p id="status" role="status" data-state="waiting">connecting</p></header>
<main>
<dl class="tiles">${tiles.join("")}</dl>
<section id="grid-section" aria-labelledby="grid-title"><h2 id="grid-title">Grid</h2>${hint}
<ul class="legend">${legend.join("")}</ul>
<div class="wide" tabindex="0" role="region" aria-labelledby="grid-title">
<table id="grid"><caption class="hidden">Workers by pipeline and stage</caption><thead></thead><tbody></tbody></table></div>
<p class="hint" id="hidden-cells" hidden></p></section>
<div class="pair">
<section aria-labelledby="loss-title"><h2 id="loss-title">Loss</h2><div id="loss-chart" class="plot"></div></section>
<section aria-labelledby="speed-title"><h2 id="speed-title">Tokens per second</h2><div id="speed-chart" class="plot"></div></section>
</div>
<p class="hint shade-hint"><i></i>shaded: steps taken while a worker was missing</p>
<div class="pair">
<section aria-labelledby="energy-title"><h2 id="energy-title">Captured energy of the projection</h2>
<div id="energy"><p class="empty">No degraded step has measured it yet.</p></div>
<div id="energy-chart" class="plot" data-height="150"></div></section>
<section aria-labelledby="messages-title"><h2 id="messages-title">Faults and notes</h2><ol id="messages" class="messages"></ol>
<p class="empty" id="no-messages">Nothing yet.</p></section>
</div>
<section aria-labelledby="recoveries-title"><h2 id="recoveries-title">Recoveries</h2>
<div class="wide" tabindex="0" role="region" aria-labelledby="recoveries-title">
<table id="recovery-table"><thead><tr>${recoveryHeads.join("")}</tr></thead><tbody></tbody></table></div>
<p class="empty" id="no-recoveries">None yet.</p></section>
</main>
<dialog id="worker" aria-labelledby="worker-title">
<form method="dialog"><h2 id="worker-title"></h2><button class="close" aria-label="Close">×</button></form>
<p id="worker-state"></p><dl id="worker-facts"></dl>
<div id="worker-faults">${buttons.join("")}</div>
<div id="confirm" hidden><p id="confirm-text"></p>
<button type="button" id="confirm-yes" class="danger"></button><button type="button" id="confirm-no">Cancel</button></div>
<p id="worker-result" role="status"></p></dialog>
<script src="/page.js" defer></script>
</body></html>
`;
}
