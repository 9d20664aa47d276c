/** The codecs of fourier-compress and what they are made of. */
import { memory, setThreads, tensor, type Tensor } from "@frugal/tensor-core";
import {
  calibrateRows, codecDefinition, createCodec, separateRows, type CodecTable, type CompressionCodec,
} from "@frugal/fourier-compress";
import fourierCompress from "@frugal/fourier-compress/package.json" with { type: "json" };
// Parts of codecs are no public interface: from the sources.
import { ByteReader } from "../../packages/fourier-compress/src/codecs/byte-reader.ts";
import { selectLargest } from "../../packages/fourier-compress/src/codecs/top-k-selection.ts";
import { RowQuantizer } from "../../packages/fourier-compress/src/entropy/row-quantizer.ts";
import { crc32c } from "../../packages/fourier-compress/src/wire/crc32c.ts";
import { activations, centeredActivations, randomBytes, uniform } from "../src/inputs.ts";
import type { ActivationShape, Adapter, Prepared, Task } from "../src/workload.ts";

const calibrationTokens = 4096;
const tables = new Map<number, Promise<CodecTable>>();

/** A table for rows of this width, made once: the basis takes seconds. */
function tableFor(hiddenSize: number): Promise<CodecTable> {
  let table = tables.get(hiddenSize);
  if (table === undefined) {
    const tokens = calibrationTokens;
    const sequence = { values: activations({ tokens, hiddenSize }, 13), tokens, beginsWithBegin: false };
    table = calibrateRows(separateRows([sequence], hiddenSize), { model: "benchmark", block: 1 });
    tables.set(hiddenSize, table);
  }
  return table;
}

async function prepareCodec({ codec: name, mode, part, shape }: Extract<Task, { kind: "codec" }>): Promise<Prepared> {
  const { tokens, hiddenSize } = shape;
  const table = codecDefinition(name).needsTable ? await tableFor(hiddenSize) : undefined;
  const codec: CompressionCodec = createCodec(name, { mode: mode?.kind === "step" ? stepOf(mode.step, shape) : mode, table });
  const context = {
    kind: "activation", block: 1, streamId: "benchmark", sequences: [{ positionOffset: 1, tokens }], limits: { tokens, hiddenSize },
  } as const;
  const rows = tensor(activations(shape), [tokens, hiddenSize]);
  const message = await codec.encode(rows, context);
  const decode = (bytes: Uint8Array): Promise<Tensor> => codec.decode(bytes, context, "cpu");
  const before = memory().allocations;
  (await decode(message)).dispose();
  if (memory().allocations !== before) throw new Error(`the ${name} codec keeps memory after decoding`);
  const work = {
    encode: async () => void (await codec.encode(rows, context)),
    decode: async () => (await decode(message)).dispose(),
    both: async () => (await decode(await codec.encode(rows, context))).dispose(),
  };
  return { runAsync: work[part], sample: () => [], bytes: message.length, dispose: () => rows.dispose() };
}

/** The step itself, from a share of the root mean square. */
function stepOf(share: number, shape: ActivationShape): { readonly kind: "step"; readonly step: number } {
  return { kind: "step", step: centeredActivations(shape, share).step };
}

function prepareEntropy({ part, step: share, shape }: Extract<Task, { kind: "entropy" }>): Prepared {
  const { values, scales, step } = centeredActivations(shape, share);
  const quantizer = new RowQuantizer(scales, [shape.hiddenSize]);
  const rows = quantizer.analyze(values, shape.tokens);
  const encode = (): Uint8Array => {
    quantizer.quantize(rows, step);
    return quantizer.write(rows, step);
  };
  const decode = (bytes: Uint8Array): Float32Array => {
    const reader = new ByteReader("benchmark", bytes);
    return quantizer.read(reader, shape.tokens).values;
  };
  const bytes = encode();
  const largest = decode(bytes).reduce((most, value, i) => Math.max(most, Math.abs(value - values[i]!)), 0);
  // Half a step of rounding; values that are sent as zero may have been a little larger.
  if (!(largest <= 1.5 * step)) throw new Error(`decoded values are off by ${largest / step} steps`);
  return { run: part === "encode" ? () => void encode() : () => void decode(bytes), sample: () => [], bytes: bytes.length };
}

const asFloat = new DataView(new ArrayBuffer(4));

async function prepare(task: Task): Promise<Prepared | undefined> {
  switch (task.kind) {
    case "codec":
      return await prepareCodec(task);
    case "entropy":
      return prepareEntropy(task);
    case "selectLargest": {
      const values = uniform(task.size, 1);
      return {
        run: () => void selectLargest(values, task.count),
        sample: () => {
          asFloat.setUint32(0, selectLargest(values, task.count).magnitude);
          return [asFloat.getFloat32(0)];
        },
      };
    }
    case "checksum": {
      const bytes = randomBytes(task.size);
      return { run: () => void crc32c(bytes), sample: () => [crc32c(bytes)] };
    }
    default:
      return undefined;
  }
}

export const adapter: Adapter = {
  async open(threads) {
    setThreads(threads);
    return { version: fourierCompress.version, prepare };
  },
};
