import { describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { closedLoopBounds, simulateClients, type ClientSimulationSettings } from "./client-simulation.ts";
import { EventQueue } from "./event-queue.ts";
import { FIGURE_7_CLAIMS, simulateFigure7 } from "./figure-7.ts";
import { findSaturation, sweepClients } from "./saturation.ts";
import { SharedLink } from "./shared-link.ts";

const base: ClientSimulationSettings = {
  clients: 20, linkBitsPerSecond: 1e9, tokens: 64, hiddenSize: 2048, bytesPerValue: 2, ratio: 1, accelerators: 2, requestSeconds: 0.004,
  thinkSeconds: 0.05, propagationSeconds: 0.001, deviceSeconds: 0.002, overheadBytes: 100,
};

describe("EventQueue", () => {
  it("gives values by time, equals in the order they came", () => {
    const queue = new EventQueue<number>();
    const times = Array.from({ length: 500 }, (_, i) => (i * 7919) % 83);
    times.forEach((time, index) => queue.add(time, index));
    const expected = times.map((time, index) => ({ time, index })).sort((a, b) => a.time - b.time || a.index - b.index);
    expect(Array.from({ length: 500 }, () => queue.take())).toEqual(expected.map(({ index }) => index));
    expect(queue.take()).toBeUndefined();
    expect(queue.nextTime).toBe(Infinity);
  });
});

describe("SharedLink", () => {
  const arrivals = (sharing: "fifo" | "fair"): [string, number][] => {
    const link = new SharedLink<string>(10, sharing);
    link.send(0, 30, "long");
    link.send(1, 10, "short");
    const seen: [string, number][] = [];
    while (link.waiting > 0) {
      const time = link.nextArrival;
      seen.push([link.receive(time)!, time]);
    }
    expect(link.busySeconds).toBeCloseTo(4, 12);
    return seen;
  };

  it("sends one after another, or all at once at equal rates", () => {
    expect(arrivals("fifo")).toEqual([["long", 3], ["short", 4]]);
    // From 1 s on each has half the rate: the short one's 10 bits take 2 s, then 10 of the long one's 30 are left.
    expect(arrivals("fair")).toEqual([["short", 3], ["long", 4]]);
  });
});

describe("simulateClients", () => {
  it("lets a client alone wait for nothing but its own request", () => {
    const { aloneSeconds } = closedLoopBounds({ ...base, clients: 1 });
    expect(aloneSeconds).toBeCloseTo(0.002 + 0.002 + (8 * (64 * 2048 * 2 + 100)) / 1e9 + 0.004, 12);
    for (const linkSharing of ["fifo", "fair"] as const) {
      const { meanSeconds, percentile95Seconds } = simulateClients({ ...base, linkSharing, clients: 1 });
      expect(meanSeconds).toBeCloseTo(aloneSeconds, 9);
      expect(percentile95Seconds).toBeCloseTo(aloneSeconds, 9);
    }
  });

  it.each(["fifo", "fair"] as const)("keeps Little's law and the bounds of operational analysis (%s)", (linkSharing) => {
    for (const clients of [5, 30, 200]) {
      const settings = { ...base, linkSharing, clients, requests: 20_000 };
      const result = simulateClients(settings);
      const bounds = closedLoopBounds(settings);
      // Clients = throughput · (response + think).
      expect((result.requestsPerSecond * (result.meanSeconds + base.thinkSeconds)) / clients).toBeCloseTo(1, 1);
      const most = Math.min(bounds.linkRequestsPerSecond, bounds.acceleratorRequestsPerSecond);
      expect(result.requestsPerSecond).toBeLessThan(1.001 * most);
      expect(result.meanSeconds).toBeGreaterThanOrEqual(bounds.aloneSeconds - 1e-9);
      expect(result.percentile95Seconds).toBeGreaterThanOrEqual(result.medianSeconds);
      // Twice and more of what saturates: the bottleneck has no rest.
      if (clients > 2 * bounds.saturationClients) expect(result.requestsPerSecond / most).toBeGreaterThan(0.99);
    }
  });

  it("is the same for the same seed and another for another", () => {
    expect(simulateClients(base)).toEqual(simulateClients(base));
    expect(simulateClients({ ...base, seed: 2 })).not.toEqual(simulateClients(base));
  });

  it("moves the bottleneck off the link when messages shrink", () => {
    const slow = { ...base, linkBitsPerSecond: 1e8, clients: 100 };
    expect(closedLoopBounds(slow).bottleneck).toBe("link");
    expect(closedLoopBounds({ ...slow, ratio: 20 }).bottleneck).toBe("accelerators");
    const [raw, small] = [simulateClients(slow), simulateClients({ ...slow, ratio: 20 })];
    expect(raw.linkUtilization).toBeGreaterThan(0.99);
    expect(small.acceleratorUtilization).toBeGreaterThan(0.99);
    expect(small.requestsPerSecond / raw.requestsPerSecond).toBeGreaterThan(5);
  });

  it("serves more at once in batches, up to what a request costs by itself", () => {
    const settings = { ...base, linkBitsPerSecond: 1e12, clients: 400, batchSeconds: 0.003, requestSeconds: 0.001, accelerators: 1 };
    const one = simulateClients(settings);
    const many = simulateClients({ ...settings, largestBatch: 16 });
    expect(one.requestsPerSecond).toBeCloseTo(250, -1);
    expect(many.requestsPerSecond).toBeGreaterThan(0.97 * (16 / 0.019));
    expect(many.requestsPerSecond).toBeLessThan(1.001 * (16 / 0.019));
  });

  it("draws tokens from a list", () => {
    const drawn = simulateClients({ ...base, clients: 1, tokens: [1, 1000], requests: 4000 });
    const [short, long] = [1, 1000].map((tokens) => closedLoopBounds({ ...base, clients: 1, tokens }).aloneSeconds);
    expect(drawn.meanSeconds).toBeCloseTo((short! + long!) / 2, 2);
    expect(drawn.percentile95Seconds).toBeCloseTo(long!, 6);
  });

  it("refuses settings out of range before it begins", () => {
    for (const wrong of [
      { clients: 0 }, { clients: 2.5 }, { linkBitsPerSecond: 0 }, { ratio: NaN }, { tokens: [] }, { tokens: [0] }, { thinkSeconds: -1 },
      { accelerators: 0 }, { requestSeconds: 0 }, { requests: 1 }, { largestBatch: 0 }, { bytesPerValue: Infinity },
    ]) {
      expect(() => simulateClients({ ...base, ...wrong })).toThrow(SettingsError);
    }
    expect(() => findSaturation(base, { slowdown: 1 })).toThrow("slowdown 1");
  });
});

describe("findSaturation", () => {
  it("finds where the response has doubled", () => {
    const served = findSaturation(base);
    const limit = 2 * simulateClients({ ...base, clients: 1 }).meanSeconds;
    const [at, beyond] = sweepClients(base, [served, Math.ceil(1.1 * served) + 1]);
    expect(at!.meanSeconds).toBeLessThanOrEqual(limit);
    expect(beyond!.meanSeconds).toBeGreaterThan(limit);
    expect(findSaturation(base, { mostClients: 3 })).toBe(3);
  });
});

describe("Figure 7", () => {
  it("cannot be simulated with one set of parameters: each statement contradicts the other", () => {
    const cells = simulateFigure7();
    const served = (reading: string, accelerators: number, gigabits: number, isCompressed: boolean): number =>
      cells.find(
        (cell) =>
          cell.reading === reading && cell.accelerators === accelerators && cell.linkBitsPerSecond === gigabits * 1e9 &&
          cell.ratio > 1 === isCompressed,
      )!.saturationClients;
    const one = "ten-clients-saturate-one";
    for (const gigabits of [1, 3, 5, 10]) {
      for (const isCompressed of [false, true]) {
        expect(served(one, 1, gigabits, isCompressed) / FIGURE_7_CLAIMS.oneAccelerator).toBeCloseTo(1, 0);
      }
    }
    expect(served(one, 8, 10, true)).toBeLessThan(90);
    const eight = "eight-serve-1500";
    expect(served(eight, 8, 10, false) / FIGURE_7_CLAIMS.eightWithout).toBeCloseTo(1, 1);
    expect(served(eight, 8, 10, true)).toBeGreaterThan(FIGURE_7_CLAIMS.eightWith);
    expect(served(eight, 1, 10, true)).toBeGreaterThan(15 * FIGURE_7_CLAIMS.oneAccelerator);
    expect(served(eight, 1, 1, false)).toBeLessThan(2 * FIGURE_7_CLAIMS.oneAccelerator);
  });
});
