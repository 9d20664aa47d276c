/**
 * The thread pool's worker as text, so that no bundler has to find a worker file. It runs as a CommonJS eval worker in Node and as a blob
 * worker in browsers.
 * Word offsets are those of `words` in threads.ts. The build of the package minifies it (tsup.config.ts).
 */
export const workerSource: string = `
function run({ module, memory, controlPointer, words, parameterOffset, spinCount, index, generation }) {
  const kernels = Object.values(new WebAssembly.Instance(module, { env: { memory } }).exports);
  // The control block never moves, so a view on the memory's first pages stays valid when the memory grows.
  const control = new Int32Array(memory.buffer, controlPointer, 64);
  const parameters = new Float64Array(memory.buffer, controlPointer + parameterOffset, 64);
  let seen = -1;
  Atomics.add(control, words.ready, 1);
  for (;;) {
    let sequence = Atomics.load(control, words.sequence);
    for (let spin = 0; sequence === seen && spin < spinCount; spin++) sequence = Atomics.load(control, words.sequence);
    while (sequence === seen) {
      Atomics.add(control, words.sleeping, 1);
      Atomics.wait(control, words.sequence, seen);
      Atomics.sub(control, words.sleeping, 1);
      sequence = Atomics.load(control, words.sequence);
    }
    seen = sequence;
    if (Atomics.load(control, words.generation) !== generation) {
      Atomics.sub(control, words.ready, 1);
      return;
    }
    Atomics.add(control, words.active, 1);
    try {
      if (Atomics.load(control, words.open) === sequence) {
        const kernel = kernels[control[words.kernel]];
        const list = Array.from(parameters.subarray(0, control[words.parameterCount]));
        const scratchBytes = control[words.scratchBytes];
        if (scratchBytes > 0) list.push(parameters[63] + scratchBytes * index);
        const count = control[words.count];
        const chunk = control[words.chunk];
        const beginAt = list.length;
        for (;;) {
          const begin = Atomics.add(control, words.next, chunk);
          if (begin >= count) break;
          list[beginAt] = begin;
          list[beginAt + 1] = Math.min(begin + chunk, count);
          kernel.apply(undefined, list);
          Atomics.add(control, words.workerChunks, 1);
        }
      }
    } catch (error) {
      Atomics.store(control, words.failed, 1);
    }
    Atomics.sub(control, words.active, 1);
  }
}
if (typeof WorkerGlobalScope === "undefined") run(require("node:worker_threads").workerData);
else self.onmessage = (event) => { run(event.data); self.close(); };
`;
