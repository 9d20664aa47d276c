import { expect, it } from "vitest";
import { tinyGrid, tinyJob } from "./tiny-run.testing.ts";
it.each([["2x2", false], ["3x4", false], ["2x4", true]] as const)("%s tied %s", async (g, tied) => {
  const { grid, events } = tinyGrid(tinyJob({ steps: 60, grid: g }, tied), {}, tied);
  const run = grid.run();
  const steps = (): number => events.filter((e) => e.kind === "step").length;
  const until = async (n: number): Promise<void> => { while (steps() < n) await new Promise((r) => setTimeout(r, 5)); };
  await until(5);
  await grid.kill("p0s1");
  await until(25);
  grid.start("p0s1");
  expect(await run).toEqual({ kind: "finished", step: 60 });
  console.log(events.filter((e) => e.kind === "epoch" || e.kind === "recovery").map((e) => JSON.stringify(e)).join("\n"));
}, 20000);
