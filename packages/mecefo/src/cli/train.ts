import { interruption, note, printJson } from "@frugal/language-model/command-line";
import { Command } from "commander";
import { MecefoError } from "../errors.ts";
import { addRunOptions, trainingOptions, type RunArguments } from "./run-arguments.ts";
import { followRun } from "./follow-run.ts";

interface TrainArguments extends RunArguments {
  readonly resume: boolean;
  readonly allowFaults: boolean;
}

async function train(given: TrainArguments): Promise<void> {
  const options = { ...(await trainingOptions(given)), resume: given.resume, allowFaults: given.allowFaults };
  const result = await followRun(options, { silent: given.json });
  const { outcome, checkpoint, summary } = result;
  if (outcome.kind === "failed") throw new MecefoError(`the run failed: ${outcome.reason}`);
  const evaluation = checkpoint === undefined || interruption.aborted ? undefined : await result.evaluate();
  if (given.json) {
    printJson({ ...summary, checkpoint, validation: evaluation });
    return;
  }
  note(`${outcome.step} steps, ${summary.epochs} epochs, ${(summary.tokensPerSecond ?? 0).toFixed(0)} tokens/s; loss ${summary.finalLoss?.toFixed(3) ?? "none"}`);
  if (evaluation) note(`held-out perplexity ${evaluation.perplexity.toFixed(2)} over ${evaluation.tokens} tokens`);
  if (checkpoint !== undefined) note(`checkpoint: ${checkpoint}`);
  note(`report: mecefo report ${given.output} --output report.html`);
}

/** `mecefo train`. */
export function trainCommand(): Command {
  return addRunOptions(new Command("train"))
    .description("Train a model on a grid of workers that may die.")
    .option("--resume", "go on from the output folder's last checkpoint; another grid or strategy may be given", false)
    .option("--allow-faults", "let the page's buttons kill, stop, cut, slow and corrupt", false)
    .action((given: TrainArguments) => train(given));
}
