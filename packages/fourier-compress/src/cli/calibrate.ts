import {
  applyThreads, integer, interruptible, interruption, note, precisionOption, printJson, startProgress, threadsOption,
} from "@frugal/language-model/command-line";
import type { WeightPrecision } from "@frugal/language-model";
import { Command, Option } from "commander";
import { calibrateModel } from "../calibration/calibrate.ts";
import { writeCodecTable } from "../calibration/table-file.ts";
import { sequencesFor, type TextArguments } from "./calibration-text.ts";
import { loadNamedModel } from "./models.ts";

interface CalibrateArguments extends TextArguments {
  readonly model: string;
  readonly tokenizer?: string;
  readonly split: number;
  readonly out: string;
  readonly basis: boolean;
  readonly fisher: boolean;
  readonly precision: WeightPrecision;
  readonly device: "cpu" | "webgpu";
  readonly threads?: number;
}

async function calibrate(given: CalibrateArguments): Promise<void> {
  applyThreads(given.threads);
  const loaded = await loadNamedModel(given, "calibrate", given.json);
  try {
    const { calibration } = await sequencesFor(given, loaded, false);
    const progress = startProgress("calibrating", calibration.length, { silent: given.json });
    const table = await interruptible(() =>
      calibrateModel(loaded.model, calibration, {
        model: loaded.fingerprint, splitBlock: given.split, source: loaded.source, basis: given.basis, fisher: given.fisher,
        signal: interruption, onProgress: (sequences) => progress.update(sequences),
      }),
    ).finally(() => progress.stop());
    const files = await writeCodecTable(given.out, table);
    const { hash, block, rows, hiddenSize, rates } = table;
    if (given.json) {
      printJson({ files, hash, block, rows, hiddenSize, rates });
      return;
    }
    note(`codec table ${hash.slice(0, 16)} for splits before block ${block}: ${rows} rows of ${hiddenSize}; wrote ${files.join(" and ")}`);
    if (given.basis && rows < hiddenSize) {
      note(
        `${rows} rows cannot say much about ${hiddenSize} directions: the klt codec wants as many rows as channels, ` +
        "and gains up to four times that",
      );
    }
    for (const [codec, points] of Object.entries(rates)) {
      const shown = points.filter((_, index) => index % 3 === 0);
      const of = ({ bytesPerToken, relativeError }: (typeof points)[number]): string =>
        `${((2 * hiddenSize) / bytesPerToken).toFixed(1)}x ${relativeError.toFixed(3)}`;
      note(`${codec}: ratio to float16 and relative error, on calibration rows kept from the basis: ${shown.map(of).join(" · ")}`);
    }
  } finally {
    await loaded.dispose();
  }
}

/** `fourier-compress calibrate`. */
export function calibrateCommand(): Command {
  return new Command("calibrate")
    .description("Measure a split's activations on text and write the codec table that both ends share.")
    .requiredOption("--model <model>", "path, owner/name on the Hugging Face hub, stories15M or tinyllama")
    .option("--tokenizer <path>", "folder with tokenizer.json or llama2.c tokenizer.bin (default: the model's own)")
    .option("--split <block>", "blocks that the device runs", integer(0), 1)
    .option("--text <file>", "UTF-8 text, as like what will be sent as possible")
    .option("--sequences <file>", 'token ids: JSON { "calibration": [[ids]], "test": [[ids]] }')
    .option("--sample <count>", "sequences that the model writes itself, where there is no text", integer(1))
    .option("--window <tokens>", "tokens of a sequence at most", integer(2), 256)
    .option("--out <path>", "the table becomes <path>.json and <path>.safetensors", "codec-table")
    .option("--no-basis", "leave the KLT's basis out: a small table for the channel codec")
    .option("--fisher", "also the loss's sensitivity to each channel, for the fwsvd codec; three times the time", false)
    .addOption(precisionOption())
    .addOption(new Option("--device <device>", "where the model runs").choices(["cpu", "webgpu"]).default("cpu"))
    .addOption(threadsOption())
    .option("--json", "print one JSON object", false)
    .action((given: CalibrateArguments) => calibrate(given));
}
