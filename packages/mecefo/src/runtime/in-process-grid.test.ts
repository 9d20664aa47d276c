import { describe, expect, it } from "vitest";
import type { StepEvent } from "../report/run-event.ts";
import { tinyGrid, tinyJob } from "./tiny-run.testing.ts";

const stepsOf = (events: readonly { kind: string }[]): StepEvent[] => events.filter((event): event is StepEvent => event.kind === "step");

describe("InProcessGrid", () => {
  it("trains without failures", async () => {
    const { grid, events } = tinyGrid(tinyJob());
    const outcome = await grid.run();
    console.log(events.map((e) => JSON.stringify(e)).join("\n"));
    expect(outcome).toEqual({ kind: "finished", step: 6 });
    expect(stepsOf(events)).toHaveLength(6);
  });
  it("trains on when a worker dies and comes back", async () => {
    const { grid, events } = tinyGrid(tinyJob({ steps: 60 }), {});
    const run = grid.run();
    const until = async (step: number): Promise<void> => { while (stepsOf(events).length < step) await new Promise((r) => setTimeout(r, 5)); };
    await until(5);
    await grid.kill("p0s1");
    await until(25);
    grid.start("p0s1");
    const outcome = await run;
    console.log(events.filter((e) => e.kind !== "step").map((e) => JSON.stringify(e)).join("\n"));
    expect(outcome).toEqual({ kind: "finished", step: 60 });
  });
});
