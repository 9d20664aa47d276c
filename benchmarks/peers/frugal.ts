/** Our own packages. */
import {
  AdamW,
  Generator,
  Parameter,
  add,
  exp,
  fft,
  getThreads,
  layerNorm,
  matmul,
  rfft2,
  rmsNorm,
  selectiveScan,
  setThreads,
  softmax,
  tensor,
  tidy,
  type Tensor,
} from "@frugal/tensor-core";
import tensorCore from "@frugal/tensor-core/package.json" with { type: "json" };
import { adamW, sampleOf, sampleOfComplex, scanInputs, tokenIds, uniform } from "../src/inputs.ts";
import type { Adapter, Prepared, Task, TrainingShape } from "../src/workload.ts";
import { prepareGeneration } from "./frugal-generation.ts";

/** Runs an operation on some inputs, freeing each result but the last, which is sampled. */
function repeated(inputs: readonly Tensor<"cpu">[], operation: () => Tensor<"cpu">): Prepared {
  return {
    run: () => operation().dispose(),
    sample: () => tidy(() => sampleOf(operation().dataSync())),
    dispose: () => inputs.forEach((input) => input.dispose()),
  };
}

function fourier(
  inputs: readonly Tensor<"cpu">[],
  transform: () => { readonly real: Tensor<"cpu">; readonly imaginary: Tensor<"cpu"> },
): Prepared {
  return {
    run: () => {
      const { real, imaginary } = transform();
      real.dispose();
      imaginary.dispose();
    },
    sample: () =>
      tidy(() => {
        const { real, imaginary } = transform();
        return sampleOfComplex(real.dataSync(), imaginary.dataSync());
      }),
    dispose: () => inputs.forEach((input) => input.dispose()),
  };
}

function prepareUpdate(size: number): Prepared {
  const { beta1, beta2, ...settings } = adamW;
  const parameter = new Parameter(tensor(uniform(size, 1)));
  const gradient = tensor(uniform(size, 2));
  const optimizer = new AdamW([parameter], { ...settings, betas: [beta1, beta2] });
  return {
    run: () => optimizer.step([gradient]),
    sample: async () => sampleOf(await parameter.data()),
    dispose: () => {
      optimizer.dispose();
      parameter.dispose();
      gradient.dispose();
    },
  };
}

async function prepareTraining(shape: TrainingShape): Promise<Prepared> {
  const { createModel, createTokenDataset, smallModelConfiguration, Trainer } = await import("@frugal/language-model");
  const model = createModel(
    smallModelConfiguration({
      vocabularySize: shape.vocabularySize,
      hiddenSize: shape.hiddenSize,
      intermediateSize: shape.intermediateSize,
      numHiddenLayers: shape.layers,
      numAttentionHeads: shape.heads,
      maxPositionEmbeddings: shape.sequenceLength,
      tieWordEmbeddings: false,
    }),
    { generator: new Generator(1) },
  );
  const dataset = createTokenDataset(tokenIds(100_000, shape.vocabularySize), shape);
  const trainer = new Trainer(model, dataset, { totalSteps: 1_000_000 });
  return {
    runAsync: async () => void (await trainer.step()),
    // The other libraries start from weights of their own.
    sample: () => [],
    dispose: () => {
      trainer.dispose();
      model.dispose();
    },
  };
}

async function prepare(task: Task, variant: string | undefined): Promise<Prepared | undefined> {
  switch (task.kind) {
    case "gemm": {
      const a = tensor(uniform(task.size ** 2, 1), [task.size, task.size]);
      const b = tensor(uniform(task.size ** 2, 2), [task.size, task.size]);
      return repeated([a, b], () => matmul(a, b));
    }
    case "fft": {
      const shape = [task.batch, task.length];
      const input = {
        real: tensor(uniform(task.batch * task.length, 1), shape),
        imaginary: tensor(uniform(task.batch * task.length, 2), shape),
      };
      return fourier([input.real, input.imaginary], () => fft(input));
    }
    case "rfft2": {
      const input = tensor(uniform(task.rows * task.columns, 1), [task.rows, task.columns]);
      return fourier([input], () => rfft2(input));
    }
    case "softmax":
    case "layerNorm":
    case "rmsNorm": {
      const input = tensor(uniform(task.rows * task.columns, 1), [task.rows, task.columns]);
      const weight = tensor(uniform(task.columns, 2));
      const bias = tensor(uniform(task.columns, 3));
      const operation = {
        softmax: () => softmax(input),
        layerNorm: () => layerNorm(input, { weight, bias }),
        rmsNorm: () => rmsNorm(input, { weight }),
      }[task.kind];
      return repeated([input, weight, bias], operation);
    }
    case "exp": {
      const input = tensor(uniform(task.size, 1));
      return repeated([input], () => exp(input));
    }
    case "add": {
      const a = tensor(uniform(task.size, 1));
      const b = tensor(uniform(task.size, 2));
      return repeated([a, b], () => add(a, b));
    }
    case "smallAdd": {
      const a = tensor(uniform(64, 1), [8, 8]);
      const b = tensor(uniform(64, 2), [8, 8]);
      const body = (): void => void add(a, b);
      return { ...repeated([a, b], () => add(a, b)), run: () => tidy(body) };
    }
    case "scan": {
      const { sequence, channels, state } = task;
      const values = scanInputs(sequence, channels, state);
      const inputs = {
        input: tensor(values.input, [1, sequence, channels]),
        delta: tensor(values.delta, [1, sequence, channels]),
        stateMatrix: tensor(values.stateMatrix, [channels, state]),
        inputMatrix: tensor(values.inputMatrix, [1, sequence, state]),
        outputMatrix: tensor(values.outputMatrix, [1, sequence, state]),
        skip: tensor(values.skip),
      };
      return repeated(Object.values(inputs), () => {
        const { output, finalState } = selectiveScan(inputs);
        finalState.dispose();
        return output;
      });
    }
    case "adamW":
      return prepareUpdate(task.size);
    case "train":
      return await prepareTraining(task.shape);
    case "generate":
      return await prepareGeneration(task.tokens, variant);
    default:
      return undefined;
  }
}

export const adapter: Adapter = {
  async open(threads, variant) {
    setThreads(threads);
    if (getThreads() !== threads) throw new Error(`tensor-core uses ${getThreads()} threads instead of ${threads}`);
    return { version: tensorCore.version, prepare: (task) => prepare(task, variant) };
  },
};
