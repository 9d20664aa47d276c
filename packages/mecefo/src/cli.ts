#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { runToEnd } from "@frugal/language-model/command-line";
import { Command } from "commander";
import { chaosCommand } from "./cli/chaos.ts";
import { reportCommand } from "./cli/report.ts";
import { simulateCommand } from "./cli/simulate.ts";
import { trainCommand } from "./cli/train.ts";
import { workerCommand } from "./cli/worker.ts";
import { MecefoError } from "./errors.ts";

// The same place seen from src/cli.ts and dist/cli.js.
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };

const program = new Command("mecefo")
  .description("Trains decoder models on grids of workers that may die.")
  .version(version)
  .showHelpAfterError("(--help says more)");
for (const command of [trainCommand, workerCommand, chaosCommand, simulateCommand, reportCommand]) program.addCommand(command());

await runToEnd("mecefo", () => program.parseAsync(), [MecefoError]);
