/** What was asked for of the constructors of typed arrays and buffers since `begin`. */
export interface AllocationWatch {
  begin(): void;
  /** The most bytes that one call asked for. Memory of tensors is counted by `memory()`. */
  largestBytes(): number;
}

/** Constructors that take a length, with the bytes of an element; a list's are counted as pointers. */
const ELEMENT_BYTES = {
  ArrayBuffer: 1, Uint8Array: 1, Int8Array: 1, Uint8ClampedArray: 1, Uint16Array: 2, Int16Array: 2, Uint32Array: 4, Int32Array: 4,
  Float32Array: 4, Float64Array: 8, BigInt64Array: 8, BigUint64Array: 8, Array: 8,
} as const;

/**
 * Replaces the constructors of this thread's globals by ones that take note of lengths: an allocation of gigabytes for a few hostile bytes
 * is seen even where it fails, is never touched, or is gone at once. To be called before the modules under test are loaded.
 */
export function watchAllocations(): AllocationWatch {
  let largest = 0;
  const note = (args: readonly unknown[], bytes: number): void => {
    const [length] = args;
    if (typeof length === "number" && args.length === 1) largest = Math.max(largest, length * bytes);
  };
  const globals = globalThis as unknown as Record<string, new (...args: unknown[]) => object>;
  for (const [name, bytes] of Object.entries(ELEMENT_BYTES)) {
    const watched = new Proxy(globals[name]!, {
      construct(target, args: unknown[], newTarget) {
        note(args, bytes);
        return Reflect.construct(target, args, newTarget) as object;
      },
    });
    Object.defineProperty(globalThis, name, { value: watched, writable: true, configurable: true });
  }
  return {
    begin() {
      largest = 0;
    },
    largestBytes: () => largest,
  };
}
