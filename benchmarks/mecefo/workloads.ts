import type { Contender, StageShape, Workload } from "../src/workload.ts";
import { modelFactors } from "./stage-passes.ts";

const contender = (name: string, module: string, variant?: string): Contender => ({
  name, module, threads: 1, ...(variant !== undefined && { variant }),
});
/** Shown beside ours, but no library: what the ratio leaves out. */
const yardstick = (name: string, module: string, variant?: string): Contender => ({ ...contender(name, module, variant), native: true });

const degraded = contender("frugal I + II + III", "mecefo-stage", "I+II+III");
const variants: readonly Contender[] = [
  yardstick("healthy, one stage", "mecefo-stage", "healthy"), yardstick("naive", "mecefo-stage", "naive"),
  yardstick("I", "mecefo-stage", "I"), yardstick("I + II", "mecefo-stage", "I+II"),
];

const microbatches = 4;
/** Sizes of stages: those of the presets micro, mini and small, and a wider one. */
export const stageShapes: Readonly<Record<string, StageShape>> = {
  micro: { hiddenSize: 128, intermediateSize: 384, heads: 4, blocks: 2, microbatchSize: 4, sequenceLength: 128 },
  mini: { hiddenSize: 160, intermediateSize: 448, heads: 5, blocks: 2, microbatchSize: 4, sequenceLength: 128 },
  small: { hiddenSize: 320, intermediateSize: 864, heads: 10, blocks: 1, microbatchSize: 4, sequenceLength: 128 },
  "h512-s256": { hiddenSize: 512, intermediateSize: 1376, heads: 8, blocks: 1, microbatchSize: 1, sequenceLength: 256 },
};

const times = (factor: number): string => `${factor.toFixed(2)}×`;

/** A worker with two stages, under what it leaves out, beside one with one stage that is healthy. */
const stages: readonly Workload[] = Object.entries(stageShapes).map(([name, shape]): Workload => ({
  id: `doubled-stage-${name}`,
  unit: "microbatches/s",
  work: microbatches,
  task: { kind: "stagePasses", shape, microbatches },
  ours: degraded,
  peers: variants,
  assess: () => {
    const [naive, first, second, all] = modelFactors(shape, microbatches).map(times);
    return { remark: `kept of a microbatch; by FLOPs naive ${naive}, I ${first}, I + II ${second}, all ${all} of a healthy stage's time` };
  },
}));

const megabytes = 16 * 2 ** 20;
const protocols = ["unix", "tcp"] as const;
const threaded = contender("frugal", "mecefo-transport", "threaded");
const direct = yardstick("frugal without thread", "mecefo-transport", "direct");

/** Earlier, on another machine of two cores: what the transport was chosen by. */
const earlier: Readonly<Record<string, string>> = {
  unix: "node:net 3650–3920, zeromq 1450–1560",
  tcp: "node:net 1715–2340, zeromq 1400–1430, ws 1030, gRPC 470–710, NATS 280–445",
};

/** 16 MiB to another process, one at a time, with an acknowledgement. */
const links: readonly Workload[] = protocols.map((protocol): Workload => ({
  id: `point-to-point-${protocol}-16MiB`,
  unit: "MB/s",
  work: megabytes / 1e6,
  task: { kind: "pointToPoint", bytes: megabytes, protocol },
  ours: threaded,
  peers: [
    direct, yardstick("node:net alone", "node-net"), contender("zeromq", "zeromq"),
    ...(protocol === "tcp" ? [contender("ws", "ws")] : []),
  ],
  assess: () => ({ remark: `frames have a CRC-32, which the others do without; when the design was chosen, elsewhere: ${earlier[protocol]}` }),
}));

/** The array's bytes over the time until all have the sum. */
const reductions: readonly Workload[] = [2, 4].flatMap((processes) => protocols.map((protocol): Workload => ({
  id: `all-reduce-${processes}-processes-${protocol}-16MiB`,
  unit: "MB/s",
  work: megabytes / 1e6,
  task: { kind: "allReduce", bytes: megabytes, processes, protocol },
  ours: threaded,
  peers: [direct],
  assess: ({ rate }) => ({
    remark: `${(megabytes / 1e3 / rate).toFixed(0)} ms; when the design was chosen, elsewhere: a plain ring over TCP `
      + (processes === 2 ? "32–36 ms, MPICH by koffi 18–50 ms" : "106–132 ms on 2 cores"),
  }),
})));

const checkpoint = contender("frugal", "mecefo-checkpoint");
const stateShape: StageShape = { hiddenSize: 320, intermediateSize: 864, heads: 10, blocks: 4, microbatchSize: 1, sequenceLength: 128 };
/** Weights and both moments. */
const stateBytes = 12 * (4 * (4 * 320 ** 2 + 3 * 320 * 864 + 2 * 320) + 2 * 256 * 320 + 320);

const checkpoints: readonly Workload[] = (["write", "read"] as const).map((part): Workload => ({
  id: `checkpoint-${part}`,
  unit: "MB/s",
  work: stateBytes / 1e6,
  task: { kind: "checkpoint", part, shape: stateShape },
  ours: checkpoint,
  peers: [],
  assess: () => ({
    remark: `${(stateBytes / 1e6).toFixed(0)} MB of a stage's weights and moments, SHA-256 included, `
      + (part === "write" ? "flushed to the disk" : "from the cache"),
  }),
}));

/** What `npm run bench -- mecefo` measures in child processes; each group has processes of its own. */
export const workloads: readonly (readonly Workload[])[] = [stages, links, reductions, checkpoints];
