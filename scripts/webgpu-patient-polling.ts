/**
 * Loaded before the tests of a WebGPU lane. While a command is under way Dawn asks for news by one `setImmediate` after another, which
 * keeps a core busy: on a machine of two cores it takes that core from the software driver that does the work. A short sleep between two
 * of them halves the time of a lane.
 */
const original = globalThis.setImmediate;
const never = new Int32Array(new SharedArrayBuffer(4));
const sleepMilliseconds = 0.2;

const patient = (callback: (...values: unknown[]) => void, ...values: unknown[]): NodeJS.Immediate =>
  original(() => {
    Atomics.wait(never, 0, 0, sleepMilliseconds);
    callback(...values);
  });

globalThis.setImmediate = Object.assign(patient, { __promisify__: original.__promisify__ }) as typeof setImmediate;
