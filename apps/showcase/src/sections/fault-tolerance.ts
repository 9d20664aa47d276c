import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startTraining, type RecoveryEvent, type RunEvent, type StepEvent, type StrategyName, type TrainingResult } from "@frugal/mecefo";
import { lineChart, type Series } from "../report/charts.ts";
import type { ReportBlock, Section, SectionContext } from "../section.ts";

const steps = 140;
const sequenceLength = 64;
/** Slot and step of each kill. */
const kills: readonly (readonly [slot: string, step: number])[] = [["p0s1", 40], ["p1s0", 95]];
/** Under checkpoint-restart. */
const checkpointEvery = 30;
/** A slow machine stops a run here and says so. */
const maximumSeconds = 40;
const evaluatedTokens = 8192;
/** Steps that a point of the curves is the mean of: single ones are noisy. */
const window = 5;

interface Course {
  readonly name: string;
  readonly result: TrainingResult;
  readonly validationLoss: number | undefined;
  readonly begin: number;
}

/** One strategy's run on four worker processes. */
async function train(
  { name, strategy, isStruck }: { readonly name: string; readonly strategy: StrategyName; readonly isStruck: boolean },
  output: string, { progress, signal }: SectionContext,
): Promise<Course> {
  progress.start(name, steps);
  const due = isStruck ? [...kills] : [];
  let failure: unknown;
  const run = await startTraining({
    output, strategy, model: "nano", grid: "2x2", steps, sequenceLength, microbatches: 4,
    checkpointEvery: strategy === "checkpoint-restart" ? checkpointEvery : steps,
    optimizer: { learningRate: 4e-3 }, allowFaults: true, restartDelay: 500,
    onEvent: (event) => {
      if (event.kind === "recovery" && event.cause !== "formed") {
        progress.line(`  step ${event.step}: ${event.reason}; going on after ${event.milliseconds.toFixed(0)} ms`);
      }
      if (event.kind !== "step") return;
      progress.update(event.step + 1, `loss ${event.loss?.toFixed(2) ?? "not finite"}`);
      const next = due[0];
      if (next === undefined || event.step < next[1]) return;
      due.shift();
      progress.line(`  kill -9 ${next[0]}`);
      run.inject(next[0], { kind: "kill" }).catch((error: unknown) => {
        failure = error;
        run.stop();
      });
    },
  });
  const stop = (): void => run.stop();
  const timer = setTimeout(stop, maximumSeconds * 1000);
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    const result = await run.finished;
    if (failure !== undefined) throw failure;
    if (result.outcome.kind === "failed") throw new Error(`${name}: ${result.outcome.reason}`);
    const canEvaluate = !signal.aborted && result.checkpoint !== undefined;
    return {
      name, result, validationLoss: canEvaluate ? (await result.evaluate(evaluatedTokens)).loss : undefined, begin: beginOf(result.events),
    };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    progress.stop();
  }
}

/** When the grid was complete: starting processes is the same for all. */
function beginOf(events: readonly RunEvent[]): number {
  return events.find(({ kind }) => kind === "epoch")?.at ?? 0;
}

function smooth(points: readonly (readonly [number, number])[]): readonly (readonly [number, number])[] {
  return points.flatMap(([x], i) => {
    const near = points.slice(Math.max(0, i - window + 1), i + 1);
    return [[x, near.reduce((sum, [, y]) => sum + y, 0) / near.length] as const];
  });
}

/** A course as it was taken: with checkpoint-restart the steps that were undone are part of it. */
function takes({ result: { events }, begin }: Course): readonly { readonly step: number; readonly seconds: number; readonly loss: number }[] {
  return events
    .filter((event): event is StepEvent => event.kind === "step")
    .flatMap(({ step, at, loss }) => (loss === null ? [] : [{ step, seconds: (at - begin) / 1000, loss }]));
}

/** Steps that count, over steps. */
function overSteps(course: Course): Series {
  const losses = new Map(takes(course).map(({ step, loss }) => [step, loss]));
  return { name: course.name, points: smooth([...losses].toSorted(([a], [b]) => a - b)) };
}

function overTime(course: Course): Series {
  return { name: course.name, points: smooth(takes(course).map(({ seconds, loss }) => [seconds, loss])) };
}

/** Where the kills fell on a course over time. */
function marks(course: Course): Series {
  const line = overTime(course).points;
  const points = course.result.events.flatMap((event): (readonly [number, number])[] => {
    if (event.kind !== "fault") return [];
    const seconds = (event.at - course.begin) / 1000;
    const near = line.findLast(([x]) => x <= seconds) ?? line[0];
    return near === undefined ? [] : [[seconds, near[1]]];
  });
  return { name: "kill -9", points, isLoose: true };
}

/** Units and pairs stay on one line. */
const unbroken = (text: string): string => text.replaceAll(" ", "\u00a0");
const bytes = (count: number): string => (count === 0 ? "–" : unbroken(`${(count / 1e6).toFixed(2)} MB`));
const percent = (share: number | null): string => (share === null ? "–" : `${(100 * share).toFixed(0)} %`);
const digits = (value: number | null | undefined, count: number): string => value?.toFixed(count) ?? "–";

/** How much of the loss is above that of the run without faults, at the same step. */
function above(course: Course, calm: Course): Series {
  const without = new Map(takes(calm).map(({ step, loss }) => [step, loss]));
  const losses = new Map(takes(course).map(({ step, loss }) => [step, loss]));
  const points = [...losses].toSorted(([a], [b]) => a - b).flatMap(([step, loss]): (readonly [number, number])[] => {
    const other = without.get(step);
    return other === undefined ? [] : [[step, loss - other]];
  });
  return { name: course.name, points: smooth(points) };
}

/** Milliseconds without a step around a recovery, waiting for a worker included: what the leader calls its own begins later. */
function pauseAround(events: readonly RunEvent[], recovery: RecoveryEvent): number | undefined {
  const index = events.indexOf(recovery);
  const before = events.slice(0, index).findLast(({ kind }) => kind === "step");
  const after = events.slice(index).find(({ kind }) => kind === "step");
  return before === undefined || after === undefined ? undefined : after.at - before.at;
}

function recoveryRows({ name, result: { events } }: Course): string[][] {
  return events
    .filter((event): event is RecoveryEvent => event.kind === "recovery" && event.cause !== "formed")
    .map((recovery) => {
      const donors = new Set(recovery.transfers.map(({ slot, donor }) => unbroken(`${slot} ← ${donor}`)));
      return [
        unbroken(name), String(recovery.step), recovery.reason, unbroken(`${digits(pauseAround(events, recovery), 0)} ms`), bytes(recovery.bytes),
        [...donors].join(", ") || "–",
      ];
    });
}

function comparisonRow({ name, result: { summary }, validationLoss }: Course): string[] {
  return [
    unbroken(name), `${summary.steps}${summary.undoneSteps > 0 ? ` + ${summary.undoneSteps} undone` : ""}`, summary.seconds.toFixed(1),
    percent(summary.degradedSteps),
    digits(summary.finalLoss, 3), digits(validationLoss, 3),
    summary.ledger === undefined ? "–" : `${summary.ledger.lost} · ${summary.ledger.duplicated} · ${summary.ledger.divergences}`,
  ];
}

function describe(courses: readonly Course[]): ReportBlock[] {
  const [calm, struck] = courses;
  if (calm === undefined) return [];
  const isShort = courses.some(({ result }) => result.summary.steps < steps);
  const recoveries = struck?.result.summary.failureRecoveries ?? undefined;
  const gap = calm.validationLoss === undefined || struck?.validationLoss === undefined
    ? undefined
    : Math.expm1(struck.validationLoss - calm.validationLoss);
  return [
    {
      kind: "paragraph",
      text:
        "Four worker processes train a small decoder on Moby-Dick, byte by byte: two pipelines of two stages. With “mecefo” and " +
        `“checkpoint-restart” two of them are killed with SIGKILL, ${kills.map(([slot, step]) => `${slot} after step ${step}`).join(" and ")}, ` +
        "and started again half a second later. With mecefo the neighbour in the dead worker’s pipeline takes its stage over with cheap " +
        "approximate gradients, with weights from the other pipeline; checkpoint-restart waits, and goes back to a checkpoint written every " +
        `${checkpointEvery} steps.${isShort ? " Not all runs came to their end in the time they had." : ""}`,
    },
    {
      kind: "figures",
      figures: [
        ...(recoveries === undefined ? [] : [
          {
            label: "Going on after a kill", value: `${recoveries.medianMilliseconds.toFixed(0)} ms`,
            note: `${bytes(recoveries.medianBytes)} from a live peer`,
          },
        ]),
        { label: "Speed without faults", value: `${digits(calm.result.summary.tokensPerSecond, 0)} tokens/s` },
        ...(gap === undefined ? [] : [{
          label: "Perplexity, two kills against none", value: `${gap >= 0 ? "+" : "−"}${Math.abs(100 * gap).toFixed(1)} %`,
          note: "held-out text, same tokens",
        }]),
      ],
    },
    {
      kind: "table",
      columns: ["run", "steps", "seconds", "degraded", "loss", "held out", "lost · doubled · diverged"],
      rows: courses.map(comparisonRow),
    },
    {
      kind: "chart", title: `Loss over steps, the same batches in each, mean of ${window} steps`,
      svg: lineChart(courses.map(overSteps), { x: "step", y: "nats per byte" }),
    },
    {
      kind: "chart", title: `Loss above that of the run without faults, at the same step, mean of ${window} steps`,
      svg: lineChart(courses.map((course) => above(course, calm)), { x: "step", y: "nats per byte" }),
    },
    {
      kind: "chart", title: "Loss over time, from the moment that all workers were there",
      svg: lineChart(
        [...courses.map(overTime), { name: "kill -9", points: courses.flatMap((course) => marks(course).points), isLoose: true }],
        { x: "seconds", y: "nats per byte" },
      ),
    },
    {
      kind: "table", columns: ["run", "step", "what happened", "no step for", "moved", "from whom"],
      rows: courses.flatMap(recoveryRows),
    },
  ];
}

/** Training that goes on while its workers are killed. */
export const faultToleranceSection: Section = {
  title: "Training goes on while workers are killed",
  packageName: "mecefo",
  async run(context) {
    const folder = await mkdtemp(join(tmpdir(), "frugal-mecefo-"));
    const courses: Course[] = [];
    try {
      for (const plan of [
        { name: "no faults", strategy: "mecefo", isStruck: false },
        { name: "mecefo", strategy: "mecefo", isStruck: true },
        { name: "checkpoint-restart", strategy: "checkpoint-restart", isStruck: true },
      ] as const) {
        if (context.signal.aborted) break;
        courses.push(await train(plan, join(folder, String(courses.length)), context));
      }
      return describe(courses);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};
