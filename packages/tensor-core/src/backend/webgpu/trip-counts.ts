import { u32, type UniformValue } from "./program.ts";

/** Names for the trip counts of inner loops; see `tripCounts`. */
export interface TripCounts {
  /** Whether they are numbers in the text; part of the variant. */
  readonly isUnrolled: boolean;
  /** Statements that define the names, for the beginning of the entry point. */
  readonly code: string;
  readonly uniforms: Readonly<Record<string, UniformValue>>;
}

/**
 * Numbers in the text where a GPU's driver compiles it, which unrolls the loops. Software adapters would take many seconds to compile
 * unrolled barriers and loads from workgroup memory: for them the counts are uniforms.
 */
export function tripCounts(isSoftware: boolean, counts: Readonly<Record<string, number>>): TripCounts {
  const entries = Object.entries(counts);
  return {
    isUnrolled: !isSoftware,
    code: entries.map(([name, count]) => (isSoftware ? `  let ${name} = uniforms.${name};` : `  const ${name} = ${count}u;`)).join("\n"),
    uniforms: isSoftware ? Object.fromEntries(entries.map(([name, count]) => [name, u32(count)])) : {},
  };
}
