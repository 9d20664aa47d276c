import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { chaosCommand } from "./cli/chaos.ts";
import { reportCommand } from "./cli/report.ts";
import { simulateCommand } from "./cli/simulate.ts";
import { trainCommand } from "./cli/train.ts";
import { workerCommand } from "./cli/worker.ts";
import { strategyNames } from "./grid/strategy.ts";
import { timeoutDefaults } from "./job/timeouts.ts";
import { parseJoinUrl } from "./membership/join-url.ts";

const root = join(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");

const commands = new Map<string, Command>(
  [trainCommand, workerCommand, chaosCommand, simulateCommand, reportCommand].map((make) => make()).map((command) => [command.name(), command]),
);

interface Call {
  readonly command: string;
  readonly flags: readonly string[];
}

/** The commands that a text shows: `mecefo train --grid 2x2`, to the end of the line or of what is quoted. */
function callsIn(text: string): Call[] {
  const joined = text.replaceAll("\\\n", " ");
  return [...joined.matchAll(/\bmecefo ([a-z]+)((?: [^\n#`;]*)?)/g)].flatMap(([, command, rest]) => {
    const flags = [...rest!.matchAll(/(?:^|\s)(--[a-z][a-z-]*)/g)].map(([, flag]) => flag!);
    return commands.has(command!) || flags.length > 0 ? [{ command: command!, flags }] : [];
  });
}

/** Where calls are wrong, in words. */
function problemsOf(calls: readonly Call[]): string[] {
  return calls.flatMap(({ command, flags }) => {
    const known = commands.get(command)?.options.map(({ long }) => long);
    if (known === undefined) return [`there is no mecefo ${command}`];
    return flags.filter((flag) => flag !== "--help" && !known.includes(flag)).map((flag) => `mecefo ${command} has no ${flag}`);
  });
}

interface Container {
  readonly command?: readonly string[];
  readonly args?: readonly string[];
}

/** All containers of a manifest, wherever they are in it. */
function containersOf(value: unknown): Container[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, entry]) => [
    ...(key === "containers" || key === "initContainers" ? (entry as Container[]) : []), ...containersOf(entry),
  ]);
}

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec?: Record<string, unknown>;
  readonly data?: Record<string, string>;
}

const manifests = readdirSync(join(root, "deploy/kubernetes")).flatMap((file) => {
  const documents = parseAllDocuments(read(`deploy/kubernetes/${file}`), { uniqueKeys: true });
  return [...documents].map((document) => {
    const [broken] = document.errors;
    if (broken) throw new Error(`${file}: ${broken.message}`);
    return { file, manifest: document.toJS() as Manifest };
  });
});

function manifest(kind: string, name: string): Manifest {
  const found = manifests.find(({ manifest: each }) => each.kind === kind && each.metadata.name === name);
  expect(found, `${kind} ${name}`).toBeDefined();
  return found!.manifest;
}

describe("the README", () => {
  it("has the table of all timeouts, with their defaults", () => {
    const [, table] = /\n## Timeouts\n([\s\S]*?)\n## /.exec(read("README.md"))!;
    const rows = [...table!.matchAll(/^\| `(\w+)` \| ([\d.]+) \| \S/gm)].map(([, name, value]) => [name, Number(value)]);
    expect(Object.fromEntries(rows)).toEqual(timeoutDefaults);
  });

  it("has all strategies", () => {
    const [, table] = /\n## Strategies\n([\s\S]*?)\n## /.exec(read("README.md"))!;
    expect([...table!.matchAll(/^\| `([a-z][a-z-]*)` \|/gm)].map(([, name]) => name)).toEqual(strategyNames);
  });
});

describe("documents and manifests", () => {
  it("show only commands and options that there are", () => {
    const deployed = readdirSync(join(root, "deploy"), { recursive: true }).map((file) => `deploy/${String(file)}`);
    const texts = ["README.md", "REPRODUCTION.md", "BENCHMARKS.md", ...deployed].filter((file) => statSync(join(root, file)).isFile());
    const problems = texts.flatMap((file) => problemsOf(callsIn(read(file))).map((problem) => `${file}: ${problem}`));
    expect(problems).toEqual([]);
    // Found at all.
    expect(texts.filter((file) => callsIn(read(file)).length > 0).length).toBeGreaterThan(6);
    const inManifests = manifests.flatMap(({ manifest: each }) => containersOf(each))
      .flatMap(({ command = [], args = [] }) => callsIn([...command, ...args].join(" ")));
    expect(problemsOf(inManifests)).toEqual([]);
    expect(inManifests.map(({ command }) => command).toSorted()).toEqual(["train", "worker"]);
  });

  it("are noticed when they are wrong", () => {
    expect(problemsOf(callsIn("mecefo train --grid 2x2 --grids 3\nmecefo retrain --grid 2x2"))).toEqual([
      "mecefo train has no --grids", "there is no mecefo retrain",
    ]);
  });
});

describe("the Kubernetes manifests", () => {
  it("name what they are", () => {
    expect(manifests.map(({ manifest: { kind } }) => kind).toSorted()).toEqual([
      "ConfigMap", "ConfigMap", "Job", "Job", "NetworkPolicy", "PersistentVolumeClaim", "PodDisruptionBudget", "Secret", "Service",
      "Service", "StatefulSet",
    ]);
    const versions = ["apps/v1", "batch/v1", "networking.k8s.io/v1", "policy/v1", "v1"];
    for (const { file, manifest: each } of manifests) expect(versions, file).toContain(each.apiVersion);
  });

  it("have a worker for each slot of the grid, restarted by itself", () => {
    const { GRID, STAGES } = manifest("ConfigMap", "mecefo").data!;
    const [pipelines, stages] = GRID!.split("x").map(Number) as [number, number];
    expect(Number(STAGES)).toBe(stages);
    const { spec } = manifest("Job", "mecefo-workers");
    expect(spec).toMatchObject({ completionMode: "Indexed", completions: pipelines * stages, parallelism: pipelines * stages });
    // What backoffLimitPerIndex and podFailurePolicy ask for.
    expect(spec!["backoffLimitPerIndex"]).toBeGreaterThan(0);
    expect(spec!["template"]).toMatchObject({ spec: { restartPolicy: "Never" } });
    expect(spec!["podReplacementPolicy"] ?? "Failed").toBe("Failed");
  });

  it("have three NATS servers that know one another, with the workers' addresses", () => {
    const { spec } = manifest("StatefulSet", "nats");
    expect(spec).toMatchObject({ replicas: 3, serviceName: "nats" });
    expect(manifest("Service", "nats").spec).toMatchObject({ clusterIP: "None" });
    expect(manifest("PodDisruptionBudget", "nats").spec).toMatchObject({ maxUnavailable: 1 });
    const servers = [0, 1, 2].map((i) => `nats://nats-${i}.nats:4222`);
    expect(parseJoinUrl(`${manifest("ConfigMap", "mecefo").data!["NATS"]}/run`)).toEqual({ kind: "nats", servers, job: "run" });
    for (const i of [0, 1, 2]) expect(manifest("ConfigMap", "nats").data!["nats.conf"]).toContain(`nats://nats-${i}.nats:6222`);
  });
});
