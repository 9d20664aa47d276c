/** `npm run bench -- <package> [--json] [--only=<regex>] [--quick] [--slow] [--write]`: measures a package side by side with its peers. */
import { fileURLToPath } from "node:url";
import { readArguments } from "./src/arguments.ts";
import { describeMachine } from "./src/machine.ts";
import { rewriteFile } from "./src/markers.ts";
import { resultOf, type Report, type Result } from "./src/result.ts";
import { ContenderPool, fullEffort, quickEffort } from "./src/rounds.ts";
import { resultOfFigure, type Study } from "./src/study.ts";
import { markdownReport, terminalTable } from "./src/table.ts";
import type { Workload } from "./src/workload.ts";
import { workloads as fourierCompress } from "./fourier-compress/workloads.ts";
import { workloads as languageModel } from "./language-model/workloads.ts";
import { studies as mecefoStudies } from "./mecefo/studies.ts";
import { workloads as mecefo } from "./mecefo/workloads.ts";
import { workloads as tensorCore } from "./tensor-core/workloads.ts";

const suites: Readonly<Record<string, readonly (readonly Workload[])[]>> = {
  "tensor-core": tensorCore, "language-model": languageModel, "fourier-compress": fourierCompress, mecefo,
};

const studies: Readonly<Record<string, readonly Study[]>> = { mecefo: mecefoStudies };

const options = readArguments(Object.keys(suites));
const effort = options.quick ? quickEffort : fullEffort;
const machine = await describeMachine();
if (machine.load > machine.cores / 2)
  console.error(`note: the load is ${machine.load} on ${machine.cores} cores; other processes disturb the measurement`);

const results: Result[] = [];
const versions = new Map<string, string>();
for (const group of suites[options.package]!) {
  const pool = new ContenderPool(versions);
  try {
    for (const workload of group.filter(({ id }) => options.only.test(id))) {
      const peers = workload.peers.filter(({ slow = false }) => options.slow || !slow);
      const result = resultOf(await pool.run({ ...workload, peers }, effort), machine);
      results.push(result);
      for (const [name, reason] of Object.entries(result.absent)) console.error(`  ${workload.id}: no ${name}, it ${reason}`);
      if (!options.json) console.error(terminalTable([result])[1]);
    }
  } finally {
    await pool.close();
  }
}

for (const study of (studies[options.package] ?? []).filter(({ id }) => options.only.test(id))) {
  for (const figure of await study.measure(effort)) {
    const result = resultOfFigure(figure);
    results.push(result);
    if (!options.json) console.error(terminalTable([result])[1]);
  }
}

const report: Report = { package: options.package, machine, versions: Object.fromEntries(versions), results };
if (options.json) console.log(JSON.stringify(report, undefined, 2));
else console.log(terminalTable(results).join("\n"));
if (options.write) {
  const path = fileURLToPath(new URL(`../packages/${options.package}/BENCHMARKS.md`, import.meta.url));
  rewriteFile(path, markdownReport(report));
  console.error(`wrote ${path}`);
}
process.exit();
