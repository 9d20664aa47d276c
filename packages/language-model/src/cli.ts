#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { fetchCommand } from "./cli/fetch.ts";
import { generateCommand } from "./cli/generate.ts";
import { inspectCommand } from "./cli/inspect.ts";
import { perplexityCommand } from "./cli/perplexity.ts";
import { runToEnd } from "./command-line/run-to-end.ts";
import { trainCommand } from "./cli/train.ts";

// The same place seen from src/cli.ts and dist/cli.js.
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };

// @huggingface/hub tells of its downloads there, that is on stdout, where results alone belong.
console.debug = () => {};

const program = new Command("language-model")
  .description("Runs, trains, scores and inspects decoder language models on the CPU.")
  .version(version)
  .showHelpAfterError("(--help says more)");
for (const command of [generateCommand, trainCommand, perplexityCommand, inspectCommand, fetchCommand]) program.addCommand(command());

await runToEnd("language-model", () => program.parseAsync());
