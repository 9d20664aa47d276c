import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { float32ToFloat16Bits } from "@frugal/tensor-core";
import { syntheticActivations } from "../evaluation/evaluation.testing.ts";
import { sharedData } from "../shared-data.testing.ts";

const command = join(import.meta.dirname, "..", "cli.ts");

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command; it is interrupted, once, when `interruptAt` says so of stderr so far, or of a file's growth. */
function run(args: readonly string[], interruptWhen?: () => Promise<boolean>): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [command, ...args], { cwd: tmpdir(), stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const watch = setInterval(async () => {
      if (interruptWhen === undefined || !(await interruptWhen())) return;
      clearInterval(watch);
      child.kill("SIGINT");
    }, 20);
    child.on("error", reject);
    child.on("close", (status) => {
      clearInterval(watch);
      resolve({ status, stdout, stderr });
    });
  });
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "frugal-evaluate-"));
  const { hiddenSize, calibration, prompts } = syntheticActivations();
  const half = (rows: readonly Float32Array[]): Uint16Array =>
    Uint16Array.from(rows.flatMap((values) => [...values]), float32ToFloat16Bits);
  let row = 0;
  const index = {
    dtype: "float16 little-endian", hidden: hiddenSize, cal_rows: calibration.length / hiddenSize,
    prompts: prompts.map(({ dataset, tokens }) => ({ dataset, row: (row += tokens.length) - tokens.length, tokens })),
  };
  await writeFile(join(folder, "index.json"), JSON.stringify(index));
  await writeFile(join(folder, "cal_l1.f16"), half([calibration]));
  await writeFile(join(folder, "test_l1.f16"), half(prompts.map(({ rows }) => rows)));
});
afterAll(() => rm(folder, { recursive: true }));

describe("evaluate --activations", () => {
  it("calibrates, measures, prints the table and writes a page", async () => {
    const report = join(folder, "report.html");
    const { status, stdout, stderr } = await run(["evaluate", "--activations", folder, "--ratios", "2,3", "--report", report]);
    expect([status, stderr.includes("calibrating on 200 rows of width 16")]).toEqual([0, true]);
    expect(stdout).toContain("| codec | 2x | 3x |");
    expect(stdout).toContain("| KLT + quantiser + rANS |");
    expect(await readFile(report, "utf8")).toContain("<svg");
  });

  it("prints one JSON object, keeps rows, and does not measure them again", async () => {
    const kept = join(folder, "kept.json");
    const args = ["evaluate", "--activations", folder, "--ratios", "3", "--json", "--resume", kept];
    const first = await run([...args, "--codecs", "channel,int8"]);
    expect([first.status, first.stderr]).toEqual([0, ""]);
    const rows = JSON.parse(first.stdout).reconstruction.results;
    expect(rows.map(({ codec }: { codec: string }) => codec)).toEqual(["channel", "int8"]);
    const second = await run([...args, "--codecs", "channel,int8,top-k"]);
    const more = JSON.parse(second.stdout).reconstruction.results;
    // Times would differ if they had been measured again.
    expect(more.slice(0, 2)).toEqual(rows);
    expect(more[2].codec).toBe("top-k");
    const other = await run([...args, "--limit", "2"]);
    expect([other.status, other.stderr.includes("is of an evaluation of")]).toEqual([1, true]);
    await writeFile(kept, '{"version":1}');
    const broken = await run(args);
    expect([broken.status, broken.stderr.includes("is not an evaluation to resume")]).toEqual([1, true]);
  });

  it.each([
    ["neither folder nor model", [], "give either --activations"],
    ["a text without model", ["--activations", "x", "--text", "y"], "--text needs --model"],
    ["a model without text", ["--model", "x"], "give --text, --sequences or --questions"],
    ["an unknown codec", ["--activations", "x", "--codecs", "zip"], 'codec "zip"'],
    ["a ratio of nothing", ["--activations", "x", "--ratios", "0"], "Give numbers > 0"],
    ["a folder that is not there", ["--activations", "nowhere"], "index.json is not there"],
  ])("refuses %s in one line", async (_, args, message) => {
    const { status, stdout, stderr } = await run(["evaluate", ...args]);
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("    at ");
  });
});

describe("evaluate --model", () => {
  const sequences = sharedData("stories15M", "sampled-stories.json");
  const model = ["evaluate", "--model", "stories15M", "--codecs", "float16,channel,fourier-hermitian:elements", "--ratios", "7.6"];

  it.skipIf(sequences === undefined)("keeps what is done at Ctrl-C, and goes on from it", async () => {
    const kept = join(folder, "stories.json");
    const args = [...model, "--sequences", sequences!, "--limit", "4", "--resume", kept];
    const count = async (): Promise<number> =>
      await readFile(kept, "utf8").then((text) => JSON.parse(text).perplexity.length as number).catch(() => 0);
    const first = await run(args, async () => (await count()) >= 1);
    expect(first.status).toBe(130);
    expect(first.stderr).toContain("interrupted: the same command goes on from");
    const done = await count();
    expect(done).toBeGreaterThanOrEqual(1);
    expect(done).toBeLessThan(3);
    const second = await run([...args, "--json"]);
    expect(second.status).toBe(0);
    const { complete, perplexity } = JSON.parse(second.stdout);
    expect([complete, perplexity.results.length]).toEqual([true, 3]);
    expect(perplexity.results[1].perplexityRise).toBeLessThan(0.15);
    expect(perplexity.results[2].perplexityRise).toBeGreaterThan(5);
  });

  const questions = sharedData("commonsense10", "piqa.jsonl");
  it.skipIf(questions === undefined)("answers questions, with standard errors, and calibrates on those that are left", async () => {
    const { status, stdout } = await run([...model, "--questions", questions!, "--limit", "8", "--json", "--leakage", "100"]);
    expect(status).toBe(0);
    const [comparison] = JSON.parse(stdout).multipleChoice;
    expect(comparison).toMatchObject({ dataset: "piqa", chance: 0.5, reference: { questions: 8 } });
    const [exact, channel, fourier] = comparison.results;
    expect(exact.agreement).toBeGreaterThan(0.98);
    expect(channel.agreement).toBeGreaterThan(fourier.agreement);
    expect(channel.score.accuracy.standardError).toBeGreaterThan(0);
    expect(channel.leakage).toBeGreaterThan(fourier.leakage);
  });

  it("cuts a text into what calibrates and what is measured", async () => {
    const text = join(folder, "text.txt");
    await writeFile(text, "Once upon a time, there was a little girl named Lily. She liked the park and the big red ball. ".repeat(30));
    const { status, stdout } = await run([...model, "--text", text, "--window", "64", "--split", "2"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/Split before block 2; \d+ tokens of \d+ sequences/);
  });
});

describe("simulate", () => {
  it("shows both readings of Figure 7, or a setting of one's own", async () => {
    const figure = await run(["simulate"]);
    expect([figure.status, figure.stdout.includes("cannot both hold")]).toEqual([0, true]);
    const own = await run(["simulate", "--request-ms", "5", "--clients", "1,50", "--json"]);
    const { curves } = JSON.parse(own.stdout);
    expect(curves.map(({ ratio }: { ratio: number }) => ratio)).toEqual([1, 10.3]);
    expect(curves[0].results.map(({ clients }: { clients: number }) => clients)).toEqual([1, 50]);
    const wrong = await run(["simulate", "--clients", "1.5", "--request-ms", "5"]);
    expect([wrong.status, wrong.stderr.includes("give integers")]).toEqual([1, true]);
  });
});
