import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { cleanCheckpoints } from "./commit-checkpoint.ts";
import { listCheckpoints } from "./folder-names.ts";
import { latestCheckpoint, openCheckpoint, readStage } from "./open-checkpoint.ts";

const script = fileURLToPath(new URL("write-checkpoints.testing.ts", import.meta.url));

/** Lets the writer make some checkpoints, kills it a few microseconds to milliseconds later, and gives the last value it called whole. */
async function writeAndKill(root: string, first: number, round: number): Promise<number> {
  const child = spawn(process.execPath, [script, root, String(first)], { stdio: ["ignore", "pipe", "inherit"] });
  let last = NaN;
  let lines = 0;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    for (const line of text.trim().split("\n")) {
      last = Number(line);
      // Somewhere else within the writing of a checkpoint each time.
      if (++lines === 3 + (round % 4)) setTimeout(() => child.kill("SIGKILL"), (round * 7) % 11);
    }
  });
  const signal = await new Promise((resolve) => child.once("close", (_code, name) => resolve(name)));
  expect(signal).toBe("SIGKILL");
  return last;
}

it("leaves the old checkpoint or the new one, wherever the writer is killed", async () => {
  const root = await mkdtemp(join(tmpdir(), "mecefo-kill-"));
  try {
    let step = 0;
    let unfinished = 0;
    for (let round = 0; round < 12; round++) {
      const said = await writeAndKill(root, step, round);
      // Nothing that bears a checkpoint's name is half of one.
      for (const { folder } of (await listCheckpoints(root)).whole) await openCheckpoint(folder);
      const checkpoint = (await latestCheckpoint(root))!;
      const { step: found } = checkpoint.manifest;
      const wanted = [0, 1].map((stage) => ({ name: `layers.${stage}.weight`, shape: [32, 32] }));
      const values = new Set((await readStage(checkpoint, wanted)).flatMap(({ weight, firstMoment, secondMoment }) => [
        ...weight, ...firstMoment, ...secondMoment,
      ]));
      // All of one attempt, and no older than the last that was called whole.
      expect(values.size).toBe(1);
      const [value] = values;
      expect(value).toBeGreaterThanOrEqual(said);
      expect(Math.floor(value!)).toBe(found);
      unfinished += (await cleanCheckpoints(root)).length;
      expect((await readdir(root)).every((name) => name.startsWith("step-"))).toBe(true);
      step = found + 1;
    }
    // The kills did fall into writing.
    expect(unfinished).toBeGreaterThan(0);
  } finally {
    await rm(root, { recursive: true });
  }
});
