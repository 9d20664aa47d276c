import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

/** Runs an example on the built package, as its readers would. */
async function run(name: string, ...args: string[]): Promise<string> {
  const path = join(import.meta.dirname, "..", "examples", name);
  return (await promisify(execFile)(process.execPath, [path, ...args], { timeout: 150_000 })).stdout;
}

it("split-generate.ts writes the unsplit model's story over a socket", async () => {
  const output = await run("split-generate.ts", "float32");
  expect(output).toMatch(
    /^Once upon a time, there was a little girl named Lily\. She loved to play outside in the sunshine\. One day, she saw a big, red ball/,
  );
  expect(output).toMatch(/float32: 60 messages, \d+ bytes.*relative error 0\.0000/s);
});

it("split-generate.ts sends fewer bytes with a codec", async () => {
  const output = await run("split-generate.ts", "hadamard", "4");
  const [, ratio] = /([\d.]+) x smaller than float16/.exec(output)!;
  expect(Number(ratio)).toBeGreaterThan(3);
});

it("calibrate-and-compare.ts finds the calibrated codecs ahead", async () => {
  const output = await run("calibrate-and-compare.ts", "6");
  const lines = output.matchAll(/^(\S+) +[\d.]+ x float16, relative error ([\d.]+)/gm);
  const errors = new Map([...lines].map(([, name, error]) => [name, Number(error)]));
  expect([...errors.keys()]).toEqual(["klt", "channel", "hadamard", "top-k", "fourier-hermitian", "int8"]);
  expect(errors.get("klt")).toBeLessThan(errors.get("channel")!);
  expect(errors.get("channel")).toBeLessThan(errors.get("top-k")!);
  expect(errors.get("top-k")).toBeLessThan(errors.get("fourier-hermitian")!);
});

it("custom-codec.ts sends a bit a value", async () => {
  const output = await run("custom-codec.ts");
  const [exact, sign] = [...output.matchAll(/([\d.]+) x smaller than float16, perplexity ([\d.]+)/g)].map(([, ratio, perplexity]) => ({
    ratio: Number(ratio), perplexity: Number(perplexity),
  }));
  expect(sign!.ratio).toBeGreaterThan(12);
  expect(sign!.perplexity).toBeGreaterThan(exact!.perplexity);
});
