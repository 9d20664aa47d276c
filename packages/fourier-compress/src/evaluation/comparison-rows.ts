import type { ComparedCodec, PlannedCodec } from "./compared-codecs.ts";

/** How a comparison tells of its rows, and goes on from earlier ones. */
export interface RowOptions<Row> {
  /** Rows measured before, by codec and ratio: not measured again. */
  readonly done?: readonly Row[];
  /** Called with each row as it is there, and how many of all there are. */
  readonly onRow?: (row: Row, index: number, count: number) => void | Promise<void>;
}

/**
 * A row for each planned codec and ratio, those of before included.
 * @param measure undefined ends the comparison with the rows that are there
 */
export async function comparisonRows<Row extends { readonly codec: string; readonly ratio?: number }>(
  planned: readonly PlannedCodec[], { done = [], onRow }: RowOptions<Row>,
  measure: (codec: ComparedCodec, ratio: number | undefined) => Promise<Row | undefined>,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [index, { codec, ratio }] of planned.entries()) {
    const known = done.find((row) => row.codec === codec.key && row.ratio === ratio);
    if (known !== undefined) {
      rows.push(known);
      continue;
    }
    const row = await measure(codec, ratio);
    if (row === undefined) break;
    rows.push(row);
    await onRow?.(row, index + 1, planned.length);
  }
  return rows;
}
