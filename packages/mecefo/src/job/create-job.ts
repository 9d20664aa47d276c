import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { LanguageModelError, parseModelConfiguration, type ModelConfiguration } from "@frugal/language-model";
import { allTechniques, noTechniques, type ProjectionSettings, type Techniques } from "../approximation/stage-mode.ts";
import { SettingsError } from "../errors.ts";
import { checkGrid, formatGrid, parseGrid, type Grid } from "../grid/grid.ts";
import type { Timeouts } from "./timeouts.ts";
import { checkJobFits } from "./decoder-stages.ts";
import { jobSchema, type Job, type JobModel, type OptimizerSettings } from "./job.ts";
import type { StrategyName } from "../grid/strategy.ts";
import { isModelPreset, presetConfiguration, type ModelPresetName } from "./model-presets.ts";
import { plainCodecs } from "./open-codec.ts";

/** What `createJob` makes a job of. */
export interface JobOptions {
  /** Letters, digits, _ and -, at most 48. Default "run". */
  readonly name?: string | undefined;
  /** A preset, a decoder's configuration, or the path of a module whose default export is a `StageFactory`. Default "nano". */
  readonly model?: ModelPresetName | ModelConfiguration | { readonly module: string } | undefined;
  /** What `prepareData` gave. `vocabularySize` is needed for a preset, and compared with that of a configuration. */
  readonly data: { readonly folder: string; readonly sha256: string; readonly vocabularySize?: number | undefined };
  /** Pipelines × stages. Default "2x4", or fewer stages where the model has fewer blocks. */
  readonly grid?: string | Grid | undefined;
  /** Of each pipeline in a step. Default: twice the stages, at least 4, so that the pipeline is filled. */
  readonly microbatches?: number | undefined;
  /** Sequences. Default 2. */
  readonly microbatchSize?: number | undefined;
  /** Default 128, or the model's longest if that is less. */
  readonly sequenceLength?: number | undefined;
  /** Default 200. */
  readonly steps?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /**
   * Defaults: learning rate 1e-3 after a warm-up over a tenth of the steps, cosine to a tenth of it, betas 0.9 and 0.999, epsilon 1e-8,
   * weight decay 0.01 (the paper's, but for the rate, which it chooses by size), clipping at norm 1.
   */
  readonly optimizer?: { readonly [Name in keyof OptimizerSettings]?: OptimizerSettings[Name] | undefined } | undefined;
  /** Default "mecefo"; with one pipeline "checkpoint-restart" where checkpoints are written, else "none". */
  readonly strategy?: StrategyName | undefined;
  /** Default: all with "mecefo", none with the others, which know none. */
  readonly techniques?: { readonly [Name in keyof Techniques]?: boolean | undefined } | undefined;
  /** Default: of weights, a quarter of the inputs (at least 32), refreshed every 100 degraded steps. */
  readonly projection?: { readonly [Name in keyof ProjectionSettings]?: ProjectionSettings[Name] | undefined } | undefined;
  /** Default: the stages. */
  readonly maximumChain?: number | undefined;
  /** Default "drop" with "drop-replica", else "reroute". */
  readonly lostPipeline?: Job["lostPipeline"] | undefined;
  /** Default "balanced". */
  readonly sharing?: Job["sharing"] | undefined;
  /** Default "exact". */
  readonly emptyMixer?: Job["emptyMixer"] | undefined;
  /** No checkpoints without it. Default: every 100 steps, 3 kept. */
  readonly checkpoint?: { readonly folder: string; readonly every?: number | undefined; readonly keep?: number | undefined } | undefined;
  /** "float32", "float16" or the path of a module. Default "float32". */
  readonly codec?: string | undefined;
  /** Default 1. */
  readonly hashEvery?: number | undefined;
  /** Default: the machine's cores shared out among the workers, at least 1. */
  readonly threads?: number | undefined;
  /** Of `timeoutDefaults`. */
  readonly timeouts?: Partial<Timeouts> | undefined;
}

/** The values that are there, over the defaults. */
function withDefaults<Values extends object>(
  defaults: Values, given: { readonly [Name in keyof Values]?: Values[Name] | undefined } = {},
): Values {
  const present = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...defaults, ...(Object.fromEntries(present) as Partial<Values>) };
}

/** Longest sequence that a preset's model is made for, unless the job's is longer. */
const PRESET_POSITIONS = 512;

function modelOf({ model = "nano", data, sequenceLength = 0 }: JobOptions): JobModel {
  if (typeof model === "string") {
    if (!isModelPreset(model)) presetConfiguration(model, { vocabularySize: 1 });
    if (data.vocabularySize === undefined) {
      throw new SettingsError(`data: the preset ${model} needs data.vocabularySize; give what prepareData returned`);
    }
    const maxPositionEmbeddings = Math.max(PRESET_POSITIONS, sequenceLength);
    return { kind: "decoder", configuration: presetConfiguration(model, { vocabularySize: data.vocabularySize, maxPositionEmbeddings }) };
  }
  if ("module" in model) return { kind: "module", path: resolve(model.module) };
  return { kind: "decoder", configuration: model };
}

/** The decoder's configuration; undefined for a module. @throws SettingsError naming the option */
function configurationOf(model: JobModel): ModelConfiguration | undefined {
  if (model.kind === "module") return undefined;
  try {
    return parseModelConfiguration(model.configuration, "model");
  } catch (cause) {
    if (!(cause instanceof LanguageModelError)) throw cause;
    throw new SettingsError(cause.message, { cause });
  }
}

function strategyOf({ strategy, checkpoint }: JobOptions, { pipelines }: Grid): StrategyName {
  return strategy ?? (pipelines > 1 ? "mecefo" : checkpoint ? "checkpoint-restart" : "none");
}

/**
 * Makes a job of what is given and defaults, and checks it.
 * @throws SettingsError naming each option that is wrong
 */
export function createJob(options: JobOptions): Job {
  const model = modelOf(options);
  const configuration = configurationOf(model);
  const { grid: asked = { pipelines: 2, stages: Math.min(4, configuration?.numHiddenLayers ?? 4) } } = options;
  const grid = checkGrid(typeof asked === "string" ? parseGrid(asked) : { pipelines: asked.pipelines, stages: asked.stages });
  const strategy = strategyOf(options, grid);
  const { steps = 200, checkpoint, codec = "float32" } = options;
  const isPlain = (plainCodecs as readonly string[]).includes(codec);
  const vocabularySize = options.data.vocabularySize;
  if (configuration && vocabularySize !== undefined && configuration.vocabularySize < vocabularySize) {
    throw new SettingsError(`model: a vocabulary of ${configuration.vocabularySize} is too small for the data's ${vocabularySize} tokens`);
  }
  return checkJob({
    formatVersion: 1,
    name: options.name ?? "run",
    model: configuration ? { kind: "decoder", configuration } : model,
    data: { folder: resolve(options.data.folder), sha256: options.data.sha256 },
    grid,
    microbatches: options.microbatches ?? Math.max(4, 2 * grid.stages),
    microbatchSize: options.microbatchSize ?? 2,
    sequenceLength: options.sequenceLength ?? Math.min(128, configuration?.maxPositionEmbeddings ?? 128),
    steps,
    seed: options.seed ?? 0,
    optimizer: withDefaults<OptimizerSettings>({
      learningRate: 1e-3, warmupSteps: Math.ceil(steps / 10), finalLearningRateScale: 0.1, betas: [0.9, 0.999], epsilon: 1e-8,
      weightDecay: 0.01, maximumGradientNorm: 1,
    }, options.optimizer),
    strategy,
    techniques: withDefaults<Techniques>(strategy === "mecefo" ? allTechniques : noTechniques, options.techniques),
    projection: withDefaults<ProjectionSettings>({ basis: "weight", refreshInterval: 100 }, options.projection),
    maximumChain: options.maximumChain ?? grid.stages,
    lostPipeline: options.lostPipeline ?? (strategy === "drop-replica" ? "drop" : "reroute"),
    sharing: options.sharing ?? "balanced",
    emptyMixer: options.emptyMixer ?? "exact",
    ...(checkpoint && { checkpoint: { folder: resolve(checkpoint.folder), every: checkpoint.every ?? 100, keep: checkpoint.keep ?? 3 } }),
    codec: isPlain ? codec : resolve(codec),
    hashEvery: options.hashEvery ?? 1,
    threads: options.threads ?? Math.max(1, Math.floor(availableParallelism() / (grid.pipelines * grid.stages))),
    timeouts: withDefaults<Partial<Timeouts>>({}, options.timeouts),
  });
}

/**
 * Checks a job from outside: each value by itself, and all against one another. Models of modules are checked when they are opened.
 * @throws SettingsError naming each option that is wrong
 */
export function checkJob(value: unknown): Job {
  const parsed = jobSchema.safeParse(value);
  if (!parsed.success) {
    const issues = parsed.error.issues.slice(0, 8).map(({ path, message }) => `${path.join(".") || "job"}: ${message}`);
    throw new SettingsError(issues.join("; "));
  }
  const job = parsed.data;
  const configuration = configurationOf(job.model);
  if (configuration) {
    const { numHiddenLayers: blockCount, maxPositionEmbeddings: maximumSequenceLength } = configuration;
    checkJobFits(job, { blockCount, maximumSequenceLength });
  }
  checkStrategy(job);
  const [first, second] = job.optimizer.betas;
  if (first >= 1 || second >= 1) throw new SettingsError(`optimizer.betas: ${first}, ${second}; both have to be less than 1`);
  if (job.optimizer.warmupSteps > job.steps) {
    throw new SettingsError(`optimizer.warmupSteps: ${job.optimizer.warmupSteps} of ${job.steps} steps; use fewer than steps`);
  }
  const { rank } = job.projection;
  if (rank !== undefined && rank >= 1 && !Number.isInteger(rank)) {
    throw new SettingsError(`projection.rank: ${rank}; use a whole number, or a share below 1`);
  }
  if (job.maximumChain > job.grid.stages) {
    throw new SettingsError(`maximumChain: ${job.maximumChain} of ${job.grid.stages} stages; use at most the stages`);
  }
  return job;
}

function checkStrategy({ strategy, grid, techniques, checkpoint }: Job): void {
  const needsCopies = strategy === "mecefo" || strategy === "naive" || strategy === "drop-replica";
  if (needsCopies && grid.pipelines < 2) {
    throw new SettingsError(
      `strategy: "${strategy}" needs at least 2 pipelines, the grid is ${formatGrid(grid)}: the same stage of another pipeline is the ` +
      `only copy of a lost worker's weights; use a grid of 2 or more pipelines, or "checkpoint-restart" or "none"`,
    );
  }
  const used = Object.entries(techniques).filter(([, isOn]) => isOn).map(([technique]) => technique);
  if (strategy !== "mecefo" && used.length > 0) {
    throw new SettingsError(`techniques: ${used.join(", ")} with strategy "${strategy}", which has none; use "mecefo"`);
  }
  if (strategy === "checkpoint-restart" && checkpoint === undefined) {
    throw new SettingsError('checkpoint: strategy "checkpoint-restart" needs a folder to write to; give checkpoint.folder');
  }
}
