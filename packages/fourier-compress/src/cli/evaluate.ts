import { writeFile } from "node:fs/promises";
import {
  applyThreads, integer, Interrupted, interruptible, note, precisionOption, printJson, threadsOption,
} from "@frugal/language-model/command-line";
import { Command, Option } from "commander";
import { SettingsError } from "../errors.ts";
import { COMPARED_CODECS, COMPARED_RATIOS } from "../evaluation/compared-codecs.ts";
import { loadCharts } from "../report/charts.ts";
import { renderEvaluationReport } from "../report/evaluation-report.ts";
import { evaluateActivations } from "./evaluate-activations.ts";
import { codecList, numberList, type EvaluateArguments } from "./evaluate-arguments.ts";
import { evaluateModel } from "./evaluate-model.ts";

/** @throws SettingsError for options that do not go together */
function check(given: EvaluateArguments): void {
  if ((given.activations === undefined) === (given.model === undefined)) {
    throw new SettingsError("give either --activations <folder> or --model <model>");
  }
  if (given.activations !== undefined) {
    const ofModels = ["text", "sequences", "questions", "calibration", "leakage", "tokenizer"] as const;
    const lost = ofModels.find((name) => given[name] !== undefined);
    if (lost !== undefined) throw new SettingsError(`--${lost} needs --model; a folder of activations has neither model nor text`);
    return;
  }
  if (given.block !== undefined) throw new SettingsError("--block is of --activations; --split says where a model is split");
  if (given.text !== undefined && given.sequences !== undefined) throw new SettingsError("give either --text or --sequences");
  if (given.text === undefined && given.sequences === undefined && given.questions === undefined) {
    throw new SettingsError("give --text, --sequences or --questions to measure the model on");
  }
}

async function evaluate(given: EvaluateArguments): Promise<void> {
  check(given);
  applyThreads(given.threads);
  // Asked for before the work rather than missed after it.
  const charts = given.report === undefined ? undefined : await loadCharts();
  const { activations, model } = given;
  const { results, markdown, complete } = await interruptible(() =>
    activations === undefined ? evaluateModel({ ...given, model: model! }) : evaluateActivations({ ...given, activations }),
  );
  if (given.json) printJson({ complete, ...results });
  else process.stdout.write(`${markdown}\n`);
  if (charts !== undefined) {
    const subtitle = `${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC${complete ? "" : " · interrupted, so incomplete"}`;
    const title = `Codecs on ${results.reconstruction?.activations ?? model}`;
    await writeFile(given.report!, renderEvaluationReport(results, charts, { title, subtitle }));
    if (!given.json) note(`wrote ${given.report}`);
  }
  if (complete) return;
  const rest = given.resume === undefined ? "--resume <file> would have kept the rows" : `the same command goes on from ${given.resume}`;
  note(`interrupted: ${rest}`);
  throw new Interrupted("interrupted");
}

/** `fourier-compress evaluate`. */
export function evaluateCommand(): Command {
  return new Command("evaluate")
    .description("Compare codecs at equal bytes, on captured activations or inside a model.")
    .option("--activations <folder>", "captured activations: index.json, cal_l<block>.f16, test_l<block>.f16")
    .option("--block <number>", "which of the folder's blocks (default: the first)", integer(0))
    .option("--model <model>", "path, owner/name on the Hugging Face hub, stories15M or tinyllama")
    .option("--tokenizer <path>", "folder with tokenizer.json or llama2.c tokenizer.bin (default: the model's own)")
    .option("--split <block>", "blocks that the device runs", integer(0), 1)
    .option("--text <file>", "UTF-8 text for perplexity; its first 60 % calibrate unless told otherwise")
    .option("--sequences <file>", 'token ids for perplexity: JSON { "calibration": [[ids]], "test": [[ids]] }')
    .option("--questions <file...>", 'JSONL of { "question", "choices", "answer" }; what --limit leaves calibrates')
    .option("--calibration <file>", "UTF-8 text to calibrate on")
    .option("--table <path>", "codec table of `fourier-compress calibrate` instead of calibrating")
    .option("--fisher", "calibrate gradients too, for the fwsvd codec; three times the time", false)
    .option(
      "--codecs <names>", `with commas; ":elements" counts numbers instead of bytes (default: ${COMPARED_CODECS.join(",")})`, codecList,
    )
    .option("--ratios <numbers>", `bytes of float16 over bytes sent (default: ${COMPARED_RATIOS.join(",")})`, numberList)
    .addOption(
      new Option("--allocation <how>", "quantisers: one step for all messages, or the ratio in each")
        .choices(["shared-step", "each-message"])
        .default("shared-step"),
    )
    .option("--limit <count>", "only the first prompts, sequences, or questions of each file", integer(1))
    .option("--window <tokens>", "tokens of a sequence that a text is cut to", integer(2), 256)
    .option("--leakage [tokens]", "also try to recover tokens from the messages, of so many (default 1000)", integer(1))
    .addOption(precisionOption())
    .addOption(new Option("--device <device>", "where model and codecs run").choices(["cpu", "webgpu"]).default("cpu"))
    .addOption(threadsOption())
    .option("--resume <file>", "keep rows in this file as they come, and go on from those in it")
    .option("--report <file>", "write an HTML page with curves (needs the package echarts)")
    .option("--json", "print one JSON object", false)
    .action((given: EvaluateArguments) => evaluate(given));
}
