/** Base of every error this package throws on purpose; `catch (error) { if (error instanceof TensorError) … }`. */
export class TensorError extends Error {
  override name = "TensorError";
}

/** Shapes that do not fit an operation. The message names the operation and every shape. */
export class ShapeError extends TensorError {
  override name = "ShapeError";
}

/** A dtype the operation does not take, or dtypes that cannot be combined. */
export class DtypeError extends TensorError {
  override name = "DtypeError";
}

/** An index or axis outside its range. */
export class IndexError extends TensorError {
  override name = "IndexError";
}

/** Tensors of different devices met in one operation, or the device is not available here. */
export class DeviceError extends TensorError {
  override name = "DeviceError";
}

/** The tensor was freed (by `dispose`, or by the scope that owned it) and is used again. */
export class DisposedError extends TensorError {
  override name = "DisposedError";
}

/** The device heap cannot grow any further. */
export class OutOfMemoryError extends TensorError {
  override name = "OutOfMemoryError";
}

/** Differentiation asked for something the recorded graph cannot give, e.g. a second backward pass over a freed graph. */
export class GradientError extends TensorError {
  override name = "GradientError";
}
