import { ShapeError, TensorError } from "../errors.ts";
import { assign } from "../ops/views.ts";
import { formatShape, sameShape } from "../tensor/shape.ts";
import { QuantizedTensor } from "../tensor/quantized.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Parameter } from "./parameter.ts";

/**
 * A part of a model: parameters and smaller modules as plain properties (or arrays of them), found by their property names, and a `forward`
 * of its own.
 */
export abstract class Module {
  /**
   * Whether layers that behave differently in training (dropout) do so. Default true, as in PyTorch: `setTraining(false)` before inference.
   */
  training: boolean = true;

  /** Parameters with their dotted path, in the order they were assigned. */
  *namedParameters(prefix: string = ""): Generator<[name: string, parameter: Parameter]> {
    for (const [name, weight] of weightsOf(this, prefix)) if (weight instanceof Parameter) yield [name, weight];
  }

  /** All parameters, each once even where modules share it. */
  parameters(): Parameter[] {
    return [...new Set([...this.namedParameters()].map(([, parameter]) => parameter))];
  }

  /** This module and all below it. */
  *modules(): Generator<Module> {
    yield this;
    for (const value of Object.values(this)) {
      for (const item of Array.isArray(value) ? value : [value]) if (item instanceof Module) yield* item.modules();
    }
  }

  /** Switches training behaviour on or off for the whole tree. */
  setTraining(training: boolean): this {
    for (const module of this.modules()) module.training = training;
    return this;
  }

  /** The quantised weights, each once. They are no parameters: nothing trains them. */
  quantizedWeights(): QuantizedTensor[] {
    return [...new Set([...weightsOf(this, "")].flatMap(([, weight]) => (weight instanceof QuantizedTensor ? [weight] : [])))];
  }

  /**
   * Parameters by name, and the parts of quantised weights ("weight.values", "weight.scales", "weight.minimums"): live handles, for saving.
   */
  stateDict(): Record<string, Tensor> {
    const entries = [...weightsOf(this, "")].flatMap(([name, weight]): [string, Tensor][] => {
      if (weight instanceof Parameter) return [[name, weight]];
      const { values, scales, minimums } = weight;
      return [
        [`${name}.values`, values],
        [`${name}.scales`, scales],
        ...(minimums ? [[`${name}.minimums`, minimums] as [string, Tensor]] : []),
      ];
    });
    return Object.fromEntries(entries);
  }

  /**
   * Copies values into the parameters and the parts of quantised weights.
   * @throws TensorError for a missing or unknown name @throws ShapeError for a shape that differs; nothing is changed then
   */
  loadStateDict(state: Readonly<Record<string, Tensor>>): void {
    const own = new Map(Object.entries(this.stateDict()));
    for (const name of Object.keys(state)) if (!own.has(name)) throw new TensorError(`loadStateDict: unknown parameter "${name}"`);
    for (const [name, parameter] of own) {
      const value = state[name];
      if (value === undefined) throw new TensorError(`loadStateDict: parameter "${name}" is missing`);
      if (!sameShape(value.shape, parameter.shape)) {
        throw new ShapeError(`loadStateDict: "${name}" is ${formatShape(parameter.shape)}, the given value ${formatShape(value.shape)}`);
      }
    }
    for (const [name, parameter] of own) assign(parameter, state[name]!);
  }

  /** Frees all parameters and quantised weights. */
  dispose(): void {
    for (const [, weight] of weightsOf(this, "")) weight.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Parameters and quantised weights of a module and those below it, with their dotted path. */
function* weightsOf(module: Module, prefix: string): Generator<[name: string, weight: Parameter | QuantizedTensor]> {
  for (const [name, value] of Object.entries(module)) {
    const entries: [string, unknown][] = Array.isArray(value) ? value.map((item: unknown, i) => [`${name}.${i}`, item]) : [[name, value]];
    for (const [path, item] of entries) {
      if (item instanceof Parameter || item instanceof QuantizedTensor) yield [prefix + path, item];
      else if (item instanceof Module) yield* weightsOf(item, `${prefix}${path}.`);
    }
  }
}
