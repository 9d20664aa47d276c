import type { KernelArguments, KernelName } from "../backend/backend.ts";
import type { Arbitrary } from "./arbitrary.ts";
import type { KernelSpec } from "./tensor-spec.ts";

/** How far a float result may be from the reference: `absolute + relative * |expected|`. Integers and bools must be equal. */
export interface Tolerance {
  readonly absolute: number;
  readonly relative: number;
}

/** How one kernel is tried. */
export interface KernelTest<Name extends KernelName> {
  /** Fields that the kernel writes; all others must stay as they are. */
  readonly outputs: readonly (keyof KernelArguments[Name])[];
  readonly cases: Arbitrary<KernelSpec<Name>>;
  readonly tolerance: (spec: KernelSpec<Name>) => Tolerance;
}

/** Tests for some kernels. */
export type KernelTests<Names extends KernelName> = { readonly [Name in Names]: KernelTest<Name> };

/** For kernels that only move or compare. */
export const exact = (): Tolerance => ({ absolute: 0, relative: 0 });

/** The same tolerance for every case. */
export function within(absolute: number, relative: number): () => Tolerance {
  return () => ({ absolute, relative });
}
