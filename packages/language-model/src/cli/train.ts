import { Command } from "commander";
import { LanguageModelError } from "../errors.ts";
import { saveModel } from "../model/save-model.ts";
import { validationLoss } from "../training/trainer.ts";
import { saveTrainingCheckpoint } from "../training/training-checkpoint.ts";
import { applyThreads, type CommandDevice, deviceOption, integer, numberBetween, threadsOption } from "../command-line/arguments.ts";
import { openDevice } from "./device.ts";
import { interruptible, interruption, Interrupted } from "../command-line/run-to-end.ts";
import { note, printJson, startProgress } from "../command-line/terminal.ts";
import { TEXT_NAMES } from "./text.ts";
import { beginRun, parseRunSettings, resumeRun, runOptionNames, type RunSettings, type TrainingRun } from "./training-run.ts";

interface TrainArguments extends Omit<RunSettings, "text" | "keyValueHeads"> {
  readonly text?: string;
  readonly keyValueHeads?: number;
  readonly output: string;
  readonly resume: boolean;
  readonly checkpointEvery: number;
  readonly evaluateEvery: number;
  readonly device: CommandDevice;
  readonly threads?: number;
  readonly json: boolean;
}

/** Batches of held-out text that an evaluation goes through. */
const EVALUATION_BATCHES = 8;

async function openRun(given: TrainArguments, command: Command): Promise<TrainingRun> {
  const announce = (): void => {
    if (!given.json) note("reading the text and encoding it, which Ctrl-C ends at once");
  };
  if (given.resume) {
    const named = runOptionNames.filter((name) => command.getOptionValueSource(name) === "cli");
    if (named.length > 0) throw new LanguageModelError(`a resumed run keeps its settings; leave out ${named.join(", ")}`);
    announce();
    return await resumeRun(given.output, given.device);
  }
  if (given.text === undefined) throw new LanguageModelError(`--text is missing: a ${TEXT_NAMES}`);
  const settings = parseRunSettings({ ...given, keyValueHeads: given.keyValueHeads ?? given.heads });
  announce();
  return await beginRun(given.output, settings, given.device);
}

async function train(given: TrainArguments, command: Command): Promise<void> {
  applyThreads(given.threads);
  const device = await openDevice(given.device, "train", given.json);
  const run = await openRun(given, command);
  await interruptible(() => take(run, given));
  await device.remember();
}

/** Takes the steps that are left, and leaves checkpoint and model in the folder. */
async function take(run: TrainingRun, given: TrainArguments): Promise<void> {
  const { model, trainer, settings, validation } = run;
  const report = (event: string, values: Record<string, unknown>): void => {
    if (given.json) printJson({ event, ...values });
  };
  const initial = trainer.optimizer.stepCount;
  const { parameterCount: parameters } = model;
  report("start", { step: initial, steps: settings.steps, parameters, trainingTokens: run.trainingTokens, settings });
  if (!given.json) {
    note(`${(parameters / 1e6).toFixed(2)} M parameters, ${run.trainingTokens} tokens of ${settings.text}, ${given.output}`);
    if (initial > 0) note(`going on after step ${initial} of ${settings.steps}`);
  }
  const progress = startProgress("training", settings.steps, { silent: given.json, initial });
  const evaluate = async (step: number): Promise<void> => {
    const loss = await validationLoss(model, validation, Math.min(EVALUATION_BATCHES, Math.max(1, Math.floor(validation.stepsPerEpoch))));
    report("validation", { step, loss });
    progress.line(`step ${step}: held-out loss ${loss.toFixed(4)}, perplexity ${Math.exp(loss).toFixed(2)}`);
  };
  const checkpoint = async (step: number): Promise<void> => {
    await saveTrainingCheckpoint(trainer, run.checkpointPath);
    report("checkpoint", { step, path: run.checkpointPath });
  };
  try {
    if (initial === 0) await evaluate(0);
    while (trainer.optimizer.stepCount < settings.steps && !interruption.aborted) {
      const taken = await trainer.step();
      const { step } = taken;
      report("step", { ...taken });
      const speed = (taken.tokens / taken.milliseconds) * 1000;
      progress.update(step, `step ${step}/${settings.steps}, loss ${taken.loss.toFixed(3)}, ${speed.toFixed(0)} tokens/s`);
      if (interruption.aborted || step === settings.steps) break;
      if (step % given.evaluateEvery === 0) await evaluate(step);
      if (step % given.checkpointEvery === 0) await checkpoint(step);
    }
    const step = trainer.optimizer.stepCount;
    if (step > initial) await checkpoint(step);
    // Also where no step was left: an earlier run may have ended between checkpoint and model.
    await saveModel(model, given.output);
    if (interruption.aborted) {
      progress.line(`stopped after step ${step}; go on with: language-model train --resume --output ${given.output}`);
      report("interrupted", { step });
      throw new Interrupted("interrupted");
    }
    await evaluate(step);
    report("end", { step, output: given.output });
  } finally {
    progress.stop();
    trainer.dispose();
    model.dispose();
  }
  if (given.json) return;
  note(`the model is in ${given.output}; try: language-model generate --model ${given.output} --prompt "The" --temperature 0.8`);
}

/** `language-model train`. */
export function trainCommand(): Command {
  return new Command("train")
    .description("Train a small Llama on a text, from random weights; writes a Hugging Face folder. Ctrl-C saves, --resume goes on.")
    .option("--text <text>", TEXT_NAMES)
    .requiredOption("--output <folder>", "where model, tokenizer and checkpoint go")
    .option("--resume", "go on from the checkpoint in the output folder", false)
    .option("--steps <count>", "batches to train on", integer(1), 500)
    .option("--batch-size <count>", "sequences in a batch", integer(1), 8)
    .option("--sequence-length <tokens>", "tokens in a sequence", integer(1), 128)
    .option("--vocabulary-size <tokens>", "size of the byte-pair vocabulary learnt from the text", integer(257), 2048)
    .option("--hidden-size <features>", "width of the model", integer(1), 192)
    .option("--layers <count>", "decoder blocks", integer(1), 6)
    .option("--heads <count>", "attention heads; they divide the width", integer(1), 6)
    .option("--key-value-heads <count>", "heads of keys and values; they divide the heads (default: as many)", integer(1))
    .option("--learning-rate <rate>", "at its peak", numberBetween(1e-9, 1), 3e-3)
    .option("--weight-decay <rate>", "of AdamW, on matrices", numberBetween(0, 1), 0.1)
    .option("--validation <share>", "of the text, at its end, that is held out", numberBetween(0.001, 0.5), 0.05)
    .option("--seed <number>", "of weights and batches", integer(0), 0)
    .option("--checkpoint-every <steps>", "steps between checkpoints", integer(1), 100)
    .option("--evaluate-every <steps>", "steps between evaluations on held-out text", integer(1), 100)
    .addOption(deviceOption())
    .addOption(threadsOption())
    .option("--json", "print a line of JSON for each event", false)
    .action((given: TrainArguments, command: Command) => train(given, command));
}
