import type { CodecTarget, Contender, Workload } from "../src/workload.ts";

const tokens = 100;

const process = (name: string): Contender => ({ name, module: "frugal-split", threads: 1 });
const whole: Contender = process("frugal unsplit");
const split: Contender = process("frugal split");
const many: Contender = process("frugal sessions");

/** Generation by a client and a server on this machine, and by one process that holds the whole model. */
const generation = (codec: string, mode?: CodecTarget): Workload => ({
  id: `split-${codec}${mode?.kind === "ratio" ? `-${mode.ratio}x` : ""}`,
  unit: "tokens/s",
  work: tokens,
  task: { kind: "splitGenerate", tokens, codec, ...(mode !== undefined && { mode }) },
  ours: split,
  peers: [],
});

/** stories15M split after its first block. */
export const generations: readonly Workload[] = [
  {
    id: "unsplit",
    unit: "tokens/s",
    work: tokens,
    task: { kind: "splitGenerate", tokens },
    ours: whole,
    peers: [],
  },
  generation("float32"),
  generation("float16"),
  generation("channel", { kind: "ratio", ratio: 7.6 }),
  generation("klt", { kind: "ratio", ratio: 7.6 }),
];

const sessionTokens = 24;

/** Tokens of all sessions together, where the server computes sessions in common steps and where it does not. */
export const sessions: readonly Workload[] = [1, 8, 64].flatMap((count) =>
  [true, false].map((batching): Workload => ({
    id: `sessions-${count}-${batching ? "batched" : "unbatched"}`,
    unit: "tokens/s",
    work: count * sessionTokens,
    task: { kind: "serveSessions", sessions: count, tokens: sessionTokens, batching },
    ours: many,
    peers: [],
  })),
);
