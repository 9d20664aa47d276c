import { modelFingerprint, type ModelConfiguration, type StagedModel } from "@frugal/language-model";
import type { CodecTable } from "../calibration/codec-table.ts";
import type { CodecMode } from "../codecs/codec-mode.ts";
import type { CompressionCodec } from "../codecs/compression-codec.ts";
import { createCodec, type CodecOptions } from "../codecs/registry.ts";
import { SettingsError } from "../errors.ts";
import type { Transport } from "../transport/connection.ts";
import type { Credentials } from "../wire/answer-challenge.ts";
import type { ClientEvent } from "./client-events.ts";
import type { TurnOptions } from "./conversation.ts";
import type { ReconnectSettings } from "./reconnection.ts";
import type { ServerSamplingOptions } from "./resume-generation.ts";
import type { JournalWriter } from "./session-journal.ts";

/** A codec of the registry by name, with its settings. */
export interface NamedCodec extends Omit<CodecOptions, "table"> {
  readonly name: string;
}

/** Settings of `SplitClient.connect`. */
export interface SplitClientOptions {
  /** How to reach the server, the first time and again. */
  readonly transport: Transport;
  /** Holds the embedding and the blocks before `splitBlock`; the output head too where `result` is "hidden". */
  readonly model: StagedModel;
  /** `modelFingerprint` of the whole model's configuration. Default: of the model's own. */
  readonly fingerprint?: string;
  /** The first block of the server's part. Default 1. */
  readonly splitBlock?: number;
  readonly codec: CompressionCodec | NamedCodec;
  /** The table of codecs that need one. A codec that was made elsewhere has to have been made with the same. */
  readonly table?: CodecTable;
  /**
   * What comes back for `forward`: logits, or the last block's hidden states (fewer bytes) for a client that holds the head. With "token"
   * the server alone chooses, and only `generate` and `conversation` work, which it does for all clients. Default "logits".
   */
  readonly result?: "hidden" | "logits" | "token";
  readonly credentials?: Credentials;
  /** When a connection breaks; see `ReconnectSettings`. */
  readonly reconnect?: Partial<ReconnectSettings>;
  /**
   * Tokens of one message, at most; the server's `tokensPerFrame` bounds it as well. Prompts that begin alike can share the messages before
   * the last one on the server, so a smaller value shares more. Default: as many as the server takes.
   */
  readonly promptChunk?: number;
  /** Ask the server whether it knows the first messages of a session. Default true. */
  readonly prefixReuse?: boolean;
  /** Bytes of messages kept for each session, so that it can be rebuilt on a server that lost it. Default 64 MiB. */
  readonly keptBytes?: number;
  /** Seconds without an answer after which a connection counts as broken. Default 120. */
  readonly resultTimeoutSeconds?: number;
  /** Every so many messages one is decoded here, to measure what the codec loses. Default 16; 0 never. */
  readonly errorSampling?: number;
  /** What the server's log calls this client. Default "fourier-compress". */
  readonly name?: string;
  readonly onEvent?: (event: ClientEvent) => void;
}

/** Options of `SplitClient.generate`. */
export interface RemoteGenerationOptions extends ServerSamplingOptions, TurnOptions {
  /** Written ahead of everything that depends on it, so that another process can go on: see `resumeGeneration`. */
  readonly journal?: JournalWriter;
}

/** @throws SettingsError unless it is an integer from `least` on */
export function checkInteger(name: string, value: number, least: number): number {
  if (Number.isInteger(value) && value >= least) return value;
  throw new SettingsError(`SplitClient: ${name} ${value}; use an integer >= ${least}`);
}

/** The codec, and what a journal says of it. @throws SettingsError for one that remembers earlier messages */
export function codecOf(
  codec: CompressionCodec | NamedCodec, table: CodecTable | undefined,
): { readonly codec: CompressionCodec; readonly mode: CodecMode | undefined } {
  if ("compress" in codec) {
    if (codec.stateful === true) {
      throw new SettingsError(`codec ${codec.name} remembers earlier messages; sessions need messages that stand alone`);
    }
    return { codec, mode: undefined };
  }
  const { name, ...options } = codec;
  return { codec: createCodec(name, { ...options, table }), mode: codec.mode };
}

/** @throws SettingsError when it is not given and the model's configuration is no `ModelConfiguration` */
export async function fingerprintOf(model: StagedModel, given: string | undefined): Promise<string> {
  if (given !== undefined) return given;
  if (!("architecture" in model.config)) throw new SettingsError("SplitClient: give the fingerprint; this model's configuration has none");
  return await modelFingerprint(model.config as ModelConfiguration);
}
