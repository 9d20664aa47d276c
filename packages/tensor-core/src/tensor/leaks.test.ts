import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, expect, it } from "vitest";
import { memory, setLeakReporting, tensor, type LeakReport } from "../index.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Makes a tensor that nobody holds afterwards. */
function lose(size: number, free: boolean): void {
  const lost = tensor(new Float32Array(size));
  const view = lost.slice([1]);
  if (free) for (const handle of [lost, view]) handle.dispose();
}

afterEach(() => setLeakReporting(false));

it("reports memory that was never freed, and only that", async () => {
  const reports: LeakReport[] = [];
  setLeakReporting(true, (leak) => reports.push(leak));
  const before = memory().allocations;
  lose(111, false);
  lose(222, true);
  for (let round = 0; round < 50 && reports.length === 0; round++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(reports.map(({ byteLength, device }) => [byteLength, device])).toEqual([[444, "cpu"]]);
  expect(reports[0]!.stack).toContain("lose");
  // Reported, not freed.
  expect(memory().allocations).toBe(before + 1);
});
