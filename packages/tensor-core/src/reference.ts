/**
 * `@frugal/tensor-core/reference`: importing it makes the device "reference" known, plain float64 loops that every other device is tested
 * against. Slow, but it runs
 * where WebAssembly SIMD is missing.
 */
import { createReferenceBackend } from "./backend/reference/index.ts";
import { registerBackend } from "./backend/registry.ts";

registerBackend("reference", createReferenceBackend);

export { createReferenceBackend };
