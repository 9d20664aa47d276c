import type { DecoderCache, StagedModel } from "@frugal/language-model";
import type { CodecTable } from "../calibration/codec-table.ts";
import type { CompressionCodec } from "../codecs/compression-codec.ts";
import { codecDefinition, createCodec } from "../codecs/registry.ts";
import type { ControlMessages } from "../wire/control-messages.ts";
import { emptyPrefixKey } from "../wire/prefix-key.ts";
import type { PrefixStore } from "./prefix-store.ts";
import { errorText, Refusal } from "./refusal.ts";
import { SessionMemory } from "./session-memory.ts";
import type { SessionRegistry } from "./session-registry.ts";
import type { Session } from "./session.ts";

/** What a server offers to sessions. */
export interface SessionOpenerOptions {
  readonly model: StagedModel;
  readonly fingerprint: string;
  readonly splitBlocks: readonly [least: number, most: number];
  /** Names of codecs. */
  readonly codecs: readonly string[];
  readonly tables: readonly CodecTable[];
  readonly tokensPerSession: number;
  readonly registry: SessionRegistry;
  readonly prefixes: PrefixStore;
  readonly prefixScope: "principal" | "everybody";
}

/** Who opens. */
export interface SessionOwner {
  readonly client: string;
  readonly principal: string | undefined;
}

/** A new session. */
export interface OpenedSession {
  readonly session: Session;
  /** Messages of the client's that a kept prefix stands for. */
  readonly prefixMessages: number;
}

/** Checks what an `open` asks for, and makes it. */
export class SessionOpener {
  readonly #options: SessionOpenerOptions;
  readonly #tables: ReadonlyMap<string, CodecTable>;
  readonly #hasHead: boolean;
  /** By name and table. Codecs keep nothing of a session, so that sessions share them. */
  readonly #codecs = new Map<string, CompressionCodec>();
  readonly #memories = new Map<number, SessionMemory>();

  constructor(options: SessionOpenerOptions) {
    this.#options = options;
    this.#tables = new Map(options.tables.map((table) => [table.hash, table]));
    this.#hasHead = options.model.headParameters().length > 0;
  }

  /** @throws Refusal for what is not served, or above a quota; nothing is kept then */
  async open(message: ControlMessages["open"], { client, principal }: SessionOwner): Promise<OpenedSession> {
    const { registry, prefixes, prefixScope: scope, fingerprint } = this.#options;
    registry.checkCount(client);
    this.#check(message);
    const { splitBlock, codec: name, capacity, result, sampling = {}, prefixes: keys = [] } = message;
    const table = this.#table(message);
    const codec = this.#codec(name, table);
    const emptyKey = prefixes.isEnabled
      ? Buffer.from(await emptyPrefixKey({ fingerprint, splitBlock, codec: name, table: table?.hash })).toString("hex")
      : undefined;
    const memory = this.#memory(splitBlock);
    // Keys tell of all this, but a client need not tell the truth: a cache of other blocks would not fit.
    const prefixScope = `${emptyKey} ${scope === "everybody" ? "" : client}`;
    const match = prefixes.find(prefixScope, keys);
    const isMatch = match !== undefined && match.tokens <= capacity;
    const cache: DecoderCache = isMatch ? match.cache.fork(match.tokens, { capacity }) : memory.createCache(capacity);
    try {
      registry.makeRoom(client, cache.byteLength);
      const session = registry.add({
        client, principal, splitBlock, codec, result, sampling, capacity, memory, emptyKey, prefixScope,
        cache,
        codecId: codecDefinition(name).id,
        tableWord: table === undefined ? 0 : Buffer.from(table.hash.slice(0, 8), "hex").readUInt32LE(),
        stopTokenIds: sampling.stopTokenIds ?? this.#options.model.config.eosTokenIds,
        boundaries: isMatch ? match.boundaries : [],
      });
      return { session, prefixMessages: isMatch ? match.boundaries.length : 0 };
    } catch (error) {
      cache.dispose();
      throw error;
    }
  }

  /** Frees what sessions of one split share. */
  dispose(): void {
    for (const memory of this.#memories.values()) memory.dispose();
    this.#memories.clear();
  }

  #check({ fingerprint, splitBlock, capacity, result, sampling }: ControlMessages["open"]): void {
    const { fingerprint: own, splitBlocks: [least, most], tokensPerSession } = this.#options;
    if (fingerprint !== own) throw new Refusal("unknown-model", `model ${fingerprint} is not served, ${own} is`);
    if (splitBlock < least || splitBlock > most) {
      throw new Refusal("unsupported", `a split before block ${splitBlock}; served are ${least} to ${most}`);
    }
    if (capacity < 1 || capacity > tokensPerSession) {
      throw new Refusal("context-length", `a session of ${capacity} tokens; use 1 to ${tokensPerSession}`);
    }
    if (result !== "hidden" && !this.#hasHead) {
      throw new Refusal("unsupported", `${result} results: this server holds no head; ask for "hidden"`);
    }
    if (sampling !== undefined && result !== "token") {
      throw new Refusal("unsupported", `sampling goes with token results, not with ${result}`);
    }
  }

  #table({ codec, table: hash, splitBlock }: ControlMessages["open"]): CodecTable | undefined {
    if (!this.#options.codecs.includes(codec)) {
      throw new Refusal("unknown-codec", `codec ${codec}; served are ${this.#options.codecs.join(", ")}`);
    }
    if (hash === undefined) {
      if (!codecDefinition(codec).needsTable) return undefined;
      throw new Refusal("unknown-table", `the ${codec} codec needs a table; name one of \`welcome\``);
    }
    const table = this.#tables.get(hash);
    if (table === undefined) throw new Refusal("unknown-table", `table ${hash} is not held here`);
    if (table.block !== splitBlock) throw new Refusal("unknown-table", `table ${hash} is for block ${table.block}, not for ${splitBlock}`);
    return table;
  }

  #codec(name: string, table: CodecTable | undefined): CompressionCodec {
    const key = `${name} ${table?.hash ?? ""}`;
    let codec = this.#codecs.get(key);
    if (codec !== undefined) return codec;
    try {
      codec = createCodec(name, { table });
    } catch (cause) {
      // For instance a table that lacks what the codec needs.
      throw new Refusal("unknown-table", errorText(cause), { cause });
    }
    if (codec.stateful === true) {
      throw new Refusal("unsupported", `the ${name} codec remembers earlier messages; they could not be repeated`);
    }
    this.#codecs.set(key, codec);
    return codec;
  }

  #memory(splitBlock: number): SessionMemory {
    let memory = this.#memories.get(splitBlock);
    if (memory === undefined) this.#memories.set(splitBlock, (memory = new SessionMemory(this.#options.model, splitBlock)));
    return memory;
  }
}
