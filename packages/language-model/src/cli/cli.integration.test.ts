import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openHuggingFaceFolder } from "../weights/hugging-face.ts";

const command = join(import.meta.dirname, "..", "cli.ts");

interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command; it is interrupted, once, when `interruptAt` says so of all of stdout and stderr so far. */
function run(args: readonly string[], interruptAt: (stdout: string, stderr: string) => boolean = () => false): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [command, ...args], { cwd: tmpdir(), stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    let interrupted = false;
    const perhapsInterrupt = (): void => {
      if (!interrupted && interruptAt(stdout, stderr)) interrupted = child.kill("SIGINT");
    };
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      perhapsInterrupt();
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
      perhapsInterrupt();
    });
    child.on("error", reject);
    child.on("close", (status, signal) => resolve({ status, signal, stdout, stderr }));
  });
}

type Event = Record<string, unknown> & { readonly event: string };
const eventsOf = (stdout: string): Event[] =>
  stdout.split("\n").filter((line) => line.endsWith("}")).map((line) => JSON.parse(line) as Event);

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "frugal-cli-"))));
afterAll(() => rm(folder, { recursive: true }));

const stories = ["generate", "--model", "stories15M", "--prompt", "Once upon a time"];
const golden = "Once upon a time, there was a little girl named Lily. She loved to play outside in the sunshine.";

describe("generate", () => {
  it("continues the prompt on stdout, and says the speed on stderr", async () => {
    const { status, stdout, stderr } = await run([...stories, "--max-tokens", "21"]);
    expect(stderr).toMatch(/^5 \+ 21 tokens, first after [\d.]+ s, [\d.]+ tokens\/s, \d+ threads\n$/);
    expect([status, stdout]).toEqual([0, `${golden}\n`]);
  });

  it("prints one JSON object, the same for the same seed", async () => {
    const sampling = ["--temperature", "1", "--top-k", "50", "--top-p", "0.95", "--seed", "3"];
    const options = ["--max-tokens", "12", ...sampling, "--precision", "int8", "--json"];
    const results = await Promise.all([[], ["--threads", "1"]].map((more) => run([...stories, ...options, ...more])));
    const [first, second] = results.map(({ stdout }) => JSON.parse(stdout) as Record<string, unknown>);
    expect(first).toMatchObject({ model: "stories15M", precision: "int8", promptTokens: 5, interrupted: false });
    expect((first!["tokenIds"] as number[]).length).toBe(12);
    expect([second!["tokenIds"], second!["threads"]]).toEqual([first!["tokenIds"], 1]);
    expect(results.map(({ stderr }) => stderr)).toEqual(["", ""]);
  });

  it.skipIf(process.platform === "win32")("stops cleanly at Ctrl-C", async () => {
    const { status, stdout, stderr } = await run([...stories, "--temperature", "0.9"], (text) => text.length > 30);
    expect(status).toBe(130);
    expect(stdout.startsWith("Once upon a time")).toBe(true);
    expect(stdout.endsWith("\n")).toBe(true);
    expect(stderr).toContain("tokens/s");
  });
});

describe("train", () => {
  const sizes = [
    "--hidden-size", "32", "--layers", "2", "--heads", "4", "--key-value-heads", "2", "--vocabulary-size", "300", "--sequence-length", "32",
    "--batch-size", "4", "--steps", "40", "--evaluate-every", "20", "--checkpoint-every", "10", "--learning-rate", "0.01", "--seed", "5",
  ];
  let text: string;
  beforeAll(async () => {
    text = join(folder, "text.txt");
    await writeFile(text, "A whale swims in the sea.\nThe sea is deep and blue.\n".repeat(200));
  });
  const train = (output: string): string[] => ["train", "--text", text, "--output", join(folder, output), ...sizes];

  it("writes a Hugging Face folder that generates, scores and inspects", async () => {
    const { status, stdout, stderr } = await run(train("whole"));
    expect([status, stdout]).toEqual([0, ""]);
    expect(stderr).toMatch(/step 0: held-out loss 5\.\d+/);
    expect(stderr).toMatch(/step 40: held-out loss [01]\.\d+/);
    const output = join(folder, "whole");
    const source = await openHuggingFaceFolder(output);
    expect(source.config).toMatchObject({ hiddenSize: 32, numHiddenLayers: 2, numKeyValueHeads: 2, maxPositionEmbeddings: 64 });
    await source.close();
    const generated = await run(["generate", "--model", output, "--prompt", "A whale swims in the", "--max-tokens", "3"]);
    expect(generated.stdout).toMatch(/^A whale swims in the sea/);
    const scored = await run(["perplexity", "--model", output, "--text", text, "--max-tokens", "200", "--window", "32", "--json"]);
    const { perplexity, tokens } = JSON.parse(scored.stdout) as { perplexity: number; tokens: number };
    expect([tokens, perplexity < 3]).toEqual([199, true]);
    const inspected = await run(["inspect", output, "--json"]);
    const { encodings, tensors } = JSON.parse(inspected.stdout) as { encodings: Record<string, { tensors: number }>; tensors: unknown[] };
    expect([encodings["float32"]!.tensors, tensors.length]).toEqual([20, 20]);
  });

  it.skipIf(process.platform === "win32")("checkpoints at Ctrl-C and goes on to the same bits", async () => {
    const straight = await run([...train("straight"), "--json"]);
    const stopped = await run([...train("stopped"), "--json"], (stdout) => eventsOf(stdout).some(({ step }) => step === 13));
    expect(stopped.status).toBe(130);
    const last = eventsOf(stopped.stdout).at(-1)!;
    expect(last.event).toBe("interrupted");
    expect(existsSync(join(folder, "stopped", "model.safetensors"))).toBe(true);
    const resumed = await run(["train", "--resume", "--output", join(folder, "stopped"), "--json"]);
    expect(resumed.status).toBe(0);
    const events = eventsOf(resumed.stdout);
    expect(events[0]).toMatchObject({ event: "start", step: last["step"], steps: 40 });
    const isLater = ({ event, step }: Event): boolean => event === "step" && Number(step) > Number(last["step"]);
    const losses = (stdout: string): unknown[] => eventsOf(stdout).filter(isLater).map(({ step, loss }) => [step, loss]);
    expect(losses(resumed.stdout)).toEqual(losses(straight.stdout));
    const weights = (name: string): Promise<Buffer> => readFile(join(folder, name, "model.safetensors"));
    expect((await weights("stopped")).equals(await weights("straight"))).toBe(true);
  });

  it.skipIf(process.platform === "win32")("ends at once at Ctrl-C while the text is being encoded", async () => {
    // Eight megabytes of text take many seconds.
    const begin = ["train", "--text", "sotu", "--output", join(folder, "early"), "--steps", "1"];
    let interruptedAt = 0;
    const { signal, stderr } = await run(begin, (_, said) => {
      if (interruptedAt === 0 && said.includes("reading the text")) interruptedAt = performance.now();
      return interruptedAt > 0;
    });
    expect(signal).toBe("SIGINT");
    expect(performance.now() - interruptedAt).toBeLessThan(2000);
    expect(stderr).not.toContain("parameters");
    expect(existsSync(join(folder, "early"))).toBe(false);
  });

  it("writes the model of a finished run that lost it", async () => {
    const output = join(folder, "finished");
    await run([...train("finished"), "--steps", "2"]);
    const model = await readFile(join(output, "model.safetensors"));
    await rm(join(output, "model.safetensors"));
    const { status, stderr } = await run(["train", "--resume", "--output", output]);
    expect([status, stderr]).toEqual([0, expect.stringContaining("going on after step 2 of 2")]);
    expect((await readFile(join(output, "model.safetensors"))).equals(model)).toBe(true);
  });

  it("says which part of a text is too short", async () => {
    const held = await run([...train("short"), "--validation", "0.001"]);
    expect(held.stderr).toMatch(/language-model: the held-out text: \d+ tokens do not make one sequence of 32 .*larger --validation\n$/);
    const both = await run([...train("short"), "--sequence-length", "100000"]);
    expect(both.stderr).toMatch(/language-model: the text to train on: \d+ tokens do not make one sequence of 100000/);
    expect(existsSync(join(folder, "short"))).toBe(false);
  });

  it("keeps runs apart and their settings fixed", async () => {
    await writeFile(join(folder, "other.txt"), "Another text about nothing in particular. ".repeat(200));
    const begun = await run([...train("begun").with(2, join(folder, "other.txt")), "--steps", "2"]);
    expect(begun.status).toBe(0);
    const again = await run(train("begun"));
    expect([again.status, again.stderr]).toEqual([1, expect.stringContaining("holds a training run already; continue it with --resume")]);
    const changed = await run(["train", "--resume", "--output", join(folder, "begun"), "--steps", "50"]);
    expect(changed.stderr).toBe("language-model: a resumed run keeps its settings; leave out steps\n");
    await writeFile(join(folder, "other.txt"), "changed text ".repeat(200));
    const otherText = await run(["train", "--resume", "--output", join(folder, "begun")]);
    expect([otherText.status, otherText.stderr]).toEqual([1, expect.stringContaining("has changed since the run began")]);
    const none = await run(["train", "--resume", "--output", join(folder, "nothing")]);
    expect(none.stderr).toContain("holds no training run");
  });
});

describe("errors", () => {
  it.each([
    [["generate", "--model", "no-such-model"], 'There is no model "no-such-model"'],
    [["generate", "--model", "./no/such/file.gguf"], 'There is no model at ./no/such/file.gguf'],
    [["generate", "--model", command], "is neither a GGUF file, a llama2.c .bin file nor a Hugging Face folder"],
    [["perplexity", "--model", "stories15M", "--text", "absent.txt"], "There is no text file absent.txt"],
    [["perplexity", "--model", "stories15M", "--text", command, "--window", "999"], "window 999; use an integer from 2 to"],
    [["fetch", "unknown"], '"unknown" cannot be fetched'],
    [["train", "--output", "somewhere"], "--text is missing"],
  ])("%j ends with one line", async (args, message) => {
    const { status, stdout, stderr } = await run(args);
    expect(status).toBe(1);
    expect(stderr).toContain(message);
    expect(stderr.split("\n").filter((line) => line.startsWith("language-model: ")).length).toBe(1);
    expect(stderr).not.toContain("    at ");
    expect(stdout).toBe("");
  });

  it.each([
    [["generate"], "required option '--model <model>' not specified"],
    [["generate", "--model", "stories15M", "--top-p", "2"], "Give a number from"],
    [["generate", "--model", "stories15M", "--max-tokens", "many"], "Give an integer from 0 on."],
    [["generate", "--model", "stories15M", "--precision", "int3"], "Allowed choices are file, float32, float16, int8, uint4"],
  ])("%j shows how the command is used", async (args, message) => {
    const { status, stderr } = await run(args);
    expect([status, stderr]).toEqual([1, expect.stringContaining(message)]);
  });

  it("says which shapes do not fit", async () => {
    const odd = await run(["train", "--text", command, "--output", join(folder, "odd"), "--hidden-size", "30", "--heads", "4"]);
    expect([odd.status, odd.stderr]).toEqual([1, expect.stringContaining("headDim")]);
    expect(existsSync(join(folder, "odd"))).toBe(false);
  });
});

it("is built as a command", async () => {
  const built = join(import.meta.dirname, "..", "..", "dist", "cli.js");
  expect((await readFile(built, "utf8")).startsWith("#!/usr/bin/env node\n")).toBe(true);
  const version = await new Promise<string>((resolve, reject) => {
    const child = spawn(process.execPath, [built, "--version"]);
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    child.on("error", reject);
    child.on("close", () => resolve(text));
  });
  expect(version).toMatch(/^\d+\.\d+\.\d+\n$/);
});
