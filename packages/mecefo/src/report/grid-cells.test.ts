import { describe, expect, it } from "vitest";
import { cellSpans, gridCells, healed, settingsFromEvents } from "./grid-cells.ts";
import { fabricatedJob, fabricateEpoch, fabricateRun } from "./run-events.testing.ts";

const cellOf = (cells: ReturnType<typeof gridCells>, slot: string) => cells.find((cell) => cell.slot === slot)!;

describe("the cells of a grid", () => {
  it("say who failed, who hosts for whom, and who heals", () => {
    const healthy = gridCells(fabricatedJob, fabricateEpoch(fabricatedJob, 1, 0, []));
    expect(new Set(healthy.map(({ state }) => state))).toEqual(new Set(["healthy"]));
    const failed = gridCells(fabricatedJob, fabricateEpoch(fabricatedJob, 2, 3, ["p0s1"]), healthy);
    expect(cellOf(failed, "p0s1")).toMatchObject({ state: "failed", hostedBy: "p0s2", from: 1, to: 1 });
    expect(cellOf(failed, "p0s2")).toMatchObject({ state: "healing", from: 1, to: 3, pid: 1002 });
    expect(cellOf(failed, "p1s1")).toMatchObject({ state: "healthy" });
    expect(cellOf(healed(failed, []), "p0s2").state).toBe("neighbour");
    const back = gridCells(fabricatedJob, fabricateEpoch(fabricatedJob, 3, 5, []), healed(failed, []));
    expect(back.filter(({ state }) => state === "healing").map(({ slot }) => slot)).toEqual(["p0s1"]);
  });

  it("know a process that came back between two epochs by its pid", () => {
    const first = gridCells(fabricatedJob, fabricateEpoch(fabricatedJob, 1, 0, []));
    const pids = [1000, 1001, 1002, 9999, 1004, 1005, 1006, 1007];
    const second = gridCells(fabricatedJob, fabricateEpoch(fabricatedJob, 2, 1, [], { pids }), first);
    expect(second.filter(({ state }) => state === "healing").map(({ slot }) => slot)).toEqual(["p0s3"]);
  });

  it("show what is left of a lost pipeline as idle", () => {
    const job = { ...fabricatedJob, maximumChain: 2 };
    const cells = gridCells(job, fabricateEpoch(job, 1, 0, ["p0s0", "p0s1", "p0s2"]));
    expect(cells.slice(0, 4).map(({ state, hostedBy }) => [state, hostedBy])).toEqual([
      ["failed", undefined], ["failed", undefined], ["failed", undefined], ["idle", undefined],
    ]);
  });

  it("span a run without gaps", () => {
    const events = fabricateRun(fabricatedJob, [{ slot: "p0s1", from: 5, to: 9 }]);
    const settings = settingsFromEvents(events)!;
    expect(settings.grid).toEqual({ pipelines: 2, stages: 4 });
    const rows = cellSpans(events, settings);
    for (const { spans } of rows) spans.slice(1).forEach((span, i) => expect(span.begin).toBe(spans[i]!.end));
    expect(rows[1]!.spans.map(({ state }) => state)).toEqual(["healthy", "failed", "healing", "healthy"]);
    // Its neighbour is at work in the epoch's own grid only after it has healed.
    expect(rows[2]!.spans.map(({ state }) => state).slice(0, 3)).toEqual(["healthy", "healing", "neighbour"]);
    expect(settingsFromEvents([])).toBeUndefined();
    const huge = { ...fabricateEpoch(fabricatedJob, 1, 0, []), live: ["p4095s4095"] };
    expect(settingsFromEvents([huge])).toBeUndefined();
  });
});
