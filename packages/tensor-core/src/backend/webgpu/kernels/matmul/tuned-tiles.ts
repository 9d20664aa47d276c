import type { WebGpuRuntime } from "../../runtime.ts";
import type { TunedTiles } from "./choose.ts";

const tables = new WeakMap<WebGpuRuntime, TunedTiles>();

/** The measured tiles that products of this runtime use. */
export function tunedTilesOf(runtime: WebGpuRuntime): TunedTiles | undefined {
  return tables.get(runtime);
}

/** Lets products of this runtime use measured tiles; undefined goes back to the rules of thumb. */
export function setTunedTiles(runtime: WebGpuRuntime, tuned: TunedTiles | undefined): void {
  if (tuned === undefined) tables.delete(runtime);
  else tables.set(runtime, tuned);
}
