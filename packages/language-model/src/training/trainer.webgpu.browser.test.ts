import { memory } from "@frugal/tensor-core";
import { webgpu } from "@frugal/tensor-core/webgpu";
import { afterAll, describe, expect, it } from "vitest";
import { RECORDED_RUN, trainRecordedRun } from "./recorded-run.testing.ts";

const device = await webgpu();
afterAll(() => device.destroy());

describe("training on WebGPU in the browser", () => {
  it("takes the recorded steps, within rounding, with the same bits in every run, and leaves nothing in memory", async () => {
    const before = memory("webgpu").allocations;
    const taken = await trainRecordedRun("webgpu");
    expect(memory("webgpu").allocations).toBe(before);
    expect(taken.length).toBe(RECORDED_RUN.length);
    for (const [step, [loss, gradientNorm]] of RECORDED_RUN.entries()) {
      // Rounding differs, and grows with the steps.
      expect(Math.abs(taken[step]![0] - loss) / loss, `loss of step ${step}`).toBeLessThan(2e-3);
      expect(Math.abs(taken[step]![1] - gradientNorm) / gradientNorm, `gradient norm of step ${step}`).toBeLessThan(2e-2);
    }
    expect(await trainRecordedRun("webgpu")).toEqual(taken);
  });
});
