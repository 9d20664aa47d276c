import { describe, expect, it } from "vitest";
import { simulateAblation } from "./ablation.ts";
import { formatAblation, formatAssumptions, formatSimulation } from "./format-simulation.ts";
import { paperGrid, paperProfile } from "./paper-models.ts";
import { paperScenario } from "./scenario.ts";
import { simulate } from "./simulate.ts";

const settings = { grid: paperGrid, costs: paperProfile("llama-7b"), scenario: paperScenario("high"), hours: 20, seeds: 2 };

describe("formatSimulation", () => {
  it("prints the paper's rows beside, marked as such", () => {
    const text = formatSimulation(simulate(settings));
    expect(text).toMatch(/^paper: MeCeFO +106\.47 +4\.18 +111\.12$/m);
    expect(text).toMatch(/^paper: Oobleck +48\.14 +28\.10 +66\.95$/m);
    expect(text).toMatch(/^mecefo +\d+\.\d\d +\d+\.\d\d ±\d+\.\d\d/m);
    expect(text).toMatch(/^adjacent pair down.* 27\.40$/m);
    expect(text).toMatch(/^The paper's MeCeFO row .* takes 1\.045 times as long\.$/m);
    expect(formatAssumptions(simulate(settings)).split("\n")).toHaveLength(5);
  });

  it("leaves them out where they are of something else", () => {
    const grid = { pipelines: 5, stages: 8 };
    expect(formatSimulation(simulate({ ...settings, grid, costs: paperProfile("llama-7b", { grid }) }))).not.toMatch(/^paper/m);
    expect(formatSimulation(simulate({ ...settings, scenario: paperScenario("higher") }))).not.toMatch(/^paper/m);
  });
});

describe("simulateAblation", () => {
  it("explains the paper's naive row, and none of its fast ones", () => {
    const rows = simulateAblation();
    const row = (variant: string): (typeof rows)[number] => rows.find((one) => one.variant === variant)!;
    expect(Math.abs(row("naive").simulated.batch256 - row("naive").paper.batch256)).toBeLessThan(0.04);
    expect(row("I + II + III").simulated.batch256).toBeLessThan(row("I + II + III").paper.batch256 - 0.1);
    expect(row("I").paper.batch256).toBeGreaterThan(1);
    expect(row("I").simulated.batch256).toBeGreaterThan(row("I + II").simulated.batch256);
    expect(row("I + II + III").simulated.batch256).toBeGreaterThan(row("I + II").simulated.batch256);
    expect(formatAblation(rows)).toMatch(/^naive +6\d\.\d +6\d\.\d +68\.0 +out of memory$/m);
  });
});
