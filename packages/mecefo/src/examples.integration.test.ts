import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

/** Runs an example on the built package, as its readers would. */
async function run(name: string, ...args: string[]): Promise<string> {
  const path = join(import.meta.dirname, "..", "examples", name);
  return (await promisify(execFile)(process.execPath, [path, ...args], { timeout: 150_000 })).stdout;
}

it("train-through-failures.ts takes all its steps although two workers die", async () => {
  const output = await run("train-through-failures.ts", "24");
  expect(output.match(/^killing p\ds\d$/gm)).toEqual(["killing p0s1", "killing p1s0"]);
  // Without p0s1, and without p1s0: the other stage of its pipeline hosts both, and is degraded for both.
  expect(output).toMatch(/3 workers \(\w+\): N\(l\) by stage \[\[1\],\[1\]\]/);
  expect(output).toMatch(/3 workers \(\w+\): N\(l\) by stage \[\[0\],\[0\]\]/);
  expect(output).toContain("finished: 24 steps, 0 lost and 0 repeated batches, 0 divergences");
  const [, perplexity] = /held-out perplexity ([\d.]+)/.exec(output)!;
  // Of 256 bytes.
  expect(Number(perplexity)).toBeLessThan(200);
});

it("custom-model.ts trains a model of another kind through a death", async () => {
  const output = await run("custom-model.ts");
  expect(output).toMatch(/^epoch \d+ \((killed|left|stopped)\), N\(l\) by stage \[\[0\],\[0\]\]$/m);
  const [, first, last] = /^finished after 40 steps: loss ([\d.]+) at first, ([\d.]+) at last/m.exec(output)!;
  expect(Number(last)).toBeLessThan(Number(first) - 1);
});

it("codec-on-links.ts learns about as well through int8", async () => {
  const output = await run("codec-on-links.ts");
  const rows = [...output.matchAll(/^(\S.*?) +finished, loss ([\d.]+) at first, ([\d.]+) at last/gm)];
  expect(rows.map(([, name]) => name)).toEqual(["float32", "int8 rows"]);
  const [exact, coded] = rows.map(([, , , last]) => Number(last)) as [number, number];
  // Other bits, and not far off.
  expect(coded).not.toBe(exact);
  expect(Math.abs(coded - exact)).toBeLessThan(0.1);
});

it("simulate-cluster.ts compares the strategies", async () => {
  const output = await run("simulate-cluster.ts");
  for (const strategy of ["mecefo", "naive", "drop-replica", "checkpoint-restart"]) expect(output).toContain(strategy);
});
