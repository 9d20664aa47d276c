/**
 * Which strategy suits a cluster? `node examples/simulate-cluster.ts`: 64 nodes, 8 pipelines of 8 stages, each node failing every 10 days
 * and back after 2 hours, and the same with 1,024 nodes.
 */
import { formatSimulation, paperProfile, simulate } from "@frugal/mecefo";

const days = 24;
for (const pipelines of [8, 128]) {
  const grid = { pipelines, stages: 8 };
  const nodes = pipelines * grid.stages;
  const result = simulate({
    grid, costs: paperProfile("llama-1b", { grid }), hours: 100, seeds: 4, seed: 1, sharing: "balanced",
    // All nodes together fail this often.
    scenario: { name: `${nodes} nodes`, failureEveryHours: (10 * days) / nodes, repairHours: 2, nodes },
  });
  console.log(`${formatSimulation(result)}\n`);
}
