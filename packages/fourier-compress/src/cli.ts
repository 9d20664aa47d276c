#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { runToEnd } from "@frugal/language-model/command-line";
import { Command } from "commander";
import { calibrateCommand } from "./cli/calibrate.ts";
import { chatCommand } from "./cli/chat.ts";
import { evaluateCommand } from "./cli/evaluate.ts";
import { generateCommand } from "./cli/generate.ts";
import { planCommand } from "./cli/plan.ts";
import { serveCommand } from "./cli/serve.ts";
import { simulateCommand } from "./cli/simulate.ts";
import { FourierCompressError } from "./errors.ts";

// The same place seen from src/cli.ts and dist/cli.js.
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };

// @huggingface/hub tells of its downloads there, that is on stdout, where results alone belong.
console.debug = () => {};

const program = new Command("fourier-compress")
  .description("Splits language models between a device and a server, with few bytes between them.")
  .version(version)
  .showHelpAfterError("(--help says more)");
for (const command of [serveCommand, generateCommand, chatCommand, calibrateCommand, planCommand, evaluateCommand, simulateCommand]) {
  program.addCommand(command());
}

await runToEnd("fourier-compress", () => program.parseAsync(), [FourierCompressError]);
