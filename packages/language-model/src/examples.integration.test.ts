import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

/** Runs an example on the built package, as its readers would. */
async function run(name: string, ...args: string[]): Promise<string> {
  const path = join(import.meta.dirname, "..", "examples", name);
  return (await promisify(execFile)(process.execPath, [path, ...args], { timeout: 150_000 })).stdout;
}

it("generate.ts tells a story", async () => {
  expect(await run("generate.ts")).toMatch(/^Once upon a time.{100,}17\.1 MB of weights, about \d+ tokens\/s\n$/s);
});

it("train.ts learns and saves", async () => {
  const folder = await mkdtemp(join(tmpdir(), "frugal-example-"));
  const output = await run("train.ts", folder, "20");
  const losses = [...output.matchAll(/held-out loss ([\d.]+)/g)].map((match) => Number(match[1]));
  expect(losses[1]).toBeLessThan(losses[0]! - 0.8);
  expect((await readdir(folder)).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
  await rm(folder, { recursive: true });
});

it("split.ts sends half the bytes of float16 for next to the same perplexity", async () => {
  const output = await run("split.ts");
  const perplexities = [...output.matchAll(/perplexity ([\d.]+)/g)].map((match) => Number(match[1]));
  expect(perplexities.length).toBe(3);
  expect(Math.abs(perplexities[2]! / perplexities[0]! - 1)).toBeLessThan(0.01);
  expect(output).toContain("0.51 x float16");
});
