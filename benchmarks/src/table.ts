import type { Report, Result } from "./result.ts";

/** Numbers as people read them: three digits, thousands apart. */
export function readable(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString("en-US");
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value >= 0.1 ? value.toFixed(2) : value.toPrecision(2);
}

const listed = (values: Readonly<Record<string, number>>): string =>
  Object.entries(values)
    .sort(([, a], [, b]) => b - a)
    .map(([name, value]) => `${name} ${readable(value)}`)
    .join(" · ");

function yardsticks({ ours, yardsticks, bytes = {}, remark }: Result): string {
  const limits = Object.entries(yardsticks).map(([name, value]) => `${name} ${readable(value)} (${Math.round((100 * ours) / value)} %)`);
  const sizes = Object.entries(bytes).map(([name, size]) => `${name} ${readable(size)} bytes`);
  // A single size compares with nothing.
  return [...limits, ...(sizes.length > 1 ? sizes : []), ...(remark === undefined ? [] : [remark])].join(" · ");
}

const header = ["workload", "unit", "ours", "ratio", "peers, best first", "native and limits (our share), remarks"];

const cells = (result: Result): string[] => [
  result.id,
  result.unit,
  readable(result.ours),
  result.ratio === null ? "" : `${result.ratio.toFixed(2)}×`,
  listed(result.peers),
  yardsticks(result),
];

/** Lines of a table for the terminal; the last two columns are as long as they are. */
export function terminalTable(results: readonly Result[]): string[] {
  const rows = [header, ...results.map(cells)];
  const widths = header.slice(0, 4).map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    [...widths.map((width, column) => (column < 2 ? row[column]!.padEnd(width) : row[column]!.padStart(width))), row[4], row[5]]
      .join("  ")
      .trimEnd(),
  );
}

/** The same as Markdown, with machine, versions and what was left out. */
export function markdownReport({ package: name, machine, versions, results }: Report): string {
  const absent = new Map<string, string[]>();
  for (const result of results) {
    for (const [contender, reason] of Object.entries(result.absent))
      absent.set(`${contender}: ${reason}`, [...(absent.get(`${contender}: ${reason}`) ?? []), result.id]);
  }
  const versionList = Object.entries(versions)
    .filter(([contender]) => !contender.startsWith("frugal"))
    .map(([contender, version]) => `${contender} (${version})`);
  return [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memory} GiB, ${machine.platform}, ` +
      `Node ${machine.node.slice(1)} (V8 ${machine.v8}). ` +
      `128-bit mul + add peak of a thread ${machine.simdPeak} GF/s; reading memory ${machine.bandwidth[0]} GB/s on one thread, ` +
      `${machine.bandwidth[1]} GB/s on two. Load before the run: ${machine.load}.`,
    "",
    `| ${header.join(" | ")} |`,
    "| --- | --- | ---: | ---: | --- | --- |",
    ...results.map((result) => `| ${cells(result).join(" | ")} |`),
    "",
    `Peers: ${versionList.join(", ")}.`,
    ...(absent.size === 0 ? [] : ["", "Without a number:", "", ...[...absent].map(([reason, ids]) => `- ${reason} (${ids.join(", ")})`)]),
    "",
    `Made by \`npm run bench -- ${name} --write\`.`,
  ].join("\n");
}
