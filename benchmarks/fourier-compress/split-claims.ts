/** Split generation as it is used: a server and clients, each a process started from the command line. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadModel, openStories15m } from "@frugal/language-model";
// Drivers of the package's own tests.
import {
  cutSockets, generated, killClients, startClient, startServer, unsplitTokens, type GenerationSettings, type ServerProcess,
} from "../../packages/fourier-compress/src/split-processes.testing.ts";
import { runLoad } from "../../packages/fourier-compress/src/server/load.testing.ts";
import { fuzzFrames } from "../../packages/fourier-compress/src/wire/fuzz-frames.testing.ts";
import type { Claim, Measured } from "../src/check.ts";

const raw = ["--codec", "float32"];
const greedy: GenerationSettings = { maxNewTokens: 100 };
const sampled: GenerationSettings = { maxNewTokens: 90, temperature: 0.9, topP: 0.95, seed: 4 };

/** Runs something with a server process and an empty folder. */
async function withServer<Result>(run: (server: ServerProcess, folder: string) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), "frugal-verify-"));
  const server = await startServer();
  try {
    return await run(server, folder);
  } finally {
    await server.process.end("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  }
}

/** Share of the expected tokens, from the first, that are there; less than 1 for tokens too many. */
function matching(expected: readonly number[], actual: readonly number[]): number {
  let same = 0;
  while (same < expected.length && expected[same] === actual[same]) same++;
  return same / Math.max(expected.length, actual.length);
}

async function rawTokens(): Promise<Measured> {
  return await withServer(async ({ url }) => {
    const shares: number[] = [];
    let tokens = 0;
    for (const settings of [greedy, sampled]) {
      const expected = await unsplitTokens(settings);
      shares.push(matching(expected, generated(await startClient(url, settings, raw).ended).tokenIds));
      tokens += expected.length;
    }
    return { value: Math.min(...shares), note: `${tokens} tokens, half of them sampled` };
  });
}

async function resumedTokens(): Promise<Measured> {
  return await withServer(async (server, folder) => {
    const expected = await unsplitTokens(sampled);
    const scene = { server, settings: sampled, codec: raw };
    const killed = await killClients({ ...scene, journal: join(folder, "killed"), at: [7, 31] });
    const cut = await cutSockets({ ...scene, journal: join(folder, "cut"), at: [3, 20, 55] });
    const places = `client killed after ${killed.disturbedAt.join(" and ")}, socket cut after ${cut.disturbedAt.join(", ")}`;
    return {
      value: Math.min(matching(expected, killed.tokenIds), matching(expected, cut.tokenIds)),
      note: `${places} of ${expected.length} tokens`,
    };
  });
}

async function concurrentSessions(): Promise<Measured> {
  const source = await openStories15m();
  using model = await loadModel(source);
  await source.close();
  const report = await runLoad(model, { sessions: 64 });
  const { concurrentSessions: open, identicalSessions, peakCacheBytes, cacheBytesLimit, residentGrowthBytes, leakedAllocations } = report;
  if (peakCacheBytes > cacheBytesLimit) throw new Error(`caches took ${peakCacheBytes} bytes of ${cacheBytesLimit}`);
  if (leakedAllocations !== 0) throw new Error(`${leakedAllocations} tensors were left over`);
  const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;
  return {
    // A session counts when it was open together with all others and said what the unsplit model says.
    value: Math.min(open, identicalSessions),
    note:
      `caches at most ${megabytes(peakCacheBytes)} of ${megabytes(cacheBytesLimit)}, process grown by ${megabytes(residentGrowthBytes)}, ` +
      `${Math.round(report.tokensPerSecond)} tokens/s with clients in the same process`,
  };
}

/** Bytes that hostile frames may make a process grow by: the frame limit and what decoding holds beside it, many times. */
const fuzzGrowthLimit = 256 * 2 ** 20;

async function fuzz(): Promise<Measured> {
  const { frames, crashes, slowestMilliseconds, peakGrowthBytes, byKind } = await fuzzFrames({ frames: 100_000, seed: 1 });
  const [first] = crashes;
  if (first !== undefined) console.error(`fuzz-frames: case ${first.case}, ${first.strategy}: ${first.error}`);
  else if (frames < 100_000) throw new Error(`only ${frames} frames were tried`);
  else if (peakGrowthBytes > fuzzGrowthLimit) throw new Error(`memory grew by ${peakGrowthBytes} bytes`);
  return {
    value: crashes.length,
    note:
      `${frames} frames (${byKind.wire} read alone, ${byKind.codec} codec messages, ${byKind.server} to a live server), slowest case ` +
      `${Math.round(slowestMilliseconds)} ms, memory grown by at most ${Math.round(peakGrowthBytes / 1e6)} MB`,
  };
}

/** Tokens that have to be the same, sessions at a time, and hostile frames. */
export const splitClaims: readonly Claim[] = [
  { id: "raw-split-tokens-identical", unit: "share of the tokens", target: 1, better: "larger", measure: rawTokens },
  { id: "resume-tokens-identical", unit: "share of the tokens", target: 1, better: "larger", measure: resumedTokens },
];
export const loadClaims: readonly Claim[] = [
  { id: "sessions-64", unit: "sessions at a time, tokens right", target: 64, better: "larger", measure: concurrentSessions },
  { id: "fuzz-frames", unit: "crashes, hangs and leaks", target: 0, better: "smaller", measure: fuzz },
];
