/**
 * CPU tensors are computed without waiting, so a loop of `await`s over them never lets the event loop turn: no signals, no timers, no
 * drawing, no output. Long loops call `breathe` to give it a turn now and then.
 */

const MILLISECONDS_BETWEEN_TURNS = 8;

let lastTurn = 0;

/** One turn of the event loop, the fastest way there is: `setTimeout` would wait a millisecond, in browsers four. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === "function") {
      setImmediate(resolve);
      return;
    }
    const { port1, port2 } = new MessageChannel();
    port1.addEventListener("message", () => {
      port1.close();
      resolve();
    });
    port1.start();
    port2.postMessage(undefined);
  });
}

/** Lets the event loop turn, unless it did within the last few milliseconds. */
export async function breathe(): Promise<void> {
  if (performance.now() - lastTurn < MILLISECONDS_BETWEEN_TURNS) return;
  await turn();
  lastTurn = performance.now();
}
