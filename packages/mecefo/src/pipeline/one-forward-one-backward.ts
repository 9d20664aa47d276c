/** One thing that a host does for one microbatch. */
export interface PipelineAction {
  readonly pass: "forward" | "backward";
  /** Place of the microbatch in the pipeline's share of the step, from 0. */
  readonly index: number;
}

/**
 * The 1F1B schedule (PipeDream-flush; Narayanan et al. 2021): a host first sends as many microbatches forward as there are hosts after it,
 * then alternates, so that it never keeps more microbatches than that plus one.
 * @param position of the host in its pipeline, from 0
 */
export function oneForwardOneBackward(hosts: number, position: number, microbatches: number): PipelineAction[] {
  const ahead = Math.min(hosts - 1 - position, microbatches);
  const actions: PipelineAction[] = [];
  for (let index = 0; index < ahead; index++) actions.push({ pass: "forward", index });
  for (let index = ahead; index < microbatches; index++) {
    actions.push({ pass: "forward", index }, { pass: "backward", index: index - ahead });
  }
  for (let index = microbatches - ahead; index < microbatches; index++) actions.push({ pass: "backward", index });
  return actions;
}
