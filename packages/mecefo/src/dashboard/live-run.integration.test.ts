import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startTraining } from "../runtime/training-run.ts";
import type { CurvePoint, CurveUpdate, Picture } from "./run-picture.ts";

type Sent = Picture & { readonly curve: CurveUpdate };

/** What the page is sent, and the curve that its script makes of it. */
class Listener {
  readonly pictures: Sent[] = [];
  curve: readonly CurvePoint[] = [];
  isClosed = false;
  readonly ended: Promise<void>;

  constructor(origin: string) {
    this.ended = this.#listen(origin);
  }

  async #listen(origin: string): Promise<void> {
    const response = await fetch(`${origin}/events`);
    let text = "";
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
        this.#take(text.slice(0, end));
        text = text.slice(end + 2);
      }
    }
  }

  #take(message: string): void {
    if (message.startsWith("event: closed")) this.isClosed = true;
    const data = /^event: picture\ndata: (.*)$/m.exec(message)?.[1];
    if (data === undefined) return;
    const sent = JSON.parse(data) as Sent;
    this.pictures.push(sent);
    if (sent.curve.all) this.curve = sent.curve.all;
    else if (sent.curve.added) this.curve = [...this.curve, ...sent.curve.added];
  }

  async until(what: (picture: Sent) => boolean): Promise<Sent> {
    for (;;) {
      const found = this.pictures.findLast(what);
      if (found !== undefined) return found;
      if (this.isClosed) throw new Error(`the run ended before: ${JSON.stringify(this.pictures.at(-1))}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

const stateOf = ({ cells }: Picture, slot: string): string => cells.find((cell) => cell.slot === slot)!.state;

it("tells the page of a real run: healthy, a kill by its button, the neighbour, the worker's return, the end", async () => {
  const output = await mkdtemp(join(tmpdir(), "mecefo-live-"));
  try {
    const run = await startTraining({
      output, model: "nano", grid: "2x2", steps: 4000, sequenceLength: 16, microbatches: 2, microbatchSize: 1, workers: "in-process",
      allowFaults: true, restartDelay: 3000, checkpointEvery: 4000, dashboard: { port: 0 },
    });
    const origin = new URL(run.dashboard!.url).origin;
    const page = new Listener(origin);
    const healthy = await page.until(({ step, cells }) => step >= 5 && cells.every(({ busy = 0 }) => busy > 0));
    expect(healthy).toMatchObject({
      strategy: "mecefo", pipelines: 2, stages: 2, steps: 4000, outcome: "training", mixerPipelines: [2, 2], recoveries: 0, lastFailure: null,
      faults: 0,
    });
    expect(healthy.cells.map(({ state }) => state)).toEqual(["healthy", "healthy", "healthy", "healthy"]);
    expect(healthy.tokens).toBe(healthy.step * 2 * 2 * 16);

    const answer = await fetch(`${origin}/api/fault`, {
      method: "POST", headers: { "content-type": "application/json", origin }, body: JSON.stringify({ slot: "p0s1", fault: "kill" }),
    });
    expect(answer.status).toBe(202);
    const degraded = await page.until(({ epoch, energy, outcome }) => epoch > healthy.epoch && energy.length > 0 && outcome === "training");
    expect([stateOf(degraded, "p0s0"), stateOf(degraded, "p0s1")]).toEqual(["neighbour", "failed"]);
    expect(degraded.cells[1]).toMatchObject({ hostedBy: "p0s0" });
    expect(degraded).toMatchObject({ faults: 1, recoveries: 1, mixerPipelines: [1, 1] });
    expect(degraded.lastFailure!.bytes).toBeGreaterThan(10_000);
    expect(degraded.lastRecoveries[0]).toMatchObject({ cause: "killed", bytes: degraded.lastFailure!.bytes });
    expect(degraded.messages[0]!.text).toContain("kill p0s1");
    expect(degraded.energy.map(({ matrix }) => matrix).toSorted()).toEqual(["down", "gate", "up"]);
    for (const { energy } of degraded.energy) expect(energy > 0 && energy < 1).toBe(true);

    const back = await page.until(({ epoch, outcome }) => epoch > degraded.epoch && outcome === "training");
    expect(back.cells.map(({ state }) => state)).toEqual(["healthy", "healthy", "healthy", "healthy"]);
    expect(back).toMatchObject({ mixerPipelines: [2, 2], recoveries: 1 });
    expect(back.lastRecoveries[0]).toMatchObject({ cause: "joined" });
    const metrics = await (await fetch(`${origin}/metrics`)).text();
    expect(metrics).toContain('mecefo_recoveries_total{cause="killed"} 1');

    run.stop();
    const { summary, outcome } = await run.finished;
    await page.ended;
    expect([outcome.kind, page.isClosed, page.pictures.at(-1)!.outcome]).toEqual(["finished", true, "finished"]);
    // The page's curve, put together from what it was sent, is the log's: each step once, shaded where a worker was missing.
    expect(page.curve.map(([step]) => step)).toEqual(Array.from({ length: summary.steps }, (_, step) => step));
    const shaded = page.curve.filter(([, , , isDegraded]) => isDegraded === 1);
    expect(shaded.length / summary.steps).toBeCloseTo(summary.degradedSteps!, 6);
    expect(shaded.some(([, , , , energy]) => energy !== null && energy > 0 && energy < 1)).toBe(true);
    expect(page.curve.every(([, loss, speed]) => loss !== null && loss > 0 && speed !== null && speed > 0)).toBe(true);
  } finally {
    await rm(output, { recursive: true, force: true });
  }
});
