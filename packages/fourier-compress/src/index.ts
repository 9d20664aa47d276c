/** Codecs, calibration and the client half, for Node and browsers; the server half is "@frugal/fourier-compress/server". */
export * from "./errors.ts";

export { calibrateModel, calibrateRows, type CalibrateModelOptions, type CalibrateOptions } from "./calibration/calibrate.ts";
export { CODEC_TABLE_VERSION, type CodecTable, type RatePoint } from "./calibration/codec-table.ts";
export {
  collectRows, separateRows, type CalibrationRows, type CollectOptions, type SequenceActivations,
} from "./calibration/collect-rows.ts";
export { sampleSequences, type SampleOptions } from "./calibration/sample-sequences.ts";
export { parseCodecTable, readCodecTable, serializeCodecTable, writeCodecTable, type CodecTableFiles } from "./calibration/table-file.ts";

export type { ClientEvent } from "./client/client-events.ts";
export type { NamedCodec, RemoteGenerationOptions, SplitClientOptions } from "./client/client-options.ts";
export { Conversation, type TurnOptions } from "./client/conversation.ts";
export type { ReconnectSettings } from "./client/reconnection.ts";
export { RemoteCache } from "./client/remote-cache.ts";
export type { ServerSamplingOptions } from "./client/resume-generation.ts";
export {
  parseSessionJournal, SESSION_JOURNAL_VERSION, sessionJournal, type JournalBegin, type JournalEntry, type JournalSession,
  type JournalWriter, type SessionJournal,
} from "./client/session-journal.ts";
export { SplitClient } from "./client/split-client.ts";
export type { ClientTraffic } from "./client/traffic.ts";

export type { CodecMode } from "./codecs/codec-mode.ts";
export { CODEC_IDS, type CodecName } from "./codecs/codec-names.ts";
export { compressionRatios, type CompressedActivation, type CompressionCodec, type CompressionRatios } from "./codecs/compression-codec.ts";
export { createCodecOf, type CodecFrame } from "./codecs/create-codec.ts";
export { codecDefinition, codecNames, createCodec, registerCodec, type CodecDefinition, type CodecOptions } from "./codecs/registry.ts";
export type { RowCoder, RowTarget } from "./codecs/row-coder.ts";
export { ByteReader } from "./codecs/byte-reader.ts";
export { ByteWriter } from "./codecs/byte-writer.ts";
export type { BlockShape, FourierMode, FourierShape } from "./codecs/fourier.ts";

export type { CodedTraffic } from "./evaluation/coded-model.ts";
export type { CodedOptions, CodedRow } from "./evaluation/coded-predictions.ts";
export type { RateAllocation } from "./evaluation/equal-bytes.ts";
export {
  comparePerplexity, type PerplexityComparison, type PerplexityOptions, type PerplexityRow,
} from "./evaluation/perplexity-comparison.ts";

export {
  planSplits, recommendRates, type PlanOptions, type PlanPoint, type Recommendation, type SplitPlan,
} from "./planner/plan-splits.ts";

export type { Connection, Transport } from "./transport/connection.ts";
export { dataChannelConnection, dataChannelTransport, type DataChannelLike } from "./transport/data-channel.ts";
export { connectionPair, inProcessTransport, type InProcessOptions } from "./transport/in-process.ts";
export type { NetworkOptions } from "./transport/transport-options.ts";
export { WEB_SOCKET_PROTOCOL, webSocketTransport, type WebSocketOptions } from "./transport/web-socket.ts";

export type { Credentials } from "./wire/answer-challenge.ts";
export type { ControlMessages, ErrorCode, ServerSampling } from "./wire/control-messages.ts";
export { crc32c } from "./wire/crc32c.ts";
export {
  decodeFrame, DEFAULT_FRAME_LIMITS, encodeFrame, FRAME_FLAGS, FRAME_HEADER_BYTES, FRAME_TYPES, PROTOCOL_VERSION,
  type Frame, type FrameDtype, type FrameLimits, type FrameType,
} from "./wire/frame.ts";
