/** Codecs, calibration and the client half, for Node and browsers; the server half is "@frugal/fourier-compress/server". */
export * from "./errors.ts";

export { calibrateModel, calibrateRows, type CalibrateModelOptions, type CalibrateOptions } from "./calibration/calibrate.ts";
export { CODEC_TABLE_VERSION, type CodecTable, type RatePoint } from "./calibration/codec-table.ts";
export {
  collectRows, separateRows, type CalibrationRows, type CollectOptions, type SequenceActivations,
} from "./calibration/collect-rows.ts";
export { sampleSequences, type SampleOptions } from "./calibration/sample-sequences.ts";
export { stepAtRatio } from "./calibration/step-at-ratio.ts";
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
export { searchFourierTokenShare, type TokenShareResult, type TokenShareSearch } from "./codecs/fourier-search.ts";
export { fourierBlock, fromFourierBlock } from "./codecs/fourier-transform.ts";
export type { BlockShape, FourierMode, FourierShape } from "./codecs/fourier.ts";

export { readActivationsFolder, type ActivationPrompt, type ActivationSet } from "./evaluation/activations-folder.ts";
export { calibrateActivations } from "./evaluation/calibrate-activations.ts";
export { ActivationClaims, Stories15mClaims, type Stories15mOptions } from "./evaluation/claims.ts";
export { DeviceHalf, type CodedModel, type CodedModelOptions, type CodedTraffic } from "./evaluation/coded-model.ts";
export type { CodedOptions, CodedRow } from "./evaluation/coded-predictions.ts";
export {
  ANY_TOKEN_SHARES, comparedCodec, COMPARED_CODECS, COMPARED_RATIOS, TOKEN_SHARES, type ComparedCodec,
} from "./evaluation/compared-codecs.ts";
export { settingsAtRatio, type AtRatioOptions, type RateAllocation, type RateSettings } from "./evaluation/equal-bytes.ts";
export { LeakageProbe, type DecodedRows } from "./evaluation/leakage.ts";
export {
  compareMultipleChoice, multipleChoiceMarkdown, type Accuracy, type MultipleChoiceComparison, type MultipleChoiceOptions,
  type MultipleChoiceRow, type MultipleChoiceScore,
} from "./evaluation/multiple-choice.ts";
export type { RowOptions } from "./evaluation/comparison-rows.ts";
export {
  comparePerplexity, perplexityMarkdown, type PerplexityComparison, type PerplexityOptions, type PerplexityRow,
} from "./evaluation/perplexity-comparison.ts";
export { parseQuestions, readQuestions, type Question, type QuestionSet } from "./evaluation/questions.ts";
export {
  measureBytes, measureReconstruction, type MeasureOptions, type MessageRows, type Reconstruction,
} from "./evaluation/reconstruction.ts";
export {
  compareReconstruction, messagesOf, reconstructionMarkdown, type CompareReconstructionOptions, type ReconstructionComparison,
  type ReconstructionRow,
} from "./evaluation/reconstruction-comparison.ts";
export { cutTokens, readTokenSequences, type TokenSequences } from "./evaluation/token-sequences.ts";

export {
  planSplits, recommendRates, type PlanOptions, type PlanPoint, type Recommendation, type SplitPlan,
} from "./planner/plan-splits.ts";

export {
  closedLoopBounds, simulateClients, type ClientSimulationResult, type ClientSimulationSettings, type ClosedLoopBounds,
} from "./simulation/client-simulation.ts";
export {
  FIGURE_7_CLAIMS, FIGURE_7_LINKS, FIGURE_7_RATIO, FIGURE_7_READINGS, figure7Settings, simulateFigure7, type Figure7Cell,
  type Figure7Reading,
} from "./simulation/figure-7.ts";
export { findSaturation, sweepClients, type SaturationOptions, type SweepSettings } from "./simulation/saturation.ts";
export type { LinkSharing } from "./simulation/shared-link.ts";

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
