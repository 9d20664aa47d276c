import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { readEvents } from "../report/event-log.ts";

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

it("leaves no workers behind when their launcher is killed", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mecefo-orphans-"));
  const command = fileURLToPath(new URL("../cli.ts", import.meta.url));
  const launcher = spawn(process.execPath, [command, "train", "--grid", "2x1", "--steps", "100000", "--sequence-length", "16", "--output", folder], {
    stdio: "ignore",
  });
  try {
    let pids: readonly number[] = [];
    for (const until = Date.now() + 60_000; pids.length === 0 && Date.now() < until;) {
      await sleep(200);
      const { events } = await readEvents(join(folder, "events.jsonl")).catch(() => ({ events: [] }));
      pids = events.flatMap((event) => (event.kind === "epoch" ? event.pids : []));
    }
    expect(pids).toHaveLength(2);
    expect(pids.every(isAlive)).toBe(true);
    launcher.kill("SIGKILL");
    for (const until = Date.now() + 20_000; pids.some(isAlive) && Date.now() < until;) await sleep(100);
    expect(pids.filter(isAlive)).toEqual([]);
  } finally {
    launcher.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  }
});
