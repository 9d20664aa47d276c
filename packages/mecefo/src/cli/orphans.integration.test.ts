import { spawn, type ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import { readEvents } from "../report/event-log.ts";

let folder: string;
let temporary: string;
let launcher: ChildProcess;

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** A run with a temporary folder of its own, as soon as its workers train. */
async function startRun(): Promise<readonly number[]> {
  const command = fileURLToPath(new URL("../cli.ts", import.meta.url));
  const options = ["--grid", "2x1", "--steps", "100000", "--sequence-length", "16", "--output", join(folder, "run")];
  launcher = spawn(process.execPath, [command, "train", ...options], { stdio: "ignore", env: { ...process.env, TMPDIR: temporary } });
  let pids: readonly number[] = [];
  for (const until = Date.now() + 60_000; pids.length === 0 && Date.now() < until;) {
    await sleep(200);
    const { events } = await readEvents(join(folder, "run", "events.jsonl")).catch(() => ({ events: [] }));
    pids = events.flatMap((event) => (event.kind === "epoch" ? event.pids : []));
  }
  expect(pids).toHaveLength(2);
  expect(pids.every(isAlive)).toBe(true);
  return pids;
}

async function expectNothingLeft(pids: readonly number[]): Promise<void> {
  const leftover = (): Promise<string[]> => readdir(temporary);
  for (const until = Date.now() + 20_000; (pids.some(isAlive) || (await leftover()).length > 0) && Date.now() < until;) await sleep(100);
  expect(pids.filter(isAlive)).toEqual([]);
  expect(await leftover()).toEqual([]);
}

beforeEach(async () => {
  // Short, for the paths of sockets.
  folder = await mkdtemp(join(tmpdir(), "orphans-"));
  temporary = join(folder, "t");
  await mkdir(temporary);
});

afterEach(async () => {
  launcher.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

it("leaves no workers and no sockets behind when their launcher is killed", async () => {
  const pids = await startRun();
  launcher.kill("SIGKILL");
  await expectNothingLeft(pids);
});

it("leaves nothing behind when it is told twice to end, and a worker was killed before", async () => {
  const pids = await startRun();
  process.kill(pids[0]!, "SIGKILL");
  await sleep(100);
  launcher.kill("SIGINT");
  await sleep(5);
  launcher.kill("SIGINT");
  await expectNothingLeft(pids);
});
