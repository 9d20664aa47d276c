import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TensorError } from "../../errors.ts";
import type { PipelineRecord } from "./pipelines.ts";
import { loadPipelines, savePipelines } from "./pipeline-storage.ts";

const record = (i: number, shader = `// ${i}`): PipelineRecord => ({ label: `kernel ${i}`, shader, layout: "rrw" });

const content = (records: string): string => `{"format":"frugal-webgpu-pipelines","version":1,"records":[${records}]}`;

describe("pipelines in a file", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "pipelines-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const saver = (records: readonly PipelineRecord[]): { pipelines(): readonly PipelineRecord[] } => ({ pipelines: () => records });
  function warmer() {
    const warmed: PipelineRecord[] = [];
    return {
      warmed,
      warmUp(records: readonly PipelineRecord[]) {
        warmed.push(...records);
        return Promise.resolve({ compiled: records.length - 1, failed: 1 });
      },
    };
  }

  it("come back as they were, in folders made as needed", async () => {
    const path = join(folder, "deep", "er", "pipelines.json");
    const records = [record(1), record(2, "ünïcödé 𝛼")];
    expect(await savePipelines(saver(records), path)).toEqual({ saved: 2, leftOut: 0 });
    const device = warmer();
    expect(await loadPipelines(device, path)).toEqual({ status: "loaded", compiled: 1, failed: 1 });
    expect(device.warmed).toEqual(records);
    expect(await readdir(join(folder, "deep", "er"))).toEqual(["pipelines.json"]);
  });

  it("are not required", async () => {
    expect(await loadPipelines(warmer(), join(folder, "nothing.json"))).toEqual({ status: "absent" });
  });

  it.each([
    ["cut off", '{"format":"frugal-webgpu-pipe', /not JSON/],
    ["of another kind", '{"name":"other"}', /not a file of savePipelines/],
    ["null", "null", /not an object/],
    ["of another version", '{"format":"frugal-webgpu-pipelines","version":2,"records":[]}', /version 2/],
    ["without records", '{"format":"frugal-webgpu-pipelines","version":1}', /no list/],
    ["with a wrong record", content('{"label":"a","shader":3,"layout":"r"}'), /record 0/],
    ["with a wrong layout", content('{"label":"a","shader":"","layout":"rx"}'), /record 0/],
    ["with too many", content(`${"0,".repeat(4096)}0`), /4097 records/],
    ["too large", " ".repeat(16 * 2 ** 20 + 1), /more than the limit/],
  ])("are ignored when the file is %s", async (name, text, reason) => {
    const path = join(folder, `${name}.json`);
    await writeFile(path, text);
    const device = warmer();
    const loaded = await loadPipelines(device, path);
    expect(loaded).toEqual({ status: "ignored", reason: expect.stringMatching(reason) as string });
    expect(device.warmed).toEqual([]);
  });

  it("are ignored when the path is a folder", async () => {
    await mkdir(join(folder, "folder.json"));
    expect(await loadPipelines(warmer(), join(folder, "folder.json"))).toMatchObject({ status: "ignored" });
  });

  it("fit the limits when saved, first used first", async () => {
    const path = join(folder, "many.json");
    const many = Array.from({ length: 5000 }, (_, i) => record(i));
    expect(await savePipelines(saver(many), path)).toEqual({ saved: 4096, leftOut: 904 });
    const device = warmer();
    expect(await loadPipelines(device, path)).toMatchObject({ status: "loaded" });
    expect(device.warmed.at(-1)).toEqual(record(4095));
    const large = Array.from({ length: 200 }, (_, i) => record(i, "é".repeat(2 ** 17)));
    const saved = await savePipelines(saver(large), path);
    expect(saved.saved).toBeGreaterThan(50);
    expect(await loadPipelines(warmer(), path)).toMatchObject({ status: "loaded" });
  });

  it("leave the old file alone when writing fails", async () => {
    const path = join(folder, "kept.json");
    await savePipelines(saver([record(1)]), path);
    const before = await readFile(path, "utf8");
    await expect(savePipelines(saver([record(2)]), join(path, "below.json"))).rejects.toThrow(TensorError);
    await mkdir(join(folder, "occupied.json", "inside"), { recursive: true });
    await expect(savePipelines(saver([record(2)]), join(folder, "occupied.json"))).rejects.toThrow(/cannot be written/);
    expect(await readFile(path, "utf8")).toBe(before);
    expect((await readdir(folder)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
});
