import type { AssignmentSettings } from "../grid/assignment.ts";
import { cellSpans, MOST_CELLS, type CellState } from "./grid-cells.ts";
import { escapeHtml, type LegendEntry } from "./page.ts";
import type { EpochEvent, RunEvent } from "../membership/run-event.ts";

const WIDTH = 1040;
const LEFT = 72;
const RIGHT = 24;
const ROW = 22;
const GAP = 4;
/** Rows that a page shows: larger grids are cut off, and the page says so. */
export const MOST_TIMELINE_ROWS = 128;

/** What the timeline's colours stand for. */
export const cellLegend: readonly LegendEntry[] = (
  [
    ["healthy", "healthy"], ["neighbour", "neighbour: hosts others' stages, degraded"], ["healing", "healing: fetches state"],
    ["idle", "idle: its pipeline is lost"], ["failed", "failed"],
  ] satisfies readonly (readonly [CellState, string])[]
).map(([className, label]) => ({ className, label }));

/** |N(l)| over time, a row a stage whose height says how many pipelines of all; undefined without epochs. */
export function renderMixerTimeline(events: readonly RunEvent[], pipelines: number): string | undefined {
  const epochs = events.filter((event): event is EpochEvent => event.kind === "epoch");
  const time = timeOf(events);
  const stages = epochs.reduce((most, { mixerPipelines }) => Math.max(most, mixerPipelines.length), 0);
  if (time === undefined || stages === 0) return undefined;
  const { begin, end, x } = time;
  const rows = Math.min(stages, MOST_TIMELINE_ROWS);
  const parts = Array.from({ length: rows }, (_, stage) => {
    const bottom = stage * (ROW + GAP) + ROW;
    const bars = epochs.map(({ at, mixerPipelines }, i) => {
      const size = mixerPipelines[stage]?.length ?? 0;
      const until = epochs[i + 1]?.at ?? end;
      const height = Math.max(2, (ROW * size) / pipelines);
      const style = size === 0 ? "mixer none" : size < pipelines ? "mixer low" : "mixer";
      const width = Math.max(0.5, x(until) - x(at));
      const box = `x="${fixed(x(at))}" y="${fixed(bottom - height)}" width="${fixed(width)}" height="${fixed(height)}"`;
      const title = `stage ${stage}: ${size} of ${pipelines}, ${fixed((at - begin) / 1000)} to ${fixed((until - begin) / 1000)} s`;
      return `<rect class="${style}" ${box}><title>${title}</title></rect>`;
    });
    return `<text class="tick" x="${LEFT - 10}" y="${bottom - ROW / 2 + 4}" text-anchor="end">stage ${stage}</text>${bars.join("")}`;
  });
  return frame([...parts, timeAxis(time, rows)], rows);
}

/** When a run began and ended, and where a time is in the drawing. */
interface DrawnTime {
  readonly begin: number;
  readonly end: number;
  x(at: number): number;
}

function timeOf(events: readonly RunEvent[]): DrawnTime | undefined {
  const begin = events[0]?.at;
  const end = events.at(-1)?.at;
  if (begin === undefined || end === undefined || end <= begin) return undefined;
  return { begin, end, x: (at) => LEFT + ((at - begin) / (end - begin)) * (WIDTH - LEFT - RIGHT) };
}

function fixed(value: number): string {
  return value.toFixed(1);
}

/** Seconds, under the rows. */
function timeAxis({ begin, end, x }: DrawnTime, rows: number): string {
  const every = tickEvery((end - begin) / 1000);
  const bottom = rows * (ROW + GAP);
  return Array.from({ length: Math.floor((end - begin) / 1000 / every) + 1 }, (_, i) => {
    const at = fixed(x(begin + i * every * 1000));
    const label = String(Number((i * every).toPrecision(6)));
    const rule = `<line class="rule" x1="${at}" x2="${at}" y1="${bottom}" y2="${bottom + 5}"/>`;
    return `${rule}<text class="tick" x="${at}" y="${bottom + 20}" text-anchor="middle">${label}</text>`;
  }).join("");
}

function frame(parts: readonly string[], rows: number): string {
  const height = rows * (ROW + GAP) + 28;
  return `<svg class="chart" role="img" viewBox="0 0 ${WIDTH} ${height}" xmlns="http://www.w3.org/2000/svg">${parts.join("")}</svg>`;
}

/** A round number of seconds so that the axis has about ten ticks. */
function tickEvery(seconds: number): number {
  const rough = seconds / 10;
  const power = 10 ** Math.floor(Math.log10(rough));
  return ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10) * power;
}

/** The grid over time, a row a slot, as SVG; faults are triangles on their rows. Undefined without epochs, or for too large a grid. */
export function renderTimeline(events: readonly RunEvent[], settings: AssignmentSettings): string | undefined {
  if (settings.grid.pipelines * settings.grid.stages > MOST_CELLS) return undefined;
  const rows = cellSpans(events, settings).slice(0, MOST_TIMELINE_ROWS);
  const time = timeOf(events);
  if (time === undefined || rows.every(({ spans }) => spans.length === 0)) return undefined;
  const { begin, x } = time;
  const parts = rows.map(({ slot, spans }, index) => {
    const y = index * (ROW + GAP);
    const bars = spans.map((span) => {
      // What is shorter than a pixel is shown all the same: short healings are the point.
      const width = Math.max(1, x(span.end) - x(span.begin));
      const title = `${slot} ${span.state}, ${((span.begin - begin) / 1000).toFixed(1)} to ${((span.end - begin) / 1000).toFixed(1)} s`;
      const box = `x="${fixed(x(span.begin))}" y="${y}" width="${fixed(width)}" height="${ROW}"`;
      return `<rect class="${span.state}" ${box}><title>${title}</title></rect>`;
    });
    return `<text class="tick" x="${LEFT - 10}" y="${y + ROW / 2 + 4}" text-anchor="end">${slot}</text>${bars.join("")}`;
  });
  const faults = events.flatMap((event) => {
    const index = event.kind === "fault" ? rows.findIndex(({ slot }) => slot === event.slot) : -1;
    if (event.kind !== "fault" || index === -1) return [];
    const [at, y] = [x(event.at), index * (ROW + GAP)];
    const title = escapeHtml(`${event.fault} ${event.slot} at ${((event.at - begin) / 1000).toFixed(1)} s: ${event.detail}`);
    return `<path class="fault" d="M${fixed(at - 4)} ${y}h8l-4 8z"><title>${title}</title></path>`;
  });
  return frame([...parts, ...faults, timeAxis(time, rows.length)], rows.length);
}
