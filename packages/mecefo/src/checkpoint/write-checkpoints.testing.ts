/**
 * Writes checkpoint after checkpoint until it is killed; prints the step of each that is whole. Run as a process of its own by a test:
 * arguments are the folder and the first step.
 */
import { commitCheckpoint, pruneCheckpoints } from "./commit-checkpoint.ts";
import { sampleJob, tinyState, writeSampleShards } from "./sample-states.testing.ts";

const [root, first] = [process.argv[2]!, Number(process.argv[3])];
const job = sampleJob();
for (let step = first; ; step++) {
  // Each step twice: the second replaces the first.
  for (const value of [step, step + 0.5]) {
    const shards = await writeSampleShards(root, job, [tinyState(0, step, value), tinyState(1, step, value)]);
    await commitCheckpoint(root, step, shards, { job, degraded: false });
    process.stdout.write(`${value}\n`);
  }
  await pruneCheckpoints(root, 2);
}
