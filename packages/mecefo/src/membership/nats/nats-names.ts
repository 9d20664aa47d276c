/** Subjects, bucket and stream of a job: nothing of another job's is ever touched. */
export interface NatsNames {
  /** Key-value bucket with the keys `state`, `leader`, `job` and `resume`. */
  readonly bucket: string;
  /** Stream of the run's events. */
  readonly eventStream: string;
  /** Stored in the stream. */
  readonly event: string;
  /** Requests: a worker's report to whoever leads. */
  readonly report: string;
  readonly heartbeat: string;
  /** Every state that was written, told by its leader. */
  readonly state: string;
  /** The leader's sign of life. */
  readonly leader: string;
  /** Request: end the run in order. */
  readonly stop: string;
  /** What a launcher knows: a worker's process has ended. */
  readonly exited: string;
  /** Requests to one worker. */
  command(memberId: string): string;
}

/** Names of a job's things; job names have letters, digits, `_` and `-` only. */
export function natsNames(job: string): NatsNames {
  const prefix = `mecefo.${job}`;
  return {
    bucket: `mecefo_${job}`,
    eventStream: `mecefo_events_${job}`,
    event: `${prefix}.event`,
    report: `${prefix}.report`,
    heartbeat: `${prefix}.heartbeat`,
    state: `${prefix}.state`,
    leader: `${prefix}.leader`,
    stop: `${prefix}.stop`,
    exited: `${prefix}.exited`,
    command: (memberId) => `${prefix}.command.${memberId}`,
  };
}
