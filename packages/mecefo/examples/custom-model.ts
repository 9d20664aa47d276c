/**
 * Trains a model that is no transformer through a death: `node examples/custom-model.ts`. The model is in convolution-model.ts; the command
 * takes such a module too: `mecefo train --model convolution-model.ts`.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startTraining, type TrainingRun } from "@frugal/mecefo";

const output = await mkdtemp(join(tmpdir(), "mecefo-example-"));
let killed = false;

const run: TrainingRun = await startTraining({
  output, workers: "in-process", allowFaults: true,
  model: { module: fileURLToPath(new URL("convolution-model.ts", import.meta.url)) },
  grid: "2x2", steps: 40, sequenceLength: 64, optimizer: { learningRate: 4e-3 }, data: { text: "moby-dick" },
  onEvent(event) {
    if (event.kind === "step" && event.step % 10 === 0) console.log(`step ${event.step}: loss ${event.loss?.toFixed(3)}`);
    if (event.kind === "epoch") console.log(`epoch ${event.epoch} (${event.cause}), N(l) by stage ${JSON.stringify(event.mixerPipelines)}`);
    if (event.kind === "step" && event.step === 15 && !killed) {
      killed = true;
      void run.inject("p1s1", { kind: "kill", repairAfter: 300 });
    }
  },
});
const { outcome, summary } = await run.finished;
const [first, last] = [summary.firstLoss?.toFixed(3), summary.finalLoss?.toFixed(3)];
console.log(`${outcome.kind} after ${summary.steps} steps: loss ${first} at first, ${last} at last`);
await rm(output, { recursive: true });
