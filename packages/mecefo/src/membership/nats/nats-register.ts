import { setTimeout as sleep } from "node:timers/promises";
import { JetStreamApiError } from "@nats-io/jetstream";
import type { KV } from "@nats-io/kv";
import { errors } from "@nats-io/transport-node";
import { z } from "zod";
import { FormatError, MembershipError } from "../../errors.ts";

/** A value with the revision that it has in its bucket. */
export interface Registered<Value> {
  readonly value: Value;
  readonly revision: number;
  /** Which write it came from. */
  readonly writer: string;
}

const WRONG_LAST_SEQUENCE = [10071, 10164];
/** Nothing that time heals: no such stream, too large. */
const FINAL = [10059, 10054];
/** nats-server accepts 1 MiB by default. */
const LARGEST_VALUE = 1_000_000;
const RETRY_INTERVAL = 50;

/**
 * One key of a bucket, changed by compare-and-set. Where a write was not answered (a server died, there is no quorum), it is looked up
 * whether it took place, and if not it is repeated: it takes place at most once, and whoever calls always learns which.
 */
export class NatsRegister<Value> {
  readonly #bucket: KV;
  readonly #key: string;
  readonly #writer: string;
  readonly #schema: z.ZodType<{ writer: string; value: Value }>;
  #writes = 0;

  constructor(bucket: KV, key: string, writer: string, schema: z.ZodType<Value>) {
    this.#bucket = bucket;
    this.#key = key;
    this.#writer = writer;
    this.#schema = z.object({ writer: z.string().max(128), value: schema }) as z.ZodType<{ writer: string; value: Value }>;
  }

  /** The value, from the bucket's leader: never an old one. @throws FormatError, or what the connection throws when there is no quorum */
  async read(): Promise<Registered<Value> | undefined> {
    const entry = await this.#bucket.get(this.#key);
    if (entry === null || entry.operation !== "PUT") return undefined;
    return { ...this.parse(entry.value), revision: entry.revision };
  }

  /** Reads the bytes of a value. @throws FormatError */
  parse(bytes: Uint8Array): { writer: string; value: Value } {
    try {
      return this.#schema.parse(JSON.parse(Buffer.from(bytes).toString("utf8")));
    } catch (error) {
      throw new FormatError(`NATS key "${this.#key}"`, "is not of this version's format", { cause: error });
    }
  }

  /**
   * Writes if the key still is at `revision` (0: absent). The new revision; undefined: another has written, or `wanted` became false.
   * @throws MembershipError when the value is too large or the bucket is gone
   */
  async write(value: Value, revision: number, wanted: () => boolean): Promise<number | undefined> {
    const writer = `${this.#writer}.${this.#writes++}`;
    const text = JSON.stringify({ writer, value });
    if (Buffer.byteLength(text) > LARGEST_VALUE) {
      throw new MembershipError(`NATS key "${this.#key}": ${Buffer.byteLength(text)} bytes; at most ${LARGEST_VALUE} can be kept`);
    }
    while (wanted()) {
      try {
        return await this.#bucket.put(this.#key, text, { previousSeq: revision, timeout: 1000 });
      } catch (error) {
        this.#throwIfFinal(error);
        const refused = error instanceof JetStreamApiError && WRONG_LAST_SEQUENCE.includes(error.code);
        if (!refused) await sleep(RETRY_INTERVAL);
      }
      try {
        const found = await this.read();
        if (found?.writer === writer) return found.revision;
        if ((found?.revision ?? 0) !== revision) return undefined;
      } catch (error) {
        this.#throwIfFinal(error);
        await sleep(RETRY_INTERVAL);
      }
    }
    return undefined;
  }

  #throwIfFinal(error: unknown): void {
    if (error instanceof errors.ClosedConnectionError || error instanceof errors.DrainingConnectionError) throw error;
    if (error instanceof FormatError) throw error;
    if (error instanceof JetStreamApiError && FINAL.includes(error.code)) {
      const detail = `${error.message}; the job's bucket was removed or is too small`;
      throw new MembershipError(`NATS key "${this.#key}": ${detail}`, { cause: error });
    }
  }
}
