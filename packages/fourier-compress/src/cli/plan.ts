import { writeFile } from "node:fs/promises";
import {
  applyThreads, integer, Interrupted, interruptible, interruption, note, numberBetween, precisionOption, printJson, startProgress,
  threadsOption,
} from "@frugal/language-model/command-line";
import type { WeightPrecision } from "@frugal/language-model";
import { Command, Option } from "commander";
import { planSplits, recommendRates, type PlanPoint } from "../planner/plan-splits.ts";
import { loadCharts } from "../report/charts.ts";
import { planMarkdown, renderPlanReport } from "../report/plan-report.ts";
import { sequencesFor, type TextArguments } from "./calibration-text.ts";
import { codecList, numberList } from "./evaluate-arguments.ts";
import { digestOf } from "./evaluate-activations.ts";
import { EvaluationFile } from "./evaluation-file.ts";
import { loadNamedModel } from "./models.ts";

interface PlanArguments extends TextArguments {
  readonly model: string;
  readonly tokenizer?: string;
  readonly splits?: readonly number[];
  readonly codecs: readonly string[];
  readonly ratios: readonly number[];
  readonly mostRise: number;
  readonly limit?: number;
  readonly report?: string;
  readonly resume?: string;
  readonly precision: WeightPrecision;
  readonly device: "cpu" | "webgpu";
  readonly threads?: number;
}

async function plan(given: PlanArguments): Promise<void> {
  applyThreads(given.threads);
  // Asked for before the work rather than missed after it.
  const charts = given.report === undefined ? undefined : await loadCharts();
  const loaded = await loadNamedModel(given, "plan", given.json);
  try {
    const sequences = await sequencesFor(given, loaded, true);
    const test = given.limit === undefined ? sequences.test : sequences.test.slice(0, given.limit);
    const file = await EvaluationFile.open(given.resume, {
      plan: loaded.fingerprint, precision: given.precision, sequences: digestOf(JSON.stringify([sequences.calibration, test])),
    });
    const done = file.perplexity.filter((row): row is PlanPoint => "splitBlock" in row);
    const progress = startProgress("measuring splits", 1, { silent: given.json });
    const result = await interruptible(() =>
      planSplits(loaded.model, { calibration: sequences.calibration, test }, {
        model: loaded.fingerprint, source: loaded.source, codecs: given.codecs, ratios: given.ratios, done,
        ...(given.splits === undefined ? {} : { splitBlocks: given.splits }), signal: interruption,
        async onPoint(point, index, count) {
          progress.update(index / count, `split ${point.splitBlock} ${point.codec} ${point.ratio ?? ""}`);
          file.perplexity.push(point);
          await file.save();
        },
      }),
    ).finally(() => progress.stop());
    if (given.json) printJson({ ...result, recommended: recommendRates(result, given.mostRise) });
    else process.stdout.write(`${planMarkdown(result, given.mostRise)}\n`);
    if (charts !== undefined) {
      const time = new Date().toISOString().slice(0, 16).replace("T", " ");
      const subtitle = `${time} UTC${result.complete ? "" : " · interrupted, so incomplete"}`;
      const { mostRise } = given;
      await writeFile(given.report!, renderPlanReport(result, charts, { title: `Where to split ${given.model}`, subtitle, mostRise }));
      if (!given.json) note(`wrote ${given.report}`);
    }
    if (result.complete) return;
    note(
      given.resume === undefined
        ? "interrupted: --resume <file> would have kept the points"
        : `interrupted: the same command goes on from ${given.resume}`,
    );
    throw new Interrupted("interrupted");
  } finally {
    await loaded.dispose();
  }
}

/** `fourier-compress plan`. */
export function planCommand(): Command {
  return new Command("plan")
    .description("Sweep splits and rates on text, draw what each costs in quality, and say which rate each split bears.")
    .requiredOption("--model <model>", "path, owner/name on the Hugging Face hub, stories15M or tinyllama")
    .option("--tokenizer <path>", "folder with tokenizer.json or llama2.c tokenizer.bin (default: the model's own)")
    .option("--splits <numbers>", "blocks on the device, with commas (default: every split of the model)", numberList)
    .option("--codecs <names>", "with commas", codecList, ["klt", "channel"])
    .option("--ratios <numbers>", "bytes of float16 over bytes sent", numberList, [4, 6, 7.6, 10, 16])
    .option("--most-rise <fraction>", "perplexity rise that is still good enough", numberBetween(0, 1e9), 0.05)
    .option("--text <file>", "UTF-8 text; its first 60 % calibrate")
    .option("--sequences <file>", 'token ids: JSON { "calibration": [[ids]], "test": [[ids]] }')
    .option("--sample <count>", "sequences that the model writes itself, where there is no text", integer(2))
    .option("--window <tokens>", "tokens of a sequence at most", integer(2), 256)
    .option("--limit <count>", "only the first sequences to measure on", integer(1))
    .addOption(precisionOption())
    .addOption(new Option("--device <device>", "where the model runs").choices(["cpu", "webgpu"]).default("cpu"))
    .addOption(threadsOption())
    .option("--resume <file>", "keep points in this file as they come, and go on from those in it")
    .option("--report <file>", "write an HTML page with the curves (needs the package echarts)")
    .option("--json", "print one JSON object", false)
    .action((given: PlanArguments) => plan(given));
}
