/** `@frugal/language-model/command-line`: what the commands of this package and of those above it have in common (Node). */
export {
  applyThreads, collect, deviceOption, integer, numberBetween, precisionOption, threadsOption, type CommandDevice,
} from "./arguments.ts";
export { endBySignal, Interrupted, interrupted, interruptible, interruption, runToEnd } from "./run-to-end.ts";
export { note, printJson, startProgress, type Progress } from "./terminal.ts";
