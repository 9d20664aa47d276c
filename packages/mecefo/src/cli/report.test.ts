import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { EventLog } from "../report/event-log.ts";
import { fabricatedJob, fabricateRun } from "../report/run-events.testing.ts";
import { readRunFolders, reportCommand } from "./report.ts";

const events = fabricateRun(fabricatedJob, [{ slot: "p0s1", from: 5, to: 9 }]);

describe("run folders", () => {
  it("are read with their jobs and named by what tells them apart", async () => {
    const root = await mkdtemp(join(tmpdir(), "mecefo-runs-"));
    try {
      const make = async (strategy: "mecefo" | "naive", name: string): Promise<string> => {
        const folder = join(root, name);
        await mkdir(folder);
        const log = await EventLog.open(join(folder, "events.jsonl"));
        for (const event of events) log.write(event);
        await log.close();
        await writeFile(join(folder, "job.json"), JSON.stringify({ ...fabricatedJob, strategy }));
        return folder;
      };
      const folders = [await make("mecefo", "one"), await make("naive", "two")];
      expect((await readRunFolders(folders)).map(({ name, job, events: read }) => [name, job!.steps, read.length])).toEqual([
        ["mecefo", 20, events.length], ["naive", 20, events.length],
      ]);
      expect((await readRunFolders([folders[0]!, await make("mecefo", "three")])).map(({ name }) => name)).toEqual(["one", "three"]);
      const output = join(root, "report.html");
      const written = vi.spyOn(process.stdout, "write").mockReturnValue(true);
      vi.spyOn(process.stderr, "write").mockReturnValue(true);
      await reportCommand().parseAsync([...folders, "--output", output, "--json"], { from: "user" });
      await reportCommand().parseAsync(folders, { from: "user" });
      const [json, ...lines] = written.mock.calls.map(([text]) => String(text));
      vi.restoreAllMocks();
      expect(JSON.parse(json!)).toMatchObject([{ name: "mecefo", steps: 20, ledger: { ok: true } }, { name: "naive", steps: 20 }]);
      expect(lines.map((line) => line.trim().split(/ {2,}/))).toContainEqual(["steps", "20", "20"]);
      expect(await readFile(output, "utf8")).toContain("Training through failures");
      await writeFile(join(folders[0]!, "job.json"), "{}");
      await expect(readRunFolders(folders)).rejects.toThrow(/job\.json: no job/);
      await writeFile(join(folders[0]!, "job.json"), "{");
      await expect(readRunFolders(folders)).rejects.toThrow(/job\.json: no JSON/);
      await expect(readRunFolders([root])).rejects.toThrow(/ENOENT/);
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  });
});
