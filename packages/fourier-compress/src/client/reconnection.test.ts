import { describe, expect, it } from "vitest";
import { checkReconnect, pause, reconnectDelay } from "./reconnection.ts";

describe("reconnectDelay", () => {
  it("doubles up to its bound, and leaves half to chance", () => {
    const settings = checkReconnect();
    expect([0, 1, 2, 6, 7, 20].map((attempt) => reconnectDelay(settings, attempt, 1))).toEqual([100, 200, 400, 6400, 10_000, 10_000]);
    expect(reconnectDelay(settings, 3, 0)).toBe(400);
    expect(reconnectDelay(checkReconnect({ factor: 3, initialDelay: 10 }), 2, 1)).toBe(90);
  });
});

describe("checkReconnect", () => {
  it("refuses settings out of range", () => {
    expect(() => checkReconnect({ attempts: -1 })).toThrow("attempts -1");
    expect(() => checkReconnect({ initialDelay: Number.NaN })).toThrow("initialDelay NaN");
    expect(() => checkReconnect({ longestDelay: Infinity })).toThrow("longestDelay Infinity");
    expect(() => checkReconnect({ factor: 0.5 })).toThrow("factor 0.5");
  });
});

describe("pause", () => {
  it("ends early when it is aborted", async () => {
    const controller = new AbortController();
    const started = performance.now();
    const waiting = pause(10_000, controller.signal);
    controller.abort();
    await waiting;
    await pause(10_000, controller.signal);
    expect(performance.now() - started).toBeLessThan(1000);
  });
});
