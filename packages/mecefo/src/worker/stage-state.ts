/**
 * All that a stage is besides its configuration: weights and moments by name, and how often each was updated. What travels from peer to
 * peer, into checkpoints, and is hashed.
 */
export interface StageState {
  readonly stage: number;
  /** The step that would be taken next. */
  readonly step: number;
  /** In a fixed order. */
  readonly parameters: readonly ParameterState[];
}

/** A parameter's share of a stage's state. */
export interface ParameterState {
  /** In the whole model, e.g. "model.layers.3.mlp.down_proj.weight". */
  readonly name: string;
  readonly shape: readonly number[];
  /** Updates it took part in (Adam's bias correction). */
  readonly steps: number;
  readonly weight: Float32Array;
  readonly firstMoment: Float32Array;
  readonly secondMoment: Float32Array;
}
