/**
 * Trains a small model on Moby-Dick while two workers die: `node examples/train-through-failures.ts [steps]`. All workers are in this
 * process here; with `workers: "processes"`, the default, they are processes and the kills are SIGKILLs.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startTraining, type RunEvent, type TrainingRun } from "@frugal/mecefo";

const steps = Number(process.argv[2] ?? 30);
const output = await mkdtemp(join(tmpdir(), "mecefo-example-"));
// At a third of the steps one worker dies, at half of them another one of another pipeline; both are back 300 ms later.
const deaths = new Map([[Math.floor(steps / 3), "p0s1"], [Math.floor(steps / 2), "p1s0"]]);

function follow(event: RunEvent): void {
  if (event.kind === "step" && event.step % 5 === 0) console.log(`step ${event.step}: loss ${event.loss?.toFixed(3)}`);
  if (event.kind === "epoch") {
    const { epoch, live, cause, mixerPipelines } = event;
    console.log(`epoch ${epoch}, ${live.length} workers (${cause}): N(l) by stage ${JSON.stringify(mixerPipelines)}`);
  }
  if (event.kind === "recovery") console.log(`  going on after ${event.milliseconds.toFixed(0)} ms, ${event.bytes} bytes from peers`);
  if (event.kind !== "step") return;
  const slot = deaths.get(event.step);
  deaths.delete(event.step);
  if (slot === undefined) return;
  console.log(`killing ${slot}`);
  void run.inject(slot, { kind: "kill", repairAfter: 300 });
}

const run: TrainingRun = await startTraining({
  output, workers: "in-process", allowFaults: true, onEvent: follow,
  model: "nano", grid: "2x2", steps, microbatches: 4, microbatchSize: 2, sequenceLength: 64, data: { text: "moby-dick" },
});
const { outcome, summary: { steps: taken, ledger }, evaluate } = await run.finished;
const batches = `${ledger?.lost} lost and ${ledger?.duplicated} repeated batches`;
console.log(`${outcome.kind}: ${taken} steps, ${batches}, ${ledger?.divergences} divergences`);
console.log(`held-out perplexity ${(await evaluate(20_000)).perplexity.toFixed(1)}`);
await rm(output, { recursive: true });
