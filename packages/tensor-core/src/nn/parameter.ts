import type { DeviceName } from "../backend/backend.ts";
import { asContiguous, clone } from "../ops/materialize.ts";
import { Tensor } from "../tensor/tensor.ts";
import { contiguousStrides } from "../tensor/shape.ts";
import { noGrad } from "../autograd/gradients.ts";

/** A tensor that a module learns: owned by its module, updated in place by optimizers, found by `Module.parameters()`. */
export class Parameter<Device extends DeviceName = DeviceName> extends Tensor<Device> {
  /** Takes over the value of `initial`, whose handle is freed. */
  constructor(initial: Tensor<Device>) {
    // Memory that other tensors see too would change under them at the first optimizer step.
    const source = noGrad(() => (initial.storage.shared ? clone(initial) : asContiguous(initial)));
    super(source.storage.retain(), source.dtype, source.shape, contiguousStrides(source.shape), source.offset, false);
    source.dispose();
    initial.dispose();
  }
}
