import { ShapeError, TensorError } from "../errors.ts";
import { assign } from "../ops/views.ts";
import { formatShape, sameShape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Parameter } from "./parameter.ts";

/**
 * A part of a model: parameters and smaller modules as plain properties (or arrays of them), found by their property names, and a `forward` of its own.
 */
export abstract class Module {
  /** Whether layers that behave differently in training (dropout) do so. */
  training: boolean = false;

  /** Parameters with their dotted path, in the order they were assigned. */
  *namedParameters(prefix: string = ""): Generator<[name: string, parameter: Parameter]> {
    for (const [name, value] of Object.entries(this)) {
      if (value instanceof Parameter) yield [prefix + name, value];
      else if (value instanceof Module) yield* value.namedParameters(`${prefix}${name}.`);
      else if (Array.isArray(value)) {
        for (const [i, item] of value.entries()) {
          if (item instanceof Parameter) yield [`${prefix}${name}.${i}`, item];
          else if (item instanceof Module) yield* item.namedParameters(`${prefix}${name}.${i}.`);
        }
      }
    }
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

  /** The parameters by name: live handles, for saving. */
  stateDict(): Record<string, Tensor> {
    return Object.fromEntries(this.namedParameters());
  }

  /**
   * Copies values into the parameters.
   * @throws TensorError for a missing or unknown name @throws ShapeError for a shape that differs; nothing is changed then
   */
  loadStateDict(state: Readonly<Record<string, Tensor>>): void {
    const own = new Map(this.namedParameters());
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

  /** Frees all parameters. */
  dispose(): void {
    for (const parameter of this.parameters()) parameter.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
