import { TensorError } from "../../errors.ts";
import { nodeModule } from "../../io/node-module.ts";
import type { PipelineRecord } from "./pipelines.ts";

const format = "frugal-webgpu-pipelines";
/** Changes when records mean something else. */
const version = 1;

const maximumFileBytes = 16 * 2 ** 20;
const maximumRecords = 4096;
const maximumShaderLength = 2 ** 18;
const maximumLabelLength = 2 ** 14;

/** What `savePipelines` wrote. */
export interface SavedPipelines {
  readonly saved: number;
  /** Pipelines beyond 4096, or beyond 16 MiB of text; those used first are kept. */
  readonly leftOut: number;
}

/** What came of `loadPipelines`. Only time depends on it: pipelines that are not warm are compiled when they are needed. */
export type LoadedPipelines =
  | { readonly status: "loaded"; readonly compiled: number; readonly failed: number }
  /** There is no file yet. */
  | { readonly status: "absent" }
  /** The file is not one of ours, damaged, of another version or too large. */
  | { readonly status: "ignored"; readonly reason: string };

/**
 * Node only: writes the pipelines that a device has used to a file, whole or not at all, for `loadPipelines` in the next run.
 * @throws TensorError when the file cannot be written
 */
export async function savePipelines(device: { pipelines(): readonly PipelineRecord[] }, path: string): Promise<SavedPipelines> {
  const { mkdir, rename, rm, writeFile } = nodeModule("node:fs/promises");
  const { dirname } = nodeModule("node:path");
  const all = device.pipelines();
  const records: PipelineRecord[] = [];
  let bytes = 1024;
  for (const { label, shader, layout } of all) {
    const record = { label: label.slice(0, maximumLabelLength), shader, layout };
    const size = new TextEncoder().encode(JSON.stringify(record)).byteLength + 1;
    if (records.length >= maximumRecords || bytes + size > maximumFileBytes || !isRecord(record)) continue;
    bytes += size;
    records.push(record);
  }
  const temporary = `${path}.${globalThis.process.pid}-${Math.random().toString(36).slice(2)}.tmp`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(temporary, JSON.stringify({ format, version, records }), { flag: "wx" });
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw new TensorError(`savePipelines: ${path} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
  return { saved: records.length, leftOut: all.length - records.length };
}

/**
 * Node only: compiles, in parallel, the pipelines that an earlier run saved, so that first uses need not wait for the compiler. The file
 * cannot change results, see `WebGpuDevice.warmUp`.
 *
 * ```ts
 * const device = await webgpu();
 * await loadPipelines(device, "cache/pipelines.json");
 * // … work …
 * await savePipelines(device, "cache/pipelines.json");
 * ```
 * @throws DeviceLostError
 */
export async function loadPipelines(
  device: { warmUp(records: readonly PipelineRecord[]): Promise<{ readonly compiled: number; readonly failed: number }> },
  path: string,
): Promise<LoadedPipelines> {
  const text = await readBounded(path);
  if (typeof text !== "string") return text;
  const records = parseRecords(text);
  if (typeof records === "string") return { status: "ignored", reason: `${path}: ${records}` };
  return { status: "loaded", ...(await device.warmUp(records)) };
}

async function readBounded(path: string): Promise<string | Exclude<LoadedPipelines, { status: "loaded" }>> {
  const { open } = nodeModule("node:fs/promises");
  const ignored = (reason: string) => ({ status: "ignored", reason: `${path}: ${reason}` }) as const;
  let file;
  try {
    file = await open(path, "r");
  } catch (error) {
    if ((error as { code?: unknown }).code === "ENOENT") return { status: "absent" };
    return ignored(error instanceof Error ? error.message : String(error));
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) return ignored("not a file");
    if (stat.size > maximumFileBytes) return ignored(`${stat.size} bytes are more than the limit of ${maximumFileBytes}`);
    // The file may grow meanwhile: not more than its size then.
    const bytes = new Uint8Array(stat.size);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return new TextDecoder().decode(bytes.subarray(0, bytesRead));
  } catch (error) {
    return ignored(error instanceof Error ? error.message : String(error));
  } finally {
    await file.close();
  }
}

/** The records of a file's text, or what is wrong with it. */
function parseRecords(text: string): readonly PipelineRecord[] | string {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    return "not JSON";
  }
  if (typeof content !== "object" || content === null) return "not an object";
  const { format: name, version: number, records } = content as Record<string, unknown>;
  if (name !== format) return `not a file of savePipelines (format ${JSON.stringify(name)?.slice(0, 100)})`;
  if (number !== version) return `version ${JSON.stringify(number)?.slice(0, 100)}, this release reads ${version}`;
  if (!Array.isArray(records)) return "no list of records";
  if (records.length > maximumRecords) return `${records.length} records are more than the limit of ${maximumRecords}`;
  const wrong = records.findIndex((record) => !isRecord(record));
  if (wrong >= 0) return `record ${wrong} is not a pipeline`;
  return records as readonly PipelineRecord[];
}

function isRecord(value: unknown): value is PipelineRecord {
  if (typeof value !== "object" || value === null) return false;
  const { label, shader, layout } = value as Record<string, unknown>;
  const isText = (text: unknown, maximum: number): boolean => typeof text === "string" && text.length <= maximum;
  const isLayout = typeof layout === "string" && /^[rw]{0,8}$/.test(layout);
  return isText(label, maximumLabelLength) && isText(shader, maximumShaderLength) && isLayout;
}
