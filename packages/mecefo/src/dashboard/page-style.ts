import { paletteStyle } from "../report/page.ts";

/** The live page's style. */
export const pageStyle: string = `${paletteStyle}
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); }
header { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: center; gap: 8px 24px; max-width: 1240px;
  margin: 0 auto; padding: 24px 24px 8px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; } header p { margin: 0; color: var(--muted); }
#status { padding: 5px 14px; border-radius: 99px; border: 1px solid var(--line); background: var(--surface); font-weight: 600;
  color: var(--ink); max-width: 100%; }
#status::before { content: ""; display: inline-block; width: 9px; height: 9px; border-radius: 9px; margin-right: 8px;
  background: var(--idle); }
#status[data-state="training"]::before { background: var(--healthy); } #status[data-state="healing"]::before { background: var(--healing); }
#status[data-state="degraded"]::before { background: var(--neighbour); }
#status[data-state="finished"]::before { background: var(--accent); }
#status[data-state="failed"]::before, #status[data-state="lost"]::before { background: var(--failed); }
main { max-width: 1240px; margin: 0 auto; padding: 8px 24px 64px; }
section { background: var(--surface); border: 1px solid var(--line); border-radius: 12px; padding: 16px 20px 20px; margin: 0 0 16px;
  min-width: 0; }
h2 { font-size: 1.0625rem; margin: 0 0 8px; }
.hint, .empty { color: var(--muted); font-size: .8125rem; margin: 0 0 10px; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 1px; margin: 0 0 16px;
  border: 1px solid var(--line); border-radius: 12px; overflow: hidden; background: var(--line); }
.tiles div { background: var(--surface); padding: 12px 16px; }
dt { color: var(--muted); font-size: .8125rem; } dd { margin: 0; font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; }
dd small { white-space: nowrap; font-size: .8125rem; font-weight: 400; color: var(--muted); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 16px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; margin: 0 0 12px; padding: 0; color: var(--muted);
  font-size: .8125rem; }
i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.healthy { --state: var(--healthy); } .neighbour { --state: var(--neighbour); } .healing { --state: var(--healing); }
.idle { --state: var(--idle); } .failed { --state: var(--failed); } i { background: var(--state, var(--idle)); }
.wide { overflow-x: auto; } .wide:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
#grid { border-collapse: separate; border-spacing: 8px; margin: -8px; width: calc(100% + 16px); table-layout: fixed; }
#grid th { font-weight: 500; color: var(--muted); font-size: .8125rem; text-align: left; } #grid thead th:first-child { width: 84px; }
#grid { min-width: calc(92px + var(--stages, 1) * 132px); }
#grid td { padding: 0; height: 1px; }
.mixer { display: block; font-variant-numeric: tabular-nums; } .mixer b { color: var(--ink); } .mixer.low b { color: var(--bad); }
.bar { display: block; height: 5px; border-radius: 5px; background: var(--line); margin-top: 3px; overflow: hidden; }
.bar > span { display: block; height: 100%; background: var(--accent); border-radius: 5px; }
.low .bar > span { background: var(--failed); }
.cell { display: block; width: 100%; height: 100%; min-height: 76px; padding: 8px 10px; text-align: left;
  font: inherit; color: var(--ink); cursor: pointer; border-radius: 8px;
  border: 1px solid color-mix(in srgb, var(--state) 55%, transparent); border-left: 5px solid var(--state);
  background: color-mix(in srgb, var(--state) 12%, var(--surface)); transition: background .25s, border-color .25s; }
.cell:hover { background: color-mix(in srgb, var(--state) 22%, var(--surface)); }
.cell:focus-visible, button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.cell.failed { border-style: dashed; border-left-style: solid; }
.cell b, .cell span { display: block; }
.cell span { font-size: .8125rem; color: var(--muted); }
.cell .what { color: var(--ink); font-weight: 500; }
.cell.healing .what::after { content: " …"; }
.plot svg { display: block; width: 100%; height: auto; }
.plot text { fill: var(--muted); font: 11px system-ui, sans-serif; }
.plot .axis { stroke: var(--line); fill: none; }
.plot .curve { fill: none; stroke: var(--accent); stroke-width: 1.75; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.plot .shade { fill: var(--neighbour); opacity: .16; }
.plot .point { fill: var(--accent); }
.shade-hint { margin: -8px 0 16px; } .shade-hint i { background: var(--neighbour); opacity: .35; }
.energy { display: grid; grid-template-columns: 56px 1fr 60px; gap: 10px; align-items: center; margin: 6px 0; }
#energy:has(.energy) { margin-bottom: 14px; }
.energy .bar { height: 10px; margin: 0; }
.energy output { text-align: right; font-variant-numeric: tabular-nums; }
.messages { list-style: none; margin: 0; padding: 0; max-height: 260px; overflow-y: auto; font-size: .8125rem; }
.messages li { display: flex; gap: 10px; padding: 4px 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.messages time { color: var(--muted); flex: none; font-variant-numeric: tabular-nums; }
#recovery-table { border-collapse: collapse; width: 100%; font-size: .8125rem; font-variant-numeric: tabular-nums; }
#recovery-table th, #recovery-table td { text-align: right; padding: 5px 0 5px 16px; border-bottom: 1px solid var(--line);
  white-space: nowrap; vertical-align: top; }
#recovery-table th { color: var(--muted); font-weight: 500; }
#recovery-table th:first-child, #recovery-table td:first-child, #recovery-table th:nth-child(4), #recovery-table td:nth-child(4),
  #recovery-table th:last-child, #recovery-table td:last-child { text-align: left; }
#recovery-table th:first-child, #recovery-table td:first-child { padding-left: 0; }
#recovery-table td:last-child { white-space: normal; min-width: 260px; }
dialog { border: 1px solid var(--line); border-radius: 14px; background: var(--surface); color: var(--ink); padding: 20px 24px 24px;
  width: min(460px, calc(100vw - 24px)); box-shadow: 0 20px 60px rgb(0 0 0 / .3); }
dialog::backdrop { background: rgb(2 6 23 / .5); }
dialog form { display: flex; justify-content: space-between; align-items: start; margin: 0; }
dialog p { margin: 0 0 12px; } .close { font-size: 1.25rem; line-height: 1; padding: 4px 10px; }
button { font: inherit; color: inherit; background: var(--surface); border: 1px solid var(--line); border-radius: 8px; padding: 8px 14px;
  cursor: pointer; }
button:hover { background: var(--ground); }
button:disabled { opacity: .5; cursor: default; }
#worker-facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(84px, 1fr)); gap: 10px; margin: 0 0 16px; }
#worker-facts dd { font-size: 1rem; }
#worker-faults { display: grid; gap: 8px; }
.fault { text-align: left; }
.fault b, .fault span { display: block; }
.fault span { color: var(--muted); font-size: .8125rem; }
#confirm { border-top: 1px solid var(--line); margin-top: 16px; padding-top: 14px; } #confirm button { margin-right: 8px; }
.danger { background: #b91c1c; border-color: #b91c1c; color: #fff; }
.danger:hover { background: #991b1b; }
#worker-result:empty { display: none; }
#worker-result { margin: 14px 0 0; }
[hidden] { display: none !important; }
@media (max-width: 760px) {
  .pair { grid-template-columns: 1fr; } header { padding: 16px 12px 8px; } main { padding: 8px 12px 40px; } section { padding: 14px; }
  .tiles { grid-template-columns: repeat(2, 1fr); }
  .tiles div { padding: 10px 12px; }
  #grid { min-width: calc(44px + var(--stages, 1) * 122px); }
  #grid thead th:first-child { width: 20px; }
  .pipeline-word { display: none; }
}
@media (min-width: 1120px) { .tiles { grid-template-columns: repeat(7, 1fr) 1.4fr; } }
@media (prefers-reduced-motion: reduce) { .cell { transition: none; } }
`;
