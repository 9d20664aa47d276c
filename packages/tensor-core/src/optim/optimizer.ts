import type { Backend } from "../backend/backend.ts";
import { DtypeError, ShapeError, TensorError } from "../errors.ts";
import type { Parameter } from "../nn/parameter.ts";
import { checkDevices } from "../ops/dispatch.ts";
import { fillLike } from "../ops/materialize.ts";
import { assign } from "../ops/views.ts";
import { keep } from "../tensor/scope.ts";
import { formatShape, sameShape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Parameters that share settings. */
export interface ParameterGroup<Settings> {
  readonly parameters: readonly Parameter[];
  /** Override the optimizer's own. */
  readonly settings?: Partial<Settings>;
}

/** Everything an optimizer has to remember, for checkpoints. */
export interface OptimizerState {
  readonly step: number;
  /** Steps each parameter took part in; absent = `step` for all. */
  readonly parameterSteps?: readonly number[];
  /** By slot and position, e.g. "firstMoment.3". Live handles. */
  readonly tensors: Readonly<Record<string, Tensor>>;
}

/** Updates parameters in place from gradients. */
export abstract class Optimizer<Settings extends { readonly learningRate: number }> {
  readonly parameters: readonly Parameter[];
  /** Steps taken. */
  stepCount: number = 0;
  /** Steps each parameter took part in: those without a gradient wait. */
  protected readonly parameterSteps: number[];
  readonly #settings: Settings[];
  readonly #slots = new Map<string, Tensor[]>();
  #learningRateScale = 1;

  /**
   * Slots are tensors shaped like the parameters, zero at first; they live until `dispose`.
   * @throws DtypeError for a parameter that is not float32 @throws TensorError for one listed twice
   */
  protected constructor(groups: readonly Parameter[] | readonly ParameterGroup<Settings>[], defaults: Settings, slots: readonly string[]) {
    const normalized = groups.map((group): ParameterGroup<Settings> => ("parameters" in group ? group : { parameters: [group] }));
    this.parameters = normalized.flatMap((group) => [...group.parameters]);
    this.parameters.forEach((parameter, i) => {
      if (parameter.dtype !== "float32")
        throw new DtypeError(`optimizer: parameter ${i} is ${parameter.dtype}; only float32 parameters can be trained`);
    });
    const twice = this.parameters.findIndex((parameter, i) => this.parameters.indexOf(parameter) !== i);
    if (twice >= 0) {
      throw new TensorError(
        `optimizer: parameter ${twice} ${formatShape(this.parameters[twice]!.shape)} is listed twice and would be updated twice; list shared parameters once`,
      );
    }
    this.parameterSteps = this.parameters.map(() => 0);
    this.#settings = normalized.flatMap((group) => group.parameters.map(() => ({ ...defaults, ...group.settings })));
    for (const slot of slots) {
      const zeros = this.parameters.map((parameter) =>
        fillLike({ shape: parameter.shape, dtype: "float32", backend: parameter.storage.backend }, 0),
      );
      this.#slots.set(slot, keep(zeros));
    }
  }

  /** Multiplies every group's learning rate, e.g. from a schedule: `optimizer.learningRateScale = schedule(step)`. Default 1. */
  get learningRateScale(): number {
    return this.#learningRateScale;
  }

  set learningRateScale(scale: number) {
    if (!(scale >= 0)) throw new RangeError(`learning rate scale ${scale} must not be negative`);
    this.#learningRateScale = scale;
  }

  /**
   * One update. `gradients[i]` belongs to `parameters[i]`; `undefined` leaves that parameter and its state alone.
   * @throws ShapeError @throws DeviceError @throws DisposedError when they do not fit, before anything is changed
   */
  step(gradients: readonly (Tensor | undefined)[]): void {
    if (gradients.length !== this.parameters.length) {
      throw new ShapeError(`step: ${this.parameters.length} parameters but ${gradients.length} gradients`);
    }
    this.parameters.forEach((parameter, i) => {
      const gradient = gradients[i];
      if (gradient && (!sameShape(gradient.shape, parameter.shape) || !gradient.isContiguous || gradient.dtype !== "float32")) {
        throw new ShapeError(
          `step: gradient ${i} is ${gradient.isContiguous ? "" : "non-contiguous "}${gradient.dtype} ${formatShape(gradient.shape)}, ` +
            `its parameter float32 ${formatShape(parameter.shape)}`,
        );
      }
      if (gradient) checkDevices("step", parameter, gradient);
      // Both still have their memory, or this fails before anything is changed.
      void (gradient && parameter.buffer && gradient.buffer);
    });
    this.stepCount++;
    this.parameters.forEach((parameter, i) => {
      const gradient = gradients[i];
      if (!gradient) return;
      const settings = this.#settings[i]!;
      this.parameterSteps[i]!++;
      this.update(parameter, gradient, i, { ...settings, learningRate: settings.learningRate * this.#learningRateScale });
      parameter.storage.version++;
    });
  }

  /** Changes one parameter in place. */
  protected abstract update(parameter: Parameter, gradient: Tensor, index: number, settings: Settings): void;

  /** The state tensor of a parameter. */
  protected slot(name: string, index: number): Tensor {
    return this.#slots.get(name)![index]!;
  }

  protected backend(parameter: Parameter): Backend {
    return parameter.storage.backend;
  }

  /** For checkpoints; the tensors are live. */
  state(): OptimizerState {
    const tensors = [...this.#slots].flatMap(([slot, list]) => list.map((tensor, i) => [`${slot}.${i}`, tensor] as const));
    return { step: this.stepCount, parameterSteps: [...this.parameterSteps], tensors: Object.fromEntries(tensors) };
  }

  /** Takes over a saved state. @throws TensorError when a tensor is missing @throws ShapeError when one does not fit */
  loadState(state: OptimizerState): void {
    const own = this.state().tensors;
    for (const [name, tensor] of Object.entries(own)) {
      const value = state.tensors[name];
      if (value === undefined) throw new TensorError(`loadState: "${name}" is missing; was this state saved by another optimizer?`);
      if (!sameShape(value.shape, tensor.shape))
        throw new ShapeError(`loadState: "${name}" is ${formatShape(tensor.shape)}, the saved value ${formatShape(value.shape)}`);
    }
    const counts = state.parameterSteps ?? this.parameters.map(() => state.step);
    if (counts.length !== this.parameters.length) {
      throw new TensorError(`loadState: step counts of ${counts.length} parameters for an optimizer of ${this.parameters.length}`);
    }
    for (const [name, tensor] of Object.entries(own)) assign(tensor, state.tensors[name]!);
    this.stepCount = state.step;
    counts.forEach((count, i) => {
      this.parameterSteps[i] = count;
    });
  }

  /** Frees the state. */
  dispose(): void {
    for (const list of this.#slots.values()) for (const tensor of list) tensor.dispose();
    this.#slots.clear();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
