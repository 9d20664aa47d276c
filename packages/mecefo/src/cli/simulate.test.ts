import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { FormatError, SettingsError } from "../errors.ts";
import { paperProfile } from "../simulator/paper-models.ts";
import { simulateCommand } from "./simulate.ts";

async function run(...words: string[]): Promise<string> {
  let text = "";
  const write = vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  try {
    await simulateCommand().exitOverride().parseAsync(words, { from: "user" });
  } finally {
    write.mockRestore();
  }
  return text;
}

describe("mecefo simulate", () => {
  const folders: string[] = [];
  afterEach(async () => {
    for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
  });

  it("prints a table for each scenario", async () => {
    const text = await run("--model", "llama-350m", "--hours", "10", "--seeds", "2", "--repair-reading", "cluster");
    expect(text.match(/^llama-350m, 4x8 grid, scenario (low|mid|high):/gm)).toHaveLength(3);
    expect(text).toMatch(/repair 4 h over 32 nodes/);
    expect(text).toMatch(/^paper: MeCeFO +1186\.35/m);
  });

  it("prints JSON, with a scenario and strategies of one's own", async () => {
    const text = await run(
      "--json", "--failure-every", "0.5", "--repair", "1", "--strategy", "mecefo", "--strategy", "none", "--hours", "10", "--seeds", "1",
    );
    const { simulations, ablation } = JSON.parse(text) as {
      simulations: { scenario: unknown; strategies: { strategy: string }[] }[]; ablation: unknown[];
    };
    expect(simulations).toHaveLength(1);
    expect(simulations[0]!.scenario).toEqual({ name: "own", failureEveryHours: 0.5, repairHours: 1, nodes: 32 });
    expect(simulations[0]!.strategies.map(({ strategy }) => strategy)).toEqual(["mecefo", "none"]);
    expect(ablation).toHaveLength(5);
  });

  it("reads measured costs", async () => {
    const folder = await mkdtemp(join(tmpdir(), "mecefo-simulate-"));
    folders.push(folder);
    const path = join(folder, "measured.json");
    const profile = { ...paperProfile("llama-1b"), name: "measured here" };
    await writeFile(path, JSON.stringify({ ...profile, stages: profile.stages.slice(0, 1) }));
    expect(await run("--costs", path, "--grid", "2x3", "--hours", "5")).toMatch(/^measured here, 2x3 grid/);
    await writeFile(path, "no");
    await expect(run("--costs", path)).rejects.toThrow(FormatError);
    await expect(run("--costs", join(folder, "none.json"))).rejects.toThrow(/cannot be opened/);
    await expect(run("--costs", path, "--rank", "0.5")).rejects.toThrow(/--rank/);
  });

  it("refuses what does not go together", async () => {
    await expect(run("--grid", "4")).rejects.toThrow(SettingsError);
    await expect(run("--failure-every", "1")).rejects.toThrow(/belong together/);
    await expect(run("--failure-every", "1", "--repair", "1", "--scenario", "low")).rejects.toThrow(/own rates/);
    await expect(run("--strategy", "hope")).rejects.toThrow(/"hope"/);
    await expect(run("--scenario", "lowest")).rejects.toThrow(/lowest/);
  });
});
