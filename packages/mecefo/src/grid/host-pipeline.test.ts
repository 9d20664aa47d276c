import { describe, expect, it } from "vitest";
import { hostPipeline } from "./host-pipeline.ts";

function hosts(live: string, maximumChain = 4): string | undefined {
  const ranges = hostPipeline(Uint8Array.from(live, Number), maximumChain);
  return ranges?.map(({ stage, from, to }) => `${stage}:${from}-${to}`).join(" ");
}

describe("hostPipeline", () => {
  it("gives each dead stage to the nearest live one, s + 1 before s - 1", () => {
    expect(hosts("1111")).toBe("0:0-1 1:1-2 2:2-3 3:3-4");
    expect(hosts("1011")).toBe("0:0-1 2:1-3 3:3-4");
    expect(hosts("1110")).toBe("0:0-1 1:1-2 2:2-4");
    expect(hosts("10011")).toBe("0:0-2 3:2-4 4:4-5");
    expect(hosts("0011")).toBe("2:0-3 3:3-4");
    expect(hosts("0100")).toBe("1:0-4");
  });

  it("prefers the side with less to do for the middle of a gap", () => {
    // Stage 2 has stage 3 already, and stage 0 nothing but its own.
    expect(hosts("1010")).toBe("0:0-2 2:2-4");
    expect(hosts("010001", 6)).toBe("1:0-3 5:3-6");
    expect(hosts("1000100", 7)).toBe("0:0-3 4:3-7");
  });

  it("keeps to the cap, and gives up beyond it", () => {
    expect(hosts("0001", 4)).toBe("3:0-4");
    expect(hosts("0001", 3)).toBeUndefined();
    expect(hosts("10001", 2)).toBeUndefined();
    expect(hosts("1001", 2)).toBe("0:0-2 3:2-4");
    // The first has no room left for half of the second gap.
    expect(hosts("010001", 3)).toBe("1:0-3 5:3-6");
    expect(hosts("1101", 1)).toBeUndefined();
    expect(hosts("0000", 4)).toBeUndefined();
  });

  it("covers every stage once, by runs around their owners, for all live sets of ten stages", () => {
    for (let bits = 1; bits < 1024; bits++) {
      const live = Uint8Array.from({ length: 10 }, (_, i) => (bits >> i) & 1);
      const whole = hostPipeline(live, 10)!;
      let at = 0;
      for (const { stage, from, to } of whole) {
        expect(from).toBe(at);
        expect(live[stage]).toBe(1);
        expect(stage >= from && stage < to).toBe(true);
        at = to;
      }
      expect(at).toBe(10);
      const capped = hostPipeline(live, 3);
      for (const { from, to } of capped ?? []) expect(to - from).toBeLessThanOrEqual(3);
    }
  });
});
