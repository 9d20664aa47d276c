/** Figures of whole runs: a healthy grid, a grid with a worker down, recoveries, and the simulator's costs. */
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { doubleWorkFactor, type RecoveryEvent } from "@frugal/mecefo";
import { median } from "../src/measure.ts";
import type { Figure, Study } from "../src/study.ts";
import { measureDegradedRun, measureHealthySteps, measureRecoveries, presetStage, tokensPerStep } from "./cost-claims.ts";
import { measureCosts } from "./cost-profile.ts";
import { oneDownThroughput } from "./pipeline-figures.ts";
import { isQuick } from "./runs.ts";
import { measureStage } from "./stage-passes.ts";

const costsFile = fileURLToPath(new URL("./costs.json", import.meta.url));

const healthy: Study = {
  id: "healthy-2x2",
  async measure(effort) {
    const times = await measureHealthySteps(effort);
    const rate = (name: string): number => (1000 * tokensPerStep) / median(times.get(name)!);
    return [{
      id: "healthy-2x2", unit: "tokens/s", ours: rate("mecefo"),
      yardsticks: { "strategy none": rate("none"), "without hashes": rate("mecefo without hashes") },
      remark: "preset micro, four processes; ours with leases, votes, decisions and a hash of the whole state every step",
    }];
  },
};

const oneDown: Study = {
  id: "one-worker-down",
  async measure(effort) {
    const figures: Figure[] = [];
    for (const sharing of ["balanced", "even"] as const) {
      const { throughput, cost } = await measureDegradedRun(effort, sharing);
      figures.push({
        id: `one-worker-down-2x2-${sharing}`, unit: "of fault-free", ours: throughput,
        remark: "a real run of four processes on this machine's cores before and after kill -9"
          + (sharing === "even" ? `; the doubled worker's processor time is ${cost.toFixed(2)} of a healthy one's` : ""),
      });
    }
    const costs = await measureStage(presetStage("small", 8), 1, 4, isQuick(effort) ? 3 : 15);
    for (const microbatches of [8, 32, 128]) {
      const ratio = (sharing: "balanced" | "even"): number =>
        oneDownThroughput({ grid: { pipelines: 4, stages: 8 }, microbatches, sharing }, costs);
      figures.push({
        id: `one-worker-down-4x8-m${microbatches}`, unit: "of fault-free", ours: ratio("balanced"),
        yardsticks: { "even sharing": ratio("even") },
        remark: `computed: 1F1B over stage times measured here, a core for each worker; a doubled one takes ${doubleWorkFactor(costs).toFixed(2)}`,
      });
    }
    return figures;
  },
};

const recoveries: Study = {
  id: "recovery",
  async measure(effort) {
    const figures: Figure[] = [];
    for (const model of ["nano", "micro", "small"] as const) {
      const { killed, joined, detection } = await measureRecoveries(effort, model);
      const of = (events: readonly RecoveryEvent[], pick: "milliseconds" | "bytes"): number => median(events.map((event) => event[pick]));
      const size = (events: readonly RecoveryEvent[]): string => `${(of(events, "bytes") / 1e6).toFixed(2)} MB`;
      figures.push({
        id: `recovery-killed-${model}`, unit: "ms", ours: of(killed, "milliseconds"),
        remark: `median of ${killed.length}, ${size(killed)} of state; noticed ${median(detection).toFixed(0)} ms after the kill`,
      }, {
        id: `recovery-joined-${model}`, unit: "ms", ours: of(joined, "milliseconds"),
        remark: `median of ${joined.length} workers back, ${size(joined)} of state`,
      });
    }
    return figures;
  },
};

const costs: Study = {
  id: "costs",
  async measure(effort) {
    const profile = await measureCosts(effort);
    await writeFile(costsFile, `${JSON.stringify(profile, undefined, 2)}\n`);
    const [stage] = profile.stages;
    return [{
      id: "costs", unit: "of a healthy worker's time", ours: doubleWorkFactor(stage!),
      remark: "a doubled worker; all measured costs are in benchmarks/mecefo/costs.json, for mecefo simulate --costs",
    }];
  },
};

/** What `npm run bench -- mecefo` measures besides workloads. */
export const studies: readonly Study[] = [healthy, oneDown, recoveries, costs];
