/** The real app: its own server, its own page in a tab of its own, and a visitor who writes stories and cuts the connection. */
import { expect, it } from "vitest";
import { commands } from "vitest/browser";
import type { Visit, VisitPlan } from "./drive-page.testing.ts";

declare module "vitest/browser" {
  interface BrowserCommands {
    driveSplitChat: (plan: VisitPlan) => Promise<Visit>;
  }
}

const PROMPT = "Once upon a time";
/** What the unsplit model writes after it. */
const GOLDEN =
  ", there was a little girl named Lily. She loved to play outside in the sunshine. One day, she saw a big, red ball in the sky.";

it("writes stories with half a model in the page, and goes on after a cut", async () => {
  const visit = await commands.driveSplitChat({
    prompt: PROMPT, tokens: 60,
    codecs: [{ name: "float32", cutsConnection: true }, { name: "klt", ratio: "4" }, { name: "fourier-literal", ratio: "4" }],
  });
  expect(visit.errors).toEqual([]);
  expect(visit.isIsolated).toBe(true);
  // Of the 60.8 MB only the embedding and the first block.
  expect(visit.weightBytes).toBeGreaterThan(36_864_000);
  expect(visit.weightBytes).toBeLessThan(42_000_000);
  expect(visit.halves.join()).toContain("fetched 40.8 MB of 60.8 MB");

  const [exact, klt, literal] = visit.stories as [Visit["stories"][number], Visit["stories"][number], Visit["stories"][number]];
  expect(exact.text.replace(/cut, resumed after [\d.]+ s/, "")).toContain(PROMPT + GOLDEN);
  expect(exact.text).toMatch(/cut, resumed after [\d.]+ s/);
  expect(exact.figures["figure-connections"]).toBe("2, 1");
  expect(exact.figures["figure-error"]).toBe("0, exact");
  expect(visit.log.some((line) => /^session [0-9a-f]{8} resumed/.test(line))).toBe(true);

  expect(klt.text.length).toBeGreaterThan(PROMPT.length + 100);
  expect(Number.parseFloat(klt.figures["bytes-sent"]!)).toBeGreaterThan(5);
  expect(Number.parseFloat(klt.figures["figure-ratio16"]!)).toBeGreaterThan(2.5);
  const errorOf = ({ figures }: Visit["stories"][number]): number => Number.parseFloat(figures["figure-error"]!);
  expect(errorOf(klt)).toBeLessThan(0.1);
  expect(errorOf(literal)).toBeGreaterThan(errorOf(klt));
  expect(visit.rows.map((cells) => cells[0])).toEqual(["FourierCompress, literal, 4 ×", "KLT + rANS, 4 ×", "float32, exact"]);
  expect(visit.rows[2]!.at(-1)).toBe("60 of 60");
  expect(visit.metrics).toMatch(/fourier_compress_generated_tokens_total 180/);
  expect(visit.sessionsLeft).toBe(0);
});
