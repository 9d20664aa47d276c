/**
 * `npm run bench -- tensor-core --gpu [--lane=lavapipe|swiftshader|system] [--json] [--quick] [--only=<regex>] [--write]`: tensor-core's
 * WebGPU backend on this machine's card through Dawn, beside PyTorch on the same card in the same run where it is installed with CUDA.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describeMachine, type Machine } from "../src/machine.ts";
import { rewriteFile } from "../src/markers.ts";
import { laneVariable, moduleVariable, type GpuAdapterReport } from "./device.ts";
import { GroupProcess } from "./group-process.ts";
import type { GpuMeasurement } from "./messages.ts";
import type { CardPeaks } from "./peak.ts";
import { startPytorch, type PytorchAnswer } from "./pytorch.ts";
import { gpuResultOf, type GpuReport } from "./result.ts";
import { gpuMarkdown, gpuTable } from "./table.ts";
import { fullGroups, trialGroups } from "./workloads.ts";

const lanes = ["system", "lavapipe", "swiftshader"] as const;
type Lane = (typeof lanes)[number];

function readOptions(): {
  readonly lane: Lane;
  /** Default: by the adapter. */
  readonly sizes: "full" | "trial" | undefined;
  readonly json: boolean;
  readonly quick: boolean;
  readonly write: boolean;
  readonly only: RegExp;
  readonly output: string;
} {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        gpu: { type: "boolean", default: true },
        lane: { type: "string", default: "system" },
        sizes: { type: "string" },
        json: { type: "boolean", default: false },
        quick: { type: "boolean", default: false },
        write: { type: "boolean", default: false },
        only: { type: "string", default: "" },
        output: { type: "string", default: "" },
      },
    });
    if (positionals.some((name) => name !== "tensor-core")) throw new Error(`--gpu measures tensor-core, not ${positionals.join(" ")}`);
    const lane = lanes.find((name) => name === values.lane);
    if (lane === undefined) throw new Error(`--lane is ${lanes.join(", ")}, not ${values.lane}`);
    if (values.write && (values.quick || values.only !== ""))
      throw new Error("--write publishes a whole, careful run: leave out --quick and --only");
    const sizes = (["full", "trial"] as const).find((name) => name === values.sizes);
    if (values.sizes !== undefined && sizes === undefined) throw new Error(`--sizes is full or trial, not ${values.sizes}`);
    return { ...values, lane, sizes, only: new RegExp(values.only) };
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    console.error("options: --lane=<name>, --sizes=full|trial, --json, --only=<regular expression>, --quick, --write, --output=<file for the JSON>");
    process.exit(2);
  }
}

const options = readOptions();

/** What child processes need in their environment; a packed copy has set it already. */
async function environmentOf(lane: Lane): Promise<Record<string, string>> {
  if (process.env[moduleVariable] !== undefined) return { [laneVariable]: lane };
  const { prepareLane } = await import("../../scripts/webgpu-adapters.ts");
  const { modulePath, environment } = await prepareLane(lane);
  return { ...environment, [moduleVariable]: modulePath, [laneVariable]: lane };
}

const environment = await environmentOf(options.lane);
const machine: Machine = await describeMachine();

async function examine(): Promise<{ readonly report: GpuAdapterReport; readonly peaks: CardPeaks }> {
  let report: GpuAdapterReport | undefined;
  let peaks: CardPeaks | undefined;
  const child = new GroupProcess(environment, { group: undefined, scale: "full", quick: options.quick, only: "" });
  for await (const message of child.messages()) {
    if (message.type === "adapter") report = message.report;
    if (message.type === "peaks") peaks = message.peaks;
  }
  if (report === undefined || peaks === undefined) throw new Error(`the adapter could not be examined: ${child.failure ?? "no answer"}`);
  return { report, peaks };
}

const { report: adapter, peaks } = await examine();
const warning = "software adapter: proves nothing about speed";
console.error(
  `${adapter.description || adapter.device} (${adapter.vendor} ${adapter.architecture})${adapter.software ? `: ${warning}` : ""}`,
);
const scale = options.sizes ?? (adapter.software ? "trial" : "full");
const groups = scale === "full" ? fullGroups : trialGroups;

const measured = new Map<string, GpuMeasurement>();
const failures: Record<string, string> = {};
for (const [group, workloads] of Object.entries(groups)) {
  const wanted = workloads.filter(({ id }) => options.only.test(id)).map(({ id }) => id);
  if (wanted.length === 0) continue;
  const child = new GroupProcess(environment, { group, scale, quick: options.quick || adapter.software, only: options.only.source });
  for await (const message of child.messages()) {
    if (message.type === "measured") {
      measured.set(message.measurement.id, message.measurement);
      console.error(
        `  ${message.measurement.id}: ${(message.measurement.wallSeconds * 1e3).toPrecision(4)} ms (${message.measurement.checked})`,
      );
    } else if (message.type === "failed") {
      failures[message.id] = message.reason;
      console.error(`  ${message.id}: ${message.reason}`);
    }
  }
  for (const id of wanted) if (!measured.has(id)) failures[id] ??= child.failure ?? "its process ended without a result";
}

const all = Object.values(groups)
  .flat()
  .filter(({ id }) => options.only.test(id));
// PyTorch after us and alone: two programs at once would share the card.
const pytorch: PytorchAnswer = adapter.software
  ? { absent: "not measured beside a software adapter" }
  : await startPytorch(all, options.quick);
if ("absent" in pytorch) console.error(`PyTorch: ${pytorch.absent}`);

const report: GpuReport = {
  package: "tensor-core",
  machine: { ...machine, adapter, peaks },
  ...(adapter.software && { warning }),
  versions: "absent" in pytorch ? {} : { PyTorch: pytorch.version },
  results: all.flatMap((workload) => {
    const measurement = measured.get(workload.id);
    return measurement === undefined ? [] : [gpuResultOf(workload, measurement, peaks, pytorch)];
  }),
  failures,
};
const json = JSON.stringify(report, undefined, 2);
if (options.output !== "") writeFileSync(options.output, `${json}\n`);
if (options.json) console.log(json);
else console.log(gpuTable(report).join("\n"));
if (options.write) {
  if (adapter.software) throw new Error(`--write: ${adapter.device} is a ${warning}, nothing is published`);
  const path = fileURLToPath(new URL("../../packages/tensor-core/BENCHMARKS.md", import.meta.url));
  rewriteFile(path, gpuMarkdown(report), "gpu");
  console.error(`wrote ${path}`);
}
process.exit(Object.keys(failures).length === 0 ? 0 : 1);
