import { describe, expect, it } from "vitest";
import { pipelineSeconds, type HostTimes } from "./pipeline-schedule.ts";
import { RandomStream } from "./random-stream.ts";

/** The same by the longest path through the graph of passes, written down from the definition of 1F1B. */
function longestPath(hosts: readonly HostTimes[], microbatches: number, link: number): number {
  const orders = hosts.map((_, h) => {
    const warmUp = Math.min(hosts.length - 1 - h, microbatches);
    const order: string[] = [];
    for (let k = 0; k < warmUp; k++) order.push(`F${k}`);
    for (let k = 0; k + warmUp < microbatches; k++) order.push(`F${k + warmUp}`, `B${k}`);
    for (let k = microbatches - warmUp; k < microbatches; k++) order.push(`B${k}`);
    return order;
  });
  const known = new Map<string, number>();
  const end = (h: number, pass: string): number => {
    const key = `${h}${pass}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    const order = orders[h]!;
    const at = order.indexOf(pass);
    let start = at === 0 ? 0 : end(h, order[at - 1]!);
    if (pass.startsWith("F") && h > 0) start = Math.max(start, end(h - 1, pass) + link);
    if (pass.startsWith("B") && h < hosts.length - 1) start = Math.max(start, end(h + 1, pass) + link);
    const result = start + (pass.startsWith("F") ? hosts[h]!.forward : hosts[h]!.backward);
    known.set(key, result);
    return result;
  };
  return Math.max(...hosts.map((_, h) => end(h, orders[h]!.at(-1)!)));
}

describe("pipelineSeconds", () => {
  it("is (m + S - 1) forwards and backwards for equal stages", () => {
    for (const [stages, microbatches] of [[1, 1], [1, 5], [4, 1], [4, 3], [8, 32]] as const) {
      const hosts = Array.from({ length: stages }, () => ({ forward: 1, backward: 2 }));
      expect(pipelineSeconds(hosts, microbatches, 0)).toBeCloseTo(3 * (microbatches + stages - 1), 9);
    }
  });

  it("is the longest path through the graph of passes", () => {
    const random = new RandomStream(3);
    for (let i = 0; i < 100; i++) {
      const hosts = Array.from({ length: 1 + random.index(6) }, () => ({ forward: random.uniform(), backward: 2 * random.uniform() }));
      const microbatches = 1 + random.index(9);
      const link = i % 2 === 0 ? 0 : random.uniform() / 4;
      expect(pipelineSeconds(hosts, microbatches, link)).toBeCloseTo(longestPath(hosts, microbatches, link), 9);
    }
  });

  it("keeps the speed that the cost model gives a pipeline with one slow stage: 82, 71 and 65 %", () => {
    const slow = (microbatches: number): number => {
      const healthy = Array.from({ length: 8 }, () => ({ forward: 1, backward: 2 }));
      // Seven hosts: one of them with two stages at 1.55 times a healthy one's time, and the 7B model's shares of it.
      const a = 1 / 2.96;
      const f = 1.96 / 2.96;
      const hosts = [...healthy.slice(0, 6), { forward: 2, backward: 4 * f }];
      expect(hosts[6]!.forward + hosts[6]!.backward).toBeCloseTo(2 * a + 6 * f, 9);
      return pipelineSeconds(healthy, microbatches, 0) / pipelineSeconds(hosts, microbatches, 0);
    };
    expect(slow(8)).toBeCloseTo(0.82, 1);
    expect(slow(32)).toBeCloseTo(0.71, 1);
    expect(slow(4096)).toBeCloseTo(0.65, 2);
  });
});
