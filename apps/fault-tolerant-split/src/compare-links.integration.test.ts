import { expect, it } from "vitest";
import { compareLinks } from "./compare-links.ts";

it("trains on through a kill with compressed links, on far fewer bytes", async () => {
  const lines: string[] = [];
  const [raw, compressed] = await compareLinks({
    model: "nano", sequenceLength: 48, warmUpSteps: 24, steps: 18, victim: "p0s1", activationRatio: 4, gradientError: 0.05,
    onLine: (line) => lines.push(line),
  });
  for (const { summary, name } of [raw, compressed]) {
    expect(summary, name).toMatchObject({ outcome: "finished", undoneSteps: 0, faults: 1 });
    expect(summary.failureRecoveries!.count, name).toBeGreaterThan(0);
    expect(summary.degradedSteps, name).toBeGreaterThan(0);
    expect(summary.ledger, name).toMatchObject({ ok: true, lost: 0, duplicated: 0, divergences: 0 });
  }
  // The warm-up ends a step or two after it is told to, for both the same.
  expect(compressed.summary.steps).toBe(raw.summary.steps);
  expect(raw.summary.steps).toBeGreaterThan(14);
  // Raw messages have a header of their own.
  expect(raw.traffic.activation.bytes).toBeGreaterThan(raw.traffic.activation.float32Bytes);
  expect(compressed.traffic.activation.float32Bytes / compressed.traffic.activation.bytes).toBeGreaterThan(6);
  expect(compressed.traffic.gradient.float32Bytes / compressed.traffic.gradient.bytes).toBeGreaterThan(5);
  expect(compressed.traffic.activation.messages).toBeGreaterThan(18);
  // Random weights are at ln 256 = 5.55.
  expect(raw.validationLoss).toBeLessThan(5);
  expect(Math.abs(compressed.validationLoss - raw.validationLoss)).toBeLessThan(0.05);
  expect(lines.join("\n")).toContain("p0s1");
});
