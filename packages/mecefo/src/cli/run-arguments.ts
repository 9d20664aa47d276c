import { readFile } from "node:fs/promises";
import { integer, numberBetween } from "@frugal/language-model/command-line";
import { Option, type Command } from "commander";
import { SettingsError } from "../errors.ts";
import type { TokenizerChoice } from "../job/data-tokenizer.ts";
import type { JobOptions } from "../job/create-job.ts";
import { strategyNames, type StrategyName } from "../grid/strategy.ts";
import { isModelPreset, modelPresetNames } from "../job/model-presets.ts";
import type { TrainingOptions } from "../runtime/training-run.ts";

/** What `mecefo train` and `mecefo chaos` have in common, as commander gives it. */
export interface RunArguments {
  readonly model?: string;
  readonly data: readonly string[];
  readonly tokenizer: string;
  readonly validation: number;
  readonly grid?: string;
  readonly strategy?: StrategyName;
  readonly steps?: number;
  readonly microbatches?: number;
  readonly microbatchSize?: number;
  readonly sequenceLength?: number;
  readonly learningRate?: number;
  readonly seed?: number;
  readonly projection?: "weight" | "activation" | "gradient";
  readonly rank?: number;
  readonly refreshInterval?: number;
  readonly mixerBackward?: boolean;
  readonly storedFeedForward?: boolean;
  readonly exactGradients?: boolean;
  readonly maximumChain?: number;
  readonly lostPipeline?: "reroute" | "drop";
  readonly sharing?: "balanced" | "even";
  readonly emptyMixer?: "exact" | "skip";
  readonly codec?: string;
  readonly hashEvery?: number;
  readonly threads?: number;
  readonly checkpointEvery?: number;
  readonly name?: string;
  readonly output: string;
  readonly control: string;
  readonly workers: "processes" | "in-process" | "external";
  readonly restartDelay: number;
  readonly tokenFile?: string;
  readonly dashboard?: number | true;
  readonly dashboardHost?: string;
  readonly json: boolean;
}

/** Adds the options of a run. */
export function addRunOptions(command: Command): Command {
  return command
    .option("--model <preset|file>",
      `${modelPresetNames.join(", ")} (default: nano), a config.json of Hugging Face's, or a module that exports a StageFactory`)
    .option("--data <text...>", 'text files or folders, or the npm corpora "moby-dick" and "sotu"', ["moby-dick"])
    .option("--tokenizer <kind>", '"bytes", a number (byte-pair encoding of so many tokens, learnt here), or a tokenizer.json', "bytes")
    .option("--validation <share>", "of the text, held out at its end", numberBetween(0.001, 0.5), 0.1)
    .option("--grid <pipelines>x<stages>", "data parallel × pipeline parallel (default: 2x4)")
    .addOption(new Option("--strategy <name>", "how failures are answered (default: mecefo)").choices(strategyNames))
    .option("--steps <count>", "optimizer steps (default: 200)", integer(1))
    .option("--microbatches <count>", "of each pipeline in a step (default: twice the stages, at least 4)", integer(1))
    .option("--microbatch-size <sequences>", "sequences of a microbatch (default: 2)", integer(1))
    .option("--sequence-length <tokens>", "(default: 128)", integer(1))
    .option("--learning-rate <rate>", "at its peak (default: 0.001)", numberBetween(1e-9, 10))
    .option("--seed <number>", "of weights and data order (default: 0)", integer(0))
    .addOption(new Option("--projection <basis>", "what low-rank gradients are projected on (default: weight)")
      .choices(["weight", "activation", "gradient"]))
    .option("--rank <r>", "vectors, or below 1 a share of a layer's inputs (default: a quarter, at least 32)", numberBetween(1e-6, 1e6))
    .option("--refresh-interval <steps>", "degraded steps between two decompositions (default: 100)", integer(1))
    .option("--mixer-backward", "without technique I: degraded workers differentiate attention as well")
    .option("--stored-feed-forward", "without technique II: degraded workers keep the feed-forward's activations")
    .option("--exact-gradients", "without technique III: degraded workers compute full weight gradients")
    .option("--maximum-chain <stages>", "that one worker may host (default: all)", integer(1))
    .addOption(new Option("--lost-pipeline <answer>", "what becomes of a stopped pipeline's microbatches (default: reroute; drop with drop-replica)")
      .choices(["reroute", "drop"]))
    .addOption(new Option("--sharing <way>", "slow pipelines give microbatches to faster ones (default), or keep their own")
      .choices(["balanced", "even"]))
    .addOption(new Option("--empty-mixer <answer>", "a mixer that no pipeline has a gradient of: one does it exactly (default), or none is updated")
      .choices(["exact", "skip"]))
    .option("--codec <name|module>", 'between stages: "float32" (default), "float16", or a module that exports an ActivationCodec')
    .option("--hash-every <steps>", "compare replicas' hashes; 0 never (default: 1)", integer(0))
    .option("--threads <count>", "CPU threads of each worker (default: the cores shared out)", integer(1))
    .option("--checkpoint-every <steps>", "(default: 100)", integer(1))
    .option("--name <name>", "of the run, where one NATS cluster serves several (default: run)")
    .option("--output <folder>", "of the run: job, data, checkpoints, events", "mecefo-run")
    .option("--control <address>", 'where workers join: "unix:", tcp://host:port, or nats://host:4222[,…]', "unix:")
    .addOption(new Option("--workers <where>", "of their own each, in this process, or started elsewhere to join")
      .choices(["processes", "in-process", "external"]).default("processes"))
    .option("--restart-delay <ms>", "until a worker that ended is started again; 0 never", integer(0), 1000)
    .option("--token-file <file>", "the run's secret (or the variable MECEFO_TOKEN; default: drawn anew)")
    .option("--dashboard [port]", "show the run on a page (default port: any free one)", integer(0, 65535))
    .option("--dashboard-host <host>", "listen there; other than this machine's own needs the secret on the page's address")
    .option("--json", "print the result as one JSON object", false);
}

/** The run's secret: of a file, or of the environment. */
export async function readToken(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return process.env["MECEFO_TOKEN"];
  return (await readFile(file, "utf8")).trim();
}

async function modelOf(model: string | undefined): Promise<JobOptions["model"]> {
  if (model === undefined || isModelPreset(model)) return model;
  if (/\.(m?[jt]s)$/.test(model)) return { module: model };
  if (!model.endsWith(".json")) {
    throw new SettingsError(`model "${model}": give one of ${modelPresetNames.join(", ")}, a config.json, or a module (.js, .ts)`);
  }
  const { configurationFromHuggingFace } = await import("@frugal/language-model");
  return configurationFromHuggingFace(JSON.parse(await readFile(model, "utf8")), model);
}

function tokenizerOf(text: string): TokenizerChoice {
  return /^\d+$/.test(text) ? { bytePair: Number(text) } : text;
}

/** What a run is started with. */
export async function trainingOptions(given: RunArguments): Promise<TrainingOptions> {
  const { data: [first], dashboard, strategy } = given;
  const text = given.data.length === 1 ? first! : given.data;
  const token = await readToken(given.tokenFile);
  const hasTechniques = strategy === undefined || strategy === "mecefo";
  return {
    model: await modelOf(given.model),
    data: { text, tokenizer: tokenizerOf(given.tokenizer), validationFraction: given.validation },
    grid: given.grid, strategy, steps: given.steps, microbatches: given.microbatches, microbatchSize: given.microbatchSize,
    sequenceLength: given.sequenceLength, seed: given.seed, codec: given.codec, hashEvery: given.hashEvery, threads: given.threads,
    optimizer: { learningRate: given.learningRate },
    ...(hasTechniques && {
      techniques: {
        ...(given.mixerBackward && { skipMixerBackward: false }),
        ...(given.storedFeedForward && { recomputeFeedForward: false }),
        ...(given.exactGradients && { lowRankWeightGradients: false }),
      },
    }),
    projection: { basis: given.projection, rank: given.rank, refreshInterval: given.refreshInterval },
    maximumChain: given.maximumChain, lostPipeline: given.lostPipeline, sharing: given.sharing, emptyMixer: given.emptyMixer,
    name: given.name, checkpointEvery: given.checkpointEvery, output: given.output, control: given.control, workers: given.workers, token,
    restartDelay: given.restartDelay === 0 ? null : given.restartDelay,
    ...(dashboard !== undefined && {
      dashboard: {
        port: dashboard === true ? 0 : dashboard,
        ...(given.dashboardHost !== undefined && { host: given.dashboardHost, token }),
      },
    }),
  };
}
