import { describe, expect, it } from "vitest";
import type { ProfileRecording, TimedLaunch } from "./launch-profiler.ts";
import { summarize } from "./profile.ts";

const launch = (label: string, begin: number, end: number, rest: Partial<TimedLaunch> = {}): TimedLaunch => ({
  label,
  workgroups: [2, 1, 1],
  bytes: undefined,
  operations: undefined,
  batch: 0,
  begin: BigInt(begin),
  end: BigInt(end),
  ...rest,
});

const recording = (launches: readonly TimedLaunch[], untimed = 0): ProfileRecording => ({
  launches,
  submissions: [
    { batch: 0, recorded: 10, start: 11, end: 11.5, launches: 2 },
    { batch: 1, recorded: 12, start: 13, end: 13.25, launches: 2 },
  ],
  untimed,
});

describe("the summary of a profile", () => {
  it("has a row a kernel, longest first", () => {
    const { kernels, gpuMicroseconds, launches, submissions, resolutionMicroseconds } = summarize(
      recording([launch("a", 1000, 3000), launch("b", 3000, 11_000), launch("a", 11_000, 12_000), launch("a", 12_000, 17_000)]),
      20,
    );
    expect(kernels).toMatchObject([
      { label: "a", launches: 3, totalMicroseconds: 8, meanMicroseconds: 8 / 3, medianMicroseconds: 2, share: 0.5 },
      { label: "b", launches: 1, totalMicroseconds: 8, meanMicroseconds: 8, medianMicroseconds: 8, share: 0.5 },
    ]);
    expect({ gpuMicroseconds, launches, submissions, resolutionMicroseconds }).toEqual({
      gpuMicroseconds: 16,
      launches: 4,
      submissions: 2,
      resolutionMicroseconds: 1,
    });
  });

  it("takes the mean of the middle two, and rates where all launches say their work", () => {
    const work = { bytes: 4000, operations: 1000 };
    const launches = [launch("a", 1000, 2000, work), launch("a", 2000, 5000, work), launch("b", 5000, 6000)];
    const { kernels } = summarize(recording(launches), 9);
    expect(kernels[0]).toMatchObject({ medianMicroseconds: 2, bytesPerSecond: 2e9, operationsPerSecond: 5e8 });
    expect(kernels[1]!.bytesPerSecond).toBe(undefined);
  });

  it("leaves out timestamps that make no sense, and says so", () => {
    const profile = summarize(recording([launch("a", 5000, 4000), launch("a", 0, 4000), launch("b", 65_536, 65_536 * 3)], 7), 9);
    expect(profile.kernels.map(({ label }) => label)).toEqual(["b"]);
    expect(profile).toMatchObject({ unreliable: 2, untimed: 7, launches: 10 });
    const table = profile.toTable();
    expect(table).toContain("7 launches were not timed");
    expect(table).toContain("2 launches had no sensible timestamps");
    expect(table).toContain("rounded to 65.5 µs");
  });

  it("survives having nothing to say", () => {
    const profile = summarize({ launches: [], submissions: [], untimed: 0 }, 5);
    expect(profile).toMatchObject({ kernels: [], gpuMicroseconds: 0, resolutionMicroseconds: 0 });
    expect(profile.toTable()).toContain("0 launches");
    expect(profile.toChromeTrace().traceEvents.every(({ ph }) => ph === "M")).toBe(true);
  });

  it("makes a table with aligned columns, cut to the longest", () => {
    const launches = [launch("matmul", 1000, 9000), launch("x".repeat(200), 9000, 10_000), launch("c", 10_000, 10_500)];
    const profile = summarize(recording(launches), 9);
    const lines = profile.toTable(2).split("\n");
    expect(lines[0]).toMatch(/^kernel +launches +total µs +mean µs +median µs +share$/);
    expect(lines[1]).toMatch(/^matmul +1 +8\.0 +8\.0 +8\.0 +84\.2 %$/);
    expect(new Set(lines.slice(0, 3).map((line) => line.length)).size).toBe(1);
    expect(lines[3]).toBe("… and 1 more kernels");
  });
});

describe("the trace of a profile", () => {
  const trace = summarize(
    recording([
      launch("a", 1_000_000, 1_400_000),
      launch("b", 1_200_000, 1_300_000),
      launch("c", 1_450_000, 1_500_000, { batch: 1, bytes: 12 }),
      launch("d", 1_500_000, 1_600_000, { batch: 1 }),
    ]),
    9,
  ).toChromeTrace();
  const spans = trace.traceEvents.filter(({ ph }) => ph === "X");

  it("survives JSON, with what the format asks of each event", () => {
    expect(JSON.parse(JSON.stringify(trace))).toEqual(trace);
    for (const { name, ph, pid, tid, ts, dur, args } of trace.traceEvents) {
      expect(name).not.toBe("");
      expect([typeof pid, typeof tid]).toEqual(["number", "number"]);
      if (ph === "M") expect(typeof args?.["name"]).toBe("string");
      else expect([ts! >= 0, dur! >= 0]).toEqual([true, true]);
    }
  });

  it("names each lane that has spans", () => {
    const named = new Set(trace.traceEvents.filter(({ name }) => name === "thread_name").map(({ tid }) => tid));
    for (const { tid } of spans) expect(named.has(tid)).toBe(true);
  });

  it("has no overlapping spans in a lane", () => {
    for (const lane of new Set(spans.map(({ tid }) => tid))) {
      const inLane = spans.filter(({ tid }) => tid === lane).toSorted((a, b) => a.ts! - b.ts!);
      const ends = inLane.map(({ ts, dur }) => ts! + dur!);
      for (const [i, { ts }] of inLane.entries()) expect(ts!).toBeGreaterThanOrEqual((ends[i - 1] ?? 0) - 1e-6);
    }
    expect(spans.find(({ name }) => name === "b")!.tid).not.toBe(spans.find(({ name }) => name === "a")!.tid);
  });

  it("begins no launch before its submission, and keeps the distances", () => {
    const at = (name: string): number => spans.find((event) => event.name === name)!.ts!;
    // Submitted at 13 ms, 3 ms after the first record.
    expect(at("c")).toBe(3000);
    expect(at("d") - at("a")).toBe(500);
    expect(spans.filter(({ name }) => name === "submit").map(({ ts, dur }) => [ts, dur])).toEqual([
      [1000, 500],
      [3000, 250],
    ]);
  });
});
