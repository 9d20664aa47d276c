import type { KernelArguments, Kernels } from "../backend.ts";
import { load, store } from "./access.ts";
import { sigmoid, silu, siluDerivative, softplus } from "./functions.ts";

/** Causal convolution and the selective scan. */
export const sequenceKernels: Pick<Kernels, "causalConv1d" | "causalConv1dGradient" | "selectiveScan" | "selectiveScanGradient"> = {
  causalConv1d(parameters) {
    const activate = parameters.silu ? silu : (x: number): number => x;
    store(parameters.output, convolve(parameters).map(activate));
  },

  // With z the sum before the activation and u = g f'(z): ∂L/∂x[b, t - width + 1 + j, c] += u[b, t, c] weight[c, j],
  // and ∂L/∂weight[c, j] += u[b, t, c] x[b, t - width + 1 + j, c].
  causalConv1dGradient(parameters) {
    const { gradient, input, weight, initialState, batch, sequence, channels, width } = parameters;
    const { inputGradient, weightGradient, biasGradient, initialStateGradient } = parameters;
    const g = load(gradient);
    const x = load(input);
    const w = load(weight);
    const before = initialState && load(initialState);
    const sums = convolve(parameters);
    const inputSums = new Float64Array(x.length);
    const weightSums = new Float64Array(w.length);
    const biasSums = new Float64Array(channels);
    const beforeSums = new Float64Array(batch * (width - 1) * channels);
    for (let b = 0; b < batch; b++) {
      for (let t = 0; t < sequence; t++) {
        for (let c = 0; c < channels; c++) {
          const here = (b * sequence + t) * channels + c;
          const u = g[here]! * (parameters.silu ? siluDerivative(sums[here]!) : 1);
          biasSums[c]! += u;
          for (let j = 0; j < width; j++) {
            const time = t - width + 1 + j;
            const place = time >= 0 ? (b * sequence + time) * channels + c : (b * (width - 1) + time + width - 1) * channels + c;
            const value = time >= 0 ? x[place]! : (before?.[place] ?? 0);
            weightSums[c * width + j]! += u * value;
            (time >= 0 ? inputSums : beforeSums)[place]! += u * w[c * width + j]!;
          }
        }
      }
    }
    store(inputGradient, inputSums);
    store(weightGradient, weightSums);
    if (biasGradient) store(biasGradient, biasSums);
    if (initialStateGradient) store(initialStateGradient, beforeSums);
  },

  selectiveScan(parameters) {
    const { input, outputMatrix, skip, output, finalState, batch, sequence, channels, stateSize } = parameters;
    const x = load(input);
    const c = load(outputMatrix);
    const d = skip && load(skip);
    const states = scanStates(parameters);
    const y = new Float64Array(x.length);
    const last = new Float64Array(batch * channels * stateSize);
    for (let b = 0; b < batch; b++) {
      for (let channel = 0; channel < channels; channel++) {
        for (let t = 0; t < sequence; t++) {
          const here = (b * sequence + t) * channels + channel;
          y[here] = (d?.[channel] ?? 0) * x[here]!;
          for (let n = 0; n < stateSize; n++) y[here]! += c[(b * sequence + t) * stateSize + n]! * states.at(b, t, channel, n);
        }
        for (let n = 0; n < stateSize; n++) last[(b * channels + channel) * stateSize + n] = states.at(b, sequence - 1, channel, n);
      }
    }
    store(output, y);
    store(finalState, last);
  },

  // Walking back in time with λ[t] = ∂L/∂h[t] = C[t] g[t] + exp(d[t+1] A) λ[t+1] (λ past the end = finalStateGradient):
  //   ∂L/∂C[t] = g[t] h[t],  ∂L/∂B[t] = λ d[t] x[t],  ∂L/∂x[t] = D g[t] + Σ_n λ d[t] B[t],  ∂L/∂D = Σ g x,
  //   ∂L/∂A = Σ_t λ d[t] exp(d[t] A) h[t-1],  ∂L/∂d[t] = Σ_n λ (A exp(d[t] A) h[t-1] + B[t] x[t]).
  selectiveScanGradient(parameters) {
    const { batch, sequence, channels, stateSize, deltaSoftplus } = parameters;
    const g = load(parameters.gradient);
    const x = load(parameters.input);
    const rawDelta = load(parameters.delta);
    const a = load(parameters.stateMatrix);
    const bMatrix = load(parameters.inputMatrix);
    const cMatrix = load(parameters.outputMatrix);
    const skip = parameters.skip && load(parameters.skip);
    const finalGradient = parameters.finalStateGradient && load(parameters.finalStateGradient);
    const states = scanStates(parameters);
    const inputGradient = new Float64Array(x.length);
    const deltaGradient = new Float64Array(x.length);
    const stateMatrixGradient = new Float64Array(a.length);
    const inputMatrixGradient = new Float64Array(bMatrix.length);
    const outputMatrixGradient = new Float64Array(cMatrix.length);
    const skipGradient = new Float64Array(channels);
    const initialStateGradient = new Float64Array(batch * channels * stateSize);
    for (let b = 0; b < batch; b++) {
      for (let channel = 0; channel < channels; channel++) {
        for (let t = 0; t < sequence; t++) {
          const here = (b * sequence + t) * channels + channel;
          inputGradient[here] = (skip?.[channel] ?? 0) * g[here]!;
          skipGradient[channel]! += g[here]! * x[here]!;
        }
        for (let n = 0; n < stateSize; n++) {
          const state = (b * channels + channel) * stateSize + n;
          const rate = a[channel * stateSize + n]!;
          // What reaches h[t] from later times.
          let later = finalGradient?.[state] ?? 0;
          for (let t = sequence - 1; t >= 0; t--) {
            const here = (b * sequence + t) * channels + channel;
            const vector = (b * sequence + t) * stateSize + n;
            const delta = deltaSoftplus ? softplus(rawDelta[here]!) : rawDelta[here]!;
            const decay = Math.exp(delta * rate);
            const previous = states.at(b, t - 1, channel, n);
            const lambda = cMatrix[vector]! * g[here]! + later;
            outputMatrixGradient[vector]! += g[here]! * states.at(b, t, channel, n);
            inputMatrixGradient[vector]! += lambda * delta * x[here]!;
            inputGradient[here]! += lambda * delta * bMatrix[vector]!;
            stateMatrixGradient[channel * stateSize + n]! += lambda * delta * decay * previous;
            const deltaPart = lambda * (rate * decay * previous + bMatrix[vector]! * x[here]!);
            deltaGradient[here]! += deltaPart * (deltaSoftplus ? sigmoid(rawDelta[here]!) : 1);
            later = decay * lambda;
          }
          initialStateGradient[state] = later;
        }
      }
    }
    store(parameters.inputGradient, inputGradient);
    store(parameters.deltaGradient, deltaGradient);
    store(parameters.stateMatrixGradient, stateMatrixGradient);
    store(parameters.inputMatrixGradient, inputMatrixGradient);
    store(parameters.outputMatrixGradient, outputMatrixGradient);
    if (parameters.skipGradient) store(parameters.skipGradient, skipGradient);
    if (parameters.initialStateGradient) store(parameters.initialStateGradient, initialStateGradient);
  },
};

type Convolution = Pick<
  KernelArguments["causalConv1d"],
  "input" | "weight" | "bias" | "initialState" | "batch" | "sequence" | "channels" | "width"
>;

/** bias[c] + Σ_j weight[c, j] x[b, t - width + 1 + j, c], [batch, sequence, channels]. */
function convolve({ input, weight, bias, initialState, batch, sequence, channels, width }: Convolution): Float64Array {
  const x = load(input);
  const w = load(weight);
  const offsets = bias && load(bias);
  const before = initialState && load(initialState);
  const result = new Float64Array(x.length);
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < sequence; t++) {
      for (let c = 0; c < channels; c++) {
        let sum = offsets?.[c] ?? 0;
        for (let j = 0; j < width; j++) {
          const time = t - width + 1 + j;
          const value =
            time >= 0 ? x[(b * sequence + time) * channels + c]! : (before?.[(b * (width - 1) + time + width - 1) * channels + c] ?? 0);
          sum += w[c * width + j]! * value;
        }
        result[(b * sequence + t) * channels + c] = sum;
      }
    }
  }
  return result;
}

type Scan = Pick<
  KernelArguments["selectiveScan"],
  "input" | "delta" | "stateMatrix" | "inputMatrix" | "initialState" | "deltaSoftplus" | "batch" | "sequence" | "channels" | "stateSize"
>;

/** All states h[t]; `at(b, -1, …)` is the initial state. */
function scanStates(scan: Scan): { at(batch: number, time: number, channel: number, n: number): number } {
  const { batch, sequence, channels, stateSize, deltaSoftplus } = scan;
  const x = load(scan.input);
  const rawDelta = load(scan.delta);
  const a = load(scan.stateMatrix);
  const bMatrix = load(scan.inputMatrix);
  const before = scan.initialState && load(scan.initialState);
  const states = new Float64Array(batch * (sequence + 1) * channels * stateSize);
  const place = (b: number, t: number, channel: number, n: number): number =>
    ((b * (sequence + 1) + t + 1) * channels + channel) * stateSize + n;
  for (let b = 0; b < batch; b++) {
    for (let channel = 0; channel < channels; channel++) {
      for (let n = 0; n < stateSize; n++) {
        states[place(b, -1, channel, n)] = before?.[(b * channels + channel) * stateSize + n] ?? 0;
        for (let t = 0; t < sequence; t++) {
          const here = (b * sequence + t) * channels + channel;
          const delta = deltaSoftplus ? softplus(rawDelta[here]!) : rawDelta[here]!;
          states[place(b, t, channel, n)] =
            Math.exp(delta * a[channel * stateSize + n]!) * states[place(b, t - 1, channel, n)]! +
            delta * bMatrix[(b * sequence + t) * stateSize + n]! * x[here]!;
        }
      }
    }
  }
  return { at: (b, t, channel, n) => states[place(b, t, channel, n)]! };
}
