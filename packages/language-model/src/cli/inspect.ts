import { Command } from "commander";
import { elementCount, type WeightEncoding } from "../weights/weight-source.ts";
import { openNamedModel } from "./model.ts";
import { printJson } from "../command-line/terminal.ts";

interface Totals {
  tensors: number;
  weights: number;
  bytes: number;
}

async function inspect(model: string, { json }: { readonly json: boolean }): Promise<void> {
  const { source } = await openNamedModel({ model });
  await source.close();
  const totals = new Map<WeightEncoding, Totals>();
  for (const { encoding, shape, byteLength } of source.descriptors.values()) {
    const entry = totals.get(encoding) ?? { tensors: 0, weights: 0, bytes: 0 };
    totals.set(encoding, { tensors: entry.tensors + 1, weights: entry.weights + elementCount(shape), bytes: entry.bytes + byteLength });
  }
  if (json) {
    printJson({ config: source.config, encodings: Object.fromEntries(totals), tensors: [...source.descriptors.values()] });
    return;
  }
  const shown = (value: unknown): string => (typeof value === "object" ? JSON.stringify(value) : String(value));
  const lines = Object.entries(source.config).map(([name, value]) => name.padEnd(24) + shown(value));
  lines.push("");
  for (const { name, shape, encoding, byteLength } of source.descriptors.values()) {
    lines.push(`${name.padEnd(52)} ${encoding.padEnd(9)} ${`[${shape.join(", ")}]`.padEnd(16)} ${formatBytes(byteLength)}`);
  }
  lines.push("");
  for (const [encoding, { tensors, weights, bytes }] of totals) {
    const count = String(tensors).padStart(5);
    lines.push(`${encoding.padEnd(9)} ${count} tensors, ${weights.toLocaleString("en")} weights, ${formatBytes(bytes)}`);
  }
  process.stdout.write(`${lines.join("\n")}\n`);
}

function formatBytes(bytes: number): string {
  if (bytes < 1e4) return `${bytes} B`;
  return bytes < 1e7 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** `language-model inspect`. */
export function inspectCommand(): Command {
  return new Command("inspect")
    .description("Show a model's configuration, tensors and bytes per encoding, without loading its weights.")
    .argument("<model>", "path, owner/name on the Hugging Face hub, stories15M or tinyllama")
    .option("--json", "print one JSON object", false)
    .action((model: string, options: { readonly json: boolean }) => inspect(model, options));
}
