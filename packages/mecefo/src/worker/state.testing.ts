import { tensor, tidy } from "@frugal/tensor-core";
import { partitionBlocks } from "../grid/stage-partition.ts";
import { decoderStageFactory } from "../job/decoder-stages.ts";
import { tinyConfiguration, tinyJob } from "../runtime/tiny-run.testing.ts";
import { StageReplica } from "./stage-replica.ts";
import type { StageState } from "./stage-state.ts";

/** A stage of the tiny model in two. */
export function tinyReplica(stage = 0, tied = true): StageReplica {
  const factory = decoderStageFactory(tinyConfiguration(tied));
  return new StageReplica({
    stage, parts: { blocks: partitionBlocks(factory.blockCount, 2)[stage]!, embedding: stage === 0, head: stage === 1 }, factory, job: tinyJob({}, tied),
  });
}

/** An update with gradients that depend on the seed; the parameters whose index is given are left out. */
export function update(replica: StageReplica, seed: number, without: readonly number[] = []): void {
  tidy(() => {
    replica.update(replica.parameters.map(({ parameter }, index) => (without.includes(index)
      ? undefined
      : tensor(Float32Array.from({ length: parameter.size }, (_, i) => Math.sin(i + seed + index)), parameter.shape))), 0.5);
  });
}

/** A copy, the numbers too. */
export const copyState = (state: StageState): StageState => structuredClone(state);
