import { beforeAll, describe, expect, it } from "vitest";
import type { CodecTable } from "../calibration/codec-table.ts";
import { channelStatistics } from "../calibration/covariance.ts";
import { crossFittedBasis } from "../calibration/cross-fit.ts";
import { TINYLLAMA_HIDDEN_SIZE, tinyllamaCalibrationRows, tinyllamaPrompts } from "../tinyllama-activations.testing.ts";
import { channelCoder } from "./channel.ts";
import { karhunenLoeveCoder } from "./karhunen-loeve.ts";
import { errorAtRatio } from "./step-search.testing.ts";

const calibration = tinyllamaCalibrationRows();
const prompts = tinyllamaPrompts();

describe.skipIf(calibration === undefined || prompts === undefined)("on TinyLlama's block 1, calibrated here", () => {
  let table: CodecTable;

  beforeAll(async () => {
    const statistics = channelStatistics(calibration!, TINYLLAMA_HIDDEN_SIZE);
    const fitted = await crossFittedBasis(calibration!, TINYLLAMA_HIDDEN_SIZE);
    table = { ...statistics, ...fitted, hiddenSize: TINYLLAMA_HIDDEN_SIZE } as unknown as CodecTable;
  });

  it.each([
    [4, 0.0205], [7.6, 0.08], [10, 0.117], [16, 0.2],
  ])("klt at %f times fewer bytes than float16 errs by less than %f", async (ratio, limit) => {
    expect(await errorAtRatio(karhunenLoeveCoder(table), prompts!, ratio)).toBeLessThan(limit);
  });

  it.each([
    [4, 0.047], [7.6, 0.183], [10, 0.264], [16, 0.4],
  ])("channel at %f times fewer bytes than float16 errs by less than %f", async (ratio, limit) => {
    expect(await errorAtRatio(channelCoder(table), prompts!, ratio)).toBeLessThan(limit);
  });
});
