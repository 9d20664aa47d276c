import { appendFile, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { FormatError } from "../errors.ts";
import { EventLog, readEvents } from "./event-log.ts";
import { fabricatedJob, fabricateRun } from "./run-events.testing.ts";
import type { RunEvent } from "../membership/run-event.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecefo-log-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const note = (text: string): RunEvent => ({ kind: "note", at: 1, text });
const events = fabricateRun(fabricatedJob, [{ slot: "p0s1", from: 5, to: 9 }]);

async function write(path: string, written: readonly RunEvent[]): Promise<void> {
  const log = await EventLog.open(path);
  for (const event of written) log.write(event);
  await log.close();
}

describe("the log of a run", () => {
  it("is read back as it was written, and continued", async () => {
    const path = join(folder, "whole.jsonl");
    await write(path, events);
    await write(path, [note("more")]);
    expect(await readEvents(path)).toEqual({ events: [...events, note("more")] });
  });

  it("reaches the disk without being closed", async () => {
    const path = join(folder, "timer.jsonl");
    const log = await EventLog.open(path);
    const step = events.find(({ kind }) => kind === "step")!;
    log.write(step);
    await expect.poll(() => readFile(path, "utf8"), { timeout: 10_000 }).toBe(`${JSON.stringify(step)}\n`);
    await log.close();
    await log.close();
    expect(() => log.write(note("late"))).toThrow(FormatError);
  });

  it("forgives a last line that a kill cut off, wherever it was cut, and mends it when it goes on", async () => {
    const whole = `${JSON.stringify(note("ä one"))}\n`;
    const last = Buffer.from(JSON.stringify(note("ö two")));
    for (let cut = 1; cut <= last.length; cut++) {
      const path = join(folder, `cut-${cut}.jsonl`);
      await writeFile(path, whole);
      await appendFile(path, last.subarray(0, cut));
      const isWhole = cut === last.length;
      const before = isWhole ? [note("ä one"), note("ö two")] : [note("ä one")];
      expect(await readEvents(path)).toEqual({ events: before, ...(isWhole ? {} : { brokenLastLine: { line: 2, bytes: cut } }) });
      await write(path, [note("three")]);
      expect(await readEvents(path)).toEqual({ events: [...before, note("three")] });
    }
  });

  it("names any other line that is no event", async () => {
    const path = join(folder, "broken.jsonl");
    await writeFile(path, `${JSON.stringify(note("one"))}\n{"kind":"note","at":1}\n${JSON.stringify(note("three"))}\n`);
    await expect(readEvents(path)).rejects.toThrow(/broken\.jsonl: line 2 is no event: text/);
    await writeFile(path, `${JSON.stringify(note("one"))}\n{"kind"\n`);
    await expect(readEvents(path)).rejects.toThrow(/line 2 is no event/);
    await writeFile(path, "\n");
    await expect(readEvents(path)).rejects.toThrow(/line 1 is no event/);
  });

  it("bounds lines and files", async () => {
    const path = join(folder, "long.jsonl");
    await writeFile(path, `${JSON.stringify(note("x".repeat(1000)))}\n`);
    await expect(readEvents(path, { maximumLineBytes: 100 })).rejects.toThrow("line 1 is longer than 100 bytes");
    await writeFile(path, "x".repeat(1000));
    await expect(readEvents(path, { maximumLineBytes: 100 })).rejects.toThrow("line 1 is longer than 100 bytes");
    await expect(readEvents(path, { maximumBytes: 999 })).rejects.toThrow("more than 999 bytes");
  });

  it("keeps what a full disk does not take, tells of it once, and writes it later, without the half line that was taken", async () => {
    const path = join(folder, "full.jsonl");
    const failures: string[] = [];
    const log = await EventLog.open(path, ({ message }) => failures.push(message));
    log.write(note("one"));
    await log.flush();
    const probe = await open(path);
    const append = vi.spyOn(Object.getPrototypeOf(probe) as typeof probe, "appendFile").mockImplementation(async (data) => {
      await appendFile(path, (data as string).slice(0, 10));
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    });
    await probe.close();
    log.write(note("two"));
    await expect(log.flush()).rejects.toThrow(/full\.jsonl: its last events could not be written: ENOSPC/);
    log.write(note("three"));
    await expect(log.flush()).rejects.toThrow(FormatError);
    expect(await readEvents(path)).toEqual({ events: [note("one")] });
    append.mockRestore();
    await log.close();
    expect(failures).toHaveLength(1);
    expect(await readEvents(path)).toEqual({ events: ["one", "two", "three"].map(note) });
  });

  it("refuses to write what could not be read", async () => {
    const log = await EventLog.open(join(folder, "refused.jsonl"));
    expect(() => log.write({ kind: "finished", at: Number.NaN, step: 1 })).toThrow(/a "finished" event could not be read back: at/);
    await log.close();
    expect(await readEvents(log.path)).toEqual({ events: [] });
  });
});
