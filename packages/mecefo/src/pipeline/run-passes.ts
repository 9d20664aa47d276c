import { setImmediate as nextTurn } from "node:timers/promises";
import type { ActivationCodec, ActivationContext } from "@frugal/language-model";
import type { DeviceName, Tensor } from "@frugal/tensor-core";
import type { Microbatch, MicrobatchSampler } from "../job/sampler.ts";
import type { Mailbox } from "../transport/mailbox.ts";
import type { MessageTag, Peer, Transport } from "../transport/transport.ts";
import type { StepClock } from "./step-clock.ts";
import { oneForwardOneBackward } from "./one-forward-one-backward.ts";
import type { StageExecutor } from "./stage-executor.ts";
import type { StageInput, StagePass } from "./stage-pass.ts";

/** A worker's place in its pipeline, for one step. */
export interface PipelinePlace {
  readonly pipeline: number;
  readonly epoch: number;
  readonly step: number;
  /** Numbers within the global batch. */
  readonly microbatches: readonly number[];
  /** Hosts of the pipeline, and which of them this one is. */
  readonly hosts: number;
  readonly position: number;
  readonly previous: Peer | undefined;
  readonly next: Peer | undefined;
  /** Of the hosted stages, in order. */
  readonly executors: readonly StageExecutor[];
  /** Blocks of the hosted stages: from inclusive, to exclusive. */
  readonly blocks: readonly [from: number, to: number];
  readonly hiddenSize: number;
  readonly device: DeviceName;
}

/** What passes are made with. */
export interface PassResources {
  readonly job: { readonly microbatchSize: number; readonly sequenceLength: number };
  readonly sampler: MicrobatchSampler;
  readonly codec: ActivationCodec;
  readonly transport: Transport;
  readonly mailbox: Mailbox;
  readonly clock: StepClock;
}

/** What a host's passes of a step give, besides gradients in its executors' sums. */
export interface PassResults {
  /** Sum of the microbatches' mean losses; where the head is. */
  readonly lossSum: number | undefined;
  /** Of the microbatches read; where the embedding is. */
  readonly batches: readonly { readonly microbatch: number; readonly hash: string }[];
}

/**
 * Runs a step's microbatches through the hosted stages, forward and backward by the 1F1B schedule, with hidden states and gradients coming
 * from and going to the neighbouring hosts through the codec.
 * @throws EpochEndedError, LinkError
 */
export async function runPasses(place: PipelinePlace, resources: PassResources): Promise<PassResults> {
  const run = new PassRun(place, resources);
  try {
    for (const { pass, index } of oneForwardOneBackward(place.hosts, place.position, place.microbatches.length)) {
      await (pass === "forward" ? run.forward(place.microbatches[index]!) : run.backward(place.microbatches[index]!));
      // Sockets and timers run.
      await nextTurn();
    }
    await run.sent();
    return run.results();
  } finally {
    run.dispose();
  }
}

class PassRun {
  readonly #place: PipelinePlace;
  readonly #resources: PassResources;
  readonly #passes = new Map<number, StagePass[]>();
  readonly #batches: { microbatch: number; hash: string }[] = [];
  readonly #sends: Promise<void>[] = [];
  #lossSum = 0;

  constructor(place: PipelinePlace, resources: PassResources) {
    this.#place = place;
    this.#resources = resources;
  }

  async forward(microbatch: number): Promise<void> {
    const { previous, next, executors, step, blocks: [from, to] } = this.#place;
    const { clock, sampler, job: { microbatchSize, sequenceLength } } = this.#resources;
    const batch: Microbatch | undefined = previous && next ? undefined : sampler.microbatch(step, microbatch);
    let input: StageInput;
    let received: Tensor | undefined;
    if (previous) input = { hidden: (received = await this.#receive(previous, "activation", from, microbatch)) };
    else {
      this.#batches.push({ microbatch, hash: batch!.hash });
      input = { ids: batch!.inputs, shape: [microbatchSize, sequenceLength] };
    }
    const passes: StagePass[] = [];
    this.#passes.set(microbatch, passes);
    try {
      await clock.computing(() => {
        for (const executor of executors) {
          const isHead = !next && executor === executors.at(-1);
          const pass = executor.forward(input, isHead ? batch!.targets : undefined);
          passes.push(pass);
          if (pass.output) input = { hidden: pass.output };
        }
      });
    } finally {
      received?.dispose();
    }
    const last = passes.at(-1)!;
    if (next) await this.#send(next, "activation", to, microbatch, last.output!);
    else this.#lossSum += await last.loss!.item();
  }

  async backward(microbatch: number): Promise<void> {
    const { previous, next, blocks: [from, to] } = this.#place;
    const passes = this.#passes.get(microbatch)!;
    let gradient = next ? await this.#receive(next, "gradient", to, microbatch) : undefined;
    try {
      await this.#resources.clock.computing(async () => {
        for (const pass of passes.toReversed()) {
          const inputGradient = await pass.backward(gradient);
          gradient?.dispose();
          gradient = inputGradient;
        }
      });
      this.#passes.delete(microbatch);
      if (previous) await this.#send(previous, "gradient", from, microbatch, gradient!);
    } finally {
      gradient?.dispose();
    }
  }

  /** All messages are written out: their links are whole. */
  async sent(): Promise<void> {
    await this.#resources.mailbox.within(this.#place.epoch, Promise.all(this.#sends));
  }

  results(): PassResults {
    const { previous, next } = this.#place;
    return { lossSum: next ? undefined : this.#lossSum, batches: previous ? [] : this.#batches };
  }

  dispose(): void {
    for (const passes of this.#passes.values()) for (const pass of passes) pass.dispose();
    this.#passes.clear();
    // Whoever aborted has another reason to tell.
    for (const send of this.#sends) send.catch(() => {});
  }

  #tag(kind: "activation" | "gradient", block: number, microbatch: number): MessageTag {
    const { epoch, step } = this.#place;
    return { kind, epoch, step, channel: block, sequence: microbatch };
  }

  #context(kind: "activation" | "gradient", block: number): ActivationContext {
    const { microbatchSize, sequenceLength } = this.#resources.job;
    return {
      kind, block, streamId: `p${this.#place.pipeline}-${kind}-${block}`,
      sequences: Array.from({ length: microbatchSize }, () => ({ positionOffset: 0, tokens: sequenceLength })),
      limits: { tokens: microbatchSize * sequenceLength, hiddenSize: this.#place.hiddenSize },
    };
  }

  async #receive(from: Peer, kind: "activation" | "gradient", block: number, microbatch: number): Promise<Tensor> {
    const { clock, mailbox, transport, codec, job: { microbatchSize, sequenceLength } } = this.#resources;
    const message = await clock.waiting(mailbox.receive(from.id, this.#tag(kind, block, microbatch)));
    try {
      return await clock.computing(async () => {
        const rows = await codec.decode(message.payload, this.#context(kind, block), this.#place.device);
        try {
          return rows.reshape([microbatchSize, sequenceLength, this.#place.hiddenSize]);
        } finally {
          rows.dispose();
        }
      });
    } finally {
      transport.release(message);
    }
  }

  async #send(to: Peer, kind: "activation" | "gradient", block: number, microbatch: number, hidden: Tensor): Promise<void> {
    const { clock, transport, codec } = this.#resources;
    const bytes = await clock.computing(async () => {
      const rows = hidden.reshape([-1, this.#place.hiddenSize]);
      try {
        return await codec.encode(rows, this.#context(kind, block));
      } finally {
        rows.dispose();
      }
    });
    const send = transport.send(to, this.#tag(kind, block, microbatch), bytes);
    // Not waited for here: the next pass is computed while it is written out.
    send.catch(() => {});
    this.#sends.push(send);
  }
}
