import { hostname } from "node:os";
import { interruptible, interruption, note, startProgress, type Progress } from "@frugal/language-model/command-line";
import type { RunEvent } from "../membership/run-event.ts";
import { startTraining, type TrainingOptions, type TrainingResult, type TrainingRun } from "../runtime/training-run.ts";

/** A line for people; undefined for what the progress bar shows. */
function lineOf(event: RunEvent): string | undefined {
  switch (event.kind) {
    case "epoch":
      return `epoch ${event.epoch} at step ${event.step} (${event.cause}): ${event.reason}`;
    case "recovery": {
      const bytes = event.bytes > 0 ? `, ${(event.bytes / 1e6).toFixed(1)} MB from peers` : "";
      return `  going on after ${event.milliseconds.toFixed(0)} ms${bytes}`;
    }
    case "fault":
      return `fault: ${event.fault} ${event.slot}${event.detail === "" ? "" : ` (${event.detail})`}`;
    case "checkpoint":
      return `checkpoint of step ${event.step}${event.degraded ? ", written while degraded" : ""}: ${event.folder}`;
    case "note":
      return event.text;
    case "failed":
      return `failed: ${event.reason}`;
    case "step":
    case "finished":
      return undefined;
  }
}

/** The address as other machines know it, where it listens on all of this one's. */
function reachable(url: string | undefined): string | undefined {
  return url?.replace(/\/\/(0\.0\.0\.0|\[?::\]?):/, `//${hostname()}:`);
}

/** Runs a training with a progress bar; Ctrl-C ends it with a checkpoint. `meanwhile` may bring faults about. */
export async function followRun(
  options: TrainingOptions, { silent, meanwhile }: { readonly silent: boolean; readonly meanwhile?: (run: TrainingRun) => Promise<void> },
): Promise<TrainingResult> {
  let progress: Progress | undefined = undefined;
  const early: string[] = [];
  const tell = (line: string): void => {
    if (silent) return;
    if (progress) progress.line(line);
    else early.push(line);
  };
  const run = await startTraining({
    ...options,
    onEvent: (event) => {
      const line = lineOf(event);
      if (line !== undefined) tell(line);
      if (event.kind === "step") progress?.update(event.step + 1, `loss ${event.loss?.toFixed(3) ?? "not finite"}, epoch ${event.epoch}`);
      options.onEvent?.(event);
    },
    onLine: (slot, line) => {
      tell(`${slot}: ${line}`);
    },
  });
  if (run.dashboard) note(`dashboard: ${run.dashboard.url}`);
  if (options.allowFaults && run.joinUrl !== undefined && !silent) note(`faults can be brought about with: MECEFO_TOKEN=… mecefo chaos --join ${run.joinUrl}`);
  if (options.workers === "external") note(`workers join with: MECEFO_TOKEN=… mecefo worker --join ${reachable(run.joinUrl)}`);
  if (options.workers === "external" && options.token === undefined) note(`the run's secret, drawn anew: ${run.token}`);
  progress = startProgress("training", run.job.steps, { silent });
  for (const line of early) tell(line);
  const stop = (): void => {
    tell("stopping after this step, with a checkpoint; once more to stop at once");
    run.stop();
  };
  try {
    return await interruptible(async () => {
      interruption.addEventListener("abort", stop, { once: true });
      let failure: { readonly error: unknown } | undefined;
      const faults = meanwhile?.(run).catch((error: unknown) => {
        failure = { error };
        run.stop();
      });
      const result = await run.finished;
      await faults;
      if (failure) throw failure.error;
      return result;
    });
  } finally {
    progress.stop();
    interruption.removeEventListener("abort", stop);
  }
}

