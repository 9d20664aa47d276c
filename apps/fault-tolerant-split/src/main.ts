/** `npm start -w @frugal/fault-tolerant-split`: raw against compressed links in training that a kill goes through. Ctrl-C ends it. */
import { compareLinks, type LinkRun } from "./compare-links.ts";
import type { DirectionTraffic } from "./link-traffic.ts";

const interruption = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    // A second one exits at once, and ends the workers with it.
    if (interruption.signal.aborted) process.exit(130);
    interruption.abort();
  });
}

const runs = await compareLinks({
  model: "micro", sequenceLength: 48, warmUpSteps: 60, steps: 60, victim: "p0s1", activationRatio: 4, gradientError: 0.05,
  onLine: (line) => console.log(line), signal: interruption.signal,
});

const message = ({ bytes, messages, float32Bytes }: DirectionTraffic): string =>
  `${(bytes / messages / 1000).toFixed(1)} kB (float32 / ${(float32Bytes / bytes).toFixed(1)})`;
const rows: readonly (readonly [string, (run: LinkRun) => string])[] = [
  ["steps", ({ summary }) => String(summary.steps)],
  ["steps while a worker was missing", ({ summary }) => `${(100 * (summary.degradedSteps ?? 0)).toFixed(0)} %`],
  ["message forward", ({ traffic }) => message(traffic.activation)],
  ["message back", ({ traffic }) => message(traffic.gradient)],
  ["tokens/s (median)", ({ summary }) => (summary.tokensPerSecond ?? 0).toFixed(0)],
  ["recovery after the kill", ({ summary }) => `${(summary.failureRecoveries?.medianMilliseconds ?? 0).toFixed(0)} ms`],
  ["held-out loss", ({ validationLoss }) => validationLoss.toFixed(4)],
];
console.log(`\n${"".padEnd(34)}${runs.map(({ name }) => name.padEnd(28)).join("")}`);
for (const [label, value] of rows) console.log(`${label.padEnd(34)}${runs.map((run) => value(run).padEnd(28)).join("")}`);
