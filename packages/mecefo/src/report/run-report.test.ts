import { describe, expect, it } from "vitest";
import { MissingPeerError, smoothPoints, thinPoints } from "./charts.ts";
import { formatBytes, renderRunReport } from "./run-report.ts";
import { fabricatedJob, fabricateRun } from "./run-events.testing.ts";


const events = fabricateRun(fabricatedJob, [{ slot: "p0s1", from: 5, to: 9 }]);

describe("the report of runs", () => {
  it("is one page that needs nothing else", async () => {
    const page = await renderRunReport([{ name: "a <b>", events, job: fabricatedJob }, { name: "naive", events }], { title: "T <script>" });
    expect(page).toContain("<title>T &lt;script&gt;</title>");
    expect(page).toContain("a &lt;b&gt;");
    // Loss twice; for each run the grid, tokens/s, |N| and energy.
    expect(page.match(/<svg/g)!.length).toBe(2 + 2 * 4);
    expect(page).not.toMatch(/<script|src=|href=|url\((?!#)/);
    expect(page).toContain("p0s1 ended by SIGKILL");
    expect(page).toContain("p0s2 neighbour, ");
    expect(page).toContain("20 steps with 80 microbatches count");
  });

  it("says where the ledger is violated", async () => {
    const bad = events.filter((event) => event.kind !== "step" || event.step !== 3);
    const page = await renderRunReport([{ name: "bad", events: bad, job: fabricatedJob }]);
    expect(page).toContain("The ledger is violated 1 times");
    expect(page).toContain("lost-step");
    expect(page).toContain("4 · 0 · 0");
  });

  it("takes runs that have hardly begun", async () => {
    expect(await renderRunReport([{ name: "empty", events: [] }])).toContain("no events");
    expect(await renderRunReport([{ name: "short", events: events.slice(0, 1), job: fabricatedJob }])).toContain("|N(l)|");
  });

  it("smooths curves to means around each point", () => {
    expect(smoothPoints([[0, 1], [1, 4], [2, null], [3, 7], [4, 1]], 3)).toEqual([[0, 1], [1, 4], [3, 4], [4, 1]]);
    expect(smoothPoints([[0, 1], [1, 4]], 1)).toEqual([[0, 1], [1, 4]]);
  });

  it("thins curves to means and keeps their breaks", () => {
    expect(thinPoints([[0, 1], [1, 3], [2, null], [3, null]], 2)).toEqual([[0.5, 2], [2.5, null]]);
    expect(thinPoints(Array.from({ length: 5001 }, (_, i) => [i, i] as const)).length).toBeLessThanOrEqual(1000);
    expect([formatBytes(999), formatBytes(1500), formatBytes(2e7)]).toEqual(["999 B", "1.50 kB", "20.0 MB"]);
    expect(new MissingPeerError("echarts", "the charts of reports").message).toContain("npm install echarts");
  });
});
