/** What is reported of memory that nobody freed. */
export interface LeakReport {
  readonly byteLength: number;
  readonly device: string;
  /** Where the memory was asked for. */
  readonly stack: string;
}

let registry: FinalizationRegistry<LeakReport> | undefined;

function warn({ byteLength, device, stack }: LeakReport): void {
  // oxlint-disable-next-line no-console -- a report that was asked for; pass a function of your own to have it elsewhere
  console.warn(
    `tensor-core: ${byteLength} bytes on "${device}" were never freed; dispose() the tensor, or make it inside a scope\n${stack}`,
  );
}

/**
 * Reports device memory whose tensors were garbage-collected without being freed, for memory asked for from now on; the environment
 * variable FRUGAL_DEBUG_LEAKS=1
 * switches it on from the start. Nothing is freed by it. Costs a stack trace a tensor: for debugging only.
 */
export function setLeakReporting(enabled: boolean, report: (leak: LeakReport) => void = warn): void {
  registry = enabled ? new FinalizationRegistry(report) : undefined;
}

/** Notes memory that has to be freed before `holder` is collected. */
export function watchMemory(holder: object, device: string, byteLength: number): void {
  // Frames 0 to 2 are this function and the storage.
  registry?.register(holder, { byteLength, device, stack: (new Error().stack ?? "").split("\n").slice(3).join("\n") }, holder);
}

/** Notes that it was freed. */
export function unwatchMemory(holder: object): void {
  registry?.unregister(holder);
}

if ((globalThis.process?.env?.["FRUGAL_DEBUG_LEAKS"] ?? "") !== "") setLeakReporting(true);
