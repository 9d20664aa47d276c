import { readable } from "../src/table.ts";
import type { GpuReport, GpuResult } from "./result.ts";

const header = ["workload", "unit", "ours", "timestamps", "share of peak", "PyTorch", "ratio", "PyTorch, lower precision", "launches"];

const percent = (value: number): string => `${Math.round(100 * value)} %`;

function shareOf({ share }: GpuResult): string {
  if (share === null) return "";
  return `${percent(share.timestamps ?? share.clock)} of ${share.of}`;
}

const cells = (result: GpuResult): string[] => [
  result.id,
  result.unit,
  readable(result.ours),
  result.timestamps === null ? "" : readable(result.timestamps),
  shareOf(result),
  result.peers["PyTorch"] === undefined ? result.absent["PyTorch"]! : readable(result.peers["PyTorch"]),
  result.ratio === null ? "" : `${result.ratio.toFixed(2)}×`,
  Object.entries(result.yardsticks)
    .map(([name, value]) => `${name.replace("PyTorch ", "")} ${readable(value)}`)
    .join(" · "),
  readable(result.launches) +
    (result.submissionsPerToken === undefined ? "" : `, at most ${result.submissionsPerToken} submissions a token`),
];

function heading({ machine, warning }: GpuReport): string {
  const { adapter, peaks } = machine;
  const half = peaks.float16 === null ? "no float16" : `float16 ${readable(peaks.float16)} GFLOP/s`;
  return [
    ...(warning === undefined ? [] : [`**${warning}.**`]),
    `${adapter.description || adapter.device} (${adapter.vendor} ${adapter.architecture}).`,
    `Measured peaks: float32 ${readable(peaks.float32)} GFLOP/s by multiply-adds in registers, ${half},`,
    `copy ${readable(peaks.bandwidth)} GB/s (read + written).`,
    `Features used: ${adapter.features.join(", ") || "none"}.`,
    `${machine.cpu}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node.slice(1)}.`,
  ].join(" ");
}

/** Lines of a table for the terminal. */
export function gpuTable(report: GpuReport): string[] {
  const rows = [header, ...report.results.map(cells)];
  const widths = header.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return [
    heading(report).replaceAll("**", ""),
    ...rows.map((row) =>
      row
        .map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
        .join("  ")
        .trimEnd(),
    ),
    ...Object.entries(report.failures).map(([id, reason]) => `without a number: ${id}: ${reason}`),
  ];
}

/** The same as Markdown. */
export function gpuMarkdown(report: GpuReport): string {
  const versions = Object.entries(report.versions).map(([name, version]) => `${name} ${version}`);
  return [
    heading(report),
    "",
    `| ${header.join(" | ")} |`,
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
    ...report.results.map((result) => `| ${cells(result).join(" | ")} |`),
    "",
    versions.length === 0 ? "PyTorch was not measured." : `${versions.join(", ")}, on the same card in the same run.`,
    ...Object.entries(report.failures).map(([id, reason]) => `\n- ${id} has no number: ${reason}`),
    "",
    "Made by `npm run bench -- tensor-core --gpu --write`.",
  ].join("\n");
}
