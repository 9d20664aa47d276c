/** Perplexity of stories15M split after its first block: this process and a server process, over a WebSocket. */
import { readFile } from "node:fs/promises";
import { loadModel, openStories15m, scoreSequences, type DecoderModel } from "@frugal/language-model";
import { calibrateModel, comparePerplexity, type CodecTable } from "@frugal/fourier-compress";
import type { Claim, Measured } from "../src/check.ts";
import { missingData, sharedData } from "../src/shared-data.ts";
import { connectToSplitServer, startSplitServer } from "./split-stories.ts";

const file = "stories15M/sampled-stories.json";

interface Stories {
  readonly model: DecoderModel;
  readonly table: CodecTable;
  readonly test: readonly (readonly number[])[];
}

let opened: Promise<Stories> | undefined;

async function open(path: string): Promise<Stories> {
  const { calibration, test } = JSON.parse(await readFile(path, "utf8")) as Record<"calibration" | "test", readonly (readonly number[])[]>;
  const source = await openStories15m();
  const model = await loadModel(source);
  await source.close();
  return { model, test, table: await calibrateModel(model, calibration, { model: "stories15M", splitBlock: 1 }) };
}

async function perplexityRise(codec: string, ratio: number): Promise<Measured> {
  const path = sharedData(file);
  if (path === undefined) return missingData(file);
  const { model, table, test } = await (opened ??= open(path));
  // One step of the quantiser for all stories, such that their messages together have the ratio.
  const { perplexity, results } = await comparePerplexity(model, 1, test, { table, codecs: [codec], ratios: [ratio] });
  const [row] = results;
  if (row?.mode === undefined || row.traffic === undefined) throw new Error(row?.unavailable ?? `${codec} has no mode at ${ratio}x`);
  const server = await startSplitServer({ table });
  try {
    using client = await connectToSplitServer(server.url, model, { codec, mode: row.mode, table, result: "hidden" });
    const split = await scoreSequences(client, test);
    const { byteRatioFloat16, messages, messageBytes } = client.traffic();
    // What crossed the socket has to be what the ratio was reached with.
    if (row.traffic.byteRatioFloat16 < ratio || Math.abs(messageBytes / row.traffic.bytes - 1) > 0.001) {
      throw new Error(`${messageBytes} bytes crossed, ${row.traffic.bytes} were to, at ${row.traffic.byteRatioFloat16}x of ${ratio}x`);
    }
    const note =
      `${perplexity.toFixed(3)} → ${split.perplexity.toFixed(3)} on ${split.tokens} tokens of ${test.length} stories; ` +
      `codec messages are ${row.traffic.byteRatioFloat16.toFixed(2)}× smaller than float16 without begin rows, ` +
      `the ${messages} frames ${byteRatioFloat16.toFixed(2)}×`;
    return { value: split.perplexity / perplexity - 1, note };
  } finally {
    await server.close();
  }
}

const rise = (codec: string, ratio: number, target: number): Claim => ({
  id: `stories15m-${codec}-${ratio}x-perplexity-rise`,
  unit: "share",
  target,
  better: "smaller",
  measure: () => perplexityRise(codec, ratio),
});

/** What codecs cost the model's predictions. */
export const perplexityClaims: readonly Claim[] = [rise("klt", 4, 0.01), rise("klt", 7.6, 0.06), rise("channel", 7.6, 0.1)];
