/** The degraded backward pass beside differences of y = h + FFN(norm(h)), h = x + stopgrad(mixer(norm(x))), in float64 and plain loops. */
import { createModel, smallModelConfiguration, type DecoderModel } from "@frugal/language-model";
import { Generator, keep, tidy, type Parameter, type Tensor } from "@frugal/tensor-core";
import { allTechniques, GradientSums, ProjectionStore, StageExecutor } from "@frugal/mecefo";

const [batch, sequence, width, inner] = [2, 5, 16, 40];
const rows = batch * sequence;

type Half = Readonly<Record<"norm" | "gate" | "up" | "down", Float64Array>>;

/** h + feedForward(norm(h)), row by row. */
function feedForwardHalf(hidden: Float64Array, { norm, gate, up, down }: Half): Float64Array {
  const output = hidden.slice();
  const [normalized, gated] = [new Float64Array(width), new Float64Array(inner)];
  for (let row = 0; row < rows; row++) {
    let squares = 0;
    for (let i = 0; i < width; i++) squares += hidden[row * width + i]! ** 2;
    const scale = 1 / Math.sqrt(squares / width + 1e-5);
    for (let i = 0; i < width; i++) normalized[i] = hidden[row * width + i]! * scale * norm[i]!;
    for (let j = 0; j < inner; j++) {
      let [g, u] = [0, 0];
      for (let i = 0; i < width; i++) {
        g += gate[j * width + i]! * normalized[i]!;
        u += up[j * width + i]! * normalized[i]!;
      }
      gated[j] = (g / (1 + Math.exp(-g))) * u;
    }
    for (let i = 0; i < width; i++) for (let j = 0; j < inner; j++) output[row * width + i]! += down[i * inner + j]! * gated[j]!;
  }
  return output;
}

/** What each block's mixer adds at the point where the gradient is taken. */
async function mixerShares(model: DecoderModel, input: Tensor): Promise<Float64Array[]> {
  const shares: Float64Array[] = [];
  let hidden = keep(tidy(() => input.clone()));
  for (const block of model.blocks) {
    const mixed = keep(tidy(() => block.mixerHalf(hidden)));
    using share = tidy(() => mixed.subtract(hidden));
    shares.push(Float64Array.from(await share.data("float32")));
    hidden.dispose();
    hidden = keep(tidy(() => block.feedForwardHalf(mixed)));
    mixed.dispose();
  }
  hidden.dispose();
  return shares;
}

function makeModel(): DecoderModel {
  const configuration = smallModelConfiguration({
    vocabularySize: 31, hiddenSize: width, intermediateSize: inner, numHiddenLayers: 2, numAttentionHeads: 2, maxPositionEmbeddings: 32,
  });
  const model = createModel(configuration, { generator: new Generator(7), parts: { blocks: [0, 2], embedding: false, head: false } });
  // Weights as they are drawn are so small that errors of second order could hide.
  tidy(() => {
    for (const { feedForward: { gate, up, down }, feedForwardNorm } of model.blocks) {
      for (const { weight } of [gate, up, down]) (weight as Parameter).assign((weight as Parameter).multiply(12));
      feedForwardNorm.weight.assign(new Generator(5).uniform([width], 0.5, 1.5));
    }
  });
  return model;
}

/** Largest error of a gradient over its largest value: of the inputs, the norms, and every feed-forward matrix at full rank. */
export async function degradedBackwardError(): Promise<{ readonly error: number; readonly places: number; readonly names: number }> {
  using model = makeModel();
  using sums = new GradientSums();
  using projections = new ProjectionStore({ basis: "weight", rank: 1e6, refreshInterval: 100 });
  const executor = new StageExecutor(model, { mode: { techniques: allTechniques }, projections, sums });
  using input = new Generator(1).normal([batch, sequence, width]);
  using outputGradient = new Generator(2).normal([batch, sequence, width]);
  using inputGradient = (await executor.forward({ hidden: input }).backward(outputGradient))!;

  const gradients = new Map<string, Float32Array>([["input", await inputGradient.data("float32")]]);
  const variables = new Map<string, Float64Array>([["input", Float64Array.from(await input.data("float32"))]]);
  for (const [name, parameter] of model.namedParameters()) {
    const sum = sums.get(parameter);
    if (name.includes("feedForward")) variables.set(name, Float64Array.from(await parameter.data("float32")));
    if (sum !== undefined) gradients.set(name, await sum.data("float32"));
  }
  if ([...gradients.keys()].sort().join() !== [...variables.keys()].sort().join()) {
    throw new Error(`gradients of ${[...gradients.keys()].join(", ")}; the surrogate has ${[...variables.keys()].join(", ")}`);
  }

  const shares = await mixerShares(model, input);
  const weights = await outputGradient.data("float32");
  const objective = (): number => {
    let hidden = variables.get("input")!;
    shares.forEach((share, i) => {
      const half = (matrix: string): Float64Array => variables.get(`blocks.${i}.${matrix}.weight`)!;
      hidden = feedForwardHalf(hidden.map((value, place) => value + share[place]!), {
        norm: half("feedForwardNorm"), gate: half("feedForward.gate"), up: half("feedForward.up"), down: half("feedForward.down"),
      });
    });
    return hidden.reduce((sum, value, i) => sum + value * weights[i]!, 0);
  };
  let [error, places] = [0, 0];
  for (const [name, values] of variables) {
    const gradient = gradients.get(name)!;
    const scale = Math.max(...gradient.map(Math.abs));
    for (let place = 0; place < values.length; place++) {
      const original = values[place]!;
      const step = 1e-4;
      values[place] = original + step;
      const above = objective();
      values[place] = original - step;
      const below = objective();
      values[place] = original;
      error = Math.max(error, Math.abs(gradient[place]! - (above - below) / (2 * step)) / scale);
      places++;
    }
  }
  return { error, places, names: variables.size };
}
