import type { DeviceBuffer, DeviceName, TensorView } from "../backend/backend.ts";
import type { GraphNode } from "../autograd/graph.ts";
import { DisposedError } from "../errors.ts";
import type { Dtype } from "./dtype.ts";
import type { TensorMethods } from "./methods.ts";
import { scopeStack, type TensorOwner } from "./ownership.ts";
import { formatShape, isContiguous, sizeOf, type Shape } from "./shape.ts";
import type { Storage } from "./storage.ts";

/** Nested arrays of numbers, as deep as a tensor has axes. */
export type NestedArray = number | readonly NestedArray[];

/**
 * An n-dimensional array on a device. Immutable but for the methods that say "in place". Views (`slice`, `transpose`, `reshape` of
 * contiguous data, …)
 * share memory with what they came from.
 *
 * `Device` is the device's name as a type: `dataSync()` exists where the host can read the memory, `await data()` everywhere.
 */
// The methods are functions from src/ops, installed on the prototype by ops/install-methods.ts; their types come from this interface.
export interface Tensor<Device extends DeviceName = DeviceName> extends TensorMethods<Device> {}
export class Tensor<Device extends DeviceName = DeviceName> implements TensorView {
  readonly dtype: Dtype;
  readonly shape: Shape;
  /** Elements between neighbours along each axis; 0 repeats. */
  readonly strides: readonly number[];
  /** First element, counted from the start of the storage. */
  readonly offset: number;
  /** Number of elements. */
  readonly size: number;
  /** @internal */
  readonly storage: Storage;
  /** @internal where gradients come from, while a tape records */
  node: GraphNode | undefined = undefined;
  /** @internal which output of `node` this is */
  nodeOutput = 0;
  /** @internal */
  owner: TensorOwner | undefined = undefined;
  /** @internal */
  disposed = false;

  /** @internal use `tensor()`, `zeros()`, …; takes over one reference to `storage`; the innermost scope owns it if `scoped` */
  constructor(storage: Storage, dtype: Dtype, shape: Shape, strides: readonly number[], offset: number, scoped: boolean = true) {
    this.storage = storage;
    this.dtype = dtype;
    this.shape = shape;
    this.strides = strides;
    this.offset = offset;
    this.size = sizeOf(shape);
    if (scoped && scopeStack.length > 0) scopeStack[scopeStack.length - 1]!.track(this);
  }

  /** Name of the device that holds the data. */
  get device(): Device {
    return this.storage.backend.name as Device;
  }

  /** Number of axes. */
  get rank(): number {
    return this.shape.length;
  }

  /** Whether elements lie row-major without gaps. */
  get isContiguous(): boolean {
    return isContiguous(this.shape, this.strides);
  }

  /** @internal the device memory. @throws DisposedError */
  get buffer(): DeviceBuffer {
    if (this.disposed) this.#throwDisposed();
    return this.storage.buffer;
  }

  /** Frees the memory once no view uses it. A second call does nothing. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.owner = undefined;
    this.node = undefined;
    this.storage.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #throwDisposed(): never {
    throw new DisposedError(
      `tensor ${formatShape(this.shape)} ${this.dtype} was freed; keep it with scope.keep(), return it from tidy(), or use it before its scope ends`,
    );
  }
}
