import type { ProjectionStore } from "../approximation/projection-store.ts";
import type { StageMode } from "../approximation/stage-mode.ts";
import { StageGradients, tiedParameters } from "../collectives/stage-gradients.ts";
import { GradientSums } from "../pipeline/gradient-sums.ts";
import { StageExecutor } from "../pipeline/stage-executor.ts";
import { StageReplica, type StageReplicaOptions } from "./stage-replica.ts";

/** A stage as a worker holds it: its replica, and what its gradients are gathered in. */
export class HeldStage {
  readonly replica: StageReplica;
  readonly executor: StageExecutor;
  readonly sums: GradientSums = new GradientSums();
  /** Of all parameters but a tied matrix. */
  readonly gradients: StageGradients;
  /** Of the matrix that the other end of the model has a copy of. */
  readonly tied: StageGradients | undefined;

  constructor(options: StageReplicaOptions, { stages, projections }: { readonly stages: number; readonly projections: ProjectionStore }) {
    this.replica = new StageReplica(options);
    this.executor = new StageExecutor(this.replica.model, { mode: {}, projections, sums: this.sums });
    const shared = new Set(tiedParameters(this.replica.model, stages));
    this.gradients = new StageGradients(this.replica.parameters.filter(({ parameter }) => !shared.has(parameter)));
    this.tied = shared.size > 0 ? new StageGradients([...shared].map((parameter) => ({ parameter, mixerBlock: undefined }))) : undefined;
  }

  setMode(mode: StageMode): void {
    this.executor.setMode(mode);
  }

  /** Bytes of weights and moments. */
  get stateBytes(): number {
    return this.replica.parameters.reduce((sum, { parameter }) => sum + 12 * parameter.size, 0);
  }

  dispose(): void {
    this.sums.dispose();
    this.replica.dispose();
  }
}
