/** `npm run verify -- <package> [--json] [--only=<regex>] [--quick]`: re-runs a package's published claims. */
import { readArguments } from "./src/arguments.ts";
import { checkClaim, goal, type Check, type Claim } from "./src/check.ts";
import { fullEffort, quickEffort } from "./src/rounds.ts";
import { claims as fourierCompress } from "./fourier-compress/claims.ts";
import { claims as languageModel } from "./language-model/claims.ts";
import { claims as mecefo } from "./mecefo/claims.ts";
import { claims as tensorCore } from "./tensor-core/claims.ts";

const suites: Readonly<Record<string, readonly Claim[]>> = {
  "tensor-core": tensorCore, "language-model": languageModel, "fourier-compress": fourierCompress, mecefo,
};

const options = readArguments(Object.keys(suites));
const effort = options.quick ? quickEffort : fullEffort;

/** A claim whose data is not here: no failure of the code, except where the data has to be (CI). */
function isForgiven(value: number | null, note: string | undefined): boolean {
  return value === null && note?.startsWith("skipped: ") === true && !process.env["CI"];
}

function line({ id, value, unit, pass, note }: Check, claim: Claim): string {
  const shown = value === null ? "-" : `${value}`;
  const verdict = pass ? "pass" : isForgiven(value, note) ? "skip" : "FAIL";
  return `${verdict}  ${id.padEnd(34)} ${shown.padStart(10)} ${unit}, target ${goal(claim)}${note ? `  (${note})` : ""}`;
}

const checks: Check[] = [];
for (const claim of suites[options.package]!.filter(({ id }) => options.only.test(id))) {
  let check: Check;
  try {
    check = await checkClaim(claim, effort);
  } catch (error) {
    check = {
      id: claim.id,
      value: null,
      unit: claim.unit,
      target: claim.target,
      pass: false,
      note: error instanceof Error ? error.message : String(error),
    };
  }
  checks.push(check);
  // With --json stdout is for the object alone.
  (options.json ? console.error : console.log)(line(check, claim));
}
if (options.json) console.log(JSON.stringify({ package: options.package, checks }, undefined, 2));
process.exit(checks.every(({ pass, value, note }) => pass || isForgiven(value, note)) ? 0 : 1);
