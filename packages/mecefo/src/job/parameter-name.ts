import type { StageFactory, StageParts } from "./stage-factory.ts";

/** The name in the whole model of a parameter of a part, from its path there: the factory's, else the path with its block renumbered. */
export function wholeModelName(factory: Pick<StageFactory, "parameterName">, path: string, parts: StageParts): string {
  if (factory.parameterName !== undefined) return factory.parameterName(path, parts);
  return path.replace(/^blocks\.(\d+)\./, (_, index: string) => `blocks.${parts.blocks[0] + Number(index)}.`);
}
