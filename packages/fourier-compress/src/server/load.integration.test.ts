import { loadModel, openStories15m } from "@frugal/language-model";
import { describe, expect, it } from "vitest";
import { tinyModel } from "../tiny-model.testing.ts";
import { runLoad, type LoadReport } from "./load.testing.ts";

function expectBounded(report: LoadReport): void {
  expect(report.concurrentSessions).toBe(report.sessions);
  expect(report.peakCacheBytes).toBeGreaterThan(0);
  expect(report.peakCacheBytes).toBeLessThanOrEqual(report.cacheBytesLimit);
  expect(report.leakedAllocations).toBe(0);
}

describe("many sessions at the same time", () => {
  it("each have the tokens that they would have alone (random weights, 128 sessions, in-process)", async () => {
    using model = tinyModel();
    const report = await runLoad(model, { sessions: 128, connections: 16, newTokens: 20, transport: "in-process", cacheBytes: 4 << 20 });
    expectBounded(report);
    expect(report.identicalSessions).toBe(128);
    expect(report.residentGrowthBytes).toBeLessThan(150e6);
  });

  it("share steps (random weights, 64 sessions, packed)", async () => {
    using model = tinyModel();
    const report = await runLoad(model, { newTokens: 20, transport: "in-process", exact: false, cacheBytes: 4 << 20 });
    expectBounded(report);
    // Other kernels round differently, which hardly ever decides about a token.
    expect(report.identicalSessions).toBeGreaterThanOrEqual(60);
    expect(report.steps).toBeLessThan((64 * 20) / 3);
  });

  it("each have the tokens that they would have alone (stories15M, 64 sessions, WebSocket)", async () => {
    const source = await openStories15m();
    using model = await loadModel(source).finally(() => source.close());
    const report = await runLoad(model, { newTokens: 8, cacheBytes: 64 << 20 });
    expectBounded(report);
    expect(report.identicalSessions).toBe(64);
    expect(report.tokens).toBeGreaterThan(64 * 7);
    expect(report.residentGrowthBytes).toBeLessThan(400e6);
  });
});
